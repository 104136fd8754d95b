"""Parameters that are split over devices at rest, and whole while in use.

Who applies a model to split parameters does it `over` their mesh. Then the
blocks of a stack are made whole one at a time, inside of the scan, and all
other parameters at once. Without this XLA may split the activations instead,
and sends far more. A gradient is left to where its parameter lies.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import PartitionSpec

# The key of a stack of layers, leaves [L, ...].
STACK = 'blocks'


def over(mesh: jax.sharding.Mesh) -> contextlib.AbstractContextManager:
  """In which a model makes its parameters whole on every device of a mesh."""
  if mesh.size == mesh.shape[mesh.axis_names[0]]:
    return contextlib.nullcontext()
  return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def is_over_mesh() -> bool:
  return not jax.sharding.get_abstract_mesh().empty


def make_whole(params: Any) -> Any:
  """The same parameters; within `over` every device holds all of each."""
  return jax.tree.map(_gather, params) if is_over_mesh() else params


def make_rest_whole(params: Any) -> Any:
  """Likewise, of all parameters but those of stacks."""

  def visit(tree):
    if not isinstance(tree, dict):
      return _gather(tree)
    return {k: v if k == STACK else visit(v) for k, v in tree.items()}

  return visit(params) if is_over_mesh() else params


def hold_whole(block: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
  """The class of a stack's block, which makes its own parameters whole."""
  if not is_over_mesh():
    return block
  return nn.map_variables(block, 'params', make_whole)


@jax.custom_vjp
def _gather(leaf: jax.Array) -> jax.Array:
  return jax.lax.with_sharding_constraint(leaf, PartitionSpec())


# The constraint's own transpose would want the gradient whole as well.
_gather.defvjp(lambda leaf: (_gather(leaf), None), lambda _, grad: (grad,))
