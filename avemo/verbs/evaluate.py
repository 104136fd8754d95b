"""The verb `evaluate`: its arguments and what it calls."""

import os
import pathlib

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


def run(args) -> None:
  from avemo.runtime import cluster

  cluster.check_alone(os.environ, 'evaluate')

  from avemo.evaluate import checks, conditions

  checks.check_workdir(args.workdir)
  condition = conditions.Condition(
    args.without, args.snr, args.noise, args.adaptive
  )

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
    data_dir=args.data_dir,
    condition=condition,
  )
