"""One jitted, sharded step: augment, differentiate, update, measure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from avemo import augment as augment_lib
from avemo import errors, models
from avemo.data import labels
from avemo.models import split
from avemo.runtime import mesh as mesh_lib
from avemo.train import losses, optim
from avemo.train.state import TrainState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


def make_train_step(
  model: Any,
  tx: optax.GradientTransformation,
  learning_rate: optim.Schedule,
  shardings: TrainState,
  *,
  seed: int,
  augment: Mapping[str, Any] | None = None,
  class_weights: np.ndarray,
  label_smoothing: float = 0.0,
  continuous: str = 'ccc',
  unit_weights: np.ndarray | None = None,
  task_weights: Mapping[str, float] | None = None,
  tasks: Sequence[str] = (labels.EMOTION,),
  accumulate: int = 1,
  ema: float = 0.0,
  held: Sequence[str] = (),
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  """The step; it donates its state.

  A step whose loss, gradient or update is not finite leaves the state as it
  was, to the step number, and says so in its metrics.

  Args:
    model: `apply(variables, batch, train=True)` gives a dict with `emotion`,
      or with `loss` from a model that measures its own.
    tx: the optimiser.
    learning_rate: its schedule.
    shardings: of the state, which keeps them.
    seed: with the step's number it fixes all draws.
    augment: of `augment.augment_inputs`.
    class_weights: float32 [C].
    label_smoothing: see `losses.cross_entropy`.
    continuous: see `losses.continuous_loss`.
    unit_weights: see `losses.binary_cross_entropy`.
    task_weights: of the tasks' losses in their sum; 1 where not said.
    tasks: what is learned; the model gives each by its name.
    accumulate: microbatches over which a batch's gradient is summed; each has
      its own draws of dropout, and its own batch statistics where the model
      has any.
    ema: decay of the parameters' average; 0 keeps none.
    held: parts of the parameters, at the first level, that the batch needs
      none of; they pass through untouched, and cost nothing.

  Returns:
    From state and batch to the new state and scalars: `loss`, `accuracy`
    (of the emotion, where that is learned), `grad_norm`, `param_norm`,
    `update_norm`, `learning_rate`, `finite`, and of several tasks the loss of
    each, `loss_<task>`.
  """
  if accumulate > 1 and (augment or {}).get('feature_mixup') is not None:
    raise errors.AvemoError(
      'augment.feature_mixup has partners in the whole batch: use mixup, or '
      'optim.accumulate=1'
    )
  mesh = shardings.step.mesh
  everywhere = mesh_lib.replicated(mesh)
  has_own_loss = models.has_own_loss(model)
  tasks = () if has_own_loss else tuple(tasks)
  scales = {task: (task_weights or {}).get(task, 1.0) for task in tasks}
  shares = {'share', *(f'{task}_share' for task in tasks)}

  def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    # The draws of step n depend on the seed and n alone, so that a resumed
    # run matches an unbroken one.
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    augment_key, dropout_key = jax.random.split(key)
    batch = augment_lib.augment_inputs(augment_key, dict(batch), augment)
    weights = (
      losses.weigh_present(batch)
      if has_own_loss
      else losses.weigh_examples(batch, class_weights)
    )
    # Over the whole batch, so that microbatches of rare classes weigh as they
    # do in one large batch.
    batch = batch | {'share': weights / jnp.maximum(weights.sum(), 1e-9)}
    for task in tasks:
      if task != labels.EMOTION:
        batch[f'{task}_share'] = losses.share_values(batch, task)

    kept = {name: state.params[name] for name in held}

    def compute_loss(params, batch_stats, part, key):
      with split.over(mesh):
        params = split.make_rest_whole(params | kept)
        outputs, updated = model.apply(
          {'params': params, 'batch_stats': batch_stats},
          {k: v for k, v in part.items() if k not in shares},
          train=True,
          rngs={'dropout': key},
          mutable=['batch_stats'],
        )
      batch_stats = updated.get('batch_stats', batch_stats)
      if has_own_loss:
        return (part['share'] * outputs['loss']).sum(), (batch_stats, {})
      sums = losses.measure(
        outputs,
        part,
        tasks,
        label_smoothing=label_smoothing,
        continuous=continuous,
        unit_weights=unit_weights,
      )
      loss = sum(scales[task] * value for task, value in sums.items())
      if labels.EMOTION in tasks:
        sums['hits'] = count_hits(outputs['emotion'], part).astype(jnp.float32)
      return loss, (batch_stats, sums)

    (loss, (batch_stats, sums)), grads = accumulate_gradients(
      compute_loss,
      dataclasses.replace(state, params=drop(state.params, held)),
      batch,
      dropout_key,
      accumulate,
      dataclasses.replace(shardings, params=drop(shardings.params, held)),
    )
    # Norms and averages are of what is trained.
    zeros = jax.tree.map(jnp.zeros_like, kept)
    updates, opt_state = tx.update(grads | zeros, state.opt_state, state.params)
    updates = drop(updates, held)
    scale = state.control['scale']
    updates = jax.tree.map(lambda u: u * scale, updates)
    params = optax.apply_updates(drop(state.params, held), updates)
    metrics = {
      'loss': loss,
      'grad_norm': optax.tree.norm(grads),
      'param_norm': optax.tree.norm(params),
      'update_norm': optax.tree.norm(updates),
      'learning_rate': learning_rate(state.step) * scale,
    }
    if 'hits' in sums:
      count = jnp.maximum((weights > 0).sum(), 1)
      metrics['accuracy'] = sums['hits'] / count
    if len(tasks) > 1:
      metrics |= {f'loss_{task}': sums[task] for task in tasks}
    finite = jnp.isfinite(loss)
    for name in ('grad_norm', 'update_norm'):
      finite &= jnp.isfinite(metrics[name])
    average = state.ema
    if ema:
      average = optim.update_average(
        drop(state.ema, held), params, state.step + 1, ema
      )
      average |= {name: state.ema[name] for name in held}
    new = TrainState(
      step=state.step + 1,
      params=params | kept,
      batch_stats=batch_stats,
      opt_state=opt_state,
      ema=average,
      control=state.control,
    )
    new = jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, state)
    return new, metrics | {'finite': finite}

  return jax.jit(step, donate_argnums=0, out_shardings=(shardings, everywhere))


def drop(params: Mapping[str, Any], held: Sequence[str]) -> dict[str, Any]:
  return {name: leaf for name, leaf in params.items() if name not in held}


def count_hits(logits: jax.Array, batch: Batch) -> jax.Array:
  """How many labelled examples have their largest logit where the target is."""
  kept = jnp.where(batch['class_mask'], logits, -jnp.inf)
  target = batch['target']
  right = kept.argmax(-1) == target.argmax(-1)
  return (right & (target.sum(-1) > 0) & batch['mask']).sum()


def accumulate_gradients(
  compute_loss: Callable[..., Any],
  state: TrainState,
  batch: Batch,
  key: jax.Array,
  count: int,
  shardings: TrainState,
) -> tuple[tuple[jax.Array, tuple[Any, Metrics]], Any]:
  """The loss and its gradient over a batch, `count` parts at a time.

  Args:
    compute_loss: from params, batch_stats, a part of the batch and a key to
      the part's loss, which sum to the batch's, and (batch_stats, sums), of
      which the sums are scalars by name that sum likewise.
    state: holds the parameters and statistics.
    batch: arrays [B, ...].
    key: of the draws.
    count: of parts.
    shardings: of the state; a gradient lies where its parameter does.

  Returns:
    ((loss, (batch_stats, sums)), gradient).
  """
  mesh = shardings.step.mesh

  def differentiate(*arguments):
    found, grads = jax.value_and_grad(compute_loss, has_aux=True)(*arguments)
    return found, jax.lax.with_sharding_constraint(grads, shardings.params)

  if count == 1:
    return differentiate(state.params, state.batch_stats, batch, key)
  size = len(batch['mask'])
  if size % (count * mesh.size):
    raise errors.AvemoError(
      f'batch_size={size} cannot be split into accumulate={count} parts over '
      f'{mesh.size} devices; use a multiple of {count * mesh.size}'
    )
  sharding = NamedSharding(mesh, PartitionSpec(None, mesh_lib.AXES))

  def divide(value):
    # Every count-th row: the rows of a part lie where they lay before.
    parts = value.reshape(size // count, count, *value.shape[1:])
    return jax.lax.with_sharding_constraint(parts.swapaxes(0, 1), sharding)

  def add(carry, xs):
    loss, grads, batch_stats, sums = carry
    number, part = xs
    (part_loss, (batch_stats, part_sums)), part_grads = differentiate(
      state.params, batch_stats, part, jax.random.fold_in(key, number)
    )
    grads = jax.tree.map(jnp.add, grads, part_grads)
    sums = jax.tree.map(jnp.add, sums, part_sums)
    return (loss + part_loss, grads, batch_stats, sums), None

  parts = {name: divide(value) for name, value in batch.items()}
  first = jax.tree.map(lambda value: value[0], parts)
  _, (_, sums) = jax.eval_shape(
    compute_loss, state.params, state.batch_stats, first, key
  )
  zeros = jax.tree.map(jnp.zeros_like, (state.params, sums))
  start = (jnp.float32(0), zeros[0], state.batch_stats, zeros[1])
  (loss, grads, batch_stats, sums), _ = jax.lax.scan(
    add, start, (jnp.arange(count), parts)
  )
  return (loss, (batch_stats, sums)), grads
