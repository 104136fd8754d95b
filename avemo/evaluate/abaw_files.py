"""Text files of the ABAW challenges: annotations and submissions."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from avemo import errors
from avemo.metrics import abaw

VALUES = ('valence', 'arousal')
COLUMNS = {
  'va': VALUES,
  'expr': abaw.EXPRESSIONS,
  'au': abaw.ACTION_UNITS,
  'mtl': (*VALUES, 'expression', *abaw.ACTION_UNITS),
}
TASKS = tuple(COLUMNS)

# The first two challenges had no `Other`.
_SEVEN = abaw.EXPRESSIONS[:7]
_PICTURES = ('image', 'image_location')
_PICTURE = re.compile(r'^(?P<video>.+)/(?P<frame>\d+)\.(?:jpg|jpeg|png)$')
# Findings of one kind and file that are listed.
_LISTED = 5


class Table(NamedTuple):
  """A file's lines.

  Attributes:
    columns: of the header, without the picture's.
    pictures: of the lines; empty where they name none.
    values: float64 [n, k]; NaN where a line is wrong.
    problems: what is wrong, in words.
  """

  columns: tuple[str, ...]
  pictures: list[str]
  values: np.ndarray
  problems: list[str]


def list_files(
  path: str | os.PathLike, single: bool
) -> dict[str, pathlib.Path]:
  """Text files by stem: those of a folder, or the one that is named.

  Raises:
    AvemoError: there is none, or several where one is wanted.
  """
  path = pathlib.Path(path)
  if path.is_file():
    return {path.stem: path}
  if not path.is_dir():
    raise errors.AvemoError(f'{path}: no such folder or file')
  found = {
    file.stem: file
    for file in sorted(path.iterdir())
    if file.suffix.lower() == '.txt' and not file.name.startswith('.')
  }
  if not found:
    inside = sorted(p.parent for p in path.rglob('*.txt'))
    hint = f'; name one that has, such as {inside[0]}' if inside else ''
    raise errors.AvemoError(f'{path}: no text files (*.txt){hint}')
  if single and len(found) > 1:
    raise errors.AvemoError(
      f'{path}: {len(found)} text files, and the task has one; name the file'
    )
  return found


def is_flat(path: pathlib.Path) -> bool:
  """Whether each line of a file names its picture."""
  lines = read_lines(path)[:1]
  first = split(lines[0])[0] if lines else ''
  # Without a header the first line names a picture at once.
  return first.lower() in _PICTURES or bool(_PICTURE.match(first))


def read(
  path: pathlib.Path,
  task: str,
  *,
  masked: bool = False,
  expressions: tuple[str, ...] | None = None,
) -> Table:
  """Reads a file and says what is wrong with it.

  Args:
    path: the file.
    task: of `TASKS`.
    masked: whether -5 and -1 may stand for what is not annotated.
    expressions: classes that the annotations have; by the header when None.

  Raises:
    AvemoError: it is no text, or not there.
  """
  lines = read_lines(path)
  if not lines:
    return Table((), [], np.zeros((0, count_values(task))), ['empty'])
  size = count_values(task)
  header = split(lines[0])
  named = header[0].lower() in _PICTURES or bool(_PICTURE.match(header[0]))
  columns = tuple(header[1:] if named else header)
  problems, begin = check_header(columns, named, task, masked), 1
  numbers = columns if named else tuple(header)
  if problems and is_data(numbers, size):
    # One cause, one finding: the line is read as the data that it is.
    wanted = ','.join(COLUMNS[task])
    picture = f'{_PICTURES[task != "mtl"]},' if named else ''
    problems = [f'header: missing; the first line is to be {picture}{wanted}']
    begin = 0
  if task == 'expr':
    known = expressions or (_SEVEN if len(columns) == 7 else abaw.EXPRESSIONS)
  else:
    known = abaw.EXPRESSIONS
  values = np.full((len(lines) - begin, size), np.nan)
  pictures, wrong = [], {}
  for row, line in enumerate(lines[begin:]):
    words = split(line)
    if named:
      pictures.append(words.pop(0))
    reason = read_line(words, values[row], task, masked, len(known))
    if reason:
      values[row] = np.nan
      wrong.setdefault(reason, []).append(row + begin + 1)
  for reason, numbers in wrong.items():
    problems.append(f'{list_lines(numbers)}: {reason}')
  return Table(columns, pictures, values, problems)


def is_data(words: Sequence[str], size: int) -> bool:
  """Whether a line is as many numbers as a frame has."""
  try:
    return len([float(word) for word in words]) == size
  except ValueError:
    return False


def read_line(
  words: list[str], row: np.ndarray, task: str, masked: bool, classes: int
) -> str | None:
  """Fills a row; returns what is wrong with the line."""
  if len(words) != len(row):
    return f'{len(words)} values where {len(row)} are expected'
  try:
    row[:] = [float(word) for word in words]
  except ValueError:
    return 'a value is no number'
  if not np.isfinite(row).all():
    return 'a value is NaN or infinite'
  places = {
    'va': (row, None, None),
    'expr': (None, row, None),
    'au': (None, None, row),
    'mtl': (row[:2], row[2:3], row[3:]),
  }
  continuous, expression, units = places[task]
  if continuous is not None:
    outside = np.abs(continuous) > 1
    if masked:
      outside &= continuous != abaw.UNKNOWN_VALUE
    if outside.any():
      return 'a value is outside [-1, 1]'
  least = abaw.UNKNOWN_CLASS if masked else 0
  for part, most, name in (
    (expression, classes - 1, 'expression'),
    (units, 1, 'action unit'),
  ):
    if part is not None and not np.isin(part, np.arange(least, most + 1)).all():
      return f'an {name} is not one of {", ".join(map(str, range(most + 1)))}'
  return None


def check_header(
  columns: tuple[str, ...], named: bool, task: str, masked: bool
) -> list[str]:
  """What is wrong with a header; case and spaces do not matter."""

  def same(names):
    return [c.lower() for c in columns] == [n.lower() for n in names]

  if task == 'mtl' and not named:
    return ['header: the first column must be image']
  allowed = [COLUMNS[task]]
  if task == 'mtl':
    allowed.append((*VALUES, 'expression', 'aus'))
  if task == 'expr':
    # In one file of all videos the class stands under one name as well.
    allowed += [_SEVEN] + ([('expression',)] if named else [])
  if any(map(same, allowed)):
    return []
  if masked and task == 'au' and len(columns) != len(COLUMNS['au']):
    return [
      f'annotates {len(columns)} action units; the score is defined on '
      f'{len(COLUMNS["au"])}'
    ]
  return [
    f'header: {",".join(columns)!r} where {",".join(COLUMNS[task])!r} is '
    'expected'
  ]


def find_expressions(truth: dict[str, Table]) -> tuple[str, ...]:
  """The classes of the annotations: 8, or the 7 of the first challenges.

  Raises:
    AvemoError: files of both kinds.
  """
  sizes = {len(table.columns) for table in truth.values()}
  if len(sizes) > 1:
    raise errors.AvemoError(
      'the annotations have files of 7 and of 8 expressions; name a folder of '
      'one challenge'
    )
  return _SEVEN if sizes == {7} else abaw.EXPRESSIONS


def parse_picture(picture: str) -> tuple[str | None, int]:
  """Video and number of a picture; (None, 0) where the text names none."""
  match = _PICTURE.match(picture)
  return (match['video'], int(match['frame'])) if match else (None, 0)


def count_values(task: str) -> int:
  return 1 if task == 'expr' else len(COLUMNS[task])


def split(line: str) -> list[str]:
  """Fields of a line; commas at its end are no fields."""
  return [word.strip() for word in line.strip().rstrip(',').split(',')]


def read_lines(path: pathlib.Path) -> list[str]:
  """Lines of a text file; empty ones at its end do not count."""
  try:
    text = path.read_text(encoding='utf-8-sig')
  except UnicodeDecodeError as error:
    raise errors.AvemoError(f'{path}: not a text file in UTF-8') from error
  except OSError as error:
    raise errors.AvemoError(f'{path}: {error.strerror}') from error
  return text.rstrip().splitlines()


def list_lines(numbers: list[int]) -> str:
  """Such as 'lines 2, 5, 9 and 14 more'."""
  if len(numbers) == 1:
    return f'line {numbers[0]}'
  shown = ', '.join(map(str, numbers[:_LISTED]))
  rest = len(numbers) - _LISTED
  return f'lines {shown}' + (f' and {rest} more' if rest > 0 else '')


def shorten(problems: list[str]) -> list[str]:
  """The first of many lines, and how many there are more."""
  most = 4 * _LISTED
  if len(problems) <= most:
    return problems
  return [*problems[:most], f'and {len(problems) - most} more']
