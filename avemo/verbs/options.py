"""Arguments that several verbs take."""

import os
import pathlib

from avemo import parser as parser_lib


def default_data_dir() -> pathlib.Path:
  # An empty variable counts as none.
  folder = os.environ.get('AVEMO_DATA') or '~/avemo_data'
  return pathlib.Path(folder).expanduser()


def add_data_dir(verb) -> None:
  verb.add_argument(
    '--data-dir',
    type=pathlib.Path,
    default=default_data_dir(),
    metavar='DIR',
    help='where prepared datasets are; $AVEMO_DATA sets the default',
  )


def add_workers(verb) -> None:
  verb.add_argument(
    '--workers',
    type=parser_lib.positive_int,
    default=os.cpu_count() or 1,
    metavar='N',
    help='processes; the result does not depend on their number',
  )


def add_programs(verb) -> None:
  verb.add_argument(
    '--programs',
    metavar='DIR',
    help='where compiled programs are kept for the next start, or none; '
    '$AVEMO_PROGRAMS sets the default, else ~/.cache/avemo/programs',
  )
