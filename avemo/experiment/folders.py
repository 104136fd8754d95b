"""A folder of many trainings: whose it is, and one writer at a time."""

import contextlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from avemo import errors, locks
from avemo.evaluate import page
from avemo.train import settings


def lock(
  folder: pathlib.Path, *, name: str = '.lock', patience: float = 60.0
) -> contextlib.AbstractContextManager[Any]:
  """Keeps other processes out; see `locks.hold`."""
  busy = (
    f'{folder}: another process is at work there; wait for it, or use another '
    'workdir'
  )
  return locks.hold(folder, busy, name=name, patience=patience)


def claim(
  folder: pathlib.Path, name: str, what: str, note: Mapping[str, Any]
) -> dict[str, Any]:
  """Takes a folder for something, or goes on with the same.

  Args:
    folder: held by `lock`.
    name: of the file that says what the folder is for.
    what: that, in a word.
    note: its content: `config` must be that of then, as a training run's, and
      so must the other values.

  Returns:
    What the file has said before; empty in a new folder.

  Raises:
    AvemoError: the folder holds something else, or the same of other settings.
  """
  path = folder / name
  old: dict[str, Any] = {}
  if path.is_file():
    old = read(path)
    lines = [
      f'{key} was {old.get(key)!r}, is {value!r}'
      for key, value in note.items()
      if key != 'config' and old.get(key) != value
    ]
    lines += settings.find_differences(old.get('config', {}), note['config'])
    if lines:
      raise errors.AvemoError(
        f'{folder} holds another {what}; use another workdir, or that config: '
        f'{settings.list_briefly(lines)}'
      )
  elif any(entry.name != '.lock' for entry in folder.iterdir()):
    raise errors.AvemoError(
      f'{folder}: holds something else than a {what}; give another --workdir'
    )
  write(folder, name, old | dict(note))
  return old


def write(folder: pathlib.Path, name: str, note: Mapping[str, Any]) -> None:
  page.write_text(folder / name, json.dumps(note, indent=1) + '\n')


def read(path: pathlib.Path) -> dict[str, Any]:
  """What `write` wrote.

  Raises:
    AvemoError: it cannot be read.
  """
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise errors.AvemoError(f'{path}: cannot be read ({error})') from error
