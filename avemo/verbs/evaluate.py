"""The verb `evaluate`: its arguments and what it calls."""

import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from avemo import parser as parser_lib
from avemo.verbs import options

SUMMARY = 'score a checkpoint'


def add_arguments(verb) -> None:
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
  options.add_adaptive(verb)
  verb.add_argument(
    '--data-dir',
    type=pathlib.Path,
    metavar='DIR',
    help="where datasets are, when not the training run's",
  )
  verb.add_argument(
    '--without',
    choices=('video', 'audio'),
    help='take that modality for missing',
  )
  verb.add_argument(
    '--snr',
    type=float,
    metavar='DB',
    help='add noise to the sound at this signal-to-noise ratio',
  )
  verb.add_argument(
    '--noise',
    choices=('white', 'pink'),
    default='white',
    help='kind of that noise',
  )
  verb.add_argument(
    '--processes',
    type=parser_lib.positive_int,
    metavar='N',
    help='predict in N processes on this machine, each a share of the clips; '
    'what each says is in WORKDIR/logs',
  )


# What `evaluate` takes, and what a condition is made of.
SETTINGS = (
  'checkpoint', 'split', 'data', 'protocol', 'fold', 'views', 'smooth',
  'data_dir',
)  # fmt: skip
CONDITION = ('without', 'snr', 'noise', 'adaptive')


def run(args) -> None:
  from avemo.evaluate import checks, conditions

  checks.check_workdir(args.workdir)
  if args.processes:
    checks.check_sharing(args.workdir)
  values = vars(args)
  condition = conditions.Condition(*(values[name] for name in CONDITION))

  from avemo.runtime import cluster, distributed, launcher

  if args.processes:
    command = make_command(values)
    raise SystemExit(
      launcher.launch(command, args.workdir, args.processes, name='evaluate')
    )
  found = cluster.find_of_command(os.environ)
  if found.count != 1 or launcher.LAUNCHER in os.environ:
    # There is nothing to save when it is told to stop.
    distributed.start(preemptible=False)

  from avemo.evaluate import run

  settings = {name: values[name] for name in SETTINGS}
  run.evaluate(args.workdir, condition=condition, **settings)


def make_command(values: Mapping[str, Any]) -> list[str]:
  """The same for one process of several, which finds the others."""
  command = [sys.executable, '-m', 'avemo', 'evaluate']
  for name in ('workdir', *SETTINGS, *CONDITION):
    if values[name] is not None:
      command.append(f'--{name.replace("_", "-")}={values[name]}')
  return command + (['--debug'] if values['debug'] else [])
