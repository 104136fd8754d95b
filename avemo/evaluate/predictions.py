"""Probabilities of records: sharded, to the last example, views averaged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avemo import errors
from avemo.data import labels, pipeline, sequences, targets
from avemo.data.clips import ClipOptions
from avemo.data.labels import LabelSpace
from avemo.evaluate import frames
from avemo.evaluate import rows as rows_lib
from avemo.evaluate.rows import RecordPredictions
from avemo.models import split
from avemo.runtime import distributed
from avemo.runtime import mesh as mesh_lib

Step = Callable[[Any, Mapping[str, jax.Array]], dict[str, jax.Array]]


def make_predict_step(model: Any, mesh: jax.sharding.Mesh) -> Step:
  """From variables and a batch to its probabilities, on every host.

  Args:
    model: `apply(variables, batch, train=False)` gives a dict by task.
    mesh: over which batches are sharded.

  Returns:
    A jitted function; its dict holds `probabilities` float32 [B, C] (C is 0
    for a model without emotions), `present` [B], whether the example holds a
    modality, the values of other tasks [B, K] by their names (of action units
    the probabilities), and `record`, `view`, `frame`, `mask` and `emotion` [B]
    of the batch.
  """

  def predict(variables, batch):
    outputs = _apply_model(model, mesh, variables, batch)
    present = batch['has_video'] | batch['has_audio']
    if labels.EMOTION in outputs:
      logits = outputs[labels.EMOTION].astype(jnp.float32)
      kept = jnp.where(batch['class_mask'], logits, -jnp.inf)
      # Where no class is valid, softmax would be 0 / 0.
      some = batch['class_mask'].any(-1, keepdims=True)
      shares = jax.nn.softmax(jnp.where(some, kept, 0.0), axis=-1)
      shares = jnp.where(present[:, None] & some, shares, 0.0)
    else:
      shares = jnp.zeros((len(present), 0), jnp.float32)
    found = {'probabilities': shares, 'present': present}
    for task in labels.VALUES:
      if task in outputs:
        value = outputs[task].astype(jnp.float32)
        if task == labels.ACTION_UNITS:
          value = jax.nn.sigmoid(value)
        found[task] = jnp.where(present[:, None], value, 0.0)
    names = ('record', 'view', 'frame', 'mask', 'emotion')
    return found | {n: batch[n] for n in names if n in batch}

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
    outputs = _apply_model(model, mesh, variables, batch)
    names = ('has_video', 'has_audio', 'record', 'view', 'mask')
    return {'loss': outputs['loss']} | {n: batch[n] for n in names}

  return jax.jit(measure, out_shardings=mesh_lib.replicated(mesh))


def _apply_model(
  model: Any, mesh: jax.sharding.Mesh, variables: Any, batch: Any
) -> dict[str, jax.Array]:
  with split.over(mesh):
    params = split.make_rest_whole(variables['params'])
    variables = dict(variables) | {'params': params}
    return model.apply(variables, batch, train=False)


def predict_records(
  predict_step: Step,
  variables: Any,
  dataset: Any,
  records: Sequence[int],
  space: LabelSpace,
  *,
  tasks: Sequence[str] = (labels.EMOTION,),
  views: int = 1,
  every: float = 1.0,
  read: dict[int, Any] | None = None,
  **options: Any,
) -> RecordPredictions:
  """Predicts every record once, on all hosts together.

  Args:
    predict_step: from `make_predict_step`.
    variables: of the model.
    dataset: with `source`, `index` and `emotions`; or a mixture.
    records: rows of the index, each at most once; labels are not needed.
    space: the classes of the head.
    tasks: what the model gives, out of `labels.TASKS`.
    views: looks at a clip, spread over it; what is said is averaged.
    every: seconds between two windows where labels stand by frame; what is
      said of a frame is interpolated, see `frames`.
    read: keeps labels by frame from one call to the next.
    **options: of `_apply_step`: `options`, `batch_size`, `mesh`, `workers`,
      `progress`, `change`, `features`.

  Returns:
    The same on every host.
  """
  records = np.asarray(records, np.int64)
  if len(np.unique(records)) < len(records):
    raise errors.AvemoError(
      f'prediction: {len(records)} records; they must be different'
    )
  table = targets.make_table(dataset, space, tasks=tasks)
  features = options.get('features')
  if features is None:
    looks = pipeline.list_looks(
      dataset,
      records,
      table,
      options=options['options'],
      views=views,
      every=every,
    )
  else:
    looks = features.list_looks(records)
  found = _apply_step(
    predict_step,
    variables,
    dataset,
    looks,
    table,
    views=views,
    every=every,
    **options,
  )
  is_framed = table.by_frame
  if isinstance(features, sequences.Films):
    # Frame by frame, labelled or not.
    is_framed = np.ones_like(is_framed)
  by_frame = is_framed[records]
  if not len(looks):
    found = _make_empty(table)
  parts = []
  if not by_frame.any() or (~by_frame).any():
    own = records[~by_frame]
    rows = {k: v[~is_framed[found['record']]] for k, v in found.items()}
    parts.append(average_views(rows, own, views, table))
  if by_frame.any():
    rows = {k: v[is_framed[found['record']]] for k, v in found.items()}
    own = records[by_frame]
    if isinstance(features, sequences.Films):
      read = read_films(features, own, table, read)
    spread = frames.spread(rows, own, dataset, table, read)
    # What is labelled as a whole is scored so, however it is read.
    is_clip = (table.labelled & ~table.by_frame)[spread.record]
    if is_clip.any():
      parts.append(frames.average(spread.take(is_clip)))
    if not is_clip.all():
      parts.append(spread.take(~is_clip))
  return rows_lib.join(parts)


def read_films(
  films: sequences.Films,
  records: np.ndarray,
  table: targets.Table,
  read: dict[int, Any] | None,
) -> dict[int, Any]:
  """Numbers and labels of frames by record, without opening a record."""
  read = {} if read is None else read
  for record in map(int, records):
    if record not in read:
      stored = films.read(record)
      number = np.asarray(stored['frame_index'], np.int64)
      read[record] = number, targets.read_frames(stored, table, record)
  return read


def _make_empty(table: targets.Table) -> dict[str, np.ndarray]:
  classes = table.target.shape[1] if labels.EMOTION in table.tasks else 0
  sizes = {'probabilities': (0, classes)}
  sizes |= {task: (0, v.shape[1]) for task, v in table.values.items()}
  names = ('record', 'view', 'frame', 'emotion')
  return (
    {name: np.zeros(size) for name, size in sizes.items()}
    | {name: np.zeros(0, np.int64) for name in names}
    | {'present': np.zeros(0, bool)}
  )


def measure_loss(
  loss_step: Step,
  variables: Any,
  dataset: Any,
  records: Sequence[int],
  space: LabelSpace,
  *,
  every: float = 1.0,
  **options: Any,
) -> float:
  """The mean of a model's own losses over the records that hold anything.

  Args:
    loss_step: from `make_loss_step`.
    variables: of the model.
    dataset: with `source`, `index` and `emotions`; or a mixture.
    records: rows of the index, at least one; labels are not needed.
    space: the classes of the dataset.
    every: seconds between two windows where labels stand by frame.
    **options: as of `predict_records`.

  Returns:
    The same on every host; NaN where no record holds anything.
  """
  table = targets.make_table(dataset, space)
  looks = pipeline.list_looks(
    dataset, records, table, options=options['options'], every=every
  )
  found = _apply_step(
    loss_step, variables, dataset, looks, table, every=every, **options
  )
  # In one order, so that the sum does not depend on the batches.
  order = np.lexsort((found['view'], found['record']))
  present = (found['has_video'] | found['has_audio'])[order]
  losses = found['loss'][order][present].astype(np.float64)
  return float(losses.mean()) if len(losses) else float('nan')


def _apply_step(
  step: Step,
  variables: Any,
  dataset: Any,
  looks: Sequence[tuple[int, int]],
  table: targets.Table,
  *,
  options: ClipOptions,
  batch_size: int,
  mesh: jax.sharding.Mesh,
  views: int = 1,
  every: float = 1.0,
  workers: int = 0,
  progress: Callable[[int], None] | None = None,
  change: Callable[[Mapping[str, np.ndarray]], Any] | None = None,
  features: Any = None,
) -> dict[str, np.ndarray]:
  """What a step says of every look, padding left out.

  Args:
    step: from `make_predict_step` or `make_loss_step`.
    variables: of the model.
    dataset: of the records.
    looks: see `pipeline.list_looks`.
    table: the labels.
    options: how a record becomes a clip.
    batch_size: B over all hosts.
    mesh: over which batches are sharded.
    views: looks at a clip.
    every: seconds between two windows.
    workers: processes that decode on each host.
    progress: called with the number of looks after each batch.
    change: makes of a batch what the model is to see.
    features: see `pipeline.eval_batches`.
  """
  mesh_lib.check_batch_size(batch_size, mesh)
  if not len(looks):
    return {}
  batches = pipeline.eval_batches(
    dataset,
    looks,
    table,
    options=options,
    batch_size=batch_size,
    views=views,
    every=every,
    host=jax.process_index(),
    num_hosts=jax.process_count(),
    # A process takes longer to start than to make one batch.
    workers=min(workers, -(-len(looks) // batch_size) - 1),
    features=features,
  )
  rows = []
  try:
    for batch in batches:
      batch = change(batch) if change else batch
      batch = mesh_lib.shard_batch(batch, mesh)
      if not rows:
        distributed.compile_together(step, variables, batch)
      found = jax.device_get(step(variables, batch))
      rows.append({k: v[found['mask']] for k, v in found.items()})
      if progress:
        progress(int(found['mask'].sum()))
  finally:
    batches.close()
  return {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}


def average_views(
  found: Mapping[str, np.ndarray],
  records: np.ndarray,
  views: int,
  table: targets.Table | None = None,
) -> RecordPredictions:
  """Joins rows by record, in the order asked.

  Args:
    found: rows of `make_predict_step` in any order, padding left out.
    records: asked for, [N].
    views: of each record.
    table: the labels beside the emotion; None without any.

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
  # A view may lack what others hold.
  present = found['present'][order].reshape(len(records), views)
  count = np.maximum(present.sum(1), 1)[:, None]
  answered = present.any(1)[rank]

  def average(name):
    values = found[name][order].astype(np.float64)
    size = len(records), views, values.shape[1]
    return (values.reshape(size).sum(1) / count)[rank]

  truth = table.values if table else {}
  return RecordPredictions(
    record=records,
    frame=np.full(len(records), -1, np.int64),
    answered=answered,
    probabilities=average('probabilities'),
    emotion=found['emotion'][order][::views].astype(np.int32)[rank],
    values={
      task: np.where(answered[:, None], average(task), np.nan) for task in truth
    },
    truth={task: value[records].astype(float) for task, value in truth.items()},
  )
