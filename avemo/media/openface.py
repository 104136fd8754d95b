"""OpenFace's program FeatureExtraction, and the tables that it writes.

Baltrusaitis, Zadeh, Lim and Morency, "OpenFace 2.0: Facial Behavior Analysis
Toolkit", FG 2018. A table has a row a frame: head pose, gaze, 68 landmarks and
action units, as far as they were asked for.
"""

import csv
import dataclasses
import os
import pathlib
import subprocess

import numpy as np

from avemo import errors

PROGRAM = 'FeatureExtraction'
# Where builds of it leave the program, below the folder of the sources.
_PLACES = ('', 'bin', 'build/bin', 'x64/Release')

# Columns that every table has.
REQUIRED = ('frame', 'timestamp', 'confidence', 'success')


@dataclasses.dataclass(frozen=True)
class Table:
  """What OpenFace says of a film.

  Attributes:
    names: K names of columns.
    values: float64 [N, K], a row a frame and face.
    num_broken: rows that could not be read, such as a last one cut short.
  """

  names: tuple[str, ...]
  values: np.ndarray
  num_broken: int = 0

  def get(self, name: str) -> np.ndarray:
    """A column, float64 [N]."""
    return self.values[:, self.names.index(name)]


def find_program(path: str | os.PathLike) -> pathlib.Path:
  """The program at a path, or in a folder where builds leave it.

  Raises:
    AvemoError: there is none, or it may not be run.
  """
  path = pathlib.Path(path).expanduser()
  found = path
  if path.is_dir():
    names = [path / place / PROGRAM for place in _PLACES]
    names += [name.with_suffix('.exe') for name in names]
    found = next((name for name in names if name.is_file()), None)
  if found is None or not found.is_file():
    raise errors.AvemoError(
      f'{path}: no OpenFace here; name its program {PROGRAM}, or the folder '
      'with it, by --openface or $OPENFACE_PATH'
    )
  if not os.access(found, os.X_OK):
    raise errors.AvemoError(
      f'{found}: may not be run; make it executable (chmod +x)'
    )
  return found.resolve()


def run(
  program: str | os.PathLike, film: str | os.PathLike, folder: pathlib.Path
) -> pathlib.Path:
  """Runs OpenFace on a film; returns the table that it has written.

  Args:
    program: see `find_program`.
    film: to read.
    folder: takes what the program writes.

  Raises:
    MediaError: the program gives up, or leaves no table.
  """
  name = 'openface'
  # Its own folder: it looks for its models beside itself, and there alone.
  result = subprocess.run(
    [
      os.fspath(program),
      '-f',
      os.path.abspath(film),
      '-out_dir',
      os.path.abspath(folder),
      '-of',
      name,
      '-2Dfp',
      '-pose',
      '-gaze',
      '-aus',
    ],
    cwd=pathlib.Path(program).parent,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    check=False,
  )
  path = folder / f'{name}.csv'
  if result.returncode or not path.is_file():
    lines = result.stdout.decode('utf-8', 'replace').split('\n')
    said = next((line.strip() for line in lines[::-1] if line.strip()), '')
    raise errors.MediaError(
      film,
      f'OpenFace left no table of it (exit status {result.returncode}'
      + (f': {said[:200]})' if said else ')'),
    )
  return path


def read(path: str | os.PathLike) -> Table:
  """Reads a table of OpenFace.

  Raises:
    MediaError: no such file, or no such table.
  """
  try:
    with open(path, encoding='utf-8', errors='replace', newline='') as file:
      rows = list(csv.reader(file))
  except FileNotFoundError:
    raise errors.MediaError(path, 'no such file') from None
  except (OSError, csv.Error) as error:
    raise errors.MediaError(path, f'cannot be read ({error})') from None
  # Versions differ in the blanks after their commas.
  names = tuple(cell.strip() for cell in rows[0]) if rows else ()
  missing = [name for name in REQUIRED if name not in names]
  if missing or len(set(names)) != len(names):
    raise errors.MediaError(
      path,
      f'not a table of OpenFace: no column {missing[0]!r}'
      if missing
      else 'not a table of OpenFace: a column stands twice',
    )
  values, num_broken = [], 0
  for row in filter(None, rows[1:]):
    try:
      if len(row) != len(names):
        raise ValueError
      values.append([float(cell) for cell in row])
    except ValueError:
      num_broken += 1
  if not values:
    raise errors.MediaError(path, 'a table of OpenFace without a row')
  return Table(names, np.array(values), num_broken)
