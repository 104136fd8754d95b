"""A transformer over patches of a log-mel spectrogram.

By default the geometry is that of Gong et al., "AST: Audio Spectrogram
Transformer", Interspeech 2021; its base variant is the published model, the
smaller ones train from scratch. `AUDIO_MAE` is that of Huang et al., "Masked
Autoencoders that Listen", NeurIPS 2022.
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

# Arguments of `SpectrogramViT` that make it AudioMAE's, fine-tuned.
AUDIO_MAE = types.MappingProxyType(
  {
    'stride': (16, 16),
    'order': 'time-major',
    'summary': ('cls',),
    'pooling': 'patches',
    'norms': ('pooled',),
  }
)

ORDERS = ('band-major', 'time-major')
POOLINGS = ('summary', 'patches')
NORMS = ('tokens', 'pooled')


class SpectrogramViT(nn.Module):
  """Spectrogram to tokens, and tokens to one feature a clip.

  Tokens are the summary tokens, S of them, then N patches. The position table
  is a parameter, so parameters hold for one size of spectrogram.

  Attributes:
    variant: a name in `VARIANTS`.
    width: D, instead of the variant's.
    depth: L, instead of the variant's.
    num_heads: K, instead of the variant's.
    patch: mel bands and time frames of one patch.
    stride: mel bands and time frames between patches.
    order: of patches, out of `ORDERS`: 'band-major' counts all times of a mel
      band before the next band; 'time-major' the other way round.
    summary: names of the learned tokens before the patches, out of 'cls' and
      'distillation'; AudioMAE has 'cls' alone.
    pooling: out of `POOLINGS`: the mean of the summary tokens or, as in
      AudioMAE, of the patches.
    norms: out of `NORMS`: of all tokens after the last block, and of the
      pooled feature. Models fine-tuned from AudioMAE have the second alone,
      its pretraining the first alone.
    epsilon: of the encoder's layer norms; 1e-12 in transformers' files.
    fc_epsilon: of the norm after pooling; 1e-12 in transformers' files, 1e-5
      in AST's own.
    drop_path: rate at the last block, rising linearly from 0.
    frozen_blocks: number of blocks, from the first, that are not trained, nor
      is then the embedding before them.
    remat: what the backward pass computes anew, see `recompute`.
    implementation: of the attention.
    dtype: compute dtype.
  """

  variant: str = 'base'
  width: int | None = None
  depth: int | None = None
  num_heads: int | None = None
  patch: tuple[int, int] = (16, 16)
  stride: tuple[int, int] = (10, 10)
  order: str = 'band-major'
  summary: tuple[str, ...] = ('cls', 'distillation')
  pooling: str = 'summary'
  norms: tuple[str, ...] = NORMS
  epsilon: float = layers.EPSILON
  fc_epsilon: float = layers.EPSILON
  drop_path: float = 0.0
  frozen_blocks: int = 0
  remat: bool | str = 'auto'
  implementation: str | None = None
  dtype: Any = jnp.float32

  def setup(self):
    width, depth, num_heads = layers.choose_variant(self, VARIANTS)
    layers.check_names('order', [self.order], ORDERS)
    layers.check_names('summary', self.summary, ('cls', 'distillation'))
    layers.check_names('pooling', [self.pooling], POOLINGS)
    layers.check_names('norm', self.norms, NORMS)
    if self.pooling == 'summary' and not self.summary:
      raise errors.AvemoError(
        'pooling=summary needs summary tokens; name one or use patches'
      )
    self.embedding = PatchesWithPositions(
      width, self.patch, self.stride, self.order, self.summary, self.dtype
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
    if 'tokens' in self.norms:
      self.norm = layers.LayerNorm(self.epsilon, self.dtype)
    if 'pooled' in self.norms:
      self.fc_norm = layers.LayerNorm(self.fc_epsilon, jnp.float32)

  def __call__(
    self,
    spectrogram: jax.Array,
    num_frames: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps a spectrogram [B, F, M], normalised, to tokens [B, S + N, D].

    Args:
      spectrogram: F time frames of M mel bands.
      num_frames: not used: the whole window is seen, silence included.
      mask: not used: no statistics cross examples.
      train: whether to drop paths.

    Returns:
      Tokens after the norm, if they have one.
    """
    del num_frames, mask
    tokens = self.encoder(self.embedding(spectrogram), train=train)
    return self.finish(tokens)

  def finish(self, tokens: jax.Array) -> jax.Array:
    """Tokens after the last block to those that are pooled."""
    return self.norm(tokens) if 'tokens' in self.norms else tokens

  def begin(
    self,
    spectrogram: jax.Array,
    num_frames: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    stop: int | None,
    train: bool = False,
  ) -> jax.Array:
    """The tokens [B, S + N, D] after the first `stop` blocks, unnormed."""
    del num_frames, mask
    return self.encoder(self.embedding(spectrogram), train=train, stop=stop)

  def pool(
    self, tokens: jax.Array, num_frames: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, S + N, D] to features, float32 [B, D]."""
    del num_frames
    start, stop = 0, len(self.summary)
    if self.pooling == 'patches':
      start, stop = stop, None
    feature = tokens[:, start:stop].astype(jnp.float32).mean(1)
    return self.fc_norm(feature) if 'pooled' in self.norms else feature


class PatchesWithPositions(nn.Module):
  """Patches, the summary tokens before them, and learned positions.

  Attributes:
    width: D.
    patch: mel bands and time frames of one patch.
    stride: mel bands and time frames between patches.
    order: see `SpectrogramViT`.
    summary: likewise.
    dtype: compute dtype.
  """

  width: int
  patch: tuple[int, int]
  stride: tuple[int, int]
  order: str = 'band-major'
  summary: tuple[str, ...] = ('cls', 'distillation')
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, spectrogram: jax.Array) -> jax.Array:
    """Maps a spectrogram [B, F, M] to tokens [B, S + N, D]."""
    patches = cut_patches(spectrogram, self.patch, self.stride, self.order)
    tokens = layers.PatchEmbedding(
      (*self.patch, 1), self.width, self.dtype, name='patch_embed'
    )(patches)
    initialize = layers.initialize_embedding
    shape = (1, 1, self.width)
    summary = [self.param(n, initialize, shape) for n in self.summary]
    num_tokens = len(summary) + tokens.shape[1]
    table = self.param('positions', initialize, (1, num_tokens, self.width))
    summary = [
      jnp.broadcast_to(x, (len(tokens), 1, self.width)).astype(self.dtype)
      for x in summary
    ]
    tokens = jnp.concatenate([*summary, tokens], axis=1)
    return tokens + table.astype(self.dtype)


def count_patches(
  spectrogram: tuple[int, int], patch: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
  """Patches along the mel bands and along time of so many bands and frames.

  Args:
    spectrogram: mel bands and time frames, like the next two.
    patch: of one patch.
    stride: between patches.

  Raises:
    AvemoError: the spectrogram is smaller than one patch.
  """
  if spectrogram[0] < patch[0] or spectrogram[1] < patch[1]:
    raise errors.AvemoError(
      f'a spectrogram of {spectrogram[1]} frames and {spectrogram[0]} mel '
      f'bands is smaller than one patch of {patch[1]} frames and {patch[0]} '
      'bands'
    )
  bands, times = (
    (size - p) // s + 1
    for size, p, s in zip(spectrogram, patch, stride, strict=True)
  )
  return bands, times


def cut_patches(
  spectrogram: jax.Array,
  patch: tuple[int, int],
  stride: tuple[int, int],
  order: str = 'band-major',
) -> jax.Array:
  """Cuts a spectrogram [B, F, M] into patches, which may overlap.

  Args:
    spectrogram: F time frames of M mel bands.
    patch: mel bands and time frames of one patch.
    stride: mel bands and time frames between patches.
    order: out of `ORDERS`.

  Returns:
    [B, N, mel bands * time frames]; what is left at the upper and the late
    edge is not used.
  """
  batch_size, num_frames, num_mels = spectrogram.shape
  counts = count_patches((num_mels, num_frames), patch, stride)
  bands, times = (
    np.arange(n)[:, None] * s + np.arange(p)
    for n, p, s in zip(counts, patch, stride, strict=True)
  )
  patches = spectrogram.swapaxes(1, 2)[
    :, bands[:, None, :, None], times[None, :, None, :]
  ]
  if order == 'time-major':
    patches = patches.swapaxes(1, 2)
  return patches.reshape(batch_size, counts[0] * counts[1], -1)
