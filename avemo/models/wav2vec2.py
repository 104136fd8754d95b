"""Wav2Vec2: convolutions over raw speech, then a transformer.

Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of
Speech Representations", NeurIPS 2020; the robust variants after Hsu et al.,
"Robust wav2vec 2.0", Interspeech 2021, and Wagner et al., "Dawn of the
Transformer Era in Speech Emotion Recognition", TPAMI 2023.
"""

import functools
import types
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import cnn, layers, operations

# Samples under each convolution and between its steps: a frame sees 25 ms,
# and there are 49 or 50 of them a second at 16 kHz.
KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
SAMPLES_A_FRAME = 400

EPSILON = 1e-5


class Variant(NamedTuple):
  """What differs between the published models.

  Attributes:
    width: D.
    depth: L.
    num_heads: K.
    channels: of the convolutions over the samples.
    norm: 'group': the first convolution alone is normed, each channel over
      time; 'layer': all are, each frame over its channels.
    conv_bias: whether these convolutions have biases.
    post_norm: the transformer's norms follow the sums, and another comes
      before it; otherwise they open the branches, and the other comes last.
  """

  width: int
  depth: int
  num_heads: int
  channels: int
  norm: str
  conv_bias: bool
  post_norm: bool


VARIANTS = types.MappingProxyType(
  {
    'tiny': Variant(128, 4, 4, 64, 'layer', True, False),
    'base': Variant(768, 12, 12, 512, 'group', False, True),
    'large': Variant(1024, 24, 16, 512, 'layer', True, False),
    # The first half of large-robust, fine-tuned on dimensions of emotion.
    'robust12': Variant(1024, 12, 16, 512, 'layer', True, False),
  }
)


class Wav2Vec2(nn.Module):
  """Speech to tokens along time, and tokens to one feature a clip.

  A clip's tokens are those that it has alone and unpadded, whatever the batch:
  no frame sees samples after the clip's end, frames after it are zeros before
  the positional convolution and are not attended to, and a group norm counts
  the clip's own frames. With layer norm this is what the reference gives
  under an attention mask. With group norm the reference takes the padding
  into its statistics, and agrees only where a clip fills its batch.

  Attributes:
    variant: a name in `VARIANTS`.
    width: D, instead of the variant's.
    depth: L, instead of the variant's.
    num_heads: K, instead of the variant's.
    channels: of the convolutions, instead of the variant's, like the next
      three; see `Variant`.
    norm: likewise.
    conv_bias: likewise.
    post_norm: likewise.
    position_taps: frames under the positional convolution.
    position_groups: of the positional convolution.
    epsilon: of all norms.
    drop_path: rate at the last block, rising linearly from 0.
    frozen_blocks: number of blocks, from the first, that are not trained, nor
      is then what lies before them.
    remat: what the backward pass computes anew, see `recompute`.
    implementation: of the attention.
    dtype: compute dtype.
  """

  # Samples, and not a spectrogram, which others read.
  reads: ClassVar[str] = 'waveform'

  variant: str = 'base'
  width: int | None = None
  depth: int | None = None
  num_heads: int | None = None
  channels: int | None = None
  norm: str | None = None
  conv_bias: bool | None = None
  post_norm: bool | None = None
  position_taps: int = 128
  position_groups: int = 16
  epsilon: float = EPSILON
  drop_path: float = 0.0
  frozen_blocks: int = 0
  remat: bool | str = 'auto'
  implementation: str | None = None
  dtype: Any = jnp.float32

  def setup(self):
    variant = layers.choose_variant(self, VARIANTS)
    self.chosen = variant
    layers.check_names('norm', (variant.norm,), ('group', 'layer'))
    self.extractor = [
      SampleConv(
        variant.channels,
        kernel,
        stride,
        norm=variant.norm if variant.norm == 'layer' or not number else None,
        use_bias=variant.conv_bias,
        epsilon=self.epsilon,
        dtype=self.dtype,
      )
      for number, (kernel, stride) in enumerate(
        zip(KERNELS, STRIDES, strict=True)
      )
    ]
    norm = functools.partial(layers.LayerNorm, self.epsilon, self.dtype)
    self.projection_norm = norm()
    self.projection = nn.Dense(
      variant.width, kernel_init=layers.initialize_kernel, dtype=self.dtype
    )
    self.positions = PositionalConv(
      self.position_taps, self.position_groups, self.dtype
    )
    self.encoder = layers.Encoder(
      *variant[:3],
      epsilon=self.epsilon,
      drop_path=self.drop_path,
      frozen_blocks=self.frozen_blocks,
      remat=self.remat,
      implementation=self.implementation,
      dtype=self.dtype,
      post_norm=variant.post_norm,
    )
    self.encoder_norm = norm()
    self.pooler = cnn.MeanPooling()

  def __call__(
    self,
    waveform: jax.Array,
    num_samples: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps speech at 16 kHz [B, S] to tokens [B, N, D].

    Args:
      waveform: standardised, see `audio.waveform`.
      num_samples: int [B], samples before the clip's end; None is S.
      mask: not used: no statistics cross examples.
      train: whether to drop paths.

    Returns:
      Tokens along time, 0 after the clip's end.

    Raises:
      AvemoError: S is shorter than one frame.
    """
    del mask
    if num_samples is None:
      num_samples = jnp.full(len(waveform), waveform.shape[1])
    if waveform.shape[1] < SAMPLES_A_FRAME:
      raise errors.AvemoError(
        f'{waveform.shape[1]} samples of speech are fewer than the '
        f'{SAMPLES_A_FRAME} of one Wav2Vec2 frame: use longer clips'
      )
    x = waveform[..., None].astype(self.dtype)
    num_frames = num_samples
    for conv in self.extractor:
      num_frames = count_steps(num_frames, conv.kernel, conv.stride)
      x = conv(x, num_frames)
    x = self.projection(self.projection_norm(x))
    valid = cnn.is_before(num_frames, x.shape[1])[..., None]
    x = jnp.where(valid, x, 0)
    x = x + self.positions(x)
    if self.chosen.post_norm:
      x = self.encoder_norm(x)
    # A clip without a frame attends to one, rather than to none.
    x = self.encoder(x, train=train, num_valid=jnp.maximum(num_frames, 1))
    if not self.chosen.post_norm:
      x = self.encoder_norm(x)
    return jnp.where(valid, x, 0)

  def begin(
    self,
    waveform: jax.Array,
    num_samples: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    stop: int,
    train: bool = False,
  ) -> jax.Array:
    """Tokens [B, N, D], which know their time; always of the whole tower."""
    del stop
    return self(waveform, num_samples, mask, train=train)

  def pool(
    self, tokens: jax.Array, num_samples: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, N, D] to features, float32 [B, D].

    Args:
      tokens: of the whole tower.
      num_samples: int [B], samples before the clip's end; None is all.

    Returns:
      The mean of the tokens before the clip's end; 0 without one.
    """
    num_frames = jnp.full(len(tokens), tokens.shape[1])
    if num_samples is not None:
      num_frames = count_frames(num_samples)
    valid = cnn.is_before(num_frames, tokens.shape[1])
    return self.pooler(tokens.astype(jnp.float32), valid)


class SampleConv(nn.Module):
  """Convolution along time, a norm where there is one, and GELU.

  Attributes:
    width: number of channels.
    kernel: steps under the convolution.
    stride: steps between its outputs.
    norm: 'group', 'layer' or None; see `Variant`.
    use_bias: whether the convolution has one.
    epsilon: of the norm.
    dtype: compute dtype.
  """

  width: int
  kernel: int
  stride: int
  norm: str | None = None
  use_bias: bool = False
  epsilon: float = EPSILON
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, num_frames: jax.Array) -> jax.Array:
    """Maps [B, F, C] to [B, (F - kernel) / stride + 1, width].

    Args:
      x: what is before.
      num_frames: int [B], outputs before the clip's end.
    """
    x = nn.Conv(
      self.width,
      (self.kernel,),
      (self.stride,),
      padding='VALID',
      use_bias=self.use_bias,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name='conv',
    )(x)
    if self.norm == 'group':
      x = TimeNorm(self.epsilon, self.dtype, name='norm')(x, num_frames)
    elif self.norm == 'layer':
      x = layers.LayerNorm(self.epsilon, self.dtype, name='norm')(x)
    return operations.gelu(x)


class TimeNorm(nn.Module):
  """Group norm with as many groups as channels: each over a clip's time.

  Attributes:
    epsilon: added to the variance.
    dtype: dtype of the output.
  """

  epsilon: float = EPSILON
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, num_frames: jax.Array) -> jax.Array:
    """Normalises [B, F, C] by the first `num_frames` [B] of F."""
    channels = x.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, channels)
    bias = self.param('bias', nn.initializers.zeros, channels)
    x = x.astype(jnp.float32)
    valid = cnn.is_before(num_frames, x.shape[1])[..., None]
    count = jnp.clip(num_frames, 1, x.shape[1])[:, None, None]
    centred = x - jnp.sum(x, 1, keepdims=True, where=valid) / count
    square = jnp.square(centred)
    variance = jnp.sum(square, 1, keepdims=True, where=valid) / count
    x = centred * jax.lax.rsqrt(variance + self.epsilon) * scale + bias
    return x.astype(self.dtype)


class PositionalConv(nn.Module):
  """What the neighbours of a token are, in place of a table of positions.

  Published kernels are stored as a direction and a length a tap; converted
  ones are the product.

  Attributes:
    taps: tokens under the convolution.
    groups: of channels, each of which sees itself alone.
    dtype: compute dtype.
  """

  taps: int
  groups: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] to [B, N, D]."""
    half = self.taps // 2
    x = nn.Conv(
      x.shape[-1],
      (self.taps,),
      # An even number of taps leaves one output too many, which is the last.
      padding=((half, self.taps - 1 - half),),
      feature_group_count=self.groups,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name='conv',
    )(x)
    return operations.gelu(x)


def count_steps(length: Any, kernel: int, stride: int) -> Any:
  """Outputs of a convolution over so many steps; never below 0."""
  return jnp.maximum(length - kernel + stride, 0) // stride


def count_frames(num_samples: Any) -> Any:
  """Frames that so many samples make."""
  for kernel, stride in zip(KERNELS, STRIDES, strict=True):
    num_samples = count_steps(num_samples, kernel, stride)
  return num_samples
