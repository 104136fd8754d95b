"""One place in the order of examples to one example: clip and labels."""

import dataclasses
from typing import Any

import grain
import numpy as np

from avemo.data import clips, labels, targets, windows
from avemo.data.clips import ClipOptions

Batch = dict[str, np.ndarray]

# The record of a row that fills up a batch.
PADDING = -1


def pair(place: int, record: int) -> np.ndarray:
  """A record and its place in the global order, int64 [2]."""
  return np.array([place, record], np.int64)


def draw_view(seed: int, place: int, views: int) -> clips.View:
  """One of a number of fixed views, by the place in the global order alone."""
  if views == 1:
    return clips.View()
  rng = np.random.default_rng((seed, place))
  return clips.View(int(rng.integers(views)), views)


@dataclasses.dataclass(frozen=True)
class LoadTraining(grain.transforms.Map):
  """Places and records of a batch over all hosts to this host's rows."""

  source: Any
  table: targets.Table
  options: ClipOptions
  seed: int
  own: slice
  # None draws frames and speech at random.
  views: int | None = None

  def map(self, numbers: np.ndarray) -> Batch:
    numbers = numbers[self.own].tolist()
    if 'video' not in self.options.use:
      return stack([self.load(*row) for row in numbers])
    # Frames are written where they stay: copies cost as much as reading them.
    frames = clips.make_frames(self.options, len(numbers))
    rows = [
      self.load(*row, out) for row, out in zip(numbers, frames, strict=True)
    ]
    for row in rows:
      del row['frames']
    return stack(rows) | {'frames': frames}

  def load(
    self, place: int, record: int, out: np.ndarray | None = None
  ) -> Batch:
    # Of the seed and the place alone, whichever host or worker draws.
    rng = np.random.default_rng((self.seed, place))
    stored, seconds = self.source[record], self.options.seconds
    if not is_windowed(self.table, record):
      draw = rng
      if self.views:
        draw = draw_view(self.seed, place, self.views)
      clip = clips.load_clip(stored, self.options, draw, out)
      return clip | label(self.table, record)
    found = targets.read_frames(stored, self.table, record)
    known = found.find_known(self.table, record)
    middle = windows.draw_middle(stored, seconds, known, rng)
    window = windows.cut(stored, middle, seconds)
    clip = clips.load_clip(window, self.options, rng, out)
    batch = clip | label_frame(self.table, record, found, middle)
    # A record may hold something where this window of it holds nothing.
    batch['mask'] &= clip['has_video'] | clip['has_audio']
    return batch


@dataclasses.dataclass(frozen=True)
class LoadEvaluation(grain.transforms.Map):
  """A record and the number of a look to an example; padding to zeros.

  A look is a view of a clip, or a window of a record with labels by frame:
  `frame` then says which of the film's frames is its middle, else -1.
  """

  source: Any
  table: targets.Table
  options: ClipOptions
  views: int
  every: float

  def map(self, row: tuple[int, int]) -> Batch:
    record, number = row
    view, frame = clips.View(number, self.views), -1
    if record == PADDING:
      stored = {'frames': [], 'face': [], 'speech': b''}
    else:
      stored = self.source[record]
      if is_windowed(self.table, record):
        seconds, view = self.options.seconds, clips.View()
        middle = windows.place_middle(stored, seconds, self.every, number)
        frame = stored['frame_index'][middle]
        stored = windows.cut(stored, middle, seconds)
    clip = clips.load_clip(stored, self.options, view)
    labelled = label(self.table, record, number)
    return clip | labelled | {'frame': np.int32(frame)}


def stack(rows: list[Batch]) -> Batch:
  return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def is_windowed(table: targets.Table, record: int) -> bool:
  return any(table.is_framed(task, record) for task in table.tasks)


def label(table: targets.Table, record: int, view: int = 0) -> Batch:
  """Labels of a whole clip; 0 and a mask where there is none."""
  is_padding = record == PADDING
  batch = {
    'emotion': np.int32(-1) if is_padding else table.emotion[record],
    'target': table.target[record] * np.float32(not is_padding),
    'class_mask': table.class_mask[record],
    'mask': np.bool_(not is_padding),
    'record': np.int32(record),
    'view': np.int32(view),
  }
  for task, values in table.values.items():
    batch |= mask_values(task, values[record], is_padding)
  return batch


def label_frame(
  table: targets.Table, record: int, found: targets.FrameLabels, middle: int
) -> Batch:
  """Labels of one frame of a record."""
  emotion, batch = found.emotion[middle], label(table, record)
  if table.is_framed(labels.EMOTION, record):
    batch['emotion'] = emotion
    batch['target'] = np.zeros_like(batch['target'])
    if emotion >= 0:
      batch['target'][emotion] = 1
  for task, values in found.values.items():
    batch |= mask_values(task, values[middle], False)
  return batch


def mask_values(task: str, values: np.ndarray, is_padding: bool) -> Batch:
  """Values with 0 where they are unknown, and where they are known."""
  known = ~np.isnan(values) & (not is_padding)
  return {
    task: np.where(known, values, 0).astype(np.float32),
    f'{task}_mask': known,
  }
