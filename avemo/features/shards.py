"""Folders of arrays that are whole or absent, mapped from the disk.

An entry is a folder of shards, each a folder of `.npy` files that appears
under its name when it is whole. What an entry depends on is written beside
them, and its hash is part of the entry's name: whatever changes, changes the
name, and is made anew.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from avemo import errors, locks

# Records of a shard; what a kill loses is less than one.
SIZE = 64

Arrays = Mapping[str, np.ndarray]
# From the records of several shards to the arrays of each, in order.
Make = Callable[[Sequence[Sequence[int]]], Iterable[Arrays]]

_ABOUT = 'about.json'
_PARTIAL = '.partial'


def find_entry(
  root: str | os.PathLike, name: str, about: Mapping[str, Any]
) -> pathlib.Path:
  """The folder of an entry, named by what it depends on.

  Args:
    root: of the cache.
    name: what is cached, in a word.
    about: all that its values depend on, to be written as JSON.
  """
  text = json.dumps(about, sort_keys=True, default=str)
  key = hashlib.sha256(text.encode()).hexdigest()[:20]
  return pathlib.Path(root).expanduser() / f'{name}-{key}'


def list_shards(records: Iterable[int]) -> list[int]:
  """The shards that hold some records, in order."""
  return sorted({int(record) // SIZE for record in records})


def fill(
  root: str | os.PathLike,
  name: str,
  about: Mapping[str, Any],
  records: Iterable[int],
  num_records: int,
  make: Make,
) -> pathlib.Path:
  """Makes the shards of some records that are not there yet.

  A shard holds all of its records, asked for or not, so that the folds of a
  corpus share them. A second call, after a kill, goes on where the first
  stood; of two at once the second waits for the first.

  Args:
    root: of the cache.
    name: see `find_entry`.
    about: likewise.
    records: that are needed.
    num_records: of the dataset.
    make: makes arrays.

  Returns:
    The folder of the entry.

  Raises:
    AvemoError: the folder cannot be written, or is of something else.
  """
  entry = find_entry(root, name, about)
  try:
    entry.mkdir(parents=True, exist_ok=True)
    busy = f'{entry}: another process fills it; waiting for it'
    say = lambda: tqdm.tqdm.write(busy)
    with locks.hold(entry, busy, patience=None, say=say):
      for left in entry.glob(f'*{_PARTIAL}'):
        shutil.rmtree(left, ignore_errors=True)
      _write_about(entry, about)
      wanted = list_shards(records)
      missing = [n for n in wanted if not _find_shard(entry, n).is_dir()]
      if missing:
        _make_all(entry, name, missing, len(wanted), num_records, make)
  except OSError as error:
    raise errors.AvemoError(
      f'{entry}: cannot be written ({error.strerror or error}); free some room '
      'or name another features.cache'
    ) from error
  return entry


def read(entry: pathlib.Path, number: int) -> dict[str, np.ndarray]:
  """The arrays of a shard, mapped from the disk.

  Raises:
    AvemoError: the shard is missing or damaged.
  """
  folder = _find_shard(entry, number)
  try:
    found = {
      path.stem: np.load(path, mmap_mode='r' if path.stat().st_size else None)
      for path in sorted(folder.glob('*.npy'))
    }
  except (OSError, ValueError) as error:
    raise errors.AvemoError(
      f'{folder}: damaged ({error}); remove it, and it is made anew'
    ) from error
  if not found:
    raise errors.AvemoError(
      f'{folder}: missing or damaged; remove it, and it is made anew'
    )
  return found


def _make_all(entry, name, missing, count, num_records, make):
  ranges = [range(n * SIZE, min((n + 1) * SIZE, num_records)) for n in missing]
  tqdm.tqdm.write(
    f'features.cache: {name}: {count - len(missing)} of {count} shards are in '
    f'{entry}, making {sum(map(len, ranges))} records'
  )
  with tqdm.tqdm(
    total=sum(map(len, ranges)), unit='record', desc=name, disable=None
  ) as bar:
    # One stream over all shards, so that decoding never waits for a file.
    for number, own, arrays in zip(missing, ranges, make(ranges), strict=True):
      _write(entry, number, arrays)
      bar.update(len(own))


def _find_shard(entry: pathlib.Path, number: int) -> pathlib.Path:
  return entry / f'{number:06d}'


def _write(entry: pathlib.Path, number: int, arrays: Arrays) -> None:
  """A shard, whole or not at all, even where the power fails."""
  folder = _find_shard(entry, number)
  partial = folder.with_name(folder.name + _PARTIAL)
  partial.mkdir()
  for name, values in arrays.items():
    with (partial / f'{name}.npy').open('wb') as file:
      np.save(file, np.ascontiguousarray(values), allow_pickle=False)
      file.flush()
      os.fsync(file.fileno())
  partial.rename(folder)


def _write_about(entry: pathlib.Path, about: Mapping[str, Any]) -> None:
  """What the entry depends on; of an entry that is there it must agree."""
  path = entry / _ABOUT
  text = json.dumps(about, sort_keys=True, default=str, indent=1) + '\n'
  if path.is_file():
    if path.read_text(encoding='utf-8') != text:
      raise errors.AvemoError(
        f'{path}: is not what this entry depends on; remove {entry}, and it is '
        'made anew'
      )
    return
  partial = path.with_name(path.name + '.new')
  partial.write_text(text, encoding='utf-8')
  partial.rename(path)
