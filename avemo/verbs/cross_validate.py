"""The verb `cross-validate`: its arguments and what it calls."""

import os
import pathlib

from avemo import parser as parser_lib
from avemo.verbs import options

SUMMARY = 'train and score every fold of a protocol'
DESCRIPTION = (
  'Trains and scores every fold of a protocol, or goes on where it stands. '
  'Folds may run as jobs of their own, by --fold; the last one, or a call '
  'without it, makes the summary.'
)
EPILOG = 'Any field of the config can be set: --config.optim.lr=1e-4'
TAKES_CONFIG = True


def add_arguments(verb) -> None:
  options.add_config(verb)
  verb.add_argument(
    '--protocol',
    required=True,
    metavar='NAME',
    help='its folds; `avemo protocols` lists them',
  )
  verb.add_argument(
    '--workdir',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of all folds, a workdir each',
  )
  verb.add_argument(
    '--seeds',
    type=parser_lib.integers,
    metavar='S,…',
    help="a training of each fold for each; the config's own when not given",
  )
  verb.add_argument(
    '--fold', type=int, metavar='K', help='run this one alone, as a job'
  )
  verb.add_argument(
    '--no-best-on-test',
    action='store_true',
    help='do not watch the test clips while training, which takes as long as '
    'validation and serves comparison with other work alone',
  )
  options.add_conditions(verb)


def run(args) -> None:
  from avemo.corpora import protocols
  from avemo.runtime import cluster

  cluster.check_alone(os.environ, 'cross-validate')

  # Before anything slow is imported: a typing error answers at once.
  protocols.get(args.protocol)
  conditions = options.read_conditions(args)

  from avemo.experiment import configs

  config = configs.load(args.config_flags)

  from avemo.train import checks

  checks.check_config(config, args.workdir)

  from avemo.experiment import crossval

  crossval.cross_validate(
    config,
    args.protocol,
    args.workdir,
    seeds=args.seeds,
    fold=args.fold,
    watch=not args.no_best_on_test,
    conditions=conditions,
  )
