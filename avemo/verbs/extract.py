"""The verb `extract`: its arguments and what it calls."""

import argparse
import pathlib

from avemo import errors
from avemo import parser as parser_lib

SUMMARY = 'one artefact a file: faces, overlays, pictures of sound, features'
DESCRIPTION = """\
Makes one artefact of each film or sound, named after it: `faces`, a folder of
crops of the main face with level eyes where landmarks are known; `overlay`, a
film with boxes, landmarks where known, and the MFCC below, its sound kept;
`mfcc-picture` and `mel-picture`; `openface`, OpenFace's table, made by its
program or read from a CSV file of it; `features`, the embeddings of trained
weights."""

WHAT = (
  'faces',
  'overlay',
  'mfcc-picture',
  'mel-picture',
  'openface',
  'features',
)


def add_arguments(verb) -> None:
  verb.add_argument('what', choices=WHAT, metavar='WHAT', help=', '.join(WHAT))
  verb.add_argument(
    'files',
    nargs='+',
    type=pathlib.Path,
    metavar='FILE',
    help='films and sounds, in any format that FFmpeg plays',
  )
  verb.add_argument(
    '--out',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of the artefacts',
  )
  verb.add_argument(
    '--size',
    type=parser_lib.positive_int,
    metavar='PIXELS',
    help="side of faces and pictures, 224 when not given; of an overlay's "
    "longer side, the film's own",
  )
  verb.add_argument(
    '--frames',
    type=whole_number,
    metavar='N',
    help='faces of a film, 16 when not given, 0 for all; windows of a picture '
    'of sound, one when not given',
  )
  verb.add_argument(
    '--fps',
    type=parser_lib.positive_float,
    metavar='RATE',
    help='pictures a second at which a film is looked at; 25 when not given',
  )
  verb.add_argument(
    '--face-model',
    type=pathlib.Path,
    metavar='ONNX',
    help="YuNet face detector, which knows landmarks; OpenCV's cascade, which "
    'does not, when not given',
  )
  verb.add_argument(
    '--openface',
    type=pathlib.Path,
    metavar='PATH',
    help="OpenFace's program FeatureExtraction, or its folder; $OPENFACE_PATH "
    'when not given',
  )
  verb.add_argument(
    '--weights',
    type=pathlib.Path,
    metavar='DIR',
    help='of features: the folder of a training run, or of converted weights',
  )
  verb.add_argument(
    '--checkpoint', metavar='WHICH', help='best, last or a step of the run'
  )
  verb.add_argument(
    '--every',
    type=parser_lib.positive_float,
    metavar='S',
    help='seconds from one embedding of a clip to the next, 1 when not given',
  )


def whole_number(text: str) -> int:
  value = int(text)
  if value < 0:
    raise argparse.ArgumentTypeError(f'{text} is below 0')
  return value


def run(args) -> None:
  from avemo.extract import run as extract
  from avemo.extract.settings import Settings

  failed = extract.extract_files(
    args.what,
    args.files,
    args.out,
    Settings(
      size=args.size,
      frames=args.frames,
      fps=args.fps,
      face_model=args.face_model,
      openface=args.openface,
      weights=args.weights,
      checkpoint=args.checkpoint,
      every=args.every,
    ),
  )
  if failed:
    raise errors.AvemoError(
      f'nothing could be made of {failed} of {len(args.files)} files; the '
      'lines above say of which and why'
    )
