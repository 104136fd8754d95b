"""A folder of many trainings: whose it is, and one writer at a time."""

import contextlib
import fcntl
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from avemo import errors
from avemo.evaluate import page
from avemo.train import settings


@contextlib.contextmanager
def lock(
  folder: pathlib.Path, *, name: str = '.lock', patience: float = 60.0
) -> Iterator[Any]:
  """Keeps other processes out; ends with the process and those it started.

  Args:
    folder: is made where it is not there.
    name: of the file.
    patience: seconds to wait for another to end.

  Raises:
    AvemoError: another is still at it, or the folder cannot be written.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / name, 'a')
  except OSError as error:
    raise errors.AvemoError(
      f'{folder}: cannot be written ({error.strerror}); choose another workdir'
    ) from error
  with file:
    deadline = time.monotonic() + patience
    while True:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        if time.monotonic() > deadline:
          raise errors.AvemoError(
            f'{folder}: another process is at work there; wait for it, or use '
            'another workdir'
          ) from None
        time.sleep(0.2)
    yield file


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
        f'{folder} holds another {what}: {"; ".join(lines)}; use another '
        'workdir, or that config'
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
