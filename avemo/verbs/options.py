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


def add_config(verb) -> None:
  verb.add_argument(
    '--config',
    required=True,
    metavar='FILE[:name=value,…]',
    help='a file with get_config(), see configs/; FILE:help lists what it '
    'takes after the colon',
  )


def add_conditions(verb) -> None:
  verb.add_argument(
    '--without',
    type=parser_lib.words,
    default=[],
    metavar='MODALITY,…',
    help='score the test clips without video, or without audio, as well',
  )
  verb.add_argument(
    '--snr',
    type=parser_lib.numbers,
    default=[],
    metavar='DB,…',
    help='and with white noise on the sound at these signal-to-noise ratios',
  )
  verb.add_argument(
    '--adaptive',
    type=parser_lib.numbers,
    default=[],
    metavar='D,…',
    help='of models over features of frames: and at an adaptive frame rate; '
    'a face is looked at where its grey differs by more than D from the last '
    'one looked at',
  )


def add_adaptive(verb) -> None:
  verb.add_argument(
    '--adaptive',
    type=parser_lib.fraction,
    metavar='D',
    help='of models over features of frames: look at a face only where its '
    'grey differs by more than D, such as 0.01, from the last one looked at',
  )


def read_conditions(args) -> list:
  """What `add_conditions` has asked for."""
  from avemo.evaluate import conditions

  return [
    *(conditions.Condition(without=word) for word in args.without),
    *(conditions.Condition(snr=snr) for snr in args.snr),
    *(conditions.Condition(adaptive=rate) for rate in args.adaptive),
  ]


def write_conditions(args) -> list[str]:
  """The words that give another process the same conditions."""
  found = [f'--without={",".join(args.without)}'] if args.without else []
  if args.snr:
    # In one word, for a number may begin with a dash.
    found.append(f'--snr={",".join(f"{snr:g}" for snr in args.snr)}')
  if args.adaptive:
    found.append(f'--adaptive={",".join(f"{d:g}" for d in args.adaptive)}')
  return found


def add_programs(verb) -> None:
  verb.add_argument(
    '--programs',
    metavar='DIR',
    help='where compiled programs are kept for the next start, or none; '
    '$AVEMO_PROGRAMS sets the default, else ~/.cache/avemo/programs',
  )
