"""Where modalities meet: as tokens before or after encoders, or as logits."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import cross, layers


class Early(nn.Module):
  """Joins the tokens of several modalities into one sequence.

  The tokens of a missing modality are one learned embedding, repeated, so
  that the encoder needs no mask.

  Attributes:
    join_at: blocks that each tower runs of its own before its tokens come
      here.
    dtype: compute dtype.
  """

  join_at: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, tokens: dict[str, jax.Array], present: dict[str, jax.Array]
  ) -> jax.Array:
    """Projects, replaces, marks and concatenates.

    Args:
      tokens: [B, N, any width] by modality, positions included. The first
        keeps its width, D, and its values; the others are projected to D.
      present: bool [B] by modality.

    Returns:
      Tokens [B, sum of N, D], in the order of `tokens`.
    """
    return jnp.concatenate(align(self, tokens, present), axis=1)


class CrossAttention(nn.Module):
  """Tokens of whole towers that attend to each other's, then one feature.

  Pairs of blocks as in HiCMAE, after projection to the video's width. The
  tokens of a missing modality are one learned embedding, repeated.

  Attributes:
    depth: number of pairs of blocks.
    num_heads: K.
    drop_path: rate at the last pair, rising linearly from 0.
    remat: recompute activations in the backward pass to save memory.
    dtype: compute dtype.
  """

  depth: int = 2
  num_heads: int = 4
  drop_path: float = 0.0
  remat: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    tokens: dict[str, jax.Array],
    present: dict[str, jax.Array],
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps tokens as those of `Early` to a feature, float32 [B, 2 D]."""
    width = next(iter(tokens.values())).shape[-1]
    if width % self.num_heads:
      raise errors.AvemoError(
        f'fusion.cross_attention.num_heads={self.num_heads} does not divide '
        f"the video tower's width, {width}"
      )
    blocks = cross.Fusion(
      self.depth,
      self.num_heads,
      drop_path=self.drop_path,
      remat=self.remat,
      dtype=self.dtype,
      name='cross',
    )
    joined = blocks(*align(self, tokens, present), train=train)
    return jnp.concatenate(
      [x.astype(jnp.float32).mean(1) for x in joined], axis=-1
    )


def align(
  module: nn.Module,
  tokens: dict[str, jax.Array],
  present: dict[str, jax.Array],
) -> list[jax.Array]:
  """Projects the tokens to one width, replaces and marks them.

  Args:
    module: in whose compact method this is called; it gets the parameters.
    tokens: [B, N, any width] by modality. The first keeps its width, D, and
      its values; the others are projected to D.
    present: bool [B] by modality.

  Returns:
    Tokens [B, N, D] of each modality, in the order of `tokens`.
  """

  def embed(name):
    value = module.param(name, layers.initialize_embedding, (width,))
    return value.astype(module.dtype)

  width = next(iter(tokens.values())).shape[-1]
  aligned = []
  for number, (name, x) in enumerate(tokens.items()):
    if number:
      x = nn.Dense(
        width,
        kernel_init=layers.initialize_kernel,
        dtype=module.dtype,
        name=f'{name}_projection',
      )(x)
    x = jnp.where(present[name][:, None, None], x, embed(f'{name}_missing'))
    aligned.append(x + embed(f'{name}_modality'))
  return aligned


def average_outputs(
  outputs: dict[str, dict[str, jax.Array]], present: dict[str, jax.Array]
) -> dict[str, jax.Array]:
  """The mean of each output over the modalities present.

  Args:
    outputs: of the heads, float32 [B, ...], by modality.
    present: bool [B] by modality.

  Returns:
    The outputs [B, ...]; 0, which favours no class, where every modality is
    missing.
  """
  count = sum(present[modality].astype(jnp.float32) for modality in outputs)
  total = jnp.maximum(count, 1)[:, None]
  means = {}
  for name in next(iter(outputs.values())):
    # Selected, not multiplied: what a missing modality gave may be infinite.
    kept = [
      jnp.where(present[modality][:, None], outputs[modality][name], 0)
      for modality in outputs
    ]
    means[name] = sum(kept) / total
  return means
