"""A folder that one process at a time works in."""

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from avemo import errors

# Seconds between two tries.
PAUSE = 0.2


@contextlib.contextmanager
def hold(
  folder: str | os.PathLike,
  busy: str,
  *,
  name: str = '.lock',
  patience: float | None = 0.0,
  say: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
  """Keeps other processes out; ends with the process and those it started.

  Args:
    folder: is made where it is not there.
    busy: what to say when another is still at it.
    name: of the file that is locked.
    patience: seconds to wait for another to end; None waits as long as it is.
    say: called once before waiting.

  Yields:
    The open file; a process that inherits it holds the lock too.

  Raises:
    AvemoError: another is still at it, or the folder cannot be written.
  """
  folder = pathlib.Path(folder)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    # Appending leaves the file as it is.
    file = open(folder / name, 'a')
  except OSError as error:
    raise errors.AvemoError(
      f'{folder}: cannot be written ({error.strerror}); choose another folder'
    ) from error
  with file:
    deadline, is_first = time.monotonic() + (patience or 0), True
    while True:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        if patience is not None and time.monotonic() >= deadline:
          raise errors.AvemoError(busy) from None
        if is_first:
          say()
        is_first = False
        time.sleep(PAUSE)
    yield file
