"""The verb `predict`: its arguments and what it calls."""

import pathlib

from avemo import errors
from avemo import parser as parser_lib
from avemo.verbs import options

SUMMARY = 'read new videos or sound'


def add_arguments(verb) -> None:
  verb.add_argument(
    'files',
    nargs='+',
    type=pathlib.Path,
    metavar='FILE',
    help='films and sounds, in any format that FFmpeg plays',
  )
  verb.add_argument(
    '--workdir',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of a training run, or of a converted classifier',
  )
  verb.add_argument(
    '--out',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of the results',
  )
  verb.add_argument('--checkpoint', default='best', help='best, last or a step')
  verb.add_argument(
    '--audio',
    type=pathlib.Path,
    metavar='WAV',
    help="one film's sound, when it is a file of its own",
  )
  verb.add_argument(
    '--every',
    type=parser_lib.positive_float,
    default=1.0,
    metavar='S',
    help='seconds between two estimates',
  )
  verb.add_argument(
    '--smooth',
    default='none',
    metavar='KIND[:S]',
    help='none, mean:S or median:S over S seconds',
  )
  options.add_adaptive(verb)
  verb.add_argument(
    '--face-model',
    type=pathlib.Path,
    metavar='ONNX',
    help="YuNet face detector; OpenCV's cascade when not given",
  )


def run(args) -> None:
  from avemo.predict import checks

  checks.check_command(
    args.files,
    workdir=args.workdir,
    out=args.out,
    smooth=args.smooth,
    audio=args.audio,
    face_model=args.face_model,
  )

  from avemo.predict import predictor

  failed = predictor.predict_files(
    args.files,
    workdir=args.workdir,
    out=args.out,
    checkpoint=args.checkpoint,
    audio=args.audio,
    every=args.every,
    smooth=args.smooth,
    face_model=args.face_model,
    adaptive=args.adaptive,
  )
  if failed:
    raise errors.AvemoError(
      f'{failed} of {len(args.files)} files could not be read; the lines '
      'above say which and why'
    )
