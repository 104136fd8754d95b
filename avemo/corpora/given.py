"""Labels and splits that a user adds to a corpus by a table of his own."""

import dataclasses
import difflib
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avemo import errors, words
from avemo.corpora import clip, files, given_rows

COLUMNS = ('frame', 'emotion', 'valence', 'arousal', 'split')

_UNITS = tuple(f'au_{n}' for n in given_rows.ACTION_UNITS)

# Of a whole clip; each has a field beside it that tells the source.
_OF_CLIPS = ('emotion', 'valence', 'arousal')
_OF_FRAMES = ('expression', 'valence', 'arousal', 'action_units')

# Where a label came from: 'corpus', the name of the table, both, or ''.
EXTRA = {
  **{f'{name}_source': str for name in _OF_CLIPS},
  # Of whole clips, 0 or 1; NaN unknown, and where frames are labelled.
  'action_units': (float, len(given_rows.ACTION_UNITS)),
  'action_units_source': str,
  **{f'frame_{name}_source': str for name in _OF_FRAMES},
  # train, val, test or ''.
  'split': str,
}

CORPUS = 'corpus'


class Said(NamedTuple):
  """What a table says of a clip.

  Attributes:
    values: of the whole clip, by column.
    frames: of frames, by number and column.
    rows: numbers of the rows that say it.
  """

  values: dict[str, Any]
  frames: dict[int, dict[str, Any]]
  rows: list[int]


def add(
  clips: Sequence[clip.Clip],
  path: str | os.PathLike,
  parse_name: Callable[[str], clip.Name | None],
  emotions: Sequence[str],
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The clips with what a table says of them, and notes on its rows.

  A label of the table counts before the corpus's own.

  Args:
    clips: of a corpus.
    path: a table with the column `clip_id` and some of COLUMNS.
    parse_name: the corpus's, which knows other spellings of an id.
    emotions: the corpus's words, to which the table's are held.

  Raises:
    errors.AvemoError: no table, or none of its rows names one of the clips.
  """
  path = pathlib.Path(path)
  rows, faults = given_rows.read(path, 'clip_id', COLUMNS)
  known = {c.clip_id for c in clips}

  def resolve(row):
    if row.key in known:
      return row.key
    stem, suffix = os.path.splitext(row.key)
    is_file = suffix.lower() in files.MEDIA_SUFFIXES
    name = parse_name(stem if is_file else row.key)
    return name.clip_id if name and name.clip_id in known else None

  rows = [_check_emotion(path, row, emotions, faults) for row in rows]
  said = collect(path, rows, resolve, 'no clip here has this id', faults)
  if not said:
    raise errors.AvemoError(
      f'{path}: none of its {words.count(len(rows), "row")} names a clip '
      f'that is here; row {rows[0].number} names {rows[0].key!r}, the '
      f'first clip is {min(known)!r}'
    )
  return [join(c, said.get(c.clip_id), path.name) for c in clips], faults


def _check_emotion(path, row, emotions, faults):
  word = row.values.get('emotion')
  if word is None or word in emotions:
    return row
  near = difflib.get_close_matches(word, emotions, 1)
  hint = f'; did you mean {near[0]!r}?' if near else ''
  faults.append(
    given_rows.note(
      path,
      row.number,
      f'emotion {word!r}: is none of {", ".join(emotions)}{hint}; taken as '
      'missing',
    )
  )
  rest = {k: v for k, v in row.values.items() if k != 'emotion'}
  return row._replace(values=rest)


def collect(
  path: pathlib.Path,
  rows: Iterable[given_rows.Row],
  resolve: Callable[[given_rows.Row], str | None],
  unknown: str,
  faults: list[clip.Quarantined],
) -> dict[str, Said]:
  """What rows say, by clip; the first row about a clip or a frame counts.

  Args:
    path: the table.
    rows: of it.
    resolve: a row's clip, None if it names none.
    unknown: the reason that is noted for such a row.
    faults: takes the notes on rows.
  """
  said: dict[str, Said] = {}
  first: dict[tuple[str, int | None], given_rows.Row] = {}
  for row in rows:
    clip_id = resolve(row)
    if clip_id is None:
      faults.append(given_rows.note(path, row.number, f'{row.key}: {unknown}'))
      continue
    other = first.setdefault((clip_id, row.frame), row)
    if other is not row:
      does = 'doubles' if other.values == row.values else 'contradicts'
      faults.append(
        given_rows.note(
          path, row.number, f'{does} row {other.number}, which counts'
        )
      )
      continue
    of_clip = said.setdefault(clip_id, Said({}, {}, []))
    of_clip.rows.append(row.number)
    if row.frame is None:
      of_clip.values.update(row.values)
    else:
      of_clip.frames[row.frame] = row.values
      if 'split' in row.values:
        faults.append(
          given_rows.note(
            path, row.number, 'split: is of whole clips, and frame is not empty'
          )
        )
  return said


def join(one: clip.Clip, said: Said | None, source: str) -> clip.Clip:
  """A clip with what a table says of it, and where each label came from.

  Args:
    one: the clip, with what the corpus says.
    said: what the table says; None if nothing.
    source: name of the table.
  """
  values = said.values if said else {}
  changes = {name: values[name] for name in _OF_CLIPS if name in values}
  sources = {}
  for name in _OF_CLIPS:
    own = getattr(one, name)
    is_known = own != '' if name == 'emotion' else not np.isnan(own)
    sources[f'{name}_source'] = CORPUS if is_known else ''
    if name in changes:
      sources[f'{name}_source'] = source
  units = [values.get(name, math.nan) for name in _UNITS]
  labels = None
  if said and (said.frames or (one.read_labels and np.isfinite(units).any())):
    # One clip is not labelled both ways: what is of all is of each frame.
    labels, units = make_labels(said, source), [math.nan] * len(_UNITS)
  has_units = bool(np.isfinite(units).any())
  sources['action_units_source'] = source if has_units else ''
  for name in _OF_FRAMES:
    words = [CORPUS] if one.read_labels else []
    if labels is not None and _says(labels, name):
      words.append(source)
    sources[f'frame_{name}_source'] = ' and '.join(words)
  extra = {
    **one.extra,
    **sources,
    'action_units': units,
    'split': values.get('split', ''),
  }
  return dataclasses.replace(
    one,
    **changes,
    extra=extra,
    given=labels,
    if_left_out=tuple(
      given_rows.note(
        source, number, f'{one.clip_id} is left out, having no usable file'
      )
      for number in (said.rows if said else ())
    ),
  )


def _says(labels, name) -> bool:
  values = getattr(labels, name)
  if name == 'expression':
    return any(values)
  return bool(np.isfinite(values).any())


def make_labels(said: Said, source: str) -> clip.GivenLabels:
  """The labels of frames; action units of a whole clip are of every frame."""
  whole = {name: said.values[name] for name in _UNITS if name in said.values}
  rows: list[tuple[int, Mapping[str, Any]]] = [(-1, whole)] if whole else []
  rows += sorted(said.frames.items())

  def column(name):
    return np.array([v.get(name, np.nan) for _, v in rows], np.float32)

  return clip.GivenLabels(
    source=source,
    frames=np.array([frame for frame, _ in rows], np.int64),
    valence=column('valence'),
    arousal=column('arousal'),
    expression=tuple(values.get('emotion', '') for _, values in rows),
    action_units=np.stack([column(name) for name in _UNITS], axis=1),
  )
