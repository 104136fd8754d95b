"""A transformer over overlapping patches of a log-mel spectrogram.

The geometry is that of Gong et al., "AST: Audio Spectrogram Transformer",
Interspeech 2021; its base variant is the published model, the smaller ones
train from scratch.
"""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from avemo import errors
from avemo.models import layers

VARIANTS = types.MappingProxyType(
  {
    'tiny': layers.Variant(128, 4, 4),
    'small': layers.Variant(384, 12, 6),
    'base': layers.Variant(768, 12, 12),
  }
)


class SpectrogramViT(nn.Module):
  """Spectrogram to tokens, and tokens to one feature a clip.

  Tokens are the class and the distillation token, then patches ordered by
  mel band, then time. The position table is learned, so parameters hold for
  one size of spectrogram.

  Attributes:
    variant: a name in `VARIANTS`.
    width: D, instead of the variant's.
    depth: L, instead of the variant's.
    num_heads: K, instead of the variant's.
    patch: mel bands and time frames of one patch.
    stride: mel bands and time frames between patches.
    epsilon: of the encoder's layer norms; 1e-12 in transformers' files.
    fc_epsilon: of the norm after pooling; 1e-12 in transformers' files.
    drop_path: rate at the last block, rising linearly from 0.
    frozen_blocks: number of blocks, from the first, that are not trained, nor
      is then the embedding before them.
    remat: recompute activations in the backward pass to save memory.
    implementation: of the attention.
    dtype: compute dtype.
  """

  variant: str = 'base'
  width: int | None = None
  depth: int | None = None
  num_heads: int | None = None
  patch: tuple[int, int] = (16, 16)
  stride: tuple[int, int] = (10, 10)
  epsilon: float = layers.EPSILON
  fc_epsilon: float = layers.EPSILON
  drop_path: float = 0.0
  frozen_blocks: int = 0
  remat: bool = True
  implementation: str | None = None
  dtype: Any = jnp.float32

  def setup(self):
    width, depth, num_heads = layers.choose_variant(self, VARIANTS)
    self.embedding = PatchesWithPositions(
      width, self.patch, self.stride, self.dtype
    )
    self.encoder = layers.Encoder(
      width,
      depth,
      num_heads,
      epsilon=self.epsilon,
      drop_path=self.drop_path,
      frozen_blocks=self.frozen_blocks,
      remat=self.remat,
      implementation=self.implementation,
      dtype=self.dtype,
    )
    self.norm = layers.LayerNorm(self.epsilon, self.dtype)
    self.fc_norm = layers.LayerNorm(self.fc_epsilon, jnp.float32)

  def __call__(
    self,
    spectrogram: jax.Array,
    num_frames: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps a spectrogram [B, F, M], normalised, to tokens [B, 2 + N, D].

    Args:
      spectrogram: F time frames of M mel bands.
      num_frames: not used: the whole window is seen, silence included.
      mask: not used: no statistics cross examples.
      train: whether to drop paths.

    Returns:
      Tokens after the last norm.
    """
    del num_frames, mask
    tokens = self.encoder(self.embedding(spectrogram), train=train)
    return self.norm(tokens)

  def begin(
    self,
    spectrogram: jax.Array,
    num_frames: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    stop: int,
    train: bool = False,
  ) -> jax.Array:
    """The tokens [B, 2 + N, D] after the first `stop` blocks, unnormed."""
    del num_frames, mask
    return self.encoder(self.embedding(spectrogram), train=train, stop=stop)

  def pool(
    self, tokens: jax.Array, num_frames: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, 2 + N, D] to features, float32 [B, D]."""
    del num_frames
    return self.fc_norm(tokens[:, :2].astype(jnp.float32).mean(1))


class PatchesWithPositions(nn.Module):
  """Patches, the two summary tokens before them, and learned positions.

  Attributes:
    width: D.
    patch: mel bands and time frames of one patch.
    stride: mel bands and time frames between patches.
    dtype: compute dtype.
  """

  width: int
  patch: tuple[int, int]
  stride: tuple[int, int]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, spectrogram: jax.Array) -> jax.Array:
    """Maps a spectrogram [B, F, M] to tokens [B, 2 + N, D]."""
    patches = cut_patches(spectrogram, self.patch, self.stride)
    tokens = layers.PatchEmbedding(
      (*self.patch, 1), self.width, self.dtype, name='patch_embed'
    )(patches)
    initialize = layers.initialize_embedding
    cls = self.param('cls', initialize, (1, 1, self.width))
    distillation = self.param('distillation', initialize, (1, 1, self.width))
    table = self.param(
      'positions', initialize, (1, 2 + tokens.shape[1], self.width)
    )
    summary = jnp.concatenate([cls, distillation], axis=1)
    summary = jnp.broadcast_to(summary, (len(tokens), 2, self.width))
    tokens = jnp.concatenate([summary.astype(self.dtype), tokens], axis=1)
    return tokens + table.astype(self.dtype)


def cut_patches(
  spectrogram: jax.Array, patch: tuple[int, int], stride: tuple[int, int]
) -> jax.Array:
  """Cuts a spectrogram [B, F, M] into overlapping patches.

  Args:
    spectrogram: F time frames of M mel bands.
    patch: mel bands and time frames of one patch.
    stride: mel bands and time frames between patches.

  Returns:
    [B, N, mel bands * time frames], ordered by mel band, then time; what is
    left at the upper and the late edge is not used.
  """
  batch_size, num_frames, num_mels = spectrogram.shape
  if num_mels < patch[0] or num_frames < patch[1]:
    raise errors.AvemoError(
      f'a spectrogram of {num_frames} frames and {num_mels} mel bands is '
      f'smaller than one patch of {patch[1]} frames and {patch[0]} bands'
    )
  bands = np.arange(0, num_mels - patch[0] + 1, stride[0])
  times = np.arange(0, num_frames - patch[1] + 1, stride[1])
  bands = bands[:, None] + np.arange(patch[0])
  times = times[:, None] + np.arange(patch[1])
  patches = spectrogram.swapaxes(1, 2)[
    :, bands[:, None, :, None], times[None, :, None, :]
  ]
  return patches.reshape(batch_size, len(bands) * len(times), -1)
