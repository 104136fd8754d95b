"""Many records on their way from a worker: on disk, not in memory."""

import os
import tempfile
from collections.abc import Iterable, Iterator

# A clip's records beyond this many bytes go to disk.
_KEPT_BYTES = 32 << 20


class Spool:
  """Records in a temporary file; read once, and gone after that."""

  def __init__(self, path: str, sizes: list[int]):
    self._path = path
    self._sizes = sizes

  def __len__(self):
    return len(self._sizes)

  def __iter__(self) -> Iterator[bytes]:
    with open(self._path, 'rb') as file:
      for size in self._sizes:
        yield file.read(size)
    os.remove(self._path)


def store(made: Iterable[bytes], folder: str) -> list[bytes] | Spool:
  """Takes records as they come: few in a list, many in a file.

  Args:
    made: the records.
    folder: where the file would be; the system's own place when empty.
  """
  kept, size = [], 0
  made = iter(made)
  for record in made:
    kept.append(record)
    size += len(record)
    if size > _KEPT_BYTES:
      return _write(kept, made, folder)
  return kept


def _write(kept, made, folder) -> Spool:
  handle, path = tempfile.mkstemp(prefix='.spool-', dir=folder or None)
  sizes = []
  try:
    with os.fdopen(handle, 'wb') as file:
      while kept:
        sizes.append(file.write(kept.pop(0)))
      for record in made:
        sizes.append(file.write(record))
  except BaseException:
    os.remove(path)
    raise
  return Spool(path, sizes)
