"""The verb `train`: its arguments and what it calls."""

import pathlib
import sys

from avemo import parser as parser_lib

SUMMARY = 'train a config, or resume it where its workdir stands'
EPILOG = 'Any field of the config can be set: --config.optim.lr=1e-4'
TAKES_CONFIG = True


def add_arguments(verb) -> None:
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
  verb.add_argument(
    '--processes',
    type=parser_lib.positive_int,
    metavar='N',
    help='train in N processes on this machine, which share its GPUs; what '
    'each says is in WORKDIR/logs',
  )


def run(args) -> None:
  from avemo.experiment import configs

  # Before the training room is imported: a typing error answers at once.
  config = configs.load(args.config_flags)

  from avemo.train import checks

  checks.check_config(config, args.workdir)

  from avemo.runtime import launcher, preemption

  if args.processes:
    command = [sys.executable, '-m', 'avemo', 'train', *args.config_flags]
    command += ['--workdir', str(args.workdir)]
    command += ['--debug'] if args.debug else []
    raise SystemExit(launcher.launch(command, args.workdir, args.processes))

  from avemo.train import loop

  summary = loop.train(config, args.workdir)
  if summary.get('stopped') == 'signal':
    raise SystemExit(preemption.EXIT_STATUS)
