"""The verb `train`: its arguments and what it calls."""

import pathlib

from avemo.verbs import options

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
  options.add_programs(verb)


def run(args) -> None:
  from avemo.experiment import configs

  # Before the training room is imported: a typing error answers at once.
  config = configs.load(args.config_flags)

  from avemo.train import checks

  checks.check_config(config, args.workdir)

  from avemo.runtime import programs
  from avemo.train import loop

  programs.keep(args.programs)
  summary = loop.train(config, args.workdir)
  if summary.get('stopped') == 'signal':
    raise SystemExit(143)
