"""Batches of features that were computed before, in place of their inputs."""

import dataclasses
from collections.abc import Mapping, Sequence

import grain
import numpy as np

from avemo.data import loading, targets

Batch = loading.Batch


@dataclasses.dataclass(frozen=True)
class Clips:
  """Features of clips by modality, of some shards of a dataset's records.

  Attributes:
    size: records of a shard.
    views: looks at each clip.
    shards: by modality, then by number, float32 [n, views, D]; NaN where the
      modality is missing.
  """

  size: int
  views: int
  shards: Mapping[str, Mapping[int, np.ndarray]]

  def take(self, records: np.ndarray, views: np.ndarray) -> Batch:
    """What a batch holds in place of frames and speech.

    Args:
      records: int [B]; `loading.PADDING` gives zeros.
      views: int [B].

    Returns:
      `<modality>_feature` float32 [B, D] and `has_<modality>` bool [B];
      `has_video` and `has_audio` are always there.
    """
    batch = {f'has_{name}': np.zeros(len(records), bool) for name in _ALL}
    for name, shards in self.shards.items():
      width = next(iter(shards.values())).shape[-1]
      found = np.full((len(records), width), np.nan, np.float32)
      for row, (record, view) in enumerate(zip(records, views, strict=True)):
        if record != loading.PADDING:
          number, place = divmod(int(record), self.size)
          found[row] = shards[number][place, view]
      known = ~np.isnan(found[:, 0])
      batch[f'has_{name}'] = known
      batch[f'{name}_feature'] = np.where(known[:, None], found, 0)
    return batch

  def make_training(
    self, table: targets.Table, seed: int, own: slice
  ) -> grain.transforms.Map:
    """From places and records of a batch over all hosts to a host's batch."""
    return LoadTraining(self, table, seed, own)

  def make_evaluation(self, table: targets.Table) -> grain.transforms.Map:
    """From records and numbers of looks, [B, 2], to a batch."""
    return LoadEvaluation(self, table)

  def list_looks(self, records: Sequence[int]) -> list[tuple[int, int]]:
    """Records and numbers of all looks at them."""
    return [(int(r), view) for r in records for view in range(self.views)]


_ALL = ('video', 'audio')


@dataclasses.dataclass(frozen=True)
class LoadTraining(grain.transforms.Map):
  """Places and records of a batch over all hosts to this host's rows."""

  features: Clips
  table: targets.Table
  seed: int
  own: slice

  def map(self, numbers: np.ndarray) -> Batch:
    numbers = numbers[self.own]
    records = numbers[:, 1]
    views = [
      loading.draw_view(self.seed, int(place), self.features.views).number
      for place in numbers[:, 0]
    ]
    clip = self.features.take(records, views)
    return clip | label(self.table, records, np.zeros(len(records), int))


@dataclasses.dataclass(frozen=True)
class LoadEvaluation(grain.transforms.Map):
  """Records and numbers of looks, [B, 2], to a batch."""

  features: Clips
  table: targets.Table

  def map(self, rows: np.ndarray) -> Batch:
    records, views = np.asarray(rows, np.int64).T
    clip = self.features.take(records, views)
    frame = np.full(len(records), -1, np.int32)
    return clip | label(self.table, records, views) | {'frame': frame}


def label(
  table: targets.Table, records: np.ndarray, views: Sequence[int]
) -> Batch:
  """As `loading.label`, of many rows at once."""
  is_known = records != loading.PADDING
  emotion = np.where(is_known, table.emotion[records], -1)
  batch = {
    'emotion': emotion.astype(np.int32),
    'target': table.target[records] * is_known[:, None].astype(np.float32),
    'class_mask': table.class_mask[records],
    'mask': is_known,
    'record': records.astype(np.int32),
    'view': np.asarray(views, np.int32),
  }
  for task, values in table.values.items():
    known = ~np.isnan(values[records]) & is_known[:, None]
    batch[task] = np.where(known, values[records], 0).astype(np.float32)
    batch[f'{task}_mask'] = known
  return batch
