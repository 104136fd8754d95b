"""Windows over features of frames, with the labels of the frames beside them.

Features have a row a window, [B, T, D]; all that is said of frames has a row
a frame, [B * T, ...], the frames of a window one after another, so that losses
and predictions of frames are those of clips.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import grain
import numpy as np

from avemo.data import labels, loading, targets

Batch = loading.Batch


@dataclasses.dataclass(frozen=True)
class Films:
  """Features of frames by tower, of some shards of a dataset's records.

  Attributes:
    size: records of a shard.
    length: T, frames of a window.
    modalities: by tower, 'video' or 'audio'.
    shards: by tower, then by number, float32 [frames, D]; NaN where nothing
      is known of a frame.
    columns: by number of a shard, `count` of the frames of each of its records
      and, of all these frames, what a record says of them.
    looked_at: by number, bool [frames], the faces that a tower was run on.
  """

  size: int
  length: int
  modalities: Mapping[str, str]
  shards: Mapping[str, Mapping[int, np.ndarray]]
  columns: Mapping[int, Mapping[str, np.ndarray]]
  looked_at: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)

  def find(self, record: int) -> tuple[int, slice]:
    """The shard of a record, and its frames there."""
    number, place = divmod(int(record), self.size)
    ends = np.cumsum(self.columns[number]['count'])
    stop = int(ends[place])
    return number, slice(stop - int(self.columns[number]['count'][place]), stop)

  def count(self, record: int) -> int:
    """Frames of a record."""
    number, place = divmod(int(record), self.size)
    return int(self.columns[number]['count'][place])

  def find_step(self) -> float:
    """Seconds from one frame to the next, the median over all."""
    steps = [np.diff(own['frame_time']) for own in self.columns.values()]
    steps = np.concatenate([np.zeros(0), *steps])
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 0.04

  def count_looked_at(self, records: Sequence[int]) -> tuple[int, int, int]:
    """Faces that a tower was run on, all faces, and all frames, of records.

    A face is there where a tower over faces says anything, be it of the face
    that was looked at before.
    """
    looked_at = faces = frames = 0
    seen = [n for n, kind in self.modalities.items() if kind == 'video']
    for record in records:
      number, own = self.find(record)
      frames += own.stop - own.start
      if self.looked_at and seen:
        looked_at += int(self.looked_at[number][own].sum())
        values = self.shards[seen[0]][number][own]
        faces += int((~np.isnan(values[:, 0])).sum())
    return looked_at, faces, frames

  def read(self, record: int) -> dict[str, np.ndarray]:
    """What a record says of its frames, as if it were stored."""
    number, own = self.find(record)
    return {
      name: values[own]
      for name, values in self.columns[number].items()
      if name != 'count'
    }

  def list_looks(self, records: Sequence[int]) -> list[tuple[int, int]]:
    """Records and numbers of windows that cover every frame of theirs."""
    return [
      (int(record), number)
      for record in records
      for number in range(-(-self.count(record) // self.length))
    ]

  def start(self, record: int, number: int) -> int:
    """First frame of a window; the last one ends with the record."""
    last = max(self.count(record) - self.length, 0)
    return min(number * self.length, last)

  def cut(self, record: int, start: int) -> Batch:
    """The features of one window, [T, ...]; zeros beyond the record."""
    number, own = self.find(record)
    begin = own.start + start
    stop = min(begin + self.length, own.stop)
    valid = stop - begin
    batch = {'num_frames': np.int32(max(valid, 1))}
    for name in ('video', 'audio'):
      batch[f'has_{name}'] = np.zeros(self.length, bool)
    for name, shards in self.shards.items():
      values = np.zeros((self.length, shards[number].shape[1]), np.float32)
      values[:valid] = shards[number][begin:stop]
      known = ~np.isnan(values[:, 0])
      known[valid:] = False
      batch[f'{name}_known'] = known
      batch[f'{name}_feature'] = np.where(known[:, None], values, 0)
      batch[f'has_{self.modalities[name]}'] |= known
    return batch

  def pad(self) -> Batch:
    """A window of nothing."""
    batch = {'num_frames': np.int32(1)}
    for name in ('video', 'audio'):
      batch[f'has_{name}'] = np.zeros(self.length, bool)
    for name, shards in self.shards.items():
      width = next(iter(shards.values())).shape[1]
      batch[f'{name}_known'] = np.zeros(self.length, bool)
      batch[f'{name}_feature'] = np.zeros((self.length, width), np.float32)
    return batch

  def make_training(
    self, table: targets.Table, seed: int, own: slice
  ) -> grain.transforms.Map:
    """From places and records of a batch over all hosts to a host's batch."""
    return LoadTraining(self, table, seed, own)

  def make_evaluation(self, table: targets.Table) -> grain.transforms.Map:
    """From records and numbers of windows, [B, 2], to a batch."""
    return LoadEvaluation(self, table)


# What has a row a window; all else has one a frame.
_WINDOWS = ('_feature', '_known', 'num_frames')


@dataclasses.dataclass(frozen=True)
class LoadTraining(grain.transforms.Map):
  """See `Films.make_training`."""

  films: Films
  table: targets.Table
  seed: int
  own: slice

  def map(self, numbers: np.ndarray) -> Batch:
    return join([self.load(*map(int, row)) for row in numbers[self.own]])

  def load(self, place: int, record: int) -> Batch:
    rng = np.random.default_rng((self.seed, place))
    last = max(self.films.count(record) - self.films.length, 0)
    return load(self.films, self.table, record, int(rng.integers(last + 1)))


@dataclasses.dataclass(frozen=True)
class LoadEvaluation(grain.transforms.Map):
  """See `Films.make_evaluation`."""

  films: Films
  table: targets.Table

  def map(self, rows: np.ndarray) -> Batch:
    return join([self.load(*map(int, row)) for row in rows])

  def load(self, record: int, number: int) -> Batch:
    start = 0 if record == loading.PADDING else self.films.start(record, number)
    return load(self.films, self.table, record, start)


def load(films: Films, table: targets.Table, record: int, start: int) -> Batch:
  """One window and its labels; padding is nothing, and masked."""
  if record == loading.PADDING:
    return films.pad() | label(table, record, None, 0, films.length)
  found = targets.read_frames(films.read(record), table, record)
  numbers = films.read(record)['frame_index']
  labelled = label(table, record, found, start, films.length)
  frame = np.full(films.length, -1, np.int32)
  valid = numbers[start : start + films.length]
  frame[: len(valid)] = valid
  return films.cut(record, start) | labelled | {'frame': frame}


def label(
  table: targets.Table,
  record: int,
  found: targets.FrameLabels | None,
  start: int,
  length: int,
) -> Batch:
  """Labels of the frames of a window, [T, ...]; masked beyond its record."""
  classes = table.target.shape[1]
  own = slice(start, start + length)
  emotion = np.zeros(0, np.int32) if found is None else found.emotion[own]
  valid = len(emotion)
  target = np.zeros((length, classes), np.float32)
  known = np.flatnonzero(emotion >= 0)
  target[known, emotion[known]] = 1
  is_padding = record == loading.PADDING
  mask = np.arange(length) < valid
  batch = {
    'emotion': np.append(emotion, np.full(length - valid, -1)).astype(np.int32),
    'target': target,
    'class_mask': np.tile(
      table.class_mask[0 if is_padding else record], (length, 1)
    ),
    'mask': mask,
    'record': np.full(length, record, np.int32),
    'view': np.zeros(length, np.int32),
    'frame': np.full(length, -1, np.int32),
  }
  for task in table.values:
    values = np.full((length, len(labels.VALUES[task])), np.nan)
    if found is not None:
      values[:valid] = found.values[task][own]
    there = ~np.isnan(values)
    batch[task] = np.where(there, values, 0).astype(np.float32)
    batch[f'{task}_mask'] = there
  return batch


def join(rows: Sequence[Batch]) -> Batch:
  """Windows to a batch: [B, T, ...] or [B], and [B * T, ...] of frames."""
  batch = {}
  for name in rows[0]:
    values = [row[name] for row in rows]
    if name.endswith(_WINDOWS):
      batch[name] = np.stack(values)
    else:
      batch[name] = np.concatenate(values)
  return batch
