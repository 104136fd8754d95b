"""The verb `demo`: its arguments and what it calls."""

import pathlib

from avemo.verbs import options

SUMMARY = 'simulate, prepare, train, evaluate, predict and report, in minutes'


def add_arguments(verb) -> None:
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
  options.add_workers(verb)


def run(args) -> None:
  from avemo.experiment import demo
  from datasets_tfds import prepare

  demo.run_demo(
    args.out,
    prepare.prepare,
    seed=args.seed,
    control=args.control,
    workers=args.workers,
  )
