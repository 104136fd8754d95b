"""Several processes of one training on this machine, which end together."""

import contextlib
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from avemo import errors
from avemo.runtime import cluster, preemption

LAUNCHER = 'AVEMO_LAUNCHER'


# Seconds in which a process that has ended is heard out.
LAST_WORDS = 5.0


class Process(NamedTuple):
  """A process that was started, and the file of what it says."""

  popen: subprocess.Popen
  log: pathlib.Path
  # Of what earlier processes have said there.
  offset: int
  copier: threading.Thread | None = None

  def hear_out(self) -> None:
    """Waits until its last words are in the log."""
    if self.copier:
      self.copier.join(timeout=LAST_WORDS)


def launch(
  command: Sequence[str],
  workdir: str | os.PathLike,
  count: int,
  *,
  environment: Mapping[str, str] | None = None,
  name: str = 'process',
) -> int:
  """Runs a command in processes that find one another over loopback.

  What process K says is appended to `workdir/logs/<name>_K.log`, and what
  process 0 says is shown as well. The machine's GPUs are shared out among
  them. SIGTERM is handed on, so that they save and leave. When this process
  dies they end.

  Args:
    command: program and arguments, which calls `distributed.start`.
    workdir: of the run.
    count: of processes.
    environment: theirs, beside what is added; this process's when None.
    name: of the logs.

  Returns:
    0, or `preemption.EXIT_STATUS` when they have saved and left.

  Raises:
    AvemoError: one process failed; all others are ended at once.
  """
  environment = dict(os.environ if environment is None else environment)
  shares = share_devices(environment, count)
  logs = pathlib.Path(workdir) / 'logs'
  try:
    logs.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise errors.AvemoError(
      f'{logs}: cannot be written ({error.strerror}); choose another workdir'
    ) from error
  port = find_port()
  environment |= {
    LAUNCHER: str(os.getpid()),
    'AVEMO_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
    'AVEMO_NUM_PROCESSES': str(count),
    # Nobody outside of this machine is waited for.
    'JAX_COORDINATOR_BIND_ADDRESS': f'127.0.0.1:{port}',
    'PYTHONUNBUFFERED': '1',
  }
  processes: list[Process] = []
  with preemption.StopRequest() as request, end_all(processes):
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
      own = environment | shares[number] | {'AVEMO_PROCESS_ID': str(number)}
      log = logs / f'{name}_{number}.log'
      processes.append(start(command, own, log, shown=number == 0))
      wait = lambda n=number: (processes[n].popen.wait(), ended.put(n))
      threading.Thread(target=wait, daemon=True).start()
    return watch(processes, ended, request)


def start(
  command: Sequence[str],
  environment: Mapping[str, str],
  log: pathlib.Path,
  *,
  shown: bool,
) -> Process:
  """Starts a process in a group of its own, whose end takes its workers."""
  with log.open('ab') as file:
    offset = file.tell()
    popen = subprocess.Popen(
      command,
      env=environment,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE if shown else file,
      stderr=subprocess.STDOUT,
      process_group=0,
    )
  if shown:
    copy = lambda: copy_lines(popen.stdout, log)
    copier = threading.Thread(target=copy, daemon=True)
    copier.start()
    return Process(popen, log, offset, copier)
  return Process(popen, log, offset)


def copy_lines(source, log: pathlib.Path) -> None:
  with source, log.open('ab', buffering=0) as file:
    for line in source:
      file.write(line)
      sys.stdout.write(line.decode(errors='replace'))
      sys.stdout.flush()


def watch(
  processes: Sequence[Process],
  ended: queue.SimpleQueue,
  request: preemption.StopRequest,
) -> int:
  """Returns when all have ended well, or raises when the first has not."""
  statuses, told = [], False
  while len(statuses) < len(processes):
    if request and not told:
      for process in processes:
        process.popen.terminate()
      told = True
    try:
      number = ended.get(timeout=0.1)
    except queue.Empty:
      continue
    status = processes[number].popen.returncode
    processes[number].hear_out()
    if told and status == -signal.SIGTERM:
      # Asked to stop before it trained: there is nothing to save.
      return preemption.EXIT_STATUS
    if status not in (0, preemption.EXIT_STATUS):
      raise errors.AvemoError(explain(number, status, processes[number]))
    statuses.append(status)
  return max(statuses)


@contextlib.contextmanager
def end_all(processes: Sequence[Process]) -> Iterator[None]:
  try:
    yield
  finally:
    for process in processes:
      # With its workers; the group of one that has ended may be gone.
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.popen.pid, signal.SIGKILL)
    for process in processes:
      process.popen.wait()


def explain(number: int, status: int, process: Process) -> str:
  """In a line, which process failed, and how."""
  how = f'ended with status {status}'
  if status < 0:
    how = f'was killed by {signal.Signals(-status).name}'
  said = process.log.read_bytes()[process.offset :]
  lines = said.decode(errors='replace').splitlines()
  own = [line for line in lines if line.startswith('avemo: ')]
  last = next((line for line in [*own, *lines][::-1] if line.strip()), '')
  if own:
    last = own[-1].removeprefix('avemo: ')
  reason = f' ({last.strip()})' if last and status > 0 else ''
  line = (
    f'process {number} {how}{reason}; the others were ended; see {process.log}'
  )
  if own:  # It has said what to do.
    return line
  return (
    f'{line}, and run the same command again (a training goes on from its last '
    'checkpoint)'
  )


def find_port() -> int:
  """A port that is free now."""
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def share_devices(
  environment: Mapping[str, str],
  count: int,
  folder: pathlib.Path = pathlib.Path('/dev'),
) -> list[dict[str, str]]:
  """By process, the variables that name its part of the machine's GPUs."""
  devices = list_devices(environment, folder)
  if not devices:
    return [{}] * count
  return [
    {cluster.VISIBLE: ','.join(own)} for own in cluster.share(devices, count)
  ]


def list_devices(
  environment: Mapping[str, str], folder: pathlib.Path = pathlib.Path('/dev')
) -> list[str]:
  """The machine's GPUs that a process with this environment may use."""
  if environment.get('JAX_PLATFORMS') == 'cpu':
    return []
  visible = environment.get(cluster.VISIBLE)
  if visible is not None:
    return [device for device in visible.split(',') if device]
  found = folder.glob('nvidia[0-9]*')
  return sorted((path.name.removeprefix('nvidia') for path in found), key=int)


def end_with_launcher() -> None:
  """Ends this process when the one that launched it is gone."""
  follow(LAUNCHER, lambda: os._exit(1))


def follow(variable: str, end: Callable[[], None]) -> None:
  """Calls `end` when the process that started this one is gone.

  Args:
    variable: of the environment, with the number of that process; where it is
      not set nobody is followed.
    end: called in a thread.
  """
  parent = os.environ.get(variable)
  if parent is None:
    return

  def wait():
    while os.getppid() == int(parent):
      time.sleep(0.5)
    end()

  threading.Thread(target=wait, daemon=True).start()
