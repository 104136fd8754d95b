"""Optimisers: schedules, decay by layer, clipping, freezing by name."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from avemo import errors
from avemo.runtime import mesh as mesh_lib
from avemo.train import settings

Schedule = Callable[[jax.Array], jax.Array]

SCHEDULES = ('cosine', 'linear', 'constant')
OPTIMIZERS = ('adamw', 'sgd')

# Where the layers of a tower begin; deeper ones count from there.
EMBEDDINGS = (
  'patch_embed',
  'embedding',
  'stem',
  *(f'extractor_{number}' for number in range(7)),
  'projection_norm',
  'projection',
  'positions',
)


def make_schedule(
  *,
  steps: int,
  lr: float,
  warmup: int = 0,
  schedule: str = 'cosine',
  final: float = 0.0,
) -> Schedule:
  """Learning rate by the number of finished steps.

  Args:
    steps: length of the run; the decay ends there.
    lr: the highest.
    warmup: steps over which the rate rises linearly; the first step has
      `lr / warmup`, not 0, for a step of 0 would be lost.
    schedule: 'cosine', 'linear' or 'constant' after the warm-up.
    final: what is left at the end, as a share of `lr`.
  """
  if schedule not in SCHEDULES:
    raise errors.AvemoError(
      f'optim.schedule={schedule!r}: use one of {", ".join(SCHEDULES)}'
    )
  settings.check_warmup(steps, warmup)

  def compute(count):
    count = jnp.asarray(count, jnp.float32)
    rise = jnp.minimum((count + 1) / max(warmup, 1), 1.0)
    passed = jnp.clip((count - warmup) / max(steps - warmup, 1), 0.0, 1.0)
    if schedule == 'cosine':
      fall = 0.5 * (1 + jnp.cos(jnp.pi * passed))
    elif schedule == 'linear':
      fall = 1 - passed
    else:
      fall = jnp.ones_like(passed)
    return lr * rise * (final + (1 - final) * fall)

  return compute


def make_optimizer(
  params: Any,
  learning_rate: Schedule,
  *,
  name: str = 'adamw',
  weight_decay: float = 0.0,
  layer_decay: float = 1.0,
  clip: float | None = None,
  freeze: Sequence[str] = (),
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  momentum: float = 0.9,
) -> optax.GradientTransformation:
  """AdamW or SGD with Nesterov momentum; weight decay decoupled in both.

  Args:
    params: arrays or their shapes, a nested dict.
    learning_rate: from `make_schedule`.
    name: 'adamw' or 'sgd'.
    weight_decay: times the learning rate; not on vectors and tables of
      positions (see `find_decayed`).
    layer_decay: factor of the learning rate from a layer to the one below.
    clip: the largest norm of the gradient, over what is trained.
    freeze: regexes; a parameter whose whole name one of them matches stays
      as it is.
    b1: of AdamW.
    b2: of AdamW.
    eps: of AdamW.
    momentum: of SGD.

  Raises:
    AvemoError: an unknown optimiser, or a regex that matches no parameter.
  """
  if name not in OPTIMIZERS:
    raise errors.AvemoError(
      f'optim.name={name!r}: use one of {", ".join(OPTIMIZERS)}'
    )
  parts = []
  if clip is not None:
    parts.append(optax.clip_by_global_norm(clip))
  if name == 'adamw':
    parts.append(optax.scale_by_adam(b1=b1, b2=b2, eps=eps))
  else:
    parts.append(optax.trace(decay=momentum, nesterov=True))
  if weight_decay:
    parts.append(optax.add_decayed_weights(weight_decay, mask=find_decayed))
  if layer_decay != 1:
    multipliers = make_multipliers(params, layer_decay)
    parts.append(scale_by_name(multipliers))
  parts.append(optax.scale_by_learning_rate(learning_rate))
  tx = optax.chain(*parts)
  frozen = find_frozen(params, freeze)
  if not any(jax.tree.leaves(frozen)):
    return tx
  kinds = jax.tree.map(lambda f: 'frozen' if f else 'trained', frozen)
  return optax.partition({'trained': tx, 'frozen': optax.set_to_zero()}, kinds)


def is_stacked(name: str) -> bool:
  return re.fullmatch(mesh_lib.STACKED, name) is not None


def find_decayed(params: Any) -> Any:
  """True for leaves whose weights decay: matrices and kernels.

  Not for vectors (biases, norms, tokens), whatever the layer axis and axes of
  length 1 make of them, nor biases of several axes, nor tables of positions.
  """

  def decays(path, leaf):
    name = mesh_lib.name_of(path)
    shape = leaf.shape[1:] if is_stacked(name) else leaf.shape
    last = name.split('/')[-1]
    return (
      sum(size > 1 for size in shape) > 1
      and last not in ('bias', 'scale', 'tokens')
      and 'position' not in last
    )

  return jax.tree_util.tree_map_with_path(decays, params)


def find_frozen(params: Any, freeze: Sequence[str]) -> Any:
  """True for leaves whose whole name matches one of the regexes.

  Raises:
    AvemoError: a regex matches no leaf, or nothing is left to train.
  """
  paths = jax.tree_util.tree_flatten_with_path(params)[0]
  names = [mesh_lib.name_of(path) for path, _ in paths]
  for pattern in freeze:
    if not any(re.fullmatch(pattern, name) for name in names):
      raise errors.AvemoError(
        f'optim.freeze: {pattern!r} matches no parameter; names look like '
        f'{", ".join(names[:3])}'
      )
  frozen = [any(re.fullmatch(p, name) for p in freeze) for name in names]
  if all(frozen):
    raise errors.AvemoError('optim.freeze: nothing is left to train')
  return jax.tree.unflatten(jax.tree.structure(params), frozen)


def find_frozen_towers(params: Any, freeze: Sequence[str]) -> tuple[str, ...]:
  """Top-level names under which every leaf is frozen."""
  frozen = find_frozen(params, freeze)
  return tuple(
    name for name, tree in frozen.items() if all(jax.tree.leaves(tree))
  )


def make_multipliers(
  params: Any, layer_decay: float
) -> dict[str, np.ndarray | float]:
  """Factors of the learning rate by the name of a leaf.

  In a tower of L blocks, block i has `layer_decay ** (L - i)` and what embeds
  its input `layer_decay ** (L + 1)`; norms after the blocks, fusion and heads
  have 1, and so have towers that are not stacks of blocks. Stacked leaves have
  one factor a layer, [L, 1, ...]. Where towers are fused, the audio's blocks
  are followed by the video's, so both count up to the deeper of the two.

  Args:
    params: a nested dict, its first level the parts of the model.
    layer_decay: factor from a layer to the one below.
  """
  paths = jax.tree_util.tree_flatten_with_path(params)[0]
  leaves = {mesh_lib.name_of(path): leaf for path, leaf in paths}
  depths = {}
  for name, leaf in leaves.items():
    tower = name.split('/')[0]
    if is_stacked(name) and tower != 'fusion':
      depths[tower] = leaf.shape[0]
  if 'fusion' in params and depths:
    deepest = max(depths.values())
    depths = {name: deepest for name in params if name != 'fusion'}
  multipliers = {}
  for name, leaf in leaves.items():
    tower, *rest = name.split('/')
    depth = depths.get(tower)
    multipliers[name] = 1.0
    if depth is None:
      continue
    if is_stacked(name):
      factors = layer_decay ** (depth - np.arange(leaf.shape[0]))
      shape = (-1,) + (1,) * (len(leaf.shape) - 1)
      multipliers[name] = factors.astype(np.float32).reshape(shape)
    elif rest and rest[0] in EMBEDDINGS:
      multipliers[name] = layer_decay ** (depth + 1)
  return multipliers


def hold_blocks(
  tx: optax.GradientTransformation,
  params: Any,
  frozen_blocks: Mapping[str, int],
) -> optax.GradientTransformation:
  """Keeps an optimiser from blocks that are not trained.

  They have no gradient, and would still decay.

  Args:
    tx: the optimiser; its state stays as it is.
    params: a nested dict, its first level the parts of the model.
    frozen_blocks: number of blocks, from the first, by tower.
  """
  if not any(frozen_blocks.values()):
    return tx
  hold = scale_by_name(find_trained(params, frozen_blocks))

  def update(grads, state, params=None):
    updates, state = tx.update(grads, state, params)
    return hold.update(updates, optax.EmptyState())[0], state

  return optax.GradientTransformation(tx.init, update)


def find_trained(
  params: Any, frozen_blocks: Mapping[str, int]
) -> dict[str, np.ndarray | float]:
  """1 by the name of a leaf, and 0 in frozen blocks and what embeds for them.

  Blocks are leaves stacked under `blocks`, which have one number a layer,
  [L, 1, ...], or parts of the tower called `blocks_<number>`, in the order of
  their numbers.

  Args:
    params: a nested dict, its first level the parts of the model.
    frozen_blocks: number of blocks, from the first, by tower.
  """
  trained = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
    name = mesh_lib.name_of(path)
    tower, *rest = name.split('/')
    count = frozen_blocks.get(tower, 0)
    trained[name] = 1.0
    if not count or not rest:
      continue
    if is_stacked(name):
      shape = (-1,) + (1,) * (len(leaf.shape) - 1)
      layers = np.arange(leaf.shape[0])
      trained[name] = (layers >= count).astype(np.float32).reshape(shape)
    elif rest[0] in EMBEDDINGS or rest[0] in find_blocks(params[tower])[:count]:
      trained[name] = 0.0
  return trained


def find_blocks(tower: Mapping[str, Any]) -> list[str]:
  """Names of a tower's blocks that are not stacked, in their order."""
  numbers = {
    name: tuple(map(int, name.split('_')[1:]))
    for name in tower
    if re.fullmatch(r'blocks(_\d+)+', name)
  }
  return sorted(numbers, key=numbers.get)


def scale_by_name(
  multipliers: dict[str, np.ndarray | float],
) -> optax.GradientTransformation:
  """Multiplies each update by the factor of its leaf's name."""

  def scale(path, update):
    return update * jnp.asarray(multipliers[mesh_lib.name_of(path)])

  return optax.stateless(
    lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates)
  )


def update_average(
  average: Any, params: Any, step: jax.Array, decay: float
) -> Any:
  """Moves an average of the parameters after step number `step`, from 1.

  It starts as a copy of the parameters, so there is no bias towards 0 to
  correct; instead the decay rises as (1 + n) / (10 + n), so that the random
  start is soon forgotten.
  """
  step = step.astype(jnp.float32)
  decay = jnp.minimum(decay, (1 + step) / (10 + step))
  return jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
