"""Where modalities meet: as tokens before an encoder, or as logits after it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo.models import layers


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
    width = next(iter(tokens.values())).shape[-1]
    joined = []
    for number, (name, x) in enumerate(tokens.items()):
      if number:
        x = nn.Dense(
          width,
          kernel_init=layers.initialize_kernel,
          dtype=self.dtype,
          name=f'{name}_projection',
        )(x)
      missing = self._embedding(f'{name}_missing', width)
      x = jnp.where(present[name][:, None, None], x, missing)
      joined.append(x + self._embedding(f'{name}_modality', width))
    return jnp.concatenate(joined, axis=1)

  def _embedding(self, name: str, width: int) -> jax.Array:
    value = self.param(name, layers.initialize_embedding, (width,))
    return value.astype(self.dtype)


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
