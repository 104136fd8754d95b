"""Annotation files of Aff-Wild2: one header, then a line for each frame.

Line i after the header is of frame i of the film, from 0, whose picture is
`{i + 1:05d}.jpg`. Public pages do not say what -5 and -1 mean; the code of
three teams that took part takes them for masks, and so does this.
"""

import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from avemo import words
from avemo.corpora import clip

# In the order of the labels 0 to 7; the last one came with the third challenge.
EXPRESSIONS = (
  'neutral', 'anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise',
  'other',
)  # fmt: skip
ACTION_UNITS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)

UNKNOWN_AFFECT = -5
UNKNOWN = -1

# The tasks whose files have a line a frame, and that of one file a set.
BY_FRAME = ('va', 'expr', 'au')
MTL = 'mtl'

_MTL_PICTURE = re.compile(r'(?P<clip>[^/\\]+)[/\\](?P<number>\d+)\.\w+')


class Header(NamedTuple):
  """What the first line of an annotation file says.

  Attributes:
    task: 'va', 'expr', 'au' or 'mtl'.
    columns: for 'expr' the words of its labels, for 'au' the numbers of its
      units; empty for the others.
  """

  task: str
  columns: tuple


def parse_header(line: str) -> Header | None:
  """The header in a line, None if it is none; spaces do not matter."""
  words = [word.lower() for word in re.split(r'[,;\s]+', line) if word]
  if words == ['valence', 'arousal']:
    return Header('va', ())
  if words[:1] == ['image']:
    return Header(MTL, ())
  units = [re.fullmatch(r'au(\d+)', word) for word in words]
  if units and all(units):
    return Header('au', tuple(int(unit[1]) for unit in units))
  if len(words) > 1 and set(words) <= set(EXPRESSIONS):
    return Header('expr', tuple(words))
  return None


def read_lines(path: str | os.PathLike) -> list[str]:
  """The lines of a file, without trailing commas, spaces and empty lines.

  Raises:
    OSError: it cannot be read.
  """
  content = pathlib.Path(path).read_bytes()
  text = content.decode('utf-8-sig', errors='replace')
  lines = [line.rstrip(', \t\r') for line in text.rstrip().split('\n')]
  return lines if lines != [''] else []


def read_header(path: str | os.PathLike) -> Header | None:
  """The header of a file, None if it has none."""
  with open(path, 'rb') as file:
    line = file.readline(1000)
  return parse_header(line.decode('utf-8-sig', errors='replace'))


def read(
  sources: Sequence[tuple[str, str]], rows: 'Rows | None' = None
) -> tuple[clip.FrameLabels, list[clip.Quarantined]]:
  """The labels of one clip, and what is wrong with their files.

  Damaged lines, and values that no label can have, are masked.

  Args:
    sources: task of BY_FRAME and path of each file.
    rows: of the multi-task file; they count where no file is of their task.
  """
  found, unusable, lines = {}, [], {}
  for task, path in sources:
    try:
      found[task], faults = _read_task(path)
      lines[path] = len(found[task])
    except (OSError, ValueError) as error:
      faults = getattr(error, 'strerror', None) or str(error)
    if faults:
      unusable.append(clip.Quarantined(path, faults))
  if rows is not None:
    spread = rows.spread()
    for task, columns in _MTL_COLUMNS.items():
      found.setdefault(task, spread[:, columns])
  count = max(map(len, found.values()), default=0)
  whole = {
    task: np.full((count, _WIDTHS[task]), np.nan, np.float32)
    for task in BY_FRAME
  }
  for task, values in found.items():
    whole[task][: len(values)] = values
  expression = np.nan_to_num(whole['expr'][:, 0], nan=UNKNOWN)
  labels = clip.FrameLabels(
    valence=whole['va'][:, 0],
    arousal=whole['va'][:, 1],
    expression=expression.astype(np.int32),
    action_units=whole['au'],
    lines=lines,
  )
  return labels, unusable


_WIDTHS = {'va': 2, 'expr': 1, 'au': len(ACTION_UNITS)}


def _read_task(path: str) -> tuple[np.ndarray, str]:
  """float32 [n, width] of a file, NaN where masked, and what is wrong."""
  lines = read_lines(path)
  header = parse_header(lines[0]) if lines else None
  if header is None or header.task == MTL:
    raise ValueError('its first line is no header of annotations by frame')
  width = _WIDTHS[header.task] if header.task != 'au' else len(header.columns)
  values, damaged = parse_table(lines[1:], width)
  if header.task == 'va':
    values, odd = _mask_affect(values)
  elif header.task == 'expr':
    values, odd = _mask_whole(values, len(header.columns))
    places = np.array([*map(EXPRESSIONS.index, header.columns), np.nan])
    values = places[np.nan_to_num(values, nan=len(places) - 1).astype(int)]
  else:
    values, odd = _mask_whole(values, 2)
    values = _place_units(values, header.columns)
  wrong = np.flatnonzero(damaged | odd)
  if not len(wrong):
    return values.astype(np.float32), ''
  return values.astype(np.float32), (
    f'used in part: {len(wrong)} of {len(values)} lines are no labels, the '
    f'first of them line {wrong[0] + 2}'
  )


def parse_table(
  lines: Sequence[str], width: int
) -> tuple[np.ndarray, np.ndarray]:
  """Numbers in lines, float64 [n, width], and bool [n] of damaged lines.

  A damaged line is NaN throughout, and keeps its place.
  """
  if lines and all(lines):
    try:
      table = np.loadtxt(
        lines, np.float64, comments=None, delimiter=',', ndmin=2
      )
      if table.shape == (len(lines), width):
        return table, ~np.isfinite(table).all(1)
    except ValueError:
      pass
  table = np.full((len(lines), width), np.nan)
  for number, line in enumerate(lines):
    try:
      values = [float(word) for word in re.split(r'[,;\s]+', line.strip())]
    except ValueError:
      continue
    if len(values) == width:
      table[number] = values
  damaged = ~np.isfinite(table).all(1)
  table[damaged] = np.nan
  return table, damaged


def _mask_affect(values):
  """Values in [-1, 1], and bool [n] of lines with other ones."""
  masked = values == UNKNOWN_AFFECT
  odd = ~masked & (np.abs(values) > 1)
  return np.where(masked | odd, np.nan, values), odd.any(1)


def _mask_whole(values, count):
  """Whole numbers below `count`, and bool [n] of lines with other ones."""
  masked = values == UNKNOWN
  known = (values >= 0) & (values < count) & (values == np.floor(values))
  odd = ~masked & ~known & ~np.isnan(values)
  return np.where(known, values, np.nan), odd.any(1)


def _place_units(values, units):
  """Columns of `units` in those of ACTION_UNITS; others are left out."""
  placed = np.full((len(values), len(ACTION_UNITS)), np.nan)
  for column, unit in enumerate(units):
    if unit in ACTION_UNITS:
      placed[:, ACTION_UNITS.index(unit)] = values[:, column]
  return placed


# -------------------------------------------------- several tasks in one file


class Rows(NamedTuple):
  """One clip's lines of a multi-task file.

  Attributes:
    frames: int64 [n], each once, rising from 0.
    values: float32 [n, 15]: valence, arousal, expression, action units; NaN
      where masked.
  """

  frames: np.ndarray
  values: np.ndarray

  def spread(self) -> np.ndarray:
    """float32 [last frame + 1, 15], NaN where there is no line."""
    count = int(self.frames[-1]) + 1 if len(self.frames) else 0
    whole = np.full((count, self.values.shape[1]), np.nan, np.float32)
    whole[self.frames] = self.values
    return whole


_MTL_COLUMNS = {'va': slice(0, 2), 'expr': slice(2, 3), 'au': slice(3, 15)}


def read_multi_task(
  path: str | os.PathLike, parse: Callable[[str], str | None]
) -> tuple[dict[str, Rows], str]:
  """The lines of a multi-task file by clip, and what is wrong with it.

  Its test list has the pictures' names alone, which gives rows of masks. Of
  several lines for one picture the first counts.

  Args:
    path: the file.
    parse: folder of a picture -> clip's id, None when it is none.

  Raises:
    OSError: it cannot be read.
  """
  lines = read_lines(path)[1:]
  names, _, rest = (
    zip(*(line.partition(',') for line in lines), strict=True)
    if lines
    else ((), (), ())
  )
  width = 3 + len(ACTION_UNITS)
  if any(rest):
    table, damaged = parse_table(rest, width)
  else:
    table = np.full((len(lines), width), np.nan)
    damaged = np.zeros(len(lines), bool)
  affect, odd_affect = _mask_affect(table[:, :2])
  expression, odd = _mask_whole(table[:, 2:3], len(EXPRESSIONS))
  units, odd_units = _mask_whole(table[:, 3:], 2)
  table = np.concatenate([affect, expression, units], 1).astype(np.float32)
  wrong = damaged | odd_affect | odd | odd_units
  found: dict[str, dict[int, int]] = {}
  doubled = 0
  for number, name in enumerate(names):
    match = _MTL_PICTURE.fullmatch(name.strip())
    clip_id = parse(match['clip']) if match else None
    frame = int(match['number']) - 1 if match else -1
    if clip_id is None or frame < 0:
      wrong[number] = True
      continue
    places = found.setdefault(clip_id, {})
    if places.setdefault(frame, number) != number:
      same = np.array_equal(table[places[frame]], table[number], True)
      doubled += not same
  rows = {
    clip_id: Rows(
      np.array(sorted(places)),
      table[[places[frame] for frame in sorted(places)]],
    )
    for clip_id, places in found.items()
  }
  faults = []
  if wrong.any():
    first = np.flatnonzero(wrong)[0] + 2
    faults.append(
      f'{wrong.sum()} of {len(lines)} lines are no labels, the first of them '
      f'line {first}'
    )
  if doubled:
    faults.append(f'{doubled} lines contradict an earlier one of their picture')
  return rows, f'used in part: {"; ".join(faults)}' if faults else ''


def read_list(
  path: str | os.PathLike, parse: Callable[[str], str | None]
) -> tuple[list[str], str]:
  """The clips that a list of a test set names, and what is wrong with it.

  Raises:
    OSError: it cannot be read.
  """
  lines = [line.strip() for line in read_lines(path)]
  known = [parse(line) for line in lines]
  wrong = [
    line for line, clip_id in zip(lines, known, strict=True)
    if line and clip_id is None
  ]  # fmt: skip
  fault = ''
  if wrong:
    fault = (
      f'used in part: {words.count(len(wrong), "line names", "lines name")} '
      f'no clip, such as {wrong[0]!r}'
    )
  return list(dict.fromkeys(filter(None, known))), fault
