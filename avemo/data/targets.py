"""Labels by row of the index, and by frame where a corpus has them so.

A label that is missing is a mask, which reaches the loss and the metric.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo import errors
from avemo.data import anchors, clips, labels, mixture
from avemo.data.clips import ClipOptions
from avemo.data.labels import LabelSpace

# Columns of the index that count labels by frame.
_KNOWN = types.MappingProxyType(
  {
    labels.EMOTION: 'frame_expression_counts',
    'valence_arousal': 'frame_affect_count',
    labels.ACTION_UNITS: 'frame_action_units_known',
  }
)


@dataclasses.dataclass(frozen=True)
class Table:
  """Labels by row of the index.

  Attributes:
    tasks: what is learned, out of `labels.TASKS`.
    emotion: int32 [N], -1 without a label.
    target: float32 [N, C], shares of the classes; 0 without a label.
    class_mask: bool [N, C], the classes that a row could have.
    values: by task, float32 [N, K]; NaN without a label.
    frames: by task, int64 [N], how many frames of the row have a label; -1
      where the label is the whole clip's.
    part: int64 [N], the part of a mixture that the row is of.
    expressions: by part, int32 [E], the class of each expression of a frame.
  """

  tasks: tuple[str, ...]
  emotion: np.ndarray
  target: np.ndarray
  class_mask: np.ndarray
  values: Mapping[str, np.ndarray]
  frames: Mapping[str, np.ndarray]
  part: np.ndarray
  expressions: tuple[np.ndarray, ...]

  @property
  def by_frame(self) -> np.ndarray:
    """Bool [N]: whether any task's labels stand by frame."""
    return np.any([self.frames[task] >= 0 for task in self.tasks], axis=0)

  def is_framed(self, task: str, record: int) -> bool:
    """Whether a row's labels of a task stand by frame."""
    return task in self.tasks and bool(self.frames[task][record] >= 0)

  def is_labelled(self, task: str) -> np.ndarray:
    """Bool [N]: whether a row has a label of a task, anywhere."""
    if task == labels.EMOTION:
      whole = self.target.sum(-1) > 0
    else:
      whole = ~np.isnan(self.values[task]).all(-1)
    frames = self.frames[task]
    return np.where(frames >= 0, frames > 0, whole)

  @property
  def labelled(self) -> np.ndarray:
    """Bool [N]: whether a row has a label of any task."""
    return np.any([self.is_labelled(task) for task in self.tasks], axis=0)


def make_table(
  dataset: Any,
  space: LabelSpace,
  *,
  tasks: Sequence[str] = (labels.EMOTION,),
  soft_labels: str | None = None,
  derive: str | None = None,
) -> Table:
  """The labels of a dataset, or of a mixture.

  Args:
    dataset: with `source`, `index` and `emotions`.
    space: the classes of the emotion head.
    tasks: what is learned.
    soft_labels: column with votes by emotion, of the parts that have it; a
      clip without votes keeps its label.
    derive: table of `anchors` by which clips without valence and arousal get
      some; for training alone.

  Raises:
    AvemoError: no part has the column, or there is no such table.
  """
  parts = mixture.list_parts(dataset)
  if soft_labels and not any(soft_labels in part.index for part in parts):
    raise errors.AvemoError(
      f'soft_labels={soft_labels!r}: {dataset.name} has no such column; it has '
      f'{", ".join(dataset.index)}'
    )
  made = [_make_part(part, space, tasks, soft_labels, derive) for part in parts]

  def join(name):
    return np.concatenate([getattr(table, name) for table in made])

  return Table(
    tasks=tuple(tasks),
    emotion=join('emotion'),
    target=join('target'),
    class_mask=join('class_mask'),
    values={
      task: np.concatenate([table.values[task] for table in made])
      for task in made[0].values
    },
    frames={
      task: np.concatenate([table.frames[task] for table in made])
      for task in made[0].frames
    },
    part=np.repeat(np.arange(len(made)), [len(t.emotion) for t in made]),
    expressions=tuple(space.indices(part.emotions) for part in parts),
  )


def make_unlabelled(count: int, space: LabelSpace) -> Table:
  """A table of rows that nothing is asked of."""
  return Table(
    tasks=(labels.EMOTION,),
    emotion=np.full(count, -1, np.int32),
    target=np.zeros((count, len(space)), np.float32),
    class_mask=np.ones((count, len(space)), bool),
    values={},
    frames={labels.EMOTION: np.full(count, -1, np.int64)},
    part=np.zeros(count, np.int64),
    expressions=(),
  )


def _make_part(part, space, tasks, soft_labels, derive):
  emotion = space.indices(clips.as_text(e) for e in part.index['emotion'])
  target = np.zeros((len(emotion), len(space)), np.float32)
  known = np.flatnonzero(emotion >= 0)
  target[known, emotion[known]] = 1
  if soft_labels and soft_labels in part.index:
    shares = read_votes(part, space, soft_labels)
    voted = shares.sum(-1) > 0
    target[voted] = shares[voted]
  values = {
    task: read_values(part, task) for task in tasks if task in labels.VALUES
  }
  if derive and 'valence_arousal' in values:
    given = values['valence_arousal']
    made = anchors.derive(derive, target, space.names)
    bare = np.isnan(given).all(-1)
    values['valence_arousal'] = np.where(bare[:, None], made, given)
  of_clips = (target.sum(-1) > 0) | find_labelled(part)
  return Table(
    tasks=tuple(tasks),
    emotion=emotion,
    target=target,
    class_mask=space.class_masks(part),
    values=values,
    frames={task: count_frames(part, task, of_clips) for task in tasks},
    part=np.zeros(len(emotion), np.int64),
    expressions=(),
  )


def read_values(part: Any, task: str) -> np.ndarray:
  """Labels of whole clips, float32 [N, K]; NaN without one.

  Valence, arousal and dominance are columns of the index, action units one
  column of as many numbers as there are units.

  Raises:
    AvemoError: a label outside [-1, 1], or a unit that is neither 0 nor 1.
  """
  size, index = len(part.index['clip_id']), part.index
  names = labels.VALUES[task]
  if task == labels.ACTION_UNITS:
    found = index.get(task, np.full((size, len(names)), np.nan))
  else:
    found = np.stack(
      [index.get(name, np.full(size, np.nan)) for name in names], axis=1
    )
  found = np.asarray(found, np.float32)
  known = found[~np.isnan(found)]
  if task == labels.ACTION_UNITS:
    fits, wanted = np.isin(known, (0, 1)), 'are 0 or 1'
  else:
    fits, wanted = np.abs(known) <= 1, 'lie in [-1, 1]'
  if not fits.all():
    raise errors.AvemoError(
      f'{part.name}: labels of {task} {wanted}, and one is '
      f'{known[~fits][0]:g}; prepare the dataset again'
    )
  return found


def find_labelled(part: Any) -> np.ndarray:
  """Bool [N]: the rows whose clip has a label as a whole, learned or not."""
  found = np.asarray(part.index['emotion']) != ''
  names = {name for group in labels.VALUES.values() for name in group}
  for name in (*sorted(names), labels.ACTION_UNITS):
    if name in part.index:
      column = np.asarray(part.index[name], np.float32)
      found |= ~np.isnan(column.reshape(len(found), -1)).all(1)
  return found


def count_frames(part: Any, task: str, is_labelled: np.ndarray) -> np.ndarray:
  """How many frames of each row have a label; -1 where the clip's counts.

  That is so throughout where no frame of the part has one, for a row whose
  clip is labelled as a whole, be it for another task, and for one with
  neither labels nor pictures. Frames without a picture, where no face was
  found, keep their labels.

  Args:
    part: with `index`.
    task: whose labels.
    is_labelled: bool [N], whether the whole clip has a label of any task.
  """
  found = part.index.get(_KNOWN.get(task, ''))
  if found is None or not np.any(found):
    return np.full(len(is_labelled), -1, np.int64)
  counts = np.reshape(found, (len(found), -1)).sum(1, dtype=np.int64)
  has_none = is_labelled | (part.index['num_frames'] == 0)
  return np.where(has_none & (counts == 0), -1, counts)


def read_votes(dataset: Any, space: LabelSpace, column: str) -> np.ndarray:
  """Shares of the votes, float32 [N, C]; 0 where nobody voted."""
  width = len(dataset.emotions)
  rows = [np.asarray(row, np.float32) for row in dataset.index[column]]
  if any(row.shape != (width,) for row in rows):
    raise errors.AvemoError(
      f'soft_labels={column!r}: {dataset.name} has {width} emotions, so votes '
      f'are {width} numbers a clip'
    )
  votes = np.nan_to_num(np.stack(rows)) @ space.votes_matrix(dataset.emotions)
  return votes / np.maximum(votes.sum(-1, keepdims=True), 1e-9)


def deal_labels(table: Table, records: np.ndarray, seed: int) -> Table:
  """The same labels, and the classes that go with them, on other records.

  Each part keeps its own, and as many of each class.

  Raises:
    AvemoError: labels by frame, which stand in the records.
  """
  if table.by_frame[records].any():
    raise errors.AvemoError(
      'data.shuffle_labels deals out labels of whole clips, and some here '
      'stand by frame'
    )
  emotion, target = table.emotion.copy(), table.target.copy()
  class_mask = table.class_mask.copy()
  values = {task: value.copy() for task, value in table.values.items()}
  rng = np.random.default_rng(seed)
  for part in np.unique(table.part[records]):
    own = records[table.part[records] == part]
    dealt = rng.permutation(own)
    emotion[own] = table.emotion[dealt]
    target[own] = table.target[dealt]
    class_mask[own] = table.class_mask[dealt]
    for task, value in table.values.items():
      values[task][own] = value[dealt]
  return dataclasses.replace(
    table,
    emotion=emotion,
    target=target,
    class_mask=class_mask,
    values=values,
  )


def balance(records: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Repeats the records of each class, in turn, up to the largest class.

  Args:
    records: rows of the index, each with a target.
    target: shares of the classes [N, C] by row of the index; the largest
      share tells the class, be it a label's or the votes'.
  """
  emotion = target[records].argmax(-1)
  groups = [records[emotion == c] for c in np.unique(emotion)]
  largest = max(map(len, groups))
  return np.concatenate([np.resize(group, largest) for group in groups])


def keep_usable(
  dataset: Any, records: Sequence[int], options: ClipOptions
) -> np.ndarray:
  """The records, int64, that have at least one modality in use."""
  records = np.asarray(records, np.int64)
  pictures = 'num_frames' if options.margin is None else 'num_faces'
  columns = {'video': pictures, 'audio': 'num_samples'}
  some = [dataset.index[columns[name]][records] > 0 for name in options.use]
  return records[np.any(some, axis=0)]


# ------------------------------------------------------------------ by frame


@dataclasses.dataclass(frozen=True)
class FrameLabels:
  """Labels of the frames of a record.

  Attributes:
    emotion: int32 [n], a class of the head; -1 without a label.
    values: by task, float32 [n, K]; NaN without a label.
  """

  emotion: np.ndarray
  values: Mapping[str, np.ndarray]

  def find_known(self, table: Table, record: int) -> np.ndarray:
    """Bool [n]: the frames with a label of a task that stands by frame."""
    known = np.zeros(len(self.emotion), bool)
    for task in table.tasks:
      if not table.is_framed(task, record):
        continue
      if task == labels.EMOTION:
        known |= self.emotion >= 0
      else:
        known |= ~np.isnan(self.values[task]).all(-1)
    return known


def read_frames(
  stored: Mapping[str, Any], table: Table, record: int
) -> FrameLabels:
  """The labels of a record's frames; those of the clip where it has them so.

  A frame with one of valence and arousal alone has neither, as the challenges
  on Aff-Wild2 count.
  """
  # Where there is no face there are no pictures, and frames all the same.
  size = len(stored['frame_index'])
  emotion = np.full(size, table.emotion[record], np.int32)
  values = {
    task: np.tile(value[record], (size, 1))
    for task, value in table.values.items()
  }
  if table.is_framed(labels.EMOTION, record):
    found = np.asarray(stored['frame_expression'], np.int32)
    # The last of the list stands for -1, no label.
    classes = np.append(table.expressions[table.part[record]], np.int32(-1))
    emotion = classes[_fill(found, size, -1)]
  for task in values:
    if not table.is_framed(task, record):
      continue
    if task == labels.ACTION_UNITS:
      found = np.reshape(stored['frame_action_units'], (-1, len(labels.UNITS)))
      values[task] = _fill(np.float32(found), size, np.nan)
    else:
      pair = [_fill(stored[f'frame_{n}'], size, np.nan) for n in _PAIR]
      found = np.stack(pair, axis=1).astype(np.float32)
      found[np.isnan(found).any(1)] = np.nan
      values[task] = found
  return FrameLabels(emotion, values)


_PAIR = labels.VALUES['valence_arousal']


def _fill(found, size, unknown):
  """As it is, or unknown throughout where a record has none of the kind."""
  found = np.asarray(found)
  if len(found):
    return found
  return np.full((size, *found.shape[1:]), unknown, found.dtype)
