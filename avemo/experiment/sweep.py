"""A grid of trials, trained and scored on this machine, a process each."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avemo import errors
from avemo.evaluate import conditions as conditions_lib
from avemo.experiment import folders, grid, results
from avemo.experiment.progress import Progress
from avemo.runtime import cluster, launcher, preemption
from avemo.train import settings

NOTE_FILE = 'sweep.json'
FAILED_FILE = 'failed.json'
LOG_FILE = 'log.txt'
# Of a trial's folder, beside the lock of its training.
LOCK_FILE = '.trial.lock'
# Names the process that a trial's process ends with.
PARENT = 'AVEMO_SWEEP_PARENT'
# Seconds between two looks at the processes.
PAUSE = 0.2
# Seconds in which another process may leave a trial.
PATIENCE = 5.0


def open_sweep(
  workdir: pathlib.Path, arguments: Sequence[str], trials: Sequence[grid.Trial]
) -> None:
  """Takes the folder for this grid, which may have grown since.

  Raises:
    AvemoError: the folder holds something else, or another sweep.
  """
  file = arguments[0].removeprefix('--config=').partition(':')[0]
  note: dict[str, Any] = {'file': pathlib.Path(file).name, 'config': {}}
  old = folders.claim(workdir, NOTE_FILE, 'sweep', note)
  for trial in trials:
    before = old.get('trials', {}).get(trial.name)
    lines = before and settings.find_differences(before['config'], trial.config)
    # One that never came to save anything may begin anew.
    if lines and (workdir / trial.name / 'checkpoints').is_dir():
      raise errors.AvemoError(
        f'{workdir} holds another sweep; use another workdir, or that config: '
        f'of {trial.name}, {settings.list_briefly(lines)}'
      )
  known = {
    trial.name: {'overrides': trial.overrides, 'config': trial.config}
    for trial in trials
  }
  # A name that another trial of a grid has come to share is a longer one now.
  named = {grid.hash_of(trial.overrides) for trial in trials}
  earlier = {
    name: one
    for name, one in old.get('trials', {}).items()
    if grid.hash_of(one['overrides']) not in named
  }
  note['trials'] = earlier | known
  folders.write(workdir, NOTE_FILE, note)


def list_missing(
  workdir: pathlib.Path,
  trials: Sequence[grid.Trial],
  conditions: Sequence[conditions_lib.Condition] = (),
) -> list[grid.Trial]:
  """The trials that are not whole, or not scored under every condition."""
  wanted = {condition.name for condition in conditions}
  return [
    t
    for t in trials
    if not results.is_whole(workdir / t.name, t.config, wanted)
  ]


def run_all(
  workdir: pathlib.Path,
  arguments: Sequence[str],
  trials: Sequence[grid.Trial],
  held: Any,
  *,
  parallel: int = 1,
  conditions: Sequence[conditions_lib.Condition] = (),
  options: Sequence[str] = (),
) -> list[str]:
  """Runs what is missing, a process a trial; one that fails stops no other.

  Args:
    workdir: of the sweep, held by this process.
    arguments: of the config.
    trials: all of them.
    held: from `folders.lock`; those processes hold it too, so that nobody
      begins before they have saved, should this one be killed.
    parallel: processes at a time.
    conditions: under which test clips are scored as well.
    options: the words of the command line that say so to a trial.

  Returns:
    The names of the trials that failed.

  Raises:
    SystemExit: asked to stop; the trials have saved.
  """
  missing = list_missing(workdir, trials, conditions)
  print(
    f'{len(trials)} trials, {len(trials) - len(missing)} whole already',
    flush=True,
  )
  progress = Progress(len(trials), len(trials) - len(missing))
  waiting, failed = list(missing), []
  running: dict[int, tuple[grid.Trial, subprocess.Popen]] = {}
  with listen() as stop:
    while waiting or running:
      for slot in range(parallel):
        if slot not in running and waiting and not stop.is_set():
          trial = waiting.pop(0)
          command = make_command(workdir, arguments, trial.name, options)
          environment = share_devices(slot, parallel)
          process = start(workdir / trial.name, command, environment, held)
          running[slot] = trial, process
          log = workdir / trial.name / LOG_FILE
          print(f'{trial.name} begins, see {log}', flush=True)
      time.sleep(PAUSE)
      if stop.is_set():
        waiting = []
        for _, process in running.values():
          process.terminate()
        for _, process in running.values():
          process.wait()
        print('asked to stop; the same command goes on', flush=True)
        raise SystemExit(preemption.EXIT_STATUS)
      for slot, (trial, process) in list(running.items()):
        status = process.poll()
        if status is None:
          continue
        del running[slot]
        if status:
          failed.append(trial.name)
          error = note_failure(workdir / trial.name, status)
          progress.finish(f'{trial.name} FAILED: {error}')
        else:
          progress.finish(trial.name)
  return failed


def make_command(
  workdir: pathlib.Path,
  arguments: Sequence[str],
  name: str,
  options: Sequence[str] = (),
) -> list[str]:
  """The command line of one trial."""
  return [
    sys.executable,
    '-m',
    'avemo',
    'sweep',
    *arguments,
    f'--workdir={workdir}',
    f'--trial={name}',
    *options,
  ]


def start(
  folder: pathlib.Path,
  command: Sequence[str],
  environment: Mapping[str, str],
  held: Any,
) -> subprocess.Popen:
  """Starts a trial whose output goes to `log.txt` of its folder."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / FAILED_FILE).unlink(missing_ok=True)
  with open(folder / LOG_FILE, 'a', encoding='utf-8') as log:
    return subprocess.Popen(
      command,
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      env=os.environ | environment | {PARENT: str(os.getpid())},
      pass_fds=(held.fileno(),),
      # A key press stops this process, which then asks the trials to save.
      start_new_session=True,
    )


def share_devices(slot: int, parallel: int) -> dict[str, str]:
  """One GPU a process, in turn, where several run at a time."""
  if parallel < 2:
    return {}
  devices = launcher.list_devices(os.environ)
  if not devices:
    return {}
  shared = {cluster.VISIBLE: devices[slot % len(devices)]}
  if parallel > len(devices):
    # Each would take three quarters of the memory at once.
    shared['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  return shared


def note_failure(folder: pathlib.Path, status: int) -> str:
  """Writes why a trial ended early, unless it has; returns it in a line.

  Nothing is written where another process is at work on the same trial.
  """
  if (folder / FAILED_FILE).is_file():
    return folders.read(folder / FAILED_FILE)['error']
  lines = (folder / LOG_FILE).read_text(errors='replace').splitlines()
  told = [line for line in lines[-20:] if line.startswith('avemo: ')]
  error = f'the process ended with status {status}'
  if status < 0:
    error = f'the process was ended by signal {-status}'
  elif told:
    error = told[-1].removeprefix('avemo: ')
  with contextlib.suppress(errors.AvemoError):
    with folders.lock(folder, name=LOCK_FILE, patience=0):
      folders.write(folder, FAILED_FILE, {'error': error})
  return error


@contextlib.contextmanager
def listen() -> Iterator[threading.Event]:
  """An event that is set when this process is asked to stop."""
  stop = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield stop
    return
  before = {
    number: signal.signal(number, lambda *_: stop.set())
    for number in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield stop
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


# ------------------------------------------------ in the process of a trial


def run_one(
  workdir: pathlib.Path,
  chosen: grid.Trial,
  conditions: Sequence[conditions_lib.Condition] = (),
) -> dict[str, Any]:
  """Trains and scores one trial; leaves `result.json`, or `failed.json`.

  Raises:
    AvemoError: another process is at work on it, whose files stay.
  """
  # Heard by the training, which saves first.
  launcher.follow(PARENT, lambda: os.kill(os.getpid(), signal.SIGTERM))
  # It imports JAX, which the process that waits does without.
  from avemo.experiment import trial as trial_lib

  folder = workdir / chosen.name
  refit = chosen.config['data'].get('refit')
  with folders.lock(folder, name=LOCK_FILE, patience=PATIENCE):
    (folder / FAILED_FILE).unlink(missing_ok=True)
    try:
      return trial_lib.run_trial(
        chosen.config,
        folder,
        splits=('test',) if refit else ('val', 'test'),
        conditions=conditions,
      )
    except Exception as error:
      text = ' '.join(str(error).split()) or 'no more is known'
      if not isinstance(error, errors.AvemoError):
        text = f'{type(error).__name__}: {text}'
      folders.write(folder, FAILED_FILE, {'error': text[:2000]})
      raise
