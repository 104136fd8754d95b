"""MAFW's label tables, captions and lists of folds, in their spellings."""

import math
import os
import pathlib
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from avemo import words
from avemo.corpora import clip, files, sheets

# In the order of the labels 1 to 11.
EMOTIONS = (
  'anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness', 'surprise',
  'contempt', 'anxiety', 'helplessness', 'disappointment',
)  # fmt: skip

# What the folds divide: clips of one emotion, and of those with several.
KINDS = ('single', 'compound')
NUM_FOLDS = 5

SEXES = {'1': 'male', '0': 'female'}

_CLIP = re.compile(r'(\d{5})(?:\.mp4)?', re.IGNORECASE)
_SET = re.compile(r'set[ _-]?([1-5])', re.IGNORECASE)


class Labels(NamedTuple):
  """All that is said of clips, by clip id.

  Attributes:
    single: the one emotion.
    several: the emotions of those with more than one label.
    compound: two emotions or more, joined by '_'.
    confidences: mean confidence of each emotion, and the field `invalid`.
    sexes: of the person.
    captions: Chinese, English.
    folds: the official fold that tests the clip, from 1; by kind.
    named_by: a list, or else a table, that names the clip.
  """

  single: Mapping[str, str]
  several: Mapping[str, tuple[str, ...]]
  compound: Mapping[str, str]
  confidences: Mapping[str, tuple[Sequence[float], float]]
  sexes: Mapping[str, str]
  captions: Mapping[str, tuple[str, str]]
  folds: Mapping[str, Mapping[str, int]]
  named_by: Mapping[str, str] = types.MappingProxyType({})


def parse_id(text: str) -> str | None:
  """The clip in `00025`, `00025.mp4`, or a spreadsheet's 25 or `25.0`."""
  match = _CLIP.fullmatch(text.strip())
  return match[1] if match else None


def _read_id(cell: str) -> str | None:
  """As `parse_id`; a spreadsheet that takes ids for numbers drops zeros."""
  number = re.fullmatch(r'(\d{1,5})(?:\.0+)?', cell.strip())
  return number[1].zfill(5) if number else parse_id(cell)


def read(
  root: str | os.PathLike, skip: Callable[[pathlib.Path], bool] | None = None
) -> tuple[Labels, list[clip.Quarantined]]:
  """Everything that tables and lists under `root` say; what is damaged.

  Tables are XLSX, or exported as CSV. A clip's one emotion is that of the
  table, and of the lists where there is no table.

  Args:
    root: the corpus folder.
    skip: folders for which it is true are not entered.
  """
  unusable, found, lists, paths = [], {}, {}, {}
  for path in files.walk(root, skip):
    table = _TABLES.get(re.sub('[ _-]', '', path.stem.lower()))
    place = _find_list(path.relative_to(root).parts)
    if path.suffix.lower() in (*sheets.SUFFIXES, '.txt') and table:
      suffixes, read_table = table
      if path.suffix.lower() in suffixes and read_table not in found:
        found[read_table] = _try(read_table, path, unusable)
        paths[read_table] = str(path)
    elif place:
      entries = _try(read_list, path, unusable)
      if entries is not None:
        lists.setdefault(place, (path, entries))
  labels = Labels(
    single=found.get(read_single) or {},
    several=found.get(read_several) or {},
    compound={},
    confidences=found.get(read_confidences) or {},
    sexes=found.get(read_sexes) or {},
    captions=found.get(read_captions) or {},
    folds={kind: {} for kind in KINDS},
    named_by=_find_names(
      [(path, [e.clip_id for e in entries]) for path, entries in lists.values()]
      + [
        (paths[table], found[table] or ())
        for table in (read_single, read_confidences)
        if table in found
      ]
    ),
  )
  return _add_lists(labels, lists, unusable), unusable


def _find_names(sources) -> dict[str, str]:
  """The first file that names a clip, by clip."""
  named = {}
  for path, clip_ids in sources:
    for clip_id in clip_ids:
      named.setdefault(clip_id, str(path))
  return named


def _try(read_table, path, unusable):
  """What a reader gives; None, and a note, where the file is of no use."""
  fault = files.find_fault(path)
  try:
    if fault:
      raise ValueError(fault)
    entries, num_wrong = read_table(path)
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    unusable.append(clip.Quarantined(str(path), f'unreadable table: {reason}'))
    return None
  if num_wrong:
    rows = words.count(num_wrong, 'row is', 'rows are')
    reason = f'used in part: {rows} of no use'
    unusable.append(clip.Quarantined(str(path), reason))
  return entries


# --------------------------------------------------------------- the tables


def read_rows(
  path: str | os.PathLike, width: int
) -> tuple[dict[str, int], list[tuple[str | None, list[str]]]]:
  """Columns by name, none without a header; clip and cells of each row.

  The clip is in the column `clip`, else in the first one; it is None where
  there is none.

  Args:
    path: the table.
    width: cells of a row, at least.

  Raises:
    OSError: it cannot be read.
    ValueError: it holds no clip.
  """
  rows = [row for row in sheets.read(path) if any(cell.strip() for cell in row)]
  if not rows:
    raise ValueError('it is empty')
  columns = {}
  names = [re.sub('[ -]', '_', cell.strip().lower()) for cell in rows[0]]
  if 'clip' in names or _read_id(names[0]) is None:
    columns = {name: place for place, name in enumerate(names) if name}
    rows = rows[1:]
  width = max([width, *(place + 1 for place in columns.values())])
  rows = [row + [''] * (width - len(row)) for row in rows]
  found = [(_read_id(row[columns.get('clip', 0)]), row) for row in rows]
  if not any(clip_id for clip_id, _ in found):
    raise ValueError('no row of it names a clip')
  return columns, found


def read_single(path: str | os.PathLike) -> tuple[dict[str, str], int]:
  """single-set.xlsx: clip -> emotion, and the number of useless rows.

  The label is in the column `single_label`, else in the thirteenth: 1 to 11,
  0 where there is none.
  """
  found, num_wrong = {}, 0
  columns, rows = read_rows(path, 2 + len(EMOTIONS))
  for clip_id, row in rows:
    place = columns.get('single_label', 1 + len(EMOTIONS))
    number = _read_number(row[place])
    if clip_id is None or number not in range(len(EMOTIONS) + 1):
      num_wrong += 1
    elif number:
      found[clip_id] = EMOTIONS[int(number) - 1]
  return found, num_wrong


def read_several(path: str | os.PathLike) -> tuple[dict, int]:
  """multi-set.xlsx: clip -> emotions, and the number of useless rows.

  The labels are in the column `multi_label`, else in the last one: `6,10`.
  """
  found, num_wrong = {}, 0
  columns, rows = read_rows(path, 1)
  for clip_id, row in rows:
    cell = row[columns.get('multi_label', len(row) - 1)]
    numbers = [_read_number(word) for word in re.split(r'[,;，\s]+', cell)]
    known = [n for n in numbers if n in range(1, len(EMOTIONS) + 1)]
    if clip_id is None or len(known) != len(numbers):
      num_wrong += 1
    else:
      found[clip_id] = tuple(EMOTIONS[int(n) - 1] for n in known)
  return found, num_wrong


def read_confidences(path: str | os.PathLike) -> tuple[dict, int]:
  """annotation.xlsx: clip -> (eleven confidences, invalid), useless rows.

  Columns by name, else in the published order: clip, invalid, the emotions.
  """
  found, num_wrong = {}, 0
  columns, rows = read_rows(path, 2 + len(EMOTIONS))
  for clip_id, row in rows:
    places = [columns.get(e, 2 + n) for n, e in enumerate(EMOTIONS)]
    values = [_read_number(row[place]) for place in places]
    invalid = _read_number(row[columns.get('invalid', 1)])
    if clip_id is None or any(not 0 <= value <= 1 for value in values):
      num_wrong += 1
    else:
      found[clip_id] = values, invalid
  return found, num_wrong


def read_captions(path: str | os.PathLike) -> tuple[dict, int]:
  """descriptive_text.xlsx: clip -> (Chinese, English), useless rows.

  It has no header as published.
  """
  found, num_wrong = {}, 0
  for clip_id, row in read_rows(path, 3)[1]:
    if clip_id is None:
      num_wrong += 1
    else:
      found[clip_id] = row[1].strip(), row[2].strip()
  return found, num_wrong


def read_sexes(path: str | os.PathLike) -> tuple[dict[str, str], int]:
  """gender.txt: clip -> sex, and the number of useless lines.

  That 1 stands for men follows from their share in the paper.
  """
  found, num_wrong = {}, 0
  for line in _read_lines(path):
    name, _, code = line.partition(':')
    clip_id = parse_id(name)
    if clip_id is None or code.strip() not in SEXES:
      num_wrong += 1
    else:
      found[clip_id] = SEXES[code.strip()]
  return found, num_wrong


def _read_number(cell: str) -> float:
  try:
    return float(cell)
  except ValueError:
    return math.nan


def _read_lines(path) -> list[str]:
  text = sheets.decode(pathlib.Path(path).read_bytes())
  return [line.strip() for line in text.splitlines() if line.strip()]


_XLSX = sheets.SUFFIXES
_TABLES = {
  'singleset': (_XLSX, read_single),
  'multiset': (_XLSX, read_several),
  'annotation': (_XLSX, read_confidences),
  'descriptivetext': (_XLSX, read_captions),
  'gender': (('.txt',), read_sexes),
}


# ----------------------------------------------------------------- the lists


class Entry(NamedTuple):
  """A line of a list: a clip, its label, its captions ('' without any)."""

  clip_id: str
  label: str
  chinese: str
  english: str


def read_list(path: str | os.PathLike) -> tuple[list[Entry], int]:
  """train.txt or test.txt of a fold, and the number of useless lines.

  Lines are `00025.mp4 anger`, or four fields parted by tabs; an older form
  parts them by spaces.

  Raises:
    ValueError: no line of it is one.
  """
  found, num_wrong = [], 0
  for line in _read_lines(path):
    fields = line.split('\t') if '\t' in line else line.split(maxsplit=3)
    fields = [field.strip() for field in fields] + [''] * 3
    clip_id, label = parse_id(fields[0]), fields[1].lower()
    if clip_id is None or not set(label.split('_')) <= set(EMOTIONS):
      num_wrong += 1
    else:
      found.append(Entry(clip_id, label, fields[2], fields[3]))
  if not found:
    raise ValueError('no line of it names a clip and its emotion')
  return found, num_wrong


def _find_list(parts: Sequence[str]) -> tuple[str, int, str, bool] | None:
  """Kind, number, part of a list, and whether it has captions, by its path.

  Such as `Train & Test Set/single/no_caption/set_1/test.txt`. None if it is no
  list.
  """
  name = parts[-1].lower()
  if name not in ('train.txt', 'test.txt'):
    return None
  sets = [match for match in map(_SET.fullmatch, parts) if match]
  kinds = [part.lower() for part in parts if part.lower() in KINDS]
  if not sets or not kinds:
    return None
  with_caption = any(part.lower().startswith('with') for part in parts[:-1])
  return kinds[-1], int(sets[-1][1]), name.removesuffix('.txt'), with_caption


def _add_lists(labels, lists, unusable) -> Labels:
  """The labels with what the lists add; contradictions are noted."""
  compound, captions = {}, dict(labels.captions)
  listed: dict[str, str] = {}
  # Lists without captions first: their encoding leaves no doubt.
  for place in sorted(lists, key=lambda p: p[3]):
    kind, number, part, _ = place
    path, entries = lists[place]
    doubled = 0
    for entry in entries:
      target = listed if kind == 'single' else compound
      target.setdefault(entry.clip_id, entry.label)
      if entry.chinese or entry.english:
        captions.setdefault(entry.clip_id, (entry.chinese, entry.english))
      if part == 'test':
        fold = labels.folds[kind].setdefault(entry.clip_id, number)
        doubled += fold != number
    if doubled:
      reason = f'{doubled} of its clips are tested by an earlier fold too'
      unusable.append(clip.Quarantined(str(path), reason))
  _compare_training(labels, lists, unusable)
  return labels._replace(
    single={**listed, **labels.single}, compound=compound, captions=captions
  )


def _compare_training(labels, lists, unusable):
  """Notes training lists that are not all that other folds test."""
  for (kind, number, part, _), (path, entries) in lists.items():
    tested = labels.folds[kind]
    if part == 'test' or len(set(tested.values())) < NUM_FOLDS:
      continue
    expected = {c for c, fold in tested.items() if fold != number}
    different = expected ^ {entry.clip_id for entry in entries}
    if different:
      reason = (
        f'differs in {words.count(len(different), "clip")}, such as '
        f'{min(different)}, from '
        'what the other folds test; the protocol trains on the latter'
      )
      unusable.append(clip.Quarantined(str(path), reason))
