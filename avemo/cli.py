"""The verbs: `avemo VERB …`. Each imports its room and calls one function."""

import argparse
import difflib
import errno
import logging
import os
import pathlib
import sys
import traceback
from collections.abc import Sequence

from absl import logging as absl_logging

import avemo
from avemo import errors


def default_data_dir() -> pathlib.Path:
  # An empty variable counts as none.
  folder = os.environ.get('AVEMO_DATA') or '~/avemo_data'
  return pathlib.Path(folder).expanduser()


# ---------------------------------------------------------------- the verbs


def run_simulate(args) -> None:
  from avemo import simulate

  out = simulate.simulate(
    args.corpus,
    args.out,
    speakers=args.speakers,
    clips_per_speaker=args.clips_per_speaker,
    seed=args.seed,
    quirks=args.quirks,
    workers=args.workers,
    **{
      name: getattr(args, name)
      for name in ('voice_evidence', 'face_evidence')
      if getattr(args, name) is not None
    },
  )
  print(f'wrote {out}')
  if args.oracle:
    best = simulate.oracle(out)
    print('best UAR that the evidence allows (sound, picture, both):')
    for name in ('audio', 'video', 'both'):
      print(f'  {name:5s} {best[name]:.4f}')


def run_prepare(args) -> None:
  from datasets_tfds import prepare

  report = prepare.prepare(
    args.corpus,
    args.raw,
    data_dir=args.data_dir,
    config=args.config,
    face_model=args.face_model,
    workers=args.workers,
    overwrite=args.overwrite,
  )
  print(report)


def run_protocols(args) -> None:
  from avemo.corpora import protocols

  if args.name is None:
    print(protocols.describe_all())
    return
  corpus = protocols.get(args.name).corpus
  if args.names:
    rows = protocols.rows_from_names(corpus, args.names)
  elif args.data_dir:
    from avemo.data import folds, schema

    dataset = schema.open_dataset(f'{corpus}_av', args.data_dir)
    rows = folds.make_rows(dataset.index)
  else:
    rows = protocols.rows_of_corpus(corpus)
  print(protocols.describe(args.name, rows, as_json=args.json))


def run_train(args) -> None:
  from avemo.experiment import configs

  # Before the training room is imported: a typing error answers at once.
  config = configs.load(args.config_flags)

  from avemo.train import loop

  summary = loop.train(config, args.workdir)
  if summary.get('stopped') == 'signal':
    raise SystemExit(143)


def run_evaluate(args) -> None:
  from avemo.evaluate import run

  run.evaluate(
    args.workdir,
    checkpoint=args.checkpoint,
    split=args.split,
    data=args.data,
    protocol=args.protocol,
    fold=args.fold,
    views=args.views,
    data_dir=args.data_dir,
  )


def run_predict(args) -> None:
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
  )
  if failed:
    raise errors.AvemoError(
      f'{failed} of {len(args.files)} files could not be read; the lines '
      'above say which and why'
    )


def run_demo(args) -> None:
  from avemo.experiment import demo
  from datasets_tfds import prepare

  demo.run_demo(
    args.out,
    prepare.prepare,
    seed=args.seed,
    control=args.control,
    workers=args.workers,
  )


# ------------------------------------------------------------ the arguments


def build_parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog='avemo',
    description="Emotion recognition from a speaker's face and voice.",
    epilog='`avemo VERB --help` says what a verb takes and leaves.',
  )
  parser.add_argument('--version', action='version', version=avemo.__version__)
  verbs = parser.add_subparsers(dest='verb', metavar='VERB', required=True)

  def add(name, function, summary, **kwargs):
    verb = verbs.add_parser(
      name,
      help=summary,
      description=kwargs.pop('description', summary),
      formatter_class=argparse.ArgumentDefaultsHelpFormatter,
      **kwargs,
    )
    verb.set_defaults(function=function)
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
      type=positive_int,
      default=os.cpu_count() or 1,
      metavar='N',
      help='processes; the result does not depend on their number',
    )

  verb = add(
    'simulate',
    run_simulate,
    'write a small corpus in the real layout, made from a seed',
  )
  verb.add_argument('corpus', metavar='CORPUS', help='crema_d or ravdess')
  verb.add_argument('--out', type=pathlib.Path, required=True, metavar='DIR')
  verb.add_argument('--speakers', type=positive_int, default=12, metavar='N')
  verb.add_argument(
    '--clips-per-speaker',
    type=positive_int,
    metavar='N',
    help='a subset spread evenly over the emotions; all when not given',
  )
  verb.add_argument('--seed', type=int, default=0, metavar='S')
  verb.add_argument(
    '--quirks',
    action='store_true',
    help='add the oddities of the real corpus, on real files',
  )
  verb.add_argument(
    '--voice-evidence',
    type=fraction,
    metavar='P',
    help='probability that a voice shows its emotion; 0 for a control',
  )
  verb.add_argument(
    '--face-evidence',
    type=fraction,
    metavar='P',
    help='probability that a face shows its emotion; 0 for a control',
  )
  verb.add_argument(
    '--oracle',
    action='store_true',
    help='print the best score that the evidence allows',
  )
  add_workers(verb)

  verb = add(
    'prepare', run_prepare, "build the dataset CORPUS_av from a corpus's files"
  )
  verb.add_argument('corpus', metavar='CORPUS', help='crema_d or ravdess')
  verb.add_argument(
    '--raw',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the corpus as downloaded or unpacked',
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
    '--overwrite', action='store_true', help='build again what exists'
  )
  add_workers(verb)
  add_data_dir(verb)

  verb = add(
    'protocols',
    run_protocols,
    'list the named folds, or the clips of each fold of one',
  )
  verb.add_argument('name', nargs='?', metavar='NAME')
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
    help='a text file, one clip name a line; no media needed',
  )
  verb.add_argument('--json', action='store_true')

  verb = add(
    'train',
    run_train,
    'train a config, or resume it where its workdir stands',
    epilog='Any field of the config can be set: --config.optim.lr=1e-4',
  )
  verb.add_argument(
    '--config',
    required=True,
    metavar='FILE[:arg]',
    help='a file with get_config(), see configs/',
  )
  verb.add_argument('--workdir', type=pathlib.Path, required=True)

  verb = add('evaluate', run_evaluate, 'score a checkpoint')
  verb.add_argument('--workdir', type=pathlib.Path, required=True)
  verb.add_argument('--checkpoint', default='best', help='best, last or a step')
  verb.add_argument('--split', choices=('train', 'val', 'test'), default='test')
  verb.add_argument('--data', metavar='NAME', help='another dataset')
  verb.add_argument('--protocol', metavar='P', help='another protocol')
  verb.add_argument('--fold', type=int, metavar='K', help='another fold')
  verb.add_argument(
    '--views', type=positive_int, metavar='N', help='test-time views a clip'
  )
  verb.add_argument(
    '--data-dir',
    type=pathlib.Path,
    metavar='DIR',
    help="where datasets are, when not the training run's",
  )

  verb = add('predict', run_predict, 'read new videos or sound')
  verb.add_argument('files', nargs='+', type=pathlib.Path, metavar='FILE')
  verb.add_argument('--workdir', type=pathlib.Path, required=True)
  verb.add_argument('--out', type=pathlib.Path, required=True, metavar='DIR')
  verb.add_argument('--checkpoint', default='best', help='best, last or a step')
  verb.add_argument(
    '--audio',
    type=pathlib.Path,
    metavar='WAV',
    help="one film's sound, when it is a file of its own",
  )
  verb.add_argument(
    '--every',
    type=positive_float,
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
  verb.add_argument('--face-model', type=pathlib.Path, metavar='ONNX')

  verb = add(
    'demo',
    run_demo,
    'simulate, prepare, train, evaluate, predict and report, in minutes',
  )
  verb.add_argument('--out', type=pathlib.Path, default='runs/demo')
  verb.add_argument('--seed', type=int, default=0, metavar='S')
  verb.add_argument(
    '--control',
    choices=('silent-voice', 'shuffled-labels'),
    help='a run whose outcome is known: no evidence in the voice, or labels '
    'dealt out at random',
  )
  add_workers(verb)
  return parser


class Parser(argparse.ArgumentParser):
  """One clear line for a wrong command line, with the nearest right word."""

  def error(self, message):
    raise errors.AvemoError(f'{message}; see `{self.prog} --help`')

  def _check_value(self, action, value):
    try:
      super()._check_value(action, value)
    except argparse.ArgumentError as error:
      near = difflib.get_close_matches(str(value), map(str, action.choices), 1)
      if not near:
        raise
      raise argparse.ArgumentError(
        action, f'unknown {value!r}; did you mean {near[0]!r}?'
      ) from error


def positive_int(text: str) -> int:
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f'{text} is below 1')
  return value


def positive_float(text: str) -> float:
  value = float(text)
  if not 0 < value < float('inf'):
    raise argparse.ArgumentTypeError(f'{text} is not above 0')
  return value


def fraction(text: str) -> float:
  value = float(text)
  if not 0 <= value <= 1:
    raise argparse.ArgumentTypeError(f'{text} is not within 0 and 1')
  return value


def one_line(error: BaseException) -> str:
  text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
  return ' '.join(text.split())


# ---------------------------------------------------------------- the start


def quiet_libraries() -> None:
  """Libraries report through logging; a user wants our lines alone."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
  # Its import sets its logger's level, so it is asked, not its logger.
  absl_logging.set_verbosity(absl_logging.ERROR)
  for name in ('jax', 'orbax', 'grain', 'tensorflow_datasets'):
    logging.getLogger(name).setLevel(logging.ERROR)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
  if arguments[:1] != ['train']:
    return build_parser().parse_args(arguments)
  from avemo.experiment import configs

  own, config_flags = configs.split_flags(arguments)
  args = build_parser().parse_args(own + config_flags[:1])
  args.config_flags = config_flags
  return args


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs one verb; ends the process with 0, or non-zero after one line."""
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  quiet_libraries()
  debug = '--debug' in arguments
  try:
    args = parse(arguments)
    args.function(args)
  except errors.AvemoError as error:
    stop(str(error), debug)
  except KeyboardInterrupt:
    stop('interrupted', debug, status=130)
  except OSError as error:
    name = f'{error.filename}: ' if error.filename else ''
    hint = {
      errno.ENOSPC: '; free some room and run the same command again',
      errno.EACCES: '; choose a folder that you may write to',
      errno.EROFS: '; choose a folder that you may write to',
    }.get(error.errno, '')
    stop(f'{name}{error.strerror or error}{hint}', debug)
  except Exception as error:  # The last line of defence, reported in full.
    stop(
      f'internal error: {type(error).__name__}: {one_line(error)}; please '
      'report it with what --debug prints',
      debug,
      status=70,
    )


def stop(message: str, debug: bool, status: int = 1) -> None:
  """Prints one line on stderr and ends the process."""
  if debug:
    traceback.print_exc()
  print(f'avemo: {" ".join(message.split())}', file=sys.stderr)
  raise SystemExit(status)
