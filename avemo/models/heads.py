"""Heads: from one feature a clip to logits and values."""

import types
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import cnn, layers, operations

# Outputs and their number of values; None: as many as there are classes.
SIZES = types.MappingProxyType(
  {'emotion': None, 'valence_arousal': 2, 'dominance': 1, 'action_units': 12}
)
# Outputs that are logits, which nothing bounds.
LOGITS = ('emotion', 'action_units')
NAMES = tuple(SIZES)
# What a config may set under `head`.
OPTIONS = ('squash', 'hidden', 'layers', 'batch_norm')


class Heads(nn.Module):
  """Dense layers a feature, shared by its outputs, in float32.

  Attributes:
    num_classes: of the emotion head.
    names: the outputs, out of `NAMES`.
    dropout: rate on the feature and after each shared layer, in training.
    squash: whether tanh bounds the values; published heads may be linear.
    hidden: width of a dense layer with tanh before the outputs; 0: none.
    layers: widths of dense layers with ReLU before that.
    batch_norm: whether each of `layers` is normalised over the batch.
  """

  num_classes: int
  names: tuple[str, ...] = ('emotion',)
  dropout: float = 0.0
  squash: bool = True
  hidden: int = 0
  layers: tuple[int, ...] = ()
  batch_norm: bool = False

  @nn.compact
  def __call__(
    self,
    features: Mapping[str, jax.Array],
    counts: Mapping[str, jax.Array] | None = None,
    *,
    train: bool = False,
  ) -> dict[str, dict[str, jax.Array]]:
    """Maps each feature to the outputs asked for.

    Args:
      features: [B, D] by source, such as a modality.
      counts: bool [B] by source: the rows that enter the statistics of a
        batch norm, which padding and clips without the source do not; None
        is all.
      train: whether to apply dropout, and to use and keep the statistics of
        the batch (collection `batch_stats`).

    Returns:
      By source, by name: `emotion`, logits, float32 [B, num_classes];
      `valence_arousal`, float32 [B, 2], and `dominance`, float32 [B, 1], in
      (-1, 1) if `squash`; `action_units`, logits, float32 [B, 12].

    Raises:
      AvemoError: a batch norm without a layer that it could follow.
    """
    if self.batch_norm and not self.layers:
      raise errors.AvemoError(
        'head.batch_norm follows the shared layers: give their widths by '
        'head.layers, such as (256, 128)'
      )
    options = (self.num_classes, self.names, self.dropout, self.squash)
    options = (*options, self.hidden, self.layers, self.batch_norm)
    return {
      source: Head(*options, name=source)(
        feature, None if counts is None else counts[source], train=train
      )
      for source, feature in features.items()
    }


class Head(nn.Module):
  """The outputs of one feature; attributes as in `Heads`."""

  num_classes: int
  names: tuple[str, ...] = ('emotion',)
  dropout: float = 0.0
  squash: bool = True
  hidden: int = 0
  layers: tuple[int, ...] = ()
  batch_norm: bool = False

  @nn.compact
  def __call__(
    self,
    feature: jax.Array,
    counts: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> dict[str, jax.Array]:
    """Maps a feature [B, D] to its outputs by name."""
    feature = feature.astype(operations.find_wide_dtype(feature))
    drop = nn.Dropout(self.dropout, deterministic=not train)
    feature = drop(feature)
    if counts is None:
      counts = jnp.ones(len(feature), bool)
    for number, width in enumerate(self.layers):
      # A norm takes a bias away again.
      feature = self._dense(
        width, f'layer_{number}', use_bias=not self.batch_norm
      )(feature)
      if self.batch_norm:
        feature = cnn.BatchNorm(
          dtype=feature.dtype, name=f'layer_{number}_norm'
        )(feature, counts[:, None], train=train)
      feature = drop(nn.relu(feature))
    if self.hidden:
      feature = self._dense(self.hidden, 'hidden')(feature)
      feature = drop(jnp.tanh(feature))
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

  def _dense(self, width: int, name: str, **options: Any) -> nn.Dense:
    return nn.Dense(
      width, kernel_init=layers.initialize_kernel, name=name, **options
    )
