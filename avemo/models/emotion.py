"""The model that is trained: towers, fusion and heads over a batch.

Parameters stand under `video`, `audio`, `fusion` and `head`.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import core
from flax import linen as nn

from avemo import augment as augmentation
from avemo import errors
from avemo.audio import features as audio_features
from avemo.audio import functionals as audio_functionals
from avemo.audio import vggish as audio_vggish
from avemo.audio import waveform as audio_waveform
from avemo.models import (
  fusion,
  heads,
  layers,
  sections,
  videomae,
)


class Emotion(nn.Module):
  """Reads a batch of clips, with either modality or both.

  The sections `video`, `audio`, `fusion` and `head` are given as dicts of
  arguments and become the modules that they describe, or None where they are
  not in use.

  Attributes (tables are in `sections`):
    num_classes: of the emotion head.
    use: the modalities that are read, out of `MODALITIES`.
    video: `name` of the tower, out of `VIDEO_TOWERS`, and its arguments.
    audio: `name` of the tower, out of `AUDIO_TOWERS`, and its arguments.
    features: options of `audio.features`, which make the spectrogram; none
      for a tower that reads anything else.
    augment: of those augmentations the ones that act on what the audio tower
      reads, which exists only in here, are applied in training (rng
      `dropout`).
    fusion: `kind`, out of `FUSIONS`, and under the name of each kind its
      arguments; not in use with one modality.
    heads: names of the outputs, out of `heads.NAMES`.
    head: `heads.OPTIONS` of the heads.
    dropout: rate on the feature before a head, in training.
    frozen: modalities whose tower is not trained: it runs as in evaluation.
    dtype: compute dtype, such as 'bfloat16'. Parameters, statistics, softmax
      and logits stay float32.
  """

  num_classes: int
  use: tuple[str, ...] = sections.MODALITIES
  video: Any = sections.NO_OPTIONS
  audio: Any = sections.NO_OPTIONS
  features: Any = sections.NO_OPTIONS
  augment: Any = sections.NO_OPTIONS
  fusion: Any = sections.NO_OPTIONS
  heads: tuple[str, ...] = ('emotion',)
  head: Any = sections.NO_OPTIONS
  dropout: float = 0.0
  frozen: tuple[str, ...] = ()
  dtype: Any = 'float32'

  def __post_init__(self):
    # Flax clones a module when it binds it; a clone has its sections built.
    if isinstance(self.fusion, Mapping):
      self._build_sections()
    super().__post_init__()

  def _build_sections(self):
    layers.check_names('modality', self.use, sections.MODALITIES)
    if not self.use:
      raise errors.AvemoError(
        f'use=(): name at least one of {sections.MODALITIES}'
      )
    layers.check_names('head', self.heads, heads.NAMES)
    layers.check_names('head option', self.head, heads.OPTIONS)
    options = audio_features.list_options(self.features)
    layers.check_names('feature option', self.features, options)
    self.features = core.freeze(sections.read_lists(self.features))
    self.augment = core.freeze(augmentation.check(self.augment))
    # One order, whatever the config's, so that parameters have one meaning.
    self.use = tuple(name for name in sections.MODALITIES if name in self.use)
    self.heads = tuple(self.heads)
    self.frozen = tuple(self.frozen)
    video = sections.read_section('video', self.video, sections.VIDEO_TOWERS)
    audio = sections.read_section('audio', self.audio, sections.AUDIO_TOWERS)
    join = sections.read_fusion(self.fusion)
    if len(self.use) == 1:
      join = None
    if 'audio' in self.use:
      sections.check_reads(audio[0], bool(join), self.features, self.augment)
    if join and not hasattr(video[0], 'embed'):
      raise errors.AvemoError(
        'the video tower has no encoder to join in; use fusion.kind=late'
      )
    if 'feature_mixup' in self.augment and (
      self.use != ('audio',) or sections.find_reading(audio[0]) != 'power'
    ):
      raise errors.AvemoError(
        'augment.feature_mixup blends functionals: it needs model.use=audio '
        'and model.audio.name=functionals; mixup serves all towers'
      )
    if join:
      join_at = join[1].get('join_at', 0)
      sections.check_joins(video[1].get('frozen_blocks', 0), join_at)
      audio = sections.shorten(audio, join_at)
    self.video = self._build(video) if 'video' in self.use else None
    self.audio = self._build(audio) if 'audio' in self.use else None
    self.fusion = self._build(join) if join else None
    self.head = heads.Heads(
      self.num_classes, self.heads, self.dropout, **self.head, parent=None
    )

  def _build(self, section: tuple[type, dict[str, Any]]) -> nn.Module:
    make, options = section
    dtype = jnp.dtype(options.pop('dtype', self.dtype))
    return make(**options, dtype=dtype, parent=None)

  def __call__(
    self, batch: Mapping[str, jax.Array], train: bool = False
  ) -> dict[str, jax.Array]:
    """Maps a batch to its outputs.

    Args:
      batch: of the modalities in use, `frames`, uint8 or floats in [0, 1]
        [B, T, H, W, 3], and `has_video`, bool [B]; `speech`, int16 or floats
        in [-1, 1] [B, S], `speech_length`, int [B], and `has_audio`, bool
        [B]. `mask`, bool [B], is False where a row is padding; absent, no
        row is. A tower whose feature the batch holds, float32 [B, D] as
        `embed` gives it, under `video_feature` or `audio_feature`, is not run.
      train: whether to drop paths and features (rng `dropout`) and to use
        and keep the statistics of the batch (collection `batch_stats`).

    Returns:
      `emotion`: logits, float32 [B, num_classes]; if asked for,
      `valence_arousal`, float32 [B, 2], `dominance`, float32 [B, 1], and
      `action_units`, logits, float32 [B, 12]. A clip with no modality gets
      zeros from towers that stand alone.
    """
    present = {name: batch[f'has_{name}'] for name in self.use}
    if self.fusion is None:
      pooled = self._pool_each(batch, train)
    else:
      pooled = {'joint': self._pool_joint(batch, present, train)}
      present = {'joint': jnp.ones_like(present['video'])}
    outputs = self.head(pooled, train=train)
    return fusion.average_outputs(outputs, present)

  def _pool_each(
    self, batch: Mapping[str, jax.Array], train: bool
  ) -> dict[str, jax.Array]:
    """A feature [B, D] from each tower in use."""
    pooled = {}
    trains = self._find_trained(train)
    if 'video_feature' in batch:
      pooled['video'] = batch['video_feature']
    elif self.video is not None:
      frames = videomae.normalize(batch['frames'])
      counts = batch['has_video'] & batch.get('mask', True)
      tokens = self.video(frames, counts, train=trains['video'])
      pooled['video'] = self.video.pool(tokens)
    if 'audio_feature' in batch:
      pooled['audio'] = batch['audio_feature']
    elif self.audio is not None:
      sound = self._read_speech(batch, train)
      options = {}
      if 'mix_share' in batch:
        options['blend'] = functools.partial(augmentation.blend, batch)
      tokens = self.audio(*sound, train=trains['audio'], **options)
      pooled['audio'] = self.audio.pool(tokens, sound[1])
    return pooled

  def embed(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The feature of each tower in use, float32 [B, D], as in evaluation."""
    return self._pool_each(batch, train=False)

  def embed_speech(self, batch: Mapping[str, jax.Array]) -> jax.Array:
    """The tokens of the audio tower along time, float32 [B, N, D]."""
    tokens = self.audio(*self._read_speech(batch, train=False), train=False)
    return tokens.astype(jnp.float32)

  def _pool_joint(
    self,
    batch: Mapping[str, jax.Array],
    present: dict[str, jax.Array],
    train: bool,
  ) -> jax.Array:
    """One feature [B, D] from tokens that meet in the video's encoder."""
    join_at = self.fusion.join_at
    encoder = self.video.encoder
    trains = self._find_trained(train)
    frames = videomae.normalize(batch['frames'])
    tokens = {
      'video': encoder(
        self.video.embed(frames), train=trains['video'], stop=join_at
      ),
      'audio': self.audio.begin(
        *self._read_speech(batch, train), stop=join_at, train=trains['audio']
      ),
    }
    joined = self.fusion(tokens, present)
    joined = encoder(joined, train=trains['video'], start=join_at)
    return self.video.pool(joined)

  def _find_trained(self, train: bool) -> dict[str, bool]:
    return {
      name: train and name not in self.frozen for name in sections.MODALITIES
    }

  def _read_speech(
    self, batch: Mapping[str, jax.Array], train: bool
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the tower reads, its valid frames and rows that count, both [B]."""
    readers = {
      'mels': self._read_mels,
      'power': self._read_power,
      'vggish': self._read_vggish,
      'waveform': self._read_waveform,
    }
    read = readers[sections.find_reading(self.audio)]
    counts = batch['has_audio'] & batch.get('mask', True)
    return *read(batch['speech'], batch['speech_length'], train), counts

  def _read_power(
    self, speech: jax.Array, length: jax.Array, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Power spectra [B, F, N] and their valid frames [B]."""
    power, num_frames = audio_functionals.compute_power(speech, length)
    if train and any(name in self.augment for name in augmentation.POWER):
      power, num_frames = augmentation.augment_power(
        self.make_rng('dropout'), power, self.augment, num_frames
      )
    return power, num_frames

  def _read_vggish(
    self, speech: jax.Array, length: jax.Array, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Patches [B, N, 96, 64] and how many of them each clip fills [B]."""
    del train
    return audio_vggish.cut_patches(speech, length)

  def _read_mels(
    self, speech: jax.Array, length: jax.Array, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """The spectrogram [B, F, M] and its valid frames [B]."""
    spectrogram = audio_features.features(speech, length, self.features)
    num_frames = audio_features.count_features(
      length, spectrogram.shape[1], self.features
    )
    if train and any(name in self.augment for name in augmentation.SPECTROGRAM):
      spectrogram = augmentation.augment_spectrogram(
        self.make_rng('dropout'), spectrogram, self.augment, num_frames
      )
    return spectrogram, num_frames

  def _read_waveform(
    self, speech: jax.Array, length: jax.Array, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Standardised samples [B, S] and how many are valid [B]."""
    del train
    return audio_waveform.standardize(speech, length), length


def example_batch(
  *,
  batch_size: int = 1,
  frames: int = 16,
  size: int = 224,
  samples: int = 48_000,
) -> dict[str, np.ndarray]:
  """A batch of zeros with the shapes that a model is initialised with.

  Args:
    batch_size: B.
    frames: T.
    size: H and W.
    samples: S.

  Returns:
    The inputs of both modalities, all present.
  """
  yes = np.ones(batch_size, bool)
  return {
    'frames': np.zeros((batch_size, frames, size, size, 3), np.uint8),
    'speech': np.zeros((batch_size, samples), np.int16),
    'speech_length': np.full(batch_size, samples, np.int32),
    'has_video': yes,
    'has_audio': yes,
    'mask': yes,
  }
