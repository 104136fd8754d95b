"""Working through the files of a command: names, progress, what went wrong.

A file that cannot be read costs a line, not the others; what is made of one
appears under its name when it is whole.
"""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import tqdm

from avemo import errors, locks

PathLike = str | os.PathLike
# Seconds after which a folder of results is held by whoever made it.
SETTLED = 60.0


def show_path(path: PathLike) -> str:
  """A path as text, also where its bytes are none."""
  return os.fsencode(path).decode('utf-8', 'replace')


def read_each(
  files: Sequence[PathLike], read: Callable[[pathlib.Path, str], str]
) -> int:
  """Reads file after file, and says a line of each.

  Args:
    files: to read.
    read: from a file and a stem for its results to a line about them.

  Returns:
    The number of files that could not be read.
  """
  failed = 0
  for path, stem in zip(files, choose_stems(files), strict=True):
    try:
      tqdm.tqdm.write(read(pathlib.Path(path), stem))
    except Exception as error:
      # Whatever a file holds, the others are read.
      failed += 1
      tqdm.tqdm.write(f'avemo: {explain(path, error)}', file=sys.stderr)
  return failed


def explain(path: PathLike, error: Exception) -> str:
  """One line on a file that failed: its name, the reason, the way out."""
  reason = ' '.join(str(error).split())
  if isinstance(error, errors.MediaError):
    if not os.path.exists(error.path):
      return f'{reason}; check its name and its folder'
    return f'{reason}; check that it plays, or convert it to MP4 or WAV'
  if isinstance(error, errors.AvemoError):
    return reason
  if isinstance(error, OSError):
    reason = error.strerror or reason
    return (
      f'{os.fspath(path)}: its results cannot be written ({reason}); make room '
      'or choose another --out'
    )
  return (
    f'{os.fspath(path)}: internal error: {type(error).__name__}: {reason}; '
    'please report it with the file'
  )


def choose_stems(files: Sequence[PathLike]) -> list[str]:
  """Names for the results, no two alike even where case does not count."""
  stems = [show_path(pathlib.Path(path).stem) for path in files]
  own = {stem.casefold() for stem in stems}
  taken, chosen = set(), []
  for stem in stems:
    name, number = stem, 1
    while name.casefold() in taken or (number > 1 and name.casefold() in own):
      number += 1
      name = f'{stem}-{number}'
    taken.add(name.casefold())
    chosen.append(name)
  return chosen


def protect(inputs: Sequence[PathLike], results: Sequence[PathLike]) -> None:
  """Raises an AvemoError where a result would overwrite what is read."""
  for result in results:
    for path in inputs:
      if os.path.exists(result) and os.path.exists(path):
        if os.path.samefile(result, path):
          raise errors.AvemoError(
            f'{os.fspath(path)}: the result would overwrite it; choose '
            'another --out'
          )


@contextlib.contextmanager
def make_staging(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder beside the results, gone at the end or with the next call.

  A killed process leaves its own; whoever comes next takes away those that
  nobody holds any more. Where files cannot be locked all count as held.
  """
  for left in out.glob('.partial-*'):
    with contextlib.suppress(OSError, errors.AvemoError):
      # A new one may not be held yet.
      if time.time() - left.stat().st_mtime > SETTLED:
        with locks.hold(left, 'at it'):
          shutil.rmtree(left, ignore_errors=True)
  staging = pathlib.Path(tempfile.mkdtemp(prefix='.partial-', dir=out))
  with contextlib.ExitStack() as stack:
    stack.callback(shutil.rmtree, staging, ignore_errors=True)
    with contextlib.suppress(OSError, errors.AvemoError):
      stack.enter_context(locks.hold(staging, 'at it'))
    yield staging


@contextlib.contextmanager
def show_progress(
  name: str, duration: float, passes: int
) -> Iterator[Callable[[int], Callable[[float], None]]]:
  """A bar over all passes of one file.

  Args:
    name: of the file.
    duration: of the film in seconds.
    passes: over the film.

  Yields:
    From the number of a pass to what is called with its time in seconds.
  """
  total = max(duration, 1e-3) * passes
  bar = tqdm.tqdm(
    total=total,
    desc=show_path(name),
    leave=False,
    disable=None,
    bar_format='{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}',
  )

  def start(number):
    def report(time):
      place = (number + min(time / max(duration, 1e-3), 1.0)) / passes * total
      bar.update(max(place - bar.n, 0.0))

    return report

  with bar:
    yield start
