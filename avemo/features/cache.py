"""Embeddings of clips by frozen towers, computed once and mapped from disk."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from avemo import errors
from avemo.data import cached, labels, loading, pipeline, targets
from avemo.data.clips import ClipOptions
from avemo.features import keys, shards
from avemo.features import towers as towers_lib
from avemo.runtime import mesh as mesh_lib


def cache_clips(
  root: str | os.PathLike,
  dataset: Any,
  records: Sequence[int],
  towers: Sequence[towers_lib.Tower],
  *,
  options: ClipOptions,
  mesh: jax.sharding.Mesh,
  batch_size: int,
  views: int = 1,
  workers: int = 0,
) -> cached.Clips:
  """The features of clips, from the cache as far as they are there.

  Args:
    root: folder of the cache, which many runs may share.
    dataset: of the records; a mixture is one, too.
    records: rows of its index that are needed.
    towers: of different modalities.
    options: how a record becomes a clip.
    mesh: over which batches are sharded.
    batch_size: B.
    views: looks at each clip, as evaluation takes them.
    workers: processes that decode.

  Raises:
    AvemoError: the cache cannot be written or is damaged, or an embedding is
      not finite.
  """
  count, found = len(dataset.index['clip_id']), {}
  for tower in towers:

    def make(ranges, tower=tower):
      return _embed(
        dataset,
        ranges,
        tower,
        options=options,
        mesh=mesh,
        batch_size=batch_size,
        views=views,
        workers=workers,
      )

    entry = shards.fill(
      root,
      f'clips-{tower.modality}',
      keys.describe(dataset, tower, options, views=views),
      records,
      count,
      make,
    )
    found[tower.modality] = {
      number: _check(shards.read(entry, number)['values'], entry, number, views)
      for number in shards.list_shards(records)
    }
  return cached.Clips(shards.SIZE, views, found)


def _check(
  values: np.ndarray, entry: os.PathLike, number: int, views: int
) -> np.ndarray:
  if values.ndim != 3 or values.shape[1] != views:
    raise errors.AvemoError(
      f'{entry}: shard {number} has the shape {values.shape}; remove the '
      'folder, and it is made anew'
    )
  return values


def _embed(
  dataset: Any,
  ranges: Sequence[range],
  tower: towers_lib.Tower,
  *,
  options: ClipOptions,
  mesh: jax.sharding.Mesh,
  batch_size: int,
  views: int,
  workers: int,
) -> Iterator[dict[str, np.ndarray]]:
  """Features of each range of records, float32 [n, views, D], in order."""
  modality = tower.modality
  looks = [
    (record, view) for own in ranges for record in own for view in range(views)
  ]
  # Labels play no part, but that batches carry them.
  space = labels.LabelSpace(('none',))
  table = targets.make_unlabelled(len(dataset.index['clip_id']), space)
  batches = pipeline.eval_batches(
    dataset,
    looks,
    table,
    options=options,
    batch_size=batch_size,
    views=views,
    workers=workers,
  )
  ends = iter(np.cumsum([len(own) * views for own in ranges]))
  end, done, rows = next(ends), 0, []
  names = {'video': ('frames', 'has_video')}
  names['audio'] = ('speech', 'speech_length', 'has_audio')
  try:
    for batch in batches:
      kept = {k: batch[k] for k in (*names[modality], 'mask')}
      values = jax.device_get(tower(mesh_lib.shard_batch(kept, mesh))[modality])
      rows.append(_mark(np.array(values), batch, modality, dataset))
      done += int(batch['mask'].sum())
      while done >= end:
        joined = np.concatenate(rows)
        size = len(joined) - (done - end)
        yield {'values': joined[:size].reshape(-1, views, joined.shape[1])}
        rows = [joined[size:]]
        end = next(ends, np.inf)
  finally:
    batches.close()


def _mark(
  values: np.ndarray, batch: loading.Batch, modality: str, dataset: Any
) -> np.ndarray:
  """The rows of a batch that are records, NaN where nothing is to be seen."""
  kept, present = batch['mask'], batch[f'has_{modality}']
  wrong = present & kept & ~np.isfinite(values).all(1)
  if wrong.any():
    record = int(batch['record'][wrong][0])
    raise errors.AvemoError(
      f'{dataset.index["clip_id"][record]}: what the {modality} tower says is '
      'not finite; look at the clip and at the weights'
    )
  values[~present] = np.nan
  return values[kept].astype(np.float32)


def list_towers(
  section: dict[str, Any],
  params: dict[str, Any],
  batch_stats: dict[str, Any],
  use: Iterable[str],
  options: ClipOptions,
) -> list[towers_lib.Tower]:
  """The towers of a model that is at hand.

  Args:
    section: the config's section `model`.
    params: of the whole model.
    batch_stats: likewise.
    use: modalities.
    options: how a record becomes a clip.
  """
  return [
    towers_lib.Tower(
      modality,
      towers_lib.make_model(section, modality),
      params[modality],
      batch_stats.get(modality, {}),
      options,
    )
    for modality in use
  ]
