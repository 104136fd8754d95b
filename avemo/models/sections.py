"""Sections of a config: which towers and fusions there are, and their options.

A section is a dict of a name and arguments; here it becomes a class and the
arguments that it takes, or an error that names the nearest right word.
"""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from flax import core

from avemo import augment as augmentation
from avemo import errors
from avemo.models import (
  bottleneck,
  cnn,
  efficientnet,
  functionals,
  fusion,
  layers,
  picture_sequence,
  spectrogram_vit,
  vggish,
  videomae,
  wav2vec2,
)

MODALITIES = ('video', 'audio')

VIDEO_TOWERS = types.MappingProxyType(
  {
    'videomae': videomae.VideoMAE,
    'efficientnet': efficientnet.EfficientNet,
  }
)
AUDIO_TOWERS = types.MappingProxyType(
  {
    'spectrogram_vit': spectrogram_vit.SpectrogramViT,
    'cnn': cnn.CNN,
    'functionals': functionals.Functionals,
    'vggish': vggish.VGGish,
    'wav2vec2': wav2vec2.Wav2Vec2,
  }
)
# None: each modality has its own logits, and they are averaged.
FUSIONS = types.MappingProxyType(
  {
    'early': fusion.Early,
    'late': None,
    'cross_attention': fusion.CrossAttention,
    'bottleneck': bottleneck.Bottleneck,
    'sequence': picture_sequence.PictureSequence,
  }
)

NO_OPTIONS = core.FrozenDict()


def find_reading(tower: Any) -> str:
  """What an audio tower reads; most read mel bands of their own options."""
  return getattr(tower, 'reads', 'mels')


def check_reads(
  tower: type,
  joins: bool,
  features: Mapping[str, Any],
  augment: Mapping[str, Any],
) -> None:
  """Raises an AvemoError for options that the audio tower has no use for."""
  name = next(k for k, v in AUDIO_TOWERS.items() if v is tower)
  if joins and not hasattr(tower, 'begin'):
    raise errors.AvemoError(
      f'the audio tower {name!r} has no tokens to join; use fusion.kind=late'
    )
  reading = find_reading(tower)
  unused = []
  if reading != 'mels':
    unused += [f'augment.{k}' for k in augment if k in augmentation.SPECTROGRAM]
    unused += [f'features.{k}' for k in features]
  if reading != 'power':
    unused += [f'augment.{k}' for k in augment if k in augmentation.POWER]
  if unused:
    raise errors.AvemoError(
      f'the audio tower {name!r} has no use for {unused[0]}; leave it out'
    )


def check_pictures(augment: Mapping[str, Any]) -> None:
  """Raises an AvemoError for augmentations that pictures do not have."""
  unused = [
    name
    for name in augment
    if name in augmentation.SPECTROGRAM or name in augmentation.POWER
  ]
  if unused:
    raise errors.AvemoError(
      f'fusion.kind=sequence draws pictures of the sound itself and has no use '
      f'for augment.{unused[0]}; leave it out'
    )


def check_finishes(tower: type) -> None:
  """Raises an AvemoError where the audio tower's blocks cannot go in step."""
  if not hasattr(tower, 'finish'):
    name = next(k for k, v in AUDIO_TOWERS.items() if v is tower)
    raise errors.AvemoError(
      f'fusion.kind=bottleneck: the audio tower {name!r} has no blocks to run '
      'in step with the video; use fusion.kind=cross_attention'
    )


def check_joins(frozen_blocks: int, join_at: int) -> None:
  """Raises an AvemoError where frozen blocks would cut the audio tower off."""
  if frozen_blocks > join_at:
    raise errors.AvemoError(
      f'video.frozen_blocks={frozen_blocks}: no gradient would reach the audio '
      f'tower, which joins at block {join_at}; freeze at most {join_at} or '
      'raise fusion.early.join_at'
    )


def read_section(
  kind: str, section: Mapping[str, Any], towers: Mapping[str, type]
) -> tuple[type, dict[str, Any]]:
  """The class of a tower and its arguments.

  Args:
    kind: of the section.
    section: `name`, the first in the table when absent, and arguments.
    towers: classes by name.

  Raises:
    AvemoError: a name or an argument that does not exist; names the nearest.
  """
  options = dict(section)
  make = layers.choose(
    f'{kind} tower', options.pop('name', next(iter(towers))), towers
  )
  return make, check_options(kind, make, options)


def read_fusion(
  section: Mapping[str, Any],
) -> tuple[type, dict[str, Any]] | None:
  """The class that joins modalities and its arguments; None if logits are."""
  layers.check_names('fusion option', section, ('kind', *FUSIONS))
  kind = section.get('kind', 'early')
  make = layers.choose('fusion', kind, FUSIONS)
  options = {
    name: check_options(name, one, section.get(name, {}))
    for name, one in FUSIONS.items()
    if one
  }
  if section.get('late'):
    raise errors.AvemoError(
      f'late fusion has no options, not {", ".join(section["late"])}'
    )
  return make and (make, options[kind])


def check_options(
  kind: str, make: type, options: Mapping[str, Any]
) -> dict[str, Any]:
  """The arguments of a module, lists as tuples, or an AvemoError."""
  known = [f.name for f in dataclasses.fields(make) if f.init]
  known = [name for name in known if name not in ('parent', 'name')]
  layers.check_names(f'{kind} option', options, known)
  return read_lists(options)


def read_lists(options: Mapping[str, Any]) -> dict[str, Any]:
  """The options, with the lists that JSON makes of tuples as tuples again."""
  return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def shorten(
  audio: tuple[type, dict[str, Any]], join_at: int
) -> tuple[type, dict[str, Any]]:
  """The audio tower without the blocks that it would run after the join."""
  make, options = audio
  if make is not spectrogram_vit.SpectrogramViT:
    return audio
  tower = make(**options, parent=None)
  variant = layers.choose_variant(tower, spectrogram_vit.VARIANTS)
  if join_at > variant.depth:
    raise errors.AvemoError(
      f'join_at={join_at}: the audio tower has {variant.depth} blocks'
    )
  frozen = min(options.get('frozen_blocks', 0), join_at)
  return make, options | {'depth': join_at, 'frozen_blocks': frozen}
