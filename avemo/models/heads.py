"""Heads: from one feature a clip to logits and values."""

import types

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo.models import layers

# Outputs and their number of values; None: as many as there are classes.
SIZES = types.MappingProxyType(
  {'emotion': None, 'valence_arousal': 2, 'dominance': 1, 'action_units': 12}
)
# Outputs that are logits, which nothing bounds.
LOGITS = ('emotion', 'action_units')
NAMES = tuple(SIZES)
# What a config may set under `head`.
OPTIONS = ('squash', 'hidden')


class Heads(nn.Module):
  """One dense layer a feature and output, in float32.

  Attributes:
    num_classes: of the emotion head.
    names: the outputs, out of `NAMES`.
    dropout: rate on the feature, in training.
    squash: whether tanh bounds the values; published heads may be linear.
    hidden: width of a dense layer with tanh before the outputs; 0: none.
  """

  num_classes: int
  names: tuple[str, ...] = ('emotion',)
  dropout: float = 0.0
  squash: bool = True
  hidden: int = 0

  @nn.compact
  def __call__(
    self, features: dict[str, jax.Array], *, train: bool = False
  ) -> dict[str, dict[str, jax.Array]]:
    """Maps each feature to the outputs asked for.

    Args:
      features: [B, D] by source, such as a modality.
      train: whether to apply dropout.

    Returns:
      By source, by name: `emotion`, logits, float32 [B, num_classes];
      `valence_arousal`, float32 [B, 2], and `dominance`, float32 [B, 1], in
      (-1, 1) if `squash`; `action_units`, logits, float32 [B, 12].
    """
    options = (self.num_classes, self.names, self.dropout)
    options = (*options, self.squash, self.hidden)
    return {
      source: Head(*options, name=source)(feature, train=train)
      for source, feature in features.items()
    }


class Head(nn.Module):
  """The outputs of one feature; attributes as in `Heads`."""

  num_classes: int
  names: tuple[str, ...] = ('emotion',)
  dropout: float = 0.0
  squash: bool = True
  hidden: int = 0

  @nn.compact
  def __call__(
    self, feature: jax.Array, *, train: bool = False
  ) -> dict[str, jax.Array]:
    """Maps a feature [B, D] to its outputs by name."""
    feature = feature.astype(jnp.float32)
    feature = nn.Dropout(self.dropout, deterministic=not train)(feature)
    if self.hidden:
      feature = nn.Dense(
        self.hidden, kernel_init=layers.initialize_kernel, name='hidden'
      )(feature)
      feature = jnp.tanh(feature)
      feature = nn.Dropout(self.dropout, deterministic=not train)(feature)
    outputs = {}
    for name in self.names:
      value = nn.Dense(
        SIZES[name] or self.num_classes,
        kernel_init=layers.initialize_embedding,
        name=name,
      )(feature)
      if self.squash and name not in LOGITS:
        value = jnp.tanh(value)
      outputs[name] = value
    return outputs
