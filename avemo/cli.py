"""The verbs: `avemo VERB …`. Each imports its room and calls one function."""

import argparse
import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from absl import logging as absl_logging

from avemo import arguments as arguments_lib
from avemo import errors

# ---------------------------------------------------------------- the verbs


def run_simulate(args) -> None:
  from avemo import simulate

  out = simulate.simulate(
    args.corpus,
    args.out,
    speakers=args.speakers,
    clips_per_speaker=args.clips_per_speaker,
    videos=args.videos,
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
    labels=args.labels,
    face_model=args.face_model,
    workers=args.workers,
    runner=args.runner,
    runner_options=args.runner_option,
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
  elif args.raw:
    rows = protocols.rows_from_raw(corpus, args.raw)
  elif args.data_dir:
    from avemo.data import folds, schema

    dataset = schema.open_dataset(f'{corpus}_av', args.data_dir)
    rows = folds.make_rows(dataset.index)
  else:
    rows = protocols.rows_of_corpus(corpus)
  print(protocols.describe(args.name, rows, as_json=args.json))


def run_convert(args) -> None:
  from avemo.experiment import conversion

  conversion.convert(args.family, args.path, args.out, verify=args.verify)


def run_train(args) -> None:
  from avemo.experiment import configs

  # Before the training room is imported: a typing error answers at once.
  config = configs.load(args.config_flags)

  from avemo.train import checks

  checks.check_config(config, args.workdir)

  from avemo.train import loop

  summary = loop.train(config, args.workdir)
  if summary.get('stopped') == 'signal':
    raise SystemExit(143)


def run_evaluate(args) -> None:
  from avemo.evaluate import checks

  checks.check_workdir(args.workdir)

  from avemo.evaluate import run

  run.evaluate(
    args.workdir,
    checkpoint=args.checkpoint,
    split=args.split,
    data=args.data,
    protocol=args.protocol,
    fold=args.fold,
    views=args.views,
    smooth=args.smooth,
    adaptive=args.adaptive,
    data_dir=args.data_dir,
  )


def run_predict(args) -> None:
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
  )
  if failed:
    raise errors.AvemoError(
      f'{failed} of {len(args.files)} files could not be read; the lines '
      'above say which and why'
    )


def run_abaw(args) -> None:
  from avemo.evaluate import abaw

  files = args.task, args.annotations, args.submission
  if args.action == 'score':
    print(abaw.describe_score(args.task, abaw.score(*files)))
    return
  found = abaw.check(*files)
  if found:
    print(abaw.describe_check(found))
    raise errors.AvemoError(
      f'{args.submission}: {sum(map(len, found.values()))} findings in '
      f'{len(found)} files'
    )
  print(f'{args.submission}: nothing is wrong')


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


VERBS = {
  'simulate': run_simulate,
  'prepare': run_prepare,
  'protocols': run_protocols,
  'convert': run_convert,
  'train': run_train,
  'evaluate': run_evaluate,
  'predict': run_predict,
  'abaw': run_abaw,
  'demo': run_demo,
}


def one_line(error: BaseException) -> str:
  text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
  return ' '.join(text.split())


# ---------------------------------------------------------------- the start


def quiet_libraries(debug: bool = False) -> None:
  """Libraries report through logging; a user wants our lines alone.

  Orbax logs what it raises, from several threads, at a page each: our line
  says it once, and `--debug` shows the rest.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
  # Its import sets its logger's level, so it is asked, not its logger.
  absl_logging.set_verbosity(
    absl_logging.ERROR if debug else absl_logging.FATAL
  )
  for name in ('jax', 'orbax', 'grain', 'tensorflow_datasets', 'asyncio'):
    logging.getLogger(name).setLevel(
      logging.ERROR if debug else logging.CRITICAL
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
  if arguments[:1] != ['train']:
    return arguments_lib.build_parser().parse_args(arguments)
  from avemo.experiment import configs

  own, config_flags = configs.split_flags(arguments)
  args = arguments_lib.build_parser().parse_args(own + config_flags[:1])
  args.config_flags = config_flags
  return args


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs one verb; ends the process with 0, or non-zero after one line."""
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  debug = '--debug' in arguments
  quiet_libraries(debug)
  try:
    args = parse(arguments)
    VERBS[args.verb](args)
  except errors.AvemoError as error:
    stop(str(error), debug)
  except KeyboardInterrupt:
    stop('interrupted', debug, status=130)
  except OSError as error:
    name = f'{error.filename}: ' if error.filename else ''
    hint = {
      errno.ENOSPC: '; free some room and run the same command again',
      errno.EACCES: '; choose a folder that you may write to',
      errno.ENOTDIR: '; choose a folder that you may write to',
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
