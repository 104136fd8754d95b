"""HiCMAE: two encoders, cross-attention between them, features of all depths.

Sun et al., "HiCMAE: Hierarchical Contrastive Masked Autoencoder for
Self-Supervised Audio-Visual Emotion Recognition", Information Fusion 2024.
"""

import functools
import types
from collections.abc import Mapping
from typing import Any

import einops
import jax
import jax.numpy as jnp
from flax import core
from flax import linen as nn

from avemo import augment as augmentation
from avemo import errors
from avemo.audio import features as audio_features
from avemo.models import (
  cross,
  heads,
  layers,
  positions,
  sections,
  videomae,
)

VARIANTS = types.MappingProxyType(
  {
    'tiny': layers.Variant(128, 3, 2),
    'small': layers.Variant(384, 10, 6),
    'base': layers.Variant(512, 10, 8),
  }
)

# Frames, rows and columns of a video token; time frames and mel bands of an
# audio token.
TUBELET = (2, 16, 16)
PATCH = (16, 16)
# 2.575 s of Kaldi's filter bank, normalised by AudioSet.
FEATURES = core.FrozenDict({'front_end': 'filterbank', 'num_frames': 256})
# Augmentations of what other towers read.
USELESS = (*augmentation.POWER, 'feature_mixup')


class HiCMAE(nn.Module):
  """Reads a batch of clips in both modalities; a model of its own.

  A missing modality is a film of the mean colour, or a sound of the mean
  power, since the model has no embedding for it.

  Attributes:
    num_classes: of the emotion head.
    variant: a name in `VARIANTS`.
    width: D of both encoders, instead of the variant's.
    depth: L of both encoders, instead of the variant's.
    num_heads: K, everywhere, instead of the variant's.
    fusion_depth: pairs of blocks that attend across the modalities.
    epsilon: of all layer norms.
    drop_path: rate at the last block of each encoder and of the fusion,
      rising linearly from 0.
    remat: what the backward pass computes anew, see `recompute`.
    implementation: of the attention.
    use: both modalities, as other models may read one.
    features: options of `audio.features`, instead of `FEATURES`.
    augment: of those augmentations the ones of a spectrogram are applied in
      training (rng `dropout`).
    heads: names of the outputs, out of `heads.NAMES`.
    head: `heads.OPTIONS` of the heads.
    dropout: rate on the feature before a head, in training.
    frozen: modalities whose encoder runs as in evaluation.
    dtype: compute dtype. Parameters, statistics, softmax and logits stay
      float32.
  """

  num_classes: int
  variant: str = 'base'
  width: int | None = None
  depth: int | None = None
  num_heads: int | None = None
  fusion_depth: int = 2
  epsilon: float = layers.EPSILON
  drop_path: float = 0.0
  remat: bool | str = 'auto'
  implementation: str | None = None
  use: tuple[str, ...] = sections.MODALITIES
  features: Any = FEATURES
  augment: Any = sections.NO_OPTIONS
  heads: tuple[str, ...] = ('emotion',)
  head: Any = sections.NO_OPTIONS
  dropout: float = 0.0
  frozen: tuple[str, ...] = ()
  dtype: Any = 'float32'

  def __post_init__(self):
    # Flax clones a module when it binds it; a clone has its head built.
    if isinstance(self.head, Mapping):
      self._build_sections()
    super().__post_init__()

  def _build_sections(self):
    if set(self.use) != set(sections.MODALITIES):
      raise errors.AvemoError(
        f'use={self.use}: HiCMAE reads {" and ".join(sections.MODALITIES)}'
      )
    layers.check_names('head', self.heads, heads.NAMES)
    layers.check_names('head option', self.head, heads.OPTIONS)
    options = audio_features.list_options(self.features)
    layers.check_names('feature option', self.features, options)
    self.use, self.heads = sections.MODALITIES, tuple(self.heads)
    self.frozen = tuple(self.frozen)
    self.augment = core.freeze(augmentation.check(self.augment))
    self.features = core.freeze(sections.read_lists(self.features))
    unused = [k for k in self.augment if k in USELESS]
    if unused:
      raise errors.AvemoError(
        f'HiCMAE has no use for augment.{unused[0]}; leave it out'
      )
    self.head = heads.Heads(
      self.num_classes,
      self.heads,
      self.dropout,
      **sections.read_lists(self.head),
      parent=None,
    )

  def setup(self):
    width, depth, num_heads = layers.choose_variant(self, VARIANTS)
    options = {
      'num_heads': num_heads,
      'epsilon': self.epsilon,
      'drop_path': self.drop_path,
      'remat': self.remat,
      'implementation': self.implementation,
      'dtype': jnp.dtype(self.dtype),
    }
    tower = functools.partial(Tower, width, depth, **options)
    self.video = tower(shape=(*TUBELET, 3))
    self.audio = tower(shape=(*PATCH, 1))
    self.fusion = cross.Fusion(self.fusion_depth, **options)
    self.fc_norm = layers.LayerNorm(self.epsilon, jnp.float32)

  def __call__(
    self, batch: Mapping[str, jax.Array], train: bool = False
  ) -> dict[str, jax.Array]:
    """Maps a batch to its outputs, both as those of `emotion.Emotion`."""
    feature = self._pool(batch, train)
    counts = {'joint': batch.get('mask', jnp.ones(len(feature), bool))}
    return self.head({'joint': feature}, counts, train=train)['joint']

  def _pool(self, batch: Mapping[str, jax.Array], train: bool) -> jax.Array:
    frames = videomae.normalize(batch['frames'])
    seen = batch['has_video'][:, None, None, None, None]
    return self.extract(
      jnp.where(seen, frames, 0), self._read_speech(batch, train), train=train
    )

  def embed(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """What the head reads, `joint`, float32 [B, 4 D], as in evaluation."""
    return {'joint': self._pool(batch, train=False)}

  def _read_speech(
    self, batch: Mapping[str, jax.Array], train: bool
  ) -> jax.Array:
    """The spectrogram [B, F, M], 0 where there is none."""
    length = batch['speech_length']
    spectrogram = audio_features.features(
      batch['speech'], length, self.features
    )
    if train and any(name in self.augment for name in augmentation.SPECTROGRAM):
      num_frames = audio_features.count_features(
        length, spectrogram.shape[1], self.features
      )
      spectrogram = augmentation.augment_spectrogram(
        self.make_rng('dropout'), spectrogram, self.augment, num_frames
      )
    return jnp.where(batch['has_audio'][:, None, None], spectrogram, 0)

  def extract(
    self, frames: jax.Array, spectrogram: jax.Array, *, train: bool = False
  ) -> jax.Array:
    """Maps both modalities to one feature.

    Args:
      frames: [B, T, H, W, 3], normalised.
      spectrogram: Kaldi's filter bank [B, F, M], normalised.
      train: whether to drop paths.

    Returns:
      float32 [B, 4 D]: of the video's and the audio's encoder, then of the
      fusion's video and audio.
    """
    trains = {name: train and name not in self.frozen for name in self.use}
    video, from_video = self.video(
      videomae.cut_tubelets(frames, TUBELET), train=trains['video']
    )
    audio, from_audio = self.audio(
      cut_patches(spectrogram, PATCH), train=trains['audio']
    )
    fused = self.fusion(video, audio, train=train)
    means = [x.astype(jnp.float32).mean(1) for x in fused]
    return self.fc_norm(
      jnp.concatenate([from_video, from_audio, *means], axis=-1)
    )


class Tower(nn.Module):
  """Patches of one modality to tokens, and to a feature of all depths.

  Attributes:
    width: D.
    depth: L.
    shape: of a patch, such as [T, H, W, C].
    num_heads: K.
    epsilon: of all layer norms.
    drop_path: rate at the last block, rising linearly from 0.
    remat: what the backward pass computes anew, see `recompute`.
    implementation: of the attention.
    dtype: compute dtype.
  """

  width: int
  depth: int
  shape: tuple[int, ...]
  num_heads: int
  epsilon: float = layers.EPSILON
  drop_path: float = 0.0
  remat: bool | str = 'auto'
  implementation: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, patches: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, jax.Array]:
    """Maps patches to what the last block makes, and to what all do.

    Args:
      patches: [B, N, product of shape].
      train: whether to drop paths.

    Returns:
      Tokens [B, N, D], and float32 [B, D]: the mean over tokens and, by
      learned weights, over blocks.
    """
    tokens = layers.PatchEmbedding(
      self.shape, self.width, self.dtype, name='patch_embed'
    )(patches)
    table = positions.sincos_table(*tokens.shape[1:])
    tokens = tokens + table.astype(tokens.dtype)
    every = layers.Encoder(
      self.width,
      self.depth,
      self.num_heads,
      key_bias=False,
      epsilon=self.epsilon,
      drop_path=self.drop_path,
      remat=self.remat,
      implementation=self.implementation,
      dtype=self.dtype,
      name='encoder',
    )(tokens, train=train, collect=True)
    every = layers.LayerNorm(self.epsilon, self.dtype, name='norm')(every)
    scores = self.param('layer_scores', nn.initializers.zeros, (self.depth,))
    means = every.astype(jnp.float32).mean(2)
    feature = jnp.einsum('l,lbd->bd', jax.nn.softmax(scores), means)
    return every[-1], feature


def cut_patches(spectrogram: jax.Array, patch: tuple[int, int]) -> jax.Array:
  """Cuts a spectrogram [B, F, M] into patches, ordered by time, then band.

  Args:
    spectrogram: F time frames of M mel bands.
    patch: time frames and mel bands of one patch.

  Returns:
    [B, N, time frames * mel bands].

  Raises:
    AvemoError: the spectrogram cannot be cut.
  """
  sizes = spectrogram.shape[1:]
  if any(s % p or s < p for s, p in zip(sizes, patch, strict=True)):
    raise errors.AvemoError(
      f'a spectrogram of {sizes[0]} frames and {sizes[1]} mel bands cannot be '
      f'cut into patches of {patch[0]}x{patch[1]}: use multiples'
    )
  return einops.rearrange(
    spectrogram,
    'b (nf f) (nm m) -> b (nf nm) (f m)',
    f=patch[0],
    m=patch[1],
  )
