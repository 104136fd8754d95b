"""Two programs that do the same, timed in turns: A B A B.

Each is a process of its own that says on a line that it is ready, and then
answers every line with a line of JSON. While one works the others wait, so
that what else the machine does falls on all of them alike.
"""

import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import processes

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')


class Failed(Exception):
  """A program ended before it answered; the message is its last line."""


class Program:
  """A process that answers lines.

  Args:
    command: with its arguments.
    env: variables beside those of this process.

  Attributes:
    ready: what it said when it was.
    pid: number of the process.
  """

  def __init__(self, command: Sequence[str], env: Mapping[str, str] = {}):
    self._said = tempfile.TemporaryFile('w+')
    self._process = subprocess.Popen(
      list(command),
      env=os.environ | dict(env),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._said,
      text=True,
    )
    self.pid = self._process.pid
    self.ready = self._read()

  def ask(self, line: str = 'run') -> dict[str, Any]:
    """The answer to a line."""
    try:
      print(line, file=self._process.stdin, flush=True)
    except BrokenPipeError:
      pass
    return self._read()

  def close(self) -> None:
    self._process.stdin.close()
    self._process.stdout.close()
    self._process.wait()
    self._said.close()

  def _read(self) -> dict[str, Any]:
    # Libraries write lines of their own.
    for line in self._process.stdout:
      with contextlib.suppress(json.JSONDecodeError):
        return json.loads(line)
    self._process.wait()
    self._said.seek(0)
    lines = self._said.read().strip().splitlines()
    raise Failed(lines[-1] if lines else 'it ended without a word')


@contextlib.contextmanager
def limit_cores(count: int) -> Iterator[None]:
  """Keeps what is started inside on so many cores, where the system can."""
  if not hasattr(os, 'sched_setaffinity'):
    yield
    return
  usual = os.sched_getaffinity(0)
  os.sched_setaffinity(0, sorted(usual)[-count:])
  try:
    yield
  finally:
    os.sched_setaffinity(0, usual)


@contextlib.contextmanager
def start(
  commands: Mapping[str, Sequence[str]], env: Mapping[str, str] = {}
) -> Iterator[tuple[dict[str, Program], dict[str, str]]]:
  """Programs by name that are ready, and why the others are not."""
  with contextlib.ExitStack() as stack:
    programs, failed = {}, {}
    for name, command in commands.items():
      try:
        programs[name] = Program(command, env)
      except (Failed, OSError) as error:
        failed[name] = str(error)
      else:
        stack.callback(programs[name].close)
    yield programs, failed


def time_in_turns(
  programs: Mapping[str, Program], repeats: int
) -> dict[str, list[float]]:
  """Seconds of runs by the program's name, each after one that is not told.

  A training step follows a step. While the others have their turns, the memory
  that a step gives back may go to another machine, whose return takes longer
  than the step itself.
  """
  answers = ask_in_turns(programs, repeats, wake=True)
  return {
    name: [answer['seconds'] for answer in found]
    for name, found in answers.items()
  }


def ask_in_turns(
  programs: Mapping[str, Program],
  repeats: int,
  line: str = 'run',
  *,
  wake: bool = False,
) -> dict[str, list[dict[str, Any]]]:
  """Answers of each run by the program's name, after one that is not told.

  Beside what the program says, `cpu_seconds` are those that it and all that it
  started have used since its last answer; what it reads ahead while others work
  is so counted with the run that needs it. With `wake`, every turn begins with
  a run that is not told.
  """
  answers = {name: [] for name in programs}
  used = {}
  for program in programs.values():
    program.ask(line)
    used[program] = processes.measure_processor(program.pid)
  for _ in range(repeats):
    for name, program in programs.items():
      if wake:
        program.ask(line)
        used[program] = processes.measure_processor(program.pid)
      answer = program.ask(line)
      now = processes.measure_processor(program.pid)
      answer['cpu_seconds'] = now - used[program]
      used[program] = now
      answers[name].append(answer)
  return answers


def summarize(seconds: Sequence[float]) -> dict[str, float]:
  """Median, least and most of the seconds, in milliseconds."""
  return {
    'median_ms': round(1e3 * statistics.median(seconds), 2),
    'least_ms': round(1e3 * min(seconds), 2),
    'most_ms': round(1e3 * max(seconds), 2),
  }


def compare(ours: Sequence[float], theirs: Sequence[float]) -> float:
  """How many times as fast we are: the median over pairs."""
  pairs = zip(theirs, ours, strict=True)
  return round(statistics.median(b / a for b, a in pairs), 3)


def find_python(python: str | None, packages: Sequence[str]) -> str | None:
  """The peer's Python, which must have its packages; None where none is named.

  Raises:
    SystemExit: what is named cannot be run, or lacks a package.
  """
  if python is None:
    print(f'no peer: --peer-python PATH names one with {", ".join(packages)}')
    return None
  check = [python, '-c', f'import {", ".join(packages)}']
  try:
    subprocess.run(check, check=True, capture_output=True, text=True)
  except (OSError, subprocess.CalledProcessError) as error:
    said = (getattr(error, 'stderr', '') or str(error)).strip()
    raise SystemExit(f'no peer: {python}: {said.splitlines()[-1]}') from None
  return python


def describe_run() -> dict[str, Any]:
  """Date, machine, load and versions."""
  return {
    'date': datetime.date.today().isoformat(),
    'machine': find_processor(),
    'cpus': os.cpu_count(),
    'load_before': round(os.getloadavg()[0], 2),
    'python': platform.python_version(),
    'packages': {name: importlib.metadata.version(name) for name in PACKAGES},
  }


def find_processor() -> str:
  """Its name; of generations that share one, the numbers that tell them."""
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  first = cpuinfo.read_text().split('\n\n')[0] if cpuinfo.exists() else ''
  lines = [line.partition(':') for line in first.splitlines()]
  told = {name.strip(): value.strip() for name, _, value in lines}
  if 'model name' not in told:
    return platform.processor() or platform.machine()
  numbers = [f'{n} {told[n]}' for n in ('cpu family', 'model') if n in told]
  return ', '.join([told['model name'], *numbers])


def write(path: pathlib.Path | None, content: Mapping[str, Any]) -> None:
  if path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
