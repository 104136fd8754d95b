"""A grid as an array of jobs under Slurm."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from avemo import errors
from avemo.evaluate import page
from avemo.experiment import grid, sweep

FOLDER = 'slurm'
# Before a job's time is over; enough to save.
WARNING_SECONDS = 120


def write_script(
  workdir: pathlib.Path,
  arguments: Sequence[str],
  trials: Sequence[grid.Trial],
  *,
  parallel: int | None = None,
  launcher_options: Sequence[str] = (),
  options: Sequence[str] = (),
) -> pathlib.Path:
  """Writes the script of an array job, which holds the list it goes by.

  A scheduler keeps the script as it was handed over: one that is written
  later changes nothing for jobs that still wait.

  Args:
    workdir: of the sweep, seen by all machines under the same path.
    arguments: of the config.
    trials: those to run, one job each.
    parallel: jobs at a time; as many as there is room for when None.
    launcher_options: of sbatch, such as 'time=4:00:00'.
    options: more words of the command line of a trial.

  Returns:
    The path of the script.

  Raises:
    AvemoError: an option is no NAME or NAME=VALUE.
  """
  folder = (workdir / FOLDER).absolute()
  text = make_script(
    workdir.absolute(),
    arguments,
    [trial.name for trial in trials],
    parallel=parallel,
    launcher_options=launcher_options,
    options=options,
  )
  return page.write_text(folder / 'sweep.sbatch', text)


def make_script(
  workdir: pathlib.Path,
  arguments: Sequence[str],
  names: Sequence[str],
  *,
  parallel: int | None,
  launcher_options: Sequence[str],
  options: Sequence[str],
) -> str:
  settings: dict[str, str | None] = {
    'job-name': f'avemo-{workdir.name}',
    'array': f'0-{len(names) - 1}' + (f'%{parallel}' if parallel else ''),
    'output': f'{workdir}/{FOLDER}/%A_%a.log',
    'signal': f'B:TERM@{WARNING_SECONDS}',
  }
  for option in launcher_options:
    name, equals, value = option.removeprefix('--').partition('=')
    if not re.fullmatch(r'[a-z][\w-]+', name):
      raise errors.AvemoError(
        f'--launcher-option {option!r}: NAME or NAME=VALUE, as sbatch calls it'
      )
    settings[name] = value if equals else None
  # The last word is the trial's name, which the job looks up.
  *command, last = sweep.make_command(workdir, arguments, '', options=())
  words = shlex.join([*command, *options])
  return '\n'.join(
    [
      '#!/bin/bash',
      *(
        f'#SBATCH --{name}'
        + ('' if value is None else f'={shlex.quote(value)}')
        for name, value in settings.items()
      ),
      'set -eu',
      f'cd {shlex.quote(os.getcwd())}',
      'trials=(',
      *(f'  {shlex.quote(name)}' for name in names),
      ')',
      # In place of the shell, so that it hears the signal and saves.
      f'exec {words} {last}"${{trials[SLURM_ARRAY_TASK_ID]}}"',
      '',
    ]
  )


def submit(script: pathlib.Path) -> str:
  """Hands the script to sbatch; returns what it says.

  Raises:
    AvemoError: there is no sbatch, or it refuses.
  """
  program = shutil.which('sbatch')
  if program is None:
    raise errors.AvemoError(
      f'sbatch: not found on this machine; submit {script} where it is, or use '
      '--launcher=local'
    )
  done = subprocess.run(
    [program, str(script)], capture_output=True, text=True, check=False
  )
  if done.returncode:
    told = ' '.join((done.stderr or done.stdout).split())
    raise errors.AvemoError(f'sbatch refuses {script}: {told}')
  return done.stdout.strip()
