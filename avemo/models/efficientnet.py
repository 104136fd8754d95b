"""EfficientNet over single frames, as published for faces and for ImageNet.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019; face weights: Savchenko, "Facial expression and
attributes recognition based on multi-task learning of lightweight neural
networks", SISY 2021. Their tensors come from TensorFlow: 'SAME' padding, and
1e-3 in batch norm.
"""

import math
import types
from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import cnn, layers

EPSILON = 1e-3


class Stage(NamedTuple):
  """Blocks of one width; the first of them strides.

  Attributes:
    repeats: number of blocks before scaling.
    kernel: of the depthwise convolution.
    stride: of the first block.
    expansion: channels within a block, as a multiple of its input's.
    width: channels before scaling.
  """

  repeats: int
  kernel: int
  stride: int
  expansion: int
  width: int


class Variant(NamedTuple):
  """Multipliers of width and depth, how many stages run, the side in pixels."""

  width: float
  depth: float
  num_stages: int
  size: int


STAGES = (
  Stage(1, 3, 1, 1, 16),
  Stage(2, 3, 2, 6, 24),
  Stage(2, 5, 2, 6, 40),
  Stage(3, 3, 2, 6, 80),
  Stage(3, 5, 1, 6, 112),
  Stage(4, 5, 2, 6, 192),
  Stage(1, 3, 1, 6, 320),
)
STEM_WIDTH = 32
HEAD_WIDTH = 1280
# Channels within a squeeze, as a share of those that enter the block.
SQUEEZE = 0.25

VARIANTS = types.MappingProxyType(
  {
    'tiny': Variant(0.25, 1.0, 3, 32),
    'b0': Variant(1.0, 1.0, 7, 224),
    'b2': Variant(1.1, 1.2, 7, 260),
  }
)


class EfficientNet(nn.Module):
  """Frames to one token each, and tokens to one feature a clip.

  Frames are pictures of the whole clip's size, not cropped any further; a
  published model expects its variant's `size`.

  Attributes:
    variant: a name in `VARIANTS`.
    epsilon: of the batch norms.
    momentum: of the running averages of the batch statistics.
    drop_path: rate at the last block, rising linearly from 0 at the first.
    frozen_blocks: number of blocks, from the first, that are not trained and
      keep their running averages, nor is then the stem before them.
    dtype: compute dtype; statistics, squeezes and tokens stay float32.
  """

  variant: str = 'b0'
  epsilon: float = EPSILON
  momentum: float = 0.9
  drop_path: float = 0.0
  frozen_blocks: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    frames: jax.Array,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps frames [B, T, H, W, 3], normalised, to tokens [B, T, D].

    Args:
      frames: see `videomae.normalize`.
      mask: bool [B], False where the example is padding and does not reach
        the statistics; None is all True.
      train: whether to drop paths (rng `dropout`) and to use, and keep, the
        statistics of the batch.

    Returns:
      float32; D is 1280 for b0 and 1408 for b2.
    """
    variant = layers.choose('variant', self.variant, VARIANTS)
    plan = plan_blocks(variant)
    if not 0 <= self.frozen_blocks <= len(plan):
      raise errors.AvemoError(
        f'frozen_blocks={self.frozen_blocks}: the tower has {len(plan)} blocks'
      )
    batch_size, num_frames = frames.shape[:2]
    if mask is None:
      mask = jnp.ones(batch_size, bool)
    mask = jnp.repeat(mask, num_frames)[:, None, None, None]
    options = {
      'epsilon': self.epsilon,
      'momentum': self.momentum,
      'dtype': self.dtype,
    }
    x = einops.rearrange(frames, 'b t h w c -> (b t) h w c').astype(self.dtype)
    trains = train and self.frozen_blocks == 0
    stem = round_width(STEM_WIDTH, variant.width)
    x = ConvNorm(stem, 3, stride=2, **options, name='stem')(
      x, mask, train=trains
    )
    for number, (name, stage) in enumerate(plan.items()):
      trains = train and number >= self.frozen_blocks
      rate = self.drop_path * number / len(plan)
      x = Block(*stage[1:], drop_path=rate, **options, name=name)(
        x, mask, train=trains
      )
      if number + 1 == self.frozen_blocks:
        x = jax.lax.stop_gradient(x)
    width = round_width(HEAD_WIDTH, variant.width)
    x = ConvNorm(width, 1, **options, name='head')(x, mask, train=train)
    x = x.astype(jnp.float32).mean((1, 2))
    return x.reshape(batch_size, num_frames, -1)

  def pool(self, tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, T, D] to features, float32 [B, D]."""
    return tokens.astype(jnp.float32).mean(1)


class Block(nn.Module):
  """Expansion, depthwise convolution, squeeze and projection.

  A block whose expansion is 1 has none. The input is added where the shapes
  allow it.

  Attributes:
    kernel: side of the depthwise convolution.
    stride: of the depthwise convolution.
    expansion: channels within, as a multiple of the input's.
    width: channels of the output.
    drop_path: rate at which the branch of whole frames is dropped.
    epsilon: of the batch norms.
    momentum: of the running averages.
    dtype: compute dtype.
  """

  kernel: int
  stride: int
  expansion: int
  width: int
  drop_path: float = 0.0
  epsilon: float = EPSILON
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, *, train: bool = False
  ) -> jax.Array:
    """Maps [N, H, W, C] and bool [N, 1, 1, 1] to [N, H / s, W / s, width]."""
    options = {
      'epsilon': self.epsilon,
      'momentum': self.momentum,
      'dtype': self.dtype,
    }
    entering = x
    inner = x.shape[-1] * self.expansion
    if self.expansion > 1:
      x = ConvNorm(inner, 1, **options, name='expand')(x, mask, train=train)
    x = ConvNorm(
      inner,
      self.kernel,
      stride=self.stride,
      groups=inner,
      **options,
      name='depthwise',
    )(x, mask, train=train)
    x = Squeeze(
      round(entering.shape[-1] * SQUEEZE), self.dtype, name='squeeze'
    )(x)
    x = ConvNorm(self.width, 1, activate=False, **options, name='project')(
      x, mask, train=train
    )
    if x.shape != entering.shape:
      return x
    if train and self.drop_path > 0:
      shape = (len(x), 1, 1, 1)
      keep = jax.random.bernoulli(
        self.make_rng('dropout'), 1 - self.drop_path, shape
      )
      x = x * (keep / (1 - self.drop_path)).astype(x.dtype)
    return entering + x


class ConvNorm(nn.Module):
  """Convolution without bias, batch norm and SiLU.

  Attributes:
    width: channels of the output.
    kernel: side of the convolution.
    stride: of the convolution.
    groups: of the channels, which see only their own group.
    activate: whether SiLU follows.
    epsilon: of the batch norm.
    momentum: of the running averages.
    dtype: compute dtype.
  """

  width: int
  kernel: int
  stride: int = 1
  groups: int = 1
  activate: bool = True
  epsilon: float = EPSILON
  momentum: float = 0.9
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, *, train: bool = False
  ) -> jax.Array:
    """Maps [N, H, W, C] and bool [N, 1, 1, 1] to [N, H / s, W / s, width]."""
    # Of all outputs an input reaches only those of its group.
    scale = 2.0 * self.groups
    x = nn.Conv(
      self.width,
      (self.kernel, self.kernel),
      self.stride,
      padding='SAME',
      feature_group_count=self.groups,
      use_bias=False,
      kernel_init=nn.initializers.variance_scaling(scale, 'fan_out', 'normal'),
      dtype=self.dtype,
      name='conv',
    )(x)
    x = cnn.BatchNorm(self.momentum, self.epsilon, self.dtype, name='norm')(
      x, mask, train=train
    )
    return nn.silu(x) if self.activate else x


class Squeeze(nn.Module):
  """Scales channels by what the whole picture holds ("squeeze-excitation").

  Attributes:
    width: channels that the summary is squeezed to.
    dtype: compute dtype.
  """

  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [N, H, W, C] to [N, H, W, C]."""
    summary = x.astype(jnp.float32).mean((1, 2)).astype(self.dtype)
    summary = nn.Dense(self.width, dtype=self.dtype, name='reduce')(summary)
    summary = nn.Dense(x.shape[-1], dtype=self.dtype, name='expand')(
      nn.silu(summary)
    )
    return x * nn.sigmoid(summary)[:, None, None]


def plan_blocks(variant: Variant) -> dict[str, Stage]:
  """Every block of a variant by name, `blocks_<stage>_<number>`, in order.

  Args:
    variant: its multipliers.

  Returns:
    Stages of one block each, scaled.
  """
  blocks = {}
  for s, stage in enumerate(STAGES[: variant.num_stages]):
    for number in range(math.ceil(stage.repeats * variant.depth)):
      blocks[f'blocks_{s}_{number}'] = stage._replace(
        repeats=1,
        stride=stage.stride if number == 0 else 1,
        width=round_width(stage.width, variant.width),
      )
  return blocks


def round_width(width: int, multiplier: float) -> int:
  """Channels as a multiple of 8, rounded down by a tenth at most."""
  scaled = width * multiplier
  rounded = max(8, int(scaled + 4) // 8 * 8)
  return rounded + 8 if rounded < 0.9 * scaled else rounded
