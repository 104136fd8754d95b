"""Whether this is one of several processes: read from the environment.

Named by hand: AVEMO_COORDINATOR_ADDRESS (host:port of process 0),
AVEMO_NUM_PROCESSES and AVEMO_PROCESS_ID, or the same with JAX_. What is not
named comes from Slurm (a step that `srun` has started) or from the completion
index of a Kubernetes job. A machine with TPUs tells JAX itself.
AVEMO_NUM_PROCESSES=1 is a run of this process alone, wherever it stands.
"""

import importlib.util
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avemo import errors

ADDRESS, COUNT, NUMBER = NAMES = (
  'COORDINATOR_ADDRESS',
  'NUM_PROCESSES',
  'PROCESS_ID',
)
PREFIXES = ('AVEMO_', 'JAX_')
INDEX = 'JOB_COMPLETION_INDEX'
VISIBLE = 'CUDA_VISIBLE_DEVICES'

# Every task of a step must find the same port, and two steps on a machine two.
FIRST_PORT, NUM_PORTS = 61440, 4096


class Cluster(NamedTuple):
  """The place of this process among the others.

  Attributes:
    count: of processes; None leaves all to what JAX knows of the machine.
    number: of this one.
    address: host:port of process 0.
    devices: those of the machine's GPUs that are this process's; None is all.
  """

  count: int | None
  number: int = 0
  address: str = ''
  devices: tuple[int, ...] | None = None


ALONE = Cluster(1)


def find(
  environment: Mapping[str, str],
  folder: pathlib.Path = pathlib.Path('/dev'),
) -> Cluster:
  """The place of a process with this environment.

  Args:
    environment: variables by name.
    folder: of the machine's devices.

  Raises:
    AvemoError: a part of what is needed is missing, or is no number.
  """
  given = read_given(environment)
  if given.get(COUNT) == '1':
    return ALONE
  step, devices = {}, None
  if len(given) < len(NAMES):
    step, devices = read_slurm(environment), share_in_slurm(environment)
  index = {NUMBER: environment[INDEX]} if INDEX in environment else {}
  values = index | step | given
  if values.keys() == index.keys() and has_tpus(environment, folder):
    return Cluster(None)
  missing = [name for name in NAMES if name not in values]
  if len(missing) == len(NAMES) or (step.get(COUNT) == '1' and not given):
    return ALONE
  if missing:
    raise errors.AvemoError(explain(environment, values, missing))
  count, number = (
    read_number(PREFIXES[0] + name, values[name]) for name in (COUNT, NUMBER)
  )
  if not 0 <= number < count:
    raise errors.AvemoError(
      f'{PREFIXES[0]}{NUMBER}={number}: of {count} processes the numbers are 0 '
      f'to {count - 1}'
    )
  return Cluster(count, number, values[ADDRESS], devices)


def check_alone(environment: Mapping[str, str], verb: str) -> None:
  """Raises an AvemoError in one of several processes that would do the same."""
  found = find_of_command(environment)
  if found.count is not None and found.count > 1:
    raise errors.AvemoError(
      f'{verb} is the work of one process, and this is number {found.number} '
      f'of {found.count}, which would write the same files; start it once, by '
      'srun --ntasks=1 for example'
    )


def find_of_command(environment: Mapping[str, str]) -> Cluster:
  """As `find`, for what one process may do too.

  In the script of a Slurm job of several tasks, outside of any step, it is
  alone, where a training would wait for the others.
  """
  outside = (
    'SLURM_NTASKS' in environment and 'SLURM_STEP_NUM_TASKS' not in environment
  )
  if outside and not read_given(environment) and INDEX not in environment:
    return ALONE
  return find(environment)


def read_given(environment: Mapping[str, str]) -> dict[str, str]:
  """What is named by hand."""
  return {
    name: environment[prefix + name]
    for prefix in reversed(PREFIXES)
    for name in NAMES
    if environment.get(prefix + name)
  }


def read_slurm(environment: Mapping[str, str]) -> dict[str, str]:
  """What Slurm says of a task; of a script that is no task, how many are."""
  if 'SLURM_STEP_NUM_TASKS' not in environment:
    count = environment.get('SLURM_NTASKS', '1')
    return {COUNT: count} if count != '1' else {}
  job, step = (
    read_number(name, environment.get(name, '0'))
    for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID')
  )
  port = FIRST_PORT + (job * 7 + step) % NUM_PORTS
  found = {
    COUNT: environment['SLURM_STEP_NUM_TASKS'],
    NUMBER: environment.get('SLURM_PROCID'),
    ADDRESS: f'{find_first_host(environment)}:{port}',
  }
  return {name: value for name, value in found.items() if value}


def find_first_host(environment: Mapping[str, str]) -> str:
  """`node003` of `node[003-007,12],other`."""
  nodes = environment.get('SLURM_STEP_NODELIST', 'localhost')
  first = re.match(r'(?:[^,\[]|\[[^\]]*\])+', nodes)[0]
  return re.sub(r'\[([^\],-]+)[^\]]*\]', r'\1', first)


def share_in_slurm(environment: Mapping[str, str]) -> tuple[int, ...] | None:
  """A task's part of the GPUs that all tasks of its machine see."""
  counts = []
  for part in environment.get('SLURM_STEP_TASKS_PER_NODE', '1').split(','):
    count, times = re.fullmatch(r'(\d+)(?:\(x(\d+)\))?', part).groups()
    counts += [int(count)] * int(times or 1)
  count = counts[int(environment.get('SLURM_NODEID', 0)) % len(counts)]
  number = int(environment.get('SLURM_LOCALID', 0))
  if environment.get(VISIBLE) is None:
    return (number,) if count > 1 else None
  visible = [d for d in environment[VISIBLE].split(',') if d]
  # Slurm may have shared them out itself: then each task sees its own.
  if count == 1 or len(visible) < 2:
    return None
  return tuple(share(range(len(visible)), count)[number])


def share(devices: Sequence, count: int) -> list[list]:
  """The devices of a machine for each of `count` processes.

  Raises:
    AvemoError: they cannot be shared out evenly.
  """
  if len(devices) % count:
    raise errors.AvemoError(
      f'{count} processes cannot share {len(devices)} GPUs evenly; start as '
      f'many as divide them, or set {VISIBLE}'
    )
  each = len(devices) // count
  return [list(devices[n * each : (n + 1) * each]) for n in range(count)]


def has_tpus(environment: Mapping[str, str], folder: pathlib.Path) -> bool:
  """Whether JAX will find TPUs here, whose machine knows its neighbours."""
  platforms = environment.get('JAX_PLATFORMS', '')
  if platforms and 'tpu' not in platforms.split(','):
    return False
  chips = [*folder.glob('accel[0-9]*'), *folder.glob('vfio/[0-9]*')]
  return bool(chips) and importlib.util.find_spec('libtpu') is not None


def explain(
  environment: Mapping[str, str],
  values: Mapping[str, str],
  missing: Sequence[str],
) -> str:
  """In a line, what is there, what is not, and the way out."""
  name = f'{PREFIXES[0]}{{}}'.format
  alone = f'or set {name(COUNT)}=1 to train in this process alone'
  if 'SLURM_JOB_ID' in environment and COUNT not in missing:
    return (
      f'Slurm has {values[COUNT]} tasks for this job, and this process is none '
      f'of them: start it by srun, {alone}'
    )
  known = [f'{name(n)}={values[n]}' for n in NAMES if n in values]
  if NUMBER in values and INDEX in environment:
    known[-1] = f'{INDEX}={values[NUMBER]}'
  return (
    f'{" and ".join(known)} tells of several processes, and '
    f'{" and ".join(map(name, missing))} is not set: set it, {alone}'
  )


def read_number(name: str, text: str) -> int:
  if not text.isdigit():
    raise errors.AvemoError(f'{name}={text!r}: not a number; correct it')
  return int(text)
