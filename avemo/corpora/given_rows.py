"""The table of labels that a user gives: its columns, cells and rows.

The first row names the columns; row 1 is the row of names, as a spreadsheet
counts. A cell that cannot be right is taken as missing, and told.
"""

import difflib
import math
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from avemo import errors
from avemo.corpora import aff_wild2_labels, clip, sheets

ACTION_UNITS = aff_wild2_labels.ACTION_UNITS
SPLITS = {
  'train': 'train', 'training': 'train',
  'val': 'val', 'valid': 'val', 'validation': 'val', 'dev': 'val',
  'test': 'test', 'testing': 'test',
}  # fmt: skip

# Cells that say that nothing is known.
_MISSING = ('', 'nan', 'na', 'n/a', 'none', 'null')
_UNIT = re.compile(r'au_?0*(\d+)')
# Nine hours at 30 frames a second: beyond it a number is a typing error.
_LAST_FRAME = 1_000_000


class Row(NamedTuple):
  """What a row says.

  Attributes:
    number: of the row, the names' row being 1.
    key: the clip, as written.
    frame: number of a frame from 0; None where the row is of the whole clip.
    values: what is known, by column: `speaker`, `emotion`, `split` words,
      `valence`, `arousal` floats in [-1, 1], `au_<n>` 0 or 1.
  """

  number: int
  key: str
  frame: int | None
  values: dict[str, Any]


def read(
  path: str | os.PathLike, key: str, columns: Sequence[str]
) -> tuple[list[Row], list[clip.Quarantined]]:
  """The rows of a table, and notes on what of it is of no use.

  Args:
    path: a CSV or XLSX file.
    key: the column that names the clip.
    columns: the others that may be there; `au_<n>` always may.

  Raises:
    errors.AvemoError: no such file, no table, or columns that are not known.
  """
  path = pathlib.Path(path)
  try:
    table = sheets.read(path, sheets.OWN_ENCODINGS)
  except FileNotFoundError as error:
    raise errors.AvemoError(
      f'{path}: no such file; --labels names the table'
    ) from error
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise _refuse(path, reason) from error
  header = table[0] if table else []
  if any('\0' in cell for cell in header):
    raise _refuse(path, 'it holds bytes, and no text')
  names = find_columns(path, header, key, columns)
  rows, faults = [], []
  for number, cells in enumerate(table[1:], start=2):
    if not any(cell.strip() for cell in cells):
      continue
    told = dict(zip(names, cells, strict=False))
    if len(cells) > len(names) and any(c.strip() for c in cells[len(names) :]):
      faults.append(note(path, number, f'has more than {len(names)} cells'))
      continue
    row = _read_row(path, number, told, key, faults)
    if row is not None:
      rows.append(row)
  if not rows:
    raise errors.AvemoError(f'{path}: has no row that names a clip')
  return rows, faults


def _refuse(path, reason) -> errors.AvemoError:
  return errors.AvemoError(
    f'{path}: not a table ({reason}); give a CSV or an XLSX file'
  )


def note(path: pathlib.Path, number: int, reason: str) -> clip.Quarantined:
  """A line of the quarantine about a row."""
  # Its name alone: a dataset that is given away tells no folder.
  return clip.Quarantined(pathlib.Path(path).name, f'row {number}: {reason}')


def find_columns(
  path: pathlib.Path, header: Sequence[str], key: str, known: Sequence[str]
) -> list[str]:
  """Names of the columns, in their one spelling; '' for those set aside.

  Raises:
    errors.AvemoError: one that is not known, or stands twice, or is missing.
  """
  if len(header) == 1 and ';' in header[0]:
    raise errors.AvemoError(
      f'{path}: its columns are parted by semicolons; save it with commas'
    )
  names = []
  for cell in header:
    name = re.sub(r'[ -]+', '_', cell.strip().lower())
    unit = _UNIT.fullmatch(name)
    if unit:
      name = _name_unit(path, cell, int(unit[1]))
    elif name.startswith('_'):
      name = ''
    elif name and name not in (key, *known):
      words = (key, *known, 'au_1')
      near = difflib.get_close_matches(name, words, 1, cutoff=0.5)
      hint = f'did you mean {near[0]!r}? ' if near else ''
      raise errors.AvemoError(
        f'{path}: unknown column {cell.strip()!r}; {hint}known are '
        f'{", ".join((key, *known))} and au_<n>; one that starts with _ is '
        'left aside'
      )
    if name and name in names:
      raise errors.AvemoError(f'{path}: the column {name!r} stands twice')
    names.append(name)
  if key not in names:
    raise errors.AvemoError(
      f'{path}: no column {key!r}, which names the clip; the first row names '
      f'the columns: {key}, {", ".join(known)}, au_<n>'
    )
  return names


def _name_unit(path, cell, number):
  if number not in ACTION_UNITS:
    known = ', '.join(f'au_{unit}' for unit in ACTION_UNITS)
    raise errors.AvemoError(
      f'{path}: column {cell.strip()!r}: datasets hold {known}'
    )
  return f'au_{number}'


def _read_row(path, number, told, key, faults) -> Row | None:
  told = {name: cell.strip() for name, cell in told.items() if name}
  name = told.pop(key, '')
  if not name:
    faults.append(note(path, number, f'its {key} is missing'))
    return None
  cell, frame = told.pop('frame', ''), None
  if cell.lower() not in _MISSING:
    value = _read_number(cell)
    if not (value >= 0 and value.is_integer() and value < _LAST_FRAME):
      faults.append(
        note(path, number, f'frame {cell!r}: is no number of a frame, from 0')
      )
      return None
    frame = int(value)
  values = {}
  for column, cell in told.items():
    missing = _MISSING[:1] if column == 'speaker' else _MISSING
    if cell.lower() in missing:
      continue
    try:
      values[column] = _read_cell(column, cell)
    except ValueError as error:
      faults.append(
        note(path, number, f'{column} {cell!r}: {error}; taken as missing')
      )
  return Row(number, name, frame, values)


def _read_cell(column, cell):
  """The value of a cell; a ValueError says why it has none."""
  if column in ('valence', 'arousal'):
    value = _read_number(cell)
    if not -1 <= value <= 1:
      raise ValueError('is no number from -1 to 1')
    return value
  if column.startswith('au_'):
    value = _read_number(cell)
    if value not in (0, 1):
      raise ValueError('is neither 0 nor 1')
    return value
  if column == 'split':
    if cell.lower() not in SPLITS:
      raise ValueError('is none of train, val, test')
    return SPLITS[cell.lower()]
  return cell.lower() if column == 'emotion' else cell


def _read_number(cell) -> float:
  try:
    return float(cell)
  except ValueError:
    return math.nan
