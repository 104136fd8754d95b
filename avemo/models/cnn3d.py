"""A 3-D convolutional tower over films, and a 2-D one over their pictures."""

import types
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import cnn, layers

# Channels of each block; every block halves height and width.
VARIANTS = types.MappingProxyType(
  {
    'tiny': (8, 16, 32),
    'small': (16, 32, 64, 128),
    'base': (32, 64, 128, 256, 256),
  }
)


class CNN3D(nn.Module):
  """Frames to tokens along time, and tokens to one feature a clip.

  Attributes:
    variant: a name in `VARIANTS`.
    widths: channels of each block, instead of the variant's.
    span: frames that a convolution reads, odd. Where it is more than 1, every
      block but the first halves time; where it is 1, each picture is read by
      itself, as by a 2-D tower.
    cells: the last block's picture is averaged over so many parts each way,
      whose averages stand side by side: where the mouth is, is kept.
    pooling: a name in `cnn.POOLINGS`: over the tokens.
    momentum: of the running averages of the batch statistics.
    frozen_blocks: number of blocks, from the first, that are not trained and
      keep their running averages.
    dtype: compute dtype.
  """

  variant: str = 'small'
  widths: tuple[int, ...] | None = None
  span: int = 3
  cells: int = 1
  pooling: str = 'mean'
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
    if self.span < 1 or self.span % 2 == 0:
      raise errors.AvemoError(f'span={self.span}: an odd number of frames')
    self.blocks = [
      Block(w, self.span, self.momentum, self.dtype) for w in widths
    ]
    self.pooler = layers.choose('pooling', self.pooling, cnn.POOLINGS)()

  def __call__(
    self,
    frames: jax.Array,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps frames [B, T, H, W, C], normalised, to tokens [B, N, D].

    Args:
      frames: see `pictures.normalize`.
      mask: bool [B], False where the example is padding and does not reach
        the statistics; None is all True.
      train: whether to use, and keep, the statistics of the batch.

    Returns:
      N is T, halved by every block but the first if `span` > 1, rounded up; D
      the last width times `cells` squared.
    """
    if mask is None:
      mask = jnp.ones(len(frames), bool)
    x = frames.astype(self.dtype)
    for number, block in enumerate(self.blocks):
      frozen = number < self.frozen_blocks
      x = block(
        x, mask, halves=number > 0 and self.span > 1, train=train and not frozen
      )
      x = jax.lax.stop_gradient(x) if frozen else x
    height, width = x.shape[2:4]
    if height % self.cells or width % self.cells:
      raise errors.AvemoError(
        f'video.cells={self.cells}: the last block sees {height}x{width} '
        'places, of which it must be a divisor; change data.size or cells'
      )
    x = x.reshape(
      *x.shape[:2],
      self.cells,
      height // self.cells,
      self.cells,
      width // self.cells,
      -1,
    )
    return x.mean((3, 5)).reshape(*x.shape[:2], -1)

  def pool(self, tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] to features, float32 [B, D or 2 D]."""
    return self.pooler(
      tokens.astype(jnp.float32), jnp.ones(tokens.shape[:2], bool)
    )


class Block(nn.Module):
  """Convolution, batch norm, ReLU, and a maximum that halves sides.

  Attributes:
    width: number of channels.
    span: frames that the convolution reads.
    momentum: of the running averages.
    dtype: compute dtype.
  """

  width: int
  span: int = 3
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    mask: jax.Array,
    *,
    halves: bool = False,
    train: bool = False,
  ) -> jax.Array:
    """Maps [B, T, H, W, C] to [B, T, H / 2, W / 2, width], rounded up.

    Args:
      x: see there.
      mask: bool [B], the examples that reach the statistics.
      halves: whether time is halved as well.
      train: see the tower.
    """
    kernel = self.param(
      'kernel',
      nn.initializers.he_normal(),
      (self.span, 3, 3, x.shape[-1], self.width),
    )
    x = convolve(x, kernel.astype(self.dtype))
    x = cnn.BatchNorm(self.momentum, dtype=self.dtype, name='norm')(
      x, mask[:, None, None, None, None], train=train
    )
    x = nn.relu(x)
    for axis in (1, 2, 3) if halves else (2, 3):
      x = halve(x, axis)
    return x


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """A 3-D convolution, with zeros around; sizes stay.

  In two dimensions, over the channels of neighbouring frames side by side:
  the same sums, which XLA makes six times as fast on a CPU.

  Args:
    x: [B, T, H, W, C].
    kernel: [span, 3, 3, C, width], span odd.

  Returns:
    [B, T, H, W, width].
  """
  batch_size, count, *picture = x.shape
  span = len(kernel)
  padding = [(0, 0), (span // 2, span // 2), *[(0, 0)] * 3]
  padded = jnp.pad(x, padding)
  x = jnp.concatenate([padded[:, n : n + count] for n in range(span)], axis=-1)
  x = jax.lax.conv_general_dilated(
    x.reshape(-1, *picture[:2], span * picture[2]),
    jnp.moveaxis(kernel, 0, 2).reshape(3, 3, span * picture[2], -1),
    window_strides=(1, 1),
    padding=((1, 1), (1, 1)),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  return x.reshape(batch_size, count, *x.shape[1:])


def halve(x: jax.Array, axis: int) -> jax.Array:
  """The maximum of each two neighbours of x >= 0 along an axis, rounded up.

  Strided slices, not `nn.max_pool`: its gradient is slow on a CPU.
  """
  padding = [(0, 0)] * x.ndim
  padding[axis] = (0, x.shape[axis] % 2)
  x = jnp.pad(x, padding)
  even = jax.lax.slice_in_dim(x, 0, None, 2, axis)
  return jnp.maximum(even, jax.lax.slice_in_dim(x, 1, None, 2, axis))
