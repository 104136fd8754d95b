"""All that a training run carries from one step to the next."""

import dataclasses
from typing import Any

import jax

from avemo.runtime import mesh as mesh_lib


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """A pytree; no random state, for draws follow from seed and step.

  Attributes:
    step: number of finished steps, int32.
    params: nested dict of float32.
    batch_stats: running averages, nested dict; may be empty.
    opt_state: of the optimiser.
    ema: running average of `params`; an empty dict where it is off.
    control: see `control.start`.
  """

  step: Any
  params: Any
  batch_stats: Any
  opt_state: Any
  ema: Any
  control: Any


def to_items(state: TrainState) -> dict[str, Any]:
  """The items of a checkpoint.

  Parameters, statistics and averages keep their trees, to be read alone for
  evaluation; the rest becomes one flat dict, for an optimiser's own types
  need not outlive it.
  """
  return {
    'params': state.params,
    'batch_stats': state.batch_stats,
    'ema': state.ema,
    'training': _flatten(_rest(state)),
  }


def from_items(items: dict[str, Any], like: TrainState) -> TrainState:
  """The state from a checkpoint's items, in the structure of `like`."""
  rest = _rest(like)
  paths = jax.tree_util.tree_flatten_with_path(rest)[0]
  leaves = [items['training'][_key(path)] for path, _ in paths]
  rest = jax.tree.unflatten(jax.tree.structure(rest), leaves)
  return TrainState(
    params=items['params'],
    batch_stats=items['batch_stats'],
    ema=items['ema'],
    **rest,
  )


def _rest(state: TrainState) -> dict[str, Any]:
  return {
    'step': state.step,
    'opt_state': state.opt_state,
    'control': state.control,
  }


def _flatten(tree: Any) -> dict[str, Any]:
  return {
    _key(path): leaf
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
  }


def _key(path: tuple[Any, ...]) -> str:
  # A slash in a key would look like a folder to the store.
  return mesh_lib.name_of(path).replace('/', '.')
