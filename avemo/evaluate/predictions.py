"""Probabilities of records: sharded, to the last example, views averaged."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avemo import errors
from avemo.data import pipeline
from avemo.data.clips import ClipOptions
from avemo.data.labels import LabelSpace
from avemo.runtime import mesh as mesh_lib

Step = Callable[[Any, Mapping[str, jax.Array]], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class RecordPredictions:
  """What a model says of N records, in the order in which they were asked.

  Attributes:
    record: rows of the index, int64 [N].
    probabilities: float64 [N, C], the mean over the views; 0 for classes that
      the corpus does not annotate, and throughout for a record that lacks
      every modality in use: nothing can be said of it.
    emotion: int32 [N], the labels; -1 where there is none.
  """

  record: np.ndarray
  probabilities: np.ndarray
  emotion: np.ndarray

  @property
  def prediction(self) -> np.ndarray:
    """The most probable class, int64 [N]."""
    return self.probabilities.argmax(-1)

  @property
  def answered(self) -> np.ndarray:
    """Whether a record held anything to judge by, bool [N]."""
    return self.probabilities.sum(-1) > 0

  @property
  def loss(self) -> float:
    """Mean cross entropy of the labelled records; NaN where none is."""
    labelled = (self.emotion >= 0) & self.answered
    if not labelled.any():
      return float('nan')
    given = self.probabilities[labelled, self.emotion[labelled]]
    return float(-np.log(np.maximum(given, 1e-12)).mean())


def make_predict_step(model: Any, mesh: jax.sharding.Mesh) -> Step:
  """From variables and a batch to its probabilities, on every host.

  Args:
    model: `apply(variables, batch, train=False)` gives a dict with `emotion`.
    mesh: over which batches are sharded.

  Returns:
    A jitted function; its dict holds `probabilities` float32 [B, C], and
    `record`, `view`, `mask` and `emotion` [B] of the batch.
  """

  def predict(variables, batch):
    logits = model.apply(variables, batch, train=False)['emotion']
    kept = jnp.where(batch['class_mask'], logits.astype(jnp.float32), -jnp.inf)
    # Where no class is valid, softmax would be 0 / 0.
    some = batch['class_mask'].any(-1, keepdims=True)
    probabilities = jax.nn.softmax(jnp.where(some, kept, 0.0), axis=-1)
    present = batch['has_video'] | batch['has_audio']
    probabilities = jnp.where(present[:, None], probabilities, 0.0)
    names = ('record', 'view', 'mask', 'emotion')
    return {'probabilities': probabilities} | {n: batch[n] for n in names}

  return jax.jit(predict, out_shardings=mesh_lib.replicated(mesh))


def make_loss_step(model: Any, mesh: jax.sharding.Mesh) -> Step:
  """From variables and a batch to the losses that the model measures itself.

  Args:
    model: `apply(variables, batch, train=False)` gives a dict with `loss` [B].
    mesh: over which batches are sharded.

  Returns:
    A jitted function; its dict holds `loss` float32 [B], and `has_video`,
    `has_audio`, `record`, `view` and `mask` [B] of the batch.
  """

  def measure(variables, batch):
    outputs = model.apply(variables, batch, train=False)
    names = ('has_video', 'has_audio', 'record', 'view', 'mask')
    return {'loss': outputs['loss']} | {n: batch[n] for n in names}

  return jax.jit(measure, out_shardings=mesh_lib.replicated(mesh))


def predict_records(
  predict_step: Step,
  variables: Any,
  dataset: Any,
  records: Sequence[int],
  labels: LabelSpace,
  *,
  options: ClipOptions,
  batch_size: int,
  mesh: jax.sharding.Mesh,
  views: int = 1,
  workers: int = 0,
  progress: Callable[[int], None] | None = None,
) -> RecordPredictions:
  """Predicts every record once, on all hosts together.

  Args:
    predict_step: from `make_predict_step`.
    variables: of the model.
    dataset: with `source`, `index` and `emotions`.
    records: rows of the index, each at most once; labels are not needed.
    labels: the classes of the head.
    options: how a record becomes a clip.
    batch_size: B over all hosts.
    mesh: over which batches are sharded.
    views: looks at a clip, spread over it; their probabilities are averaged.
    workers: processes that decode on each host.
    progress: called with the number of records after each batch.

  Returns:
    The same on every host.
  """
  records = np.asarray(records, np.int64)
  if not len(records):
    empty = np.zeros((0, len(labels)))
    return RecordPredictions(records, empty, np.zeros(0, np.int32))
  found = _apply_step(
    predict_step,
    variables,
    dataset,
    records,
    labels,
    options=options,
    batch_size=batch_size,
    mesh=mesh,
    views=views,
    workers=workers,
    progress=progress,
  )
  return average_views(found, records, views)


def measure_loss(
  loss_step: Step,
  variables: Any,
  dataset: Any,
  records: Sequence[int],
  labels: LabelSpace,
  **options: Any,
) -> float:
  """The mean of a model's own losses over the records that hold anything.

  Args:
    loss_step: from `make_loss_step`.
    variables: of the model.
    dataset: with `source`, `index` and `emotions`.
    records: rows of the index, at least one; labels are not needed.
    labels: the classes of the dataset.
    **options: as of `predict_records`.

  Returns:
    The same on every host; NaN where no record holds anything.
  """
  found = _apply_step(loss_step, variables, dataset, records, labels, **options)
  # In one order, so that the sum does not depend on the batches.
  order = np.lexsort((found['view'], found['record']))
  present = (found['has_video'] | found['has_audio'])[order]
  losses = found['loss'][order][present].astype(np.float64)
  return float(losses.mean()) if len(losses) else float('nan')


def _apply_step(
  step: Step,
  variables: Any,
  dataset: Any,
  records: Sequence[int],
  labels: LabelSpace,
  *,
  options: ClipOptions,
  batch_size: int,
  mesh: jax.sharding.Mesh,
  views: int = 1,
  workers: int = 0,
  progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
  """What a step says of every view of every record, padding left out."""
  mesh_lib.check_batch_size(batch_size, mesh)
  count = pipeline.count_eval_batches(len(records), batch_size, views)
  batches = pipeline.eval_batches(
    dataset,
    records,
    labels,
    options=options,
    batch_size=batch_size,
    views=views,
    host=jax.process_index(),
    num_hosts=jax.process_count(),
    # A process takes longer to start than to make one batch.
    workers=min(workers, count - 1),
  )
  rows = []
  try:
    for batch in batches:
      found = step(variables, mesh_lib.shard_batch(batch, mesh))
      found = jax.device_get(found)
      rows.append({k: v[found['mask']] for k, v in found.items()})
      if progress:
        progress(int(found['mask'].sum()))
  finally:
    batches.close()
  return {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}


def average_views(
  found: Mapping[str, np.ndarray], records: np.ndarray, views: int
) -> RecordPredictions:
  """Joins rows by record, in the order asked.

  Args:
    found: rows of `make_predict_step` in any order, padding left out.
    records: asked for, [N].
    views: of each record.

  Raises:
    AvemoError: a view is missing or stands twice, which no run may hide.
  """
  order = np.lexsort((found['view'], found['record']))
  rank = np.argsort(np.argsort(records))
  expected = np.repeat(np.sort(records), views)
  is_whole = np.array_equal(found['record'][order], expected)
  if not is_whole or len(np.unique(records)) < len(records):
    raise errors.AvemoError(
      f'prediction: {len(order)} rows for {len(records)} records in {views} '
      'views; records must be different'
    )
  probabilities = found['probabilities'][order].astype(np.float64)
  probabilities = probabilities.reshape(len(records), views, -1)
  # A view may lack what others hold.
  present = (probabilities.sum(-1) > 0).sum(1)
  probabilities = probabilities.sum(1) / np.maximum(present, 1)[:, None]
  emotion = found['emotion'][order][::views].astype(np.int32)
  return RecordPredictions(records, probabilities[rank], emotion[rank])
