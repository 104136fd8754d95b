"""A model over features of frames: what towers said, read along time."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import core
from flax import linen as nn

from avemo import errors
from avemo.models import heads, layers, positions

KINDS = ('transformer', 'mlp')


class Sequence(nn.Module):
  """Features of the frames of a window to an answer for every frame.

  The features of a frame are normed, projected and added ("early fusion"): a
  missing one is a learned embedding. The MLP then sees each frame alone, the
  transformer all frames of the window.

  Attributes:
    num_classes: of the emotion head.
    inputs: name and width of each feature; what a run's towers give.
    use: modalities of the towers.
    kind: out of `KINDS`.
    width: D.
    depth: blocks of the transformer, or hidden layers of the MLP.
    num_heads: of the transformer.
    dropout: rate on features and before the heads, in training.
    heads: names of the outputs, out of `heads.NAMES`.
    head: `heads.OPTIONS` of the heads.
    augment: not in use.
    frozen: likewise.
    dtype: compute dtype; logits stay float32.
  """

  num_classes: int
  inputs: tuple[tuple[str, int], ...] = ()
  use: tuple[str, ...] = ('video', 'audio')
  kind: str = 'transformer'
  width: int = 128
  depth: int = 2
  num_heads: int = 4
  dropout: float = 0.0
  heads: tuple[str, ...] = ('emotion',)
  head: Any = core.FrozenDict()
  augment: Any = core.FrozenDict()
  frozen: tuple[str, ...] = ()
  dtype: Any = 'float32'

  def __post_init__(self):
    layers.check_names('kind of sequence', (self.kind,), KINDS)
    layers.check_names('head', self.heads, heads.NAMES)
    layers.check_names('head option', self.head, heads.OPTIONS)
    if self.augment:
      raise errors.AvemoError(
        f'augment.{next(iter(self.augment))}: model.name=sequence reads '
        'features, which are not augmented; leave it out'
      )
    self.inputs = tuple((name, int(width)) for name, width in self.inputs)
    self.heads = tuple(self.heads)
    super().__post_init__()

  @nn.compact
  def __call__(
    self, batch: Mapping[str, jax.Array], train: bool = False
  ) -> dict[str, jax.Array]:
    """Maps a batch to its outputs, a row a frame.

    Args:
      batch: for each name in `inputs`, `<name>_feature` float32 [B, T, width]
        and `<name>_known` bool [B, T]; `num_frames` int [B], at least 1, the
        frames before what fills up the window.
      train: whether to drop features (rng `dropout`).

    Returns:
      As `Emotion`, float32 [B * T, ...], the frames of a window one after
      another.
    """
    if not self.inputs:
      raise errors.AvemoError('model.name=sequence: name features.towers')
    dtype, total = jnp.dtype(self.dtype), 0
    for name, _ in self.inputs:
      x = batch[f'{name}_feature']
      x = nn.LayerNorm(dtype=jnp.float32, name=f'{name}_norm')(x).astype(dtype)
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
      x = nn.Dense(self.width, dtype=dtype, name=f'{name}_projection')(x)
      missing = self.param(
        f'{name}_missing', layers.initialize_embedding, (self.width,)
      )
      known = batch[f'{name}_known'][..., None]
      total += jnp.where(known, x, missing.astype(dtype))
    x = self._read(total, batch['num_frames'], train)
    rows = x.reshape(-1, self.width)
    # Padding stays out of batch statistics.
    counts = jnp.arange(x.shape[1]) < batch['num_frames'][:, None]
    counts = counts.reshape(-1)
    outputs = heads.Heads(
      self.num_classes, self.heads, self.dropout, **self.head, name='head'
    )({'joint': rows}, {'joint': counts}, train=train)
    return outputs['joint']

  def _read(
    self, x: jax.Array, num_frames: jax.Array, train: bool
  ) -> jax.Array:
    """Tokens [B, T, D] after the transformer or the MLP."""
    dtype = x.dtype
    if self.kind == 'mlp':
      for number in range(self.depth):
        x = nn.relu(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.width, dtype=dtype, name=f'layer_{number}')(x)
      return nn.relu(x)
    x = x + positions.sincos_table(x.shape[1], self.width).astype(dtype)
    x = layers.Encoder(
      self.width,
      self.depth,
      self.num_heads,
      remat=False,
      dtype=dtype,
      name='encoder',
    )(x, train=train, num_valid=num_frames)
    return nn.LayerNorm(dtype=jnp.float32, name='norm')(x)

  def make_example(self, length: int = 1) -> dict[str, np.ndarray]:
    """A batch of one window of zeros, `length` frames long."""
    batch = {'num_frames': np.full(1, length, np.int32)}
    for name, width in self.inputs:
      batch[f'{name}_feature'] = np.zeros((1, length, width), np.float32)
      batch[f'{name}_known'] = np.ones((1, length), bool)
    return batch
