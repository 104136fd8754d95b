"""The verb `collect`: its arguments and what it calls."""

import pathlib

SUMMARY = 'make the table of a sweep, or of a folder of trainings'
DESCRIPTION = (
  'Writes table.csv and report.html: mean and standard deviation over seeds, '
  'the cost beside every score, and differences from one system, paired by '
  'speaker and corrected by Holm. What is missing or failed is listed.'
)


def add_arguments(verb) -> None:
  verb.add_argument(
    'folder',
    type=pathlib.Path,
    metavar='DIR',
    help='of a sweep, of several cross-validations, or of scored trainings',
  )
  verb.add_argument(
    '--baseline',
    metavar='SYSTEM',
    help='compare with this one; when not given, with the one that the '
    'validation clips choose',
  )
  verb.add_argument(
    '--metric',
    metavar='NAME',
    help='compare by this one, such as war; the first of the table when not '
    'given',
  )


def run(args) -> None:
  from avemo.experiment import collect

  collect.collect(args.folder, baseline=args.baseline, metric=args.metric)
