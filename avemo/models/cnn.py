"""A convolutional tower over log-mel or MFCC, small enough for a CPU."""

import types
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import layers, operations, positions

# Channels of each block; every block halves time and mel bands.
VARIANTS = types.MappingProxyType(
  {
    'tiny': (16, 32, 64),
    'small': (32, 64, 128, 128),
    'base': (64, 128, 256, 512),
  }
)


class CNN(nn.Module):
  """Spectrogram to tokens along time, and tokens to one feature a clip.

  Frames after the end of a clip count neither in batch statistics nor in
  pooling, and the features do not depend on how many there are.

  Attributes:
    variant: a name in `VARIANTS`.
    widths: channels of each block, instead of the variant's.
    pooling: a name in `POOLINGS`: over the valid tokens.
    keep_bands: whether a token holds what each band came to, side by side,
      and not their average: a cepstral coefficient, unlike a mel band, means
      something else than its neighbour.
    momentum: of the running averages of the batch statistics.
    frozen_blocks: number of blocks, from the first, that are not trained and
      keep their running averages.
    dtype: compute dtype.
  """

  variant: str = 'small'
  widths: tuple[int, ...] | None = None
  pooling: str = 'mean'
  keep_bands: bool = False
  momentum: float = 0.9
  frozen_blocks: int = 0
  dtype: Any = jnp.float32

  def setup(self):
    widths = layers.choose('variant', self.variant, VARIANTS)
    widths = widths if self.widths is None else self.widths
    if not 0 <= self.frozen_blocks <= len(widths):
      raise errors.AvemoError(
        f'frozen_blocks={self.frozen_blocks}: the tower has {len(widths)}'
      )
    self.blocks = [ConvBlock(w, self.momentum, self.dtype) for w in widths]
    self.pooler = layers.choose('pooling', self.pooling, POOLINGS)()

  def __call__(
    self,
    spectrogram: jax.Array,
    num_frames: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps a spectrogram [B, F, M], normalised, to tokens [B, N, D].

    Args:
      spectrogram: F time frames of M mel bands.
      num_frames: int [B], frames before the clip's end; None is F.
      mask: bool [B], False where the example is padding; None is all True.
      train: whether to use, and keep, the statistics of the batch.

    Returns:
      Tokens along time, 0 after the clip's end. D is the last width, times
      the bands that are left of M if `keep_bands`.
    """
    batch_size, length, _ = spectrogram.shape
    if num_frames is None:
      num_frames = jnp.full(batch_size, length)
    if mask is None:
      mask = jnp.ones(batch_size, bool)
    x = spectrogram[..., None].astype(self.dtype)
    for number, block in enumerate(self.blocks, start=1):
      frozen = number <= self.frozen_blocks
      x = block(x, num_frames, mask, train=train and not frozen)
      x = jax.lax.stop_gradient(x) if frozen else x
      num_frames = halve(num_frames)
    if self.keep_bands:
      return x.reshape(*x.shape[:2], -1)
    return x.mean(2)

  def begin(
    self,
    spectrogram: jax.Array,
    num_frames: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    stop: int,
    train: bool = False,
  ) -> jax.Array:
    """Tokens with positions [B, N, D]; the tower always runs as a whole."""
    del stop
    tokens = self(spectrogram, num_frames, mask, train=train)
    table = positions.sincos_table(*tokens.shape[1:])
    return tokens + table.astype(tokens.dtype)

  def pool(
    self, tokens: jax.Array, num_frames: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, N, D] to features, float32 [B, D or 2 D].

    Args:
      tokens: of the whole tower.
      num_frames: int [B], frames of the spectrogram before the clip's end;
        None is all.

    Returns:
      Features, from the tokens before the clip's end.
    """
    if num_frames is None:
      num_frames = jnp.full(len(tokens), tokens.shape[1] << len(self.blocks))
    for _ in self.blocks:
      num_frames = halve(num_frames)
    return self.pooler(
      tokens.astype(jnp.float32), is_before(num_frames, tokens.shape[1])
    )


class ConvBlock(nn.Module):
  """Convolution, batch norm, ReLU, and the maximum of 2x2.

  Attributes:
    width: number of channels.
    momentum: of the running averages.
    dtype: compute dtype.
  """

  width: int
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    num_frames: jax.Array,
    mask: jax.Array,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps [B, F, M, C] to [B, F / 2, M / 2, width], rounded up."""
    valid = is_before(num_frames, x.shape[1])[:, :, None, None]
    # What follows the end is 0, like the padding of the convolution, so that
    # a longer window changes nothing.
    x = jnp.where(valid, x, 0)
    x = nn.Conv(
      self.width,
      (3, 3),
      padding=((1, 1), (1, 1)),
      use_bias=False,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name='conv',
    )(x)
    x = BatchNorm(self.momentum, dtype=self.dtype, name='norm')(
      x, valid & mask[:, None, None, None], train=train
    )
    return max_pool(jnp.where(valid, nn.relu(x), 0))


class BatchNorm(nn.Module):
  """Batch norm over the positions that count, in float32 or wider.

  Attributes:
    momentum: share of the old running average that is kept at a step.
    epsilon: added to the variance.
    dtype: dtype of the output.
  """

  momentum: float = 0.9
  epsilon: float = 1e-5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, *, train: bool = False
  ) -> jax.Array:
    """Normalises the last axis.

    Args:
      x: [..., C].
      mask: bool, broadcastable to x without its last axis kept: [..., 1].
        Only True positions enter the statistics.
      train: use the statistics of this batch and move the running averages;
        a batch without a True position uses the averages and leaves them.

    Returns:
      [..., C]; every position is normalised, counted or not.
    """
    channels = x.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, channels)
    bias = self.param('bias', nn.initializers.zeros, channels)
    average = self.variable('batch_stats', 'mean', jnp.zeros, channels)
    spread = self.variable('batch_stats', 'var', jnp.ones, channels)
    x = x.astype(operations.find_wide_dtype(x))
    mean, variance = average.value, spread.value
    if train:
      mean, variance = measure(x, mask, mean, variance)
      if not self.is_initializing():
        keep = self.momentum
        average.value = keep * average.value + (1 - keep) * mean
        spread.value = keep * spread.value + (1 - keep) * variance
    factor = scale * jax.lax.rsqrt(variance + self.epsilon)
    return ((x - mean) * factor + bias).astype(self.dtype)


def measure(
  x: jax.Array, mask: jax.Array, mean: jax.Array, variance: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Mean and variance [C] of x [..., C] where the mask is True.

  Args:
    x: float32, or wider.
    mask: bool [..., 1], broadcastable to x.
    mean: the answer when no position counts.
    variance: the answer when no position counts.

  Returns:
    The mean and the biased variance.
  """
  axes = tuple(range(x.ndim - 1))
  weight = jnp.broadcast_to(mask, (*x.shape[:-1], 1)).astype(x.dtype)
  count = weight.sum()
  total = jnp.maximum(count, 1)
  found_mean = (x * weight).sum(axes) / total
  found_variance = (jnp.square(x - found_mean) * weight).sum(axes) / total
  some = count > 0
  return (
    jnp.where(some, found_mean, mean),
    jnp.where(some, found_variance, variance),
  )


def max_pool(x: jax.Array) -> jax.Array:
  """The maximum of 2x2 positions of [B, F, M, C] >= 0, sizes rounded up.

  Strided slices, not `nn.max_pool`: its gradient is slow on a CPU.
  """
  odd = [(0, size % 2) for size in x.shape[1:3]]
  x = jnp.pad(x, ((0, 0), *odd, (0, 0)))
  x = jnp.maximum(x[:, 0::2], x[:, 1::2])
  return jnp.maximum(x[:, :, 0::2], x[:, :, 1::2])


def halve(length: jax.Array) -> jax.Array:
  """Half of a length, rounded up."""
  return (length + 1) // 2


def is_before(length: jax.Array, size: int) -> jax.Array:
  """Bool [B, size]: True at positions before each length [B]."""
  return jnp.arange(size) < length[:, None]


class MeanPooling(nn.Module):
  """The mean of the valid tokens."""

  def __call__(self, tokens: jax.Array, valid: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] and valid, bool [B, N], to [B, D]."""
    weight = valid[..., None].astype(tokens.dtype)
    return (tokens * weight).sum(1) / jnp.maximum(weight.sum(1), 1)


class StatisticsPooling(nn.Module):
  """Mean and standard deviation of the valid tokens, side by side."""

  def __call__(self, tokens: jax.Array, valid: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] and valid, bool [B, N], to [B, 2 D]."""
    weight = valid[..., None].astype(tokens.dtype)
    count = jnp.maximum(weight.sum(1), 1)
    mean = (tokens * weight).sum(1) / count
    square = (jnp.square(tokens - mean[:, None]) * weight).sum(1) / count
    # The square root has no gradient at 0, where one token is all there is.
    return jnp.concatenate([mean, jnp.sqrt(square + 1e-5)], axis=-1)


class AttentionPooling(nn.Module):
  """The valid tokens' mean, weighted by a learned score."""

  @nn.compact
  def __call__(self, tokens: jax.Array, valid: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] and valid, bool [B, N], to [B, D]."""
    score = nn.Dense(1, name='score')(tokens)
    # A finite floor: a clip without a valid token gets the plain mean.
    score = jnp.where(valid[..., None], score, -1e30)
    return (tokens * jax.nn.softmax(score, axis=1)).sum(1)


POOLINGS = types.MappingProxyType(
  {
    'mean': MeanPooling,
    'statistics': StatisticsPooling,
    'attention': AttentionPooling,
  }
)
