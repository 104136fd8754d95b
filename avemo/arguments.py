"""The command line: its verbs, their arguments and what they mean."""

import argparse
import os
import pathlib

import avemo
from avemo import parser as parser_lib


def default_data_dir() -> pathlib.Path:
  # An empty variable counts as none.
  folder = os.environ.get('AVEMO_DATA') or '~/avemo_data'
  return pathlib.Path(folder).expanduser()


def build_parser() -> argparse.ArgumentParser:
  parser = parser_lib.Parser(
    prog='avemo',
    description="Emotion recognition from a speaker's face and voice.",
    epilog='`avemo VERB --help` says what a verb takes and leaves.',
  )
  parser.add_argument('--version', action='version', version=avemo.__version__)
  verbs = parser.add_subparsers(dest='verb', metavar='VERB', required=True)

  def add(name, summary, **kwargs):
    verb = verbs.add_parser(
      name,
      help=summary,
      description=kwargs.pop('description', summary),
      formatter_class=parser_lib.Formatter,
      **kwargs,
    )
    verb.add_argument(
      '--debug', action='store_true', help='show the traceback of an error'
    )
    return verb

  def add_data_dir(verb):
    verb.add_argument(
      '--data-dir',
      type=pathlib.Path,
      default=default_data_dir(),
      metavar='DIR',
      help='where prepared datasets are; $AVEMO_DATA sets the default',
    )

  def add_workers(verb):
    verb.add_argument(
      '--workers',
      type=parser_lib.positive_int,
      default=os.cpu_count() or 1,
      metavar='N',
      help='processes; the result does not depend on their number',
    )

  verb = add(
    'simulate',
    'write a small corpus in the real layout, made from a seed',
  )
  verb.add_argument(
    'corpus',
    metavar='CORPUS',
    help='crema_d, ravdess, enterface, msp_improv, mafw or aff_wild2',
  )
  verb.add_argument(
    '--out',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder to make; must not exist, or be empty',
  )
  verb.add_argument(
    '--speakers',
    type=parser_lib.positive_int,
    metavar='N',
    help="how many of the corpus's, spread over its folds; 12 when not given",
  )
  verb.add_argument(
    '--videos',
    type=parser_lib.positive_int,
    metavar='N',
    help='in place of speakers, where the corpus names none: mafw, aff_wild2; '
    '12 when not given',
  )
  verb.add_argument(
    '--clips-per-speaker',
    type=parser_lib.positive_int,
    metavar='N',
    help='a subset spread evenly over the emotions; all when not given',
  )
  verb.add_argument(
    '--seed',
    type=int,
    default=0,
    metavar='S',
    help='of everything that is drawn',
  )
  verb.add_argument(
    '--quirks',
    action='store_true',
    help='add the oddities of the real corpus, on real files',
  )
  verb.add_argument(
    '--voice-evidence',
    type=parser_lib.fraction,
    metavar='P',
    help='probability that a voice shows its emotion; 0 for a control',
  )
  verb.add_argument(
    '--face-evidence',
    type=parser_lib.fraction,
    metavar='P',
    help='probability that a face shows its emotion; 0 for a control',
  )
  verb.add_argument(
    '--oracle',
    action='store_true',
    help='print the best score that the evidence allows',
  )
  add_workers(verb)

  verb = add('prepare', "build the dataset CORPUS_av from a corpus's files")
  verb.add_argument(
    'corpus',
    metavar='CORPUS',
    help='crema_d, ravdess, enterface, msp_improv, mafw, aff_wild2, or custom '
    'for any folder of films and sounds',
  )
  verb.add_argument(
    '--raw',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the corpus as downloaded or unpacked',
  )
  verb.add_argument(
    '--labels',
    type=pathlib.Path,
    metavar='CSV',
    help='a table of your own labels and splits: a row a clip, named in the '
    'column clip_id (custom: path), beside columns such as valence, arousal, '
    'emotion, au_<n>, split, frame (custom: speaker)',
  )
  verb.add_argument(
    '--config',
    choices=('face', 'frame'),
    default='face',
    help='store face crops or whole pictures',
  )
  verb.add_argument(
    '--face-model',
    type=pathlib.Path,
    metavar='ONNX',
    help="YuNet face detector; OpenCV's cascade when not given",
  )
  verb.add_argument(
    '--runner',
    metavar='NAME',
    help='build as an Apache Beam pipeline (pip install "avemo[beam]"): '
    'FnApiRunner on this machine, FlinkRunner, SparkRunner or DataflowRunner '
    'on many, which must all see the folders under the same paths',
  )
  verb.add_argument(
    '--runner-option',
    action='append',
    default=[],
    metavar='NAME=VALUE',
    help='an option of the runner, as Beam calls it; as often as needed',
  )
  verb.add_argument(
    '--overwrite', action='store_true', help='build again what exists'
  )
  add_workers(verb)
  add_data_dir(verb)

  verb = add(
    'protocols',
    'list the named folds, or the clips of each fold of one',
  )
  verb.add_argument(
    'name', nargs='?', metavar='NAME', help='one of them; all when not given'
  )
  source = verb.add_mutually_exclusive_group()
  source.add_argument(
    '--data-dir',
    type=pathlib.Path,
    metavar='DIR',
    help='take the clips of the dataset prepared there; without it and '
    '--names, the full corpus as published',
  )
  source.add_argument(
    '--names',
    type=pathlib.Path,
    metavar='FILE',
    help='a text file, one clip name a line (for eNTERFACE its path, such as '
    'subject_1/anger/sentence_1/s1_an_1); no media needed',
  )
  source.add_argument(
    '--raw',
    type=pathlib.Path,
    metavar='DIR',
    help="the corpus as unpacked, whose own lists are read; MAFW's and "
    "Aff-Wild2's folds are such lists",
  )
  verb.add_argument(
    '--json', action='store_true', help='print the folds for a program'
  )

  verb = add(
    'convert',
    'published weights to a directory that trains, evaluates and predicts',
    epilog='A config starts a tower from it by --config.init.video=DIR.',
  )
  verb.add_argument(
    'family',
    metavar='FAMILY',
    help='videomae, ast, audiomae, hicmae, efficientnet, vggish or wav2vec2',
  )
  verb.add_argument(
    'path',
    type=pathlib.Path,
    metavar='PATH',
    help='the file as published; its format is recognised',
  )
  verb.add_argument(
    '--out',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of the converted weights',
  )
  verb.add_argument(
    '--verify',
    action='store_true',
    help='also run the figures that are published for these weights',
  )

  verb = add(
    'train',
    'train a config, or resume it where its workdir stands',
    epilog='Any field of the config can be set: --config.optim.lr=1e-4',
  )
  verb.add_argument(
    '--config',
    required=True,
    metavar='FILE[:arg]',
    help='a file with get_config(), see configs/',
  )
  verb.add_argument(
    '--workdir',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of the run, which goes on where it stands',
  )

  verb = add('evaluate', 'score a checkpoint')
  verb.add_argument(
    '--workdir',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of a training run, or of converted weights',
  )
  verb.add_argument('--checkpoint', default='best', help='best, last or a step')
  verb.add_argument(
    '--split',
    choices=('train', 'val', 'test'),
    default='test',
    help='the part of the fold to score',
  )
  verb.add_argument(
    '--data',
    metavar='NAME',
    help='another dataset, or one of the corpora that a mixture names',
  )
  verb.add_argument('--protocol', metavar='P', help='another protocol')
  verb.add_argument('--fold', type=int, metavar='K', help='another fold')
  verb.add_argument(
    '--views',
    type=parser_lib.positive_int,
    metavar='N',
    help='test-time views a clip',
  )
  verb.add_argument(
    '--smooth',
    metavar='KIND[:S]',
    help='of films labelled by frame: none, mean:S or median:S over S seconds, '
    'or chosen by films of the training set that were held out',
  )
  verb.add_argument(
    '--adaptive',
    type=parser_lib.fraction,
    metavar='D',
    help='of models over features of frames: look at a face only where its '
    'grey differs by more than D, such as 0.01, from the last one looked at',
  )
  verb.add_argument(
    '--data-dir',
    type=pathlib.Path,
    metavar='DIR',
    help="where datasets are, when not the training run's",
  )

  verb = add('predict', 'read new videos or sound')
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
  verb.add_argument(
    '--face-model',
    type=pathlib.Path,
    metavar='ONNX',
    help="YuNet face detector; OpenCV's cascade when not given",
  )

  verb = add(
    'abaw',
    'score or check a submission to an ABAW challenge',
    description="Scores a submission by the challenge's own rules, or lists "
    'what is wrong with it, file by file; ends non-zero if anything is.',
  )
  verb.add_argument(
    'action', choices=('score', 'check'), help='what to do with it'
  )
  verb.add_argument(
    '--task',
    choices=('va', 'expr', 'au', 'mtl'),
    required=True,
    help="the challenge's task",
  )
  verb.add_argument(
    '--annotations',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='folder of the set, a text file a video; of mtl the file',
  )
  verb.add_argument(
    '--submission',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='a text file a video, or one file with image_location first',
  )

  verb = add(
    'demo',
    'simulate, prepare, train, evaluate, predict and report, in minutes',
  )
  verb.add_argument(
    '--out',
    type=pathlib.Path,
    default='runs/demo',
    metavar='DIR',
    help='the folder of everything it makes',
  )
  verb.add_argument(
    '--seed',
    type=int,
    default=0,
    metavar='S',
    help='of the speakers and of the trainings',
  )
  verb.add_argument(
    '--control',
    choices=('silent-voice', 'shuffled-labels'),
    help='a run whose outcome is known: no evidence in the voice, or labels '
    'dealt out at random',
  )
  add_workers(verb)
  return parser
