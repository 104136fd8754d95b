"""Augmentation inside the step: pure JAX, explicit keys, static shapes.

A config's `augment` is a dict of name to keyword arguments. The one dict goes
to `augment_inputs` (speech, pictures, mixing, modality dropout, in this
order), `augment_power` and `augment_spectrogram`; each applies what is its
own. A name that is absent, or None, is off.
"""

import difflib
import inspect
import zlib
from collections.abc import Mapping
from typing import Any

import jax

from avemo import errors
from avemo.augment import (
  mixup,
  modality,
  pixels,
  power,
  sound,
  spectrogram,
  vocoder,
)

SOUND = {
  'pitch_shift': vocoder.pitch_shift,
  'time_stretch': vocoder.time_stretch,
  'speed': sound.speed,
  'time_shift': sound.time_shift,
  'gain': sound.gain,
  'noise': sound.noise,
}
PIXELS = {
  'flip': pixels.flip,
  'crop': pixels.crop,
  'color': pixels.color,
  'erase': pixels.erase,
}
MIX = {
  'mixup': mixup.mixup,
  'cutmix': mixup.cutmix,
  'feature_mixup': mixup.feature_mixup,
}
MODALITY = {'modality_dropout': modality.modality_dropout}
SPECTROGRAM = {'spec_augment': spectrogram.spec_augment}
POWER = {
  'tempo': power.tempo,
  'vocal_tract': power.vocal_tract,
  'equalizer': power.equalizer,
  'noise_floor': power.noise_floor,
}
FUNCTIONS = SOUND | PIXELS | MIX | MODALITY | POWER | SPECTROGRAM

blend = mixup.blend


def _refuse(kind: str, name: str, known) -> None:
  if name not in known:
    near = difflib.get_close_matches(name, known, 1, 0.0)
    way_out = f'the nearest is {near[0]!r}' if near else 'there is none'
    raise errors.AvemoError(f'{kind} {name!r} is unknown; {way_out}')


def check(
  options: Mapping[str, Mapping[str, Any] | None] | None,
) -> dict[str, dict[str, Any]]:
  """The augmentations that are on, each with its keyword arguments.

  Raises:
    AvemoError: an unknown augmentation or argument; names the nearest.
  """
  chosen = {}
  for name, arguments in (options or {}).items():
    _refuse('augment:', name, list(FUNCTIONS))
    if arguments is None:
      continue
    if not isinstance(arguments, Mapping):
      raise errors.AvemoError(
        f'augment.{name}={arguments!r}: give its options, such as {{}}'
      )
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    known = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
    for argument in arguments:
      _refuse(f'augment.{name}:', argument, known)
    chosen[name] = dict(arguments)
  return chosen


def _fold_name(key: jax.Array, name: str) -> jax.Array:
  # By name, so that one augmentation more leaves the others' draws alone.
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def augment_inputs(
  key: jax.Array,
  batch: dict[str, Any],
  options: Mapping[str, Mapping[str, Any] | None] | None,
) -> dict[str, Any]:
  """Augments a batch before its features are computed.

  What the batch does not hold is left out: no `frames`, no pixel
  augmentation. Types and shapes stay. Padded rows are never mixed.

  Args:
    key: of JAX; fold the step into it.
    batch: `frames` uint8 or float in [0, 1] `[B, T, H, W, 3]`; `speech` int16
      or float `[B, S]` with `speech_length` `[B]`; `target` `[B, C]`,
      `class_mask` `[B, C]`, `mask`, `has_video`, `has_audio` `[B]`.
    options: augmentation → keyword arguments.

  Returns:
    A new batch.

  Raises:
    AvemoError: an unknown augmentation or argument; names the nearest.
  """
  chosen = check(options)
  batch = dict(batch)
  sounds = [name for name in SOUND if name in chosen and 'speech' in batch]
  for name in sounds:
    batch['speech'], batch['speech_length'] = SOUND[name](
      _fold_name(key, name),
      batch['speech'],
      batch['speech_length'],
      **chosen[name],
    )
  if sounds:
    batch['speech'] = sound.hold(batch['speech'])
  if 'frames' in batch and any(name in chosen for name in PIXELS):
    dtype = batch['frames'].dtype
    # Rounded to uint8 once, not after each.
    frames = pixels.to_unit(batch['frames'])
    for name in PIXELS:
      if name in chosen:
        frames = PIXELS[name](_fold_name(key, name), frames, **chosen[name])
    batch['frames'] = pixels.from_unit(frames, dtype)
  batch = mixup.mix(_fold_name(key, 'mix'), batch, chosen)
  if (
    'modality_dropout' in chosen
    and 'has_video' in batch
    and 'has_audio' in batch
  ):
    batch['has_video'], batch['has_audio'] = modality.modality_dropout(
      _fold_name(key, 'modality_dropout'),
      batch['has_video'],
      batch['has_audio'],
      **chosen['modality_dropout'],
    )
  return batch


def augment_power(
  key: jax.Array,
  spectra: jax.Array,
  options: Mapping[str, Mapping[str, Any] | None] | None,
  num_valid: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Augments power spectra `[B, F, N]` and their valid frames `[B]`.

  Raises:
    AvemoError: an unknown augmentation or argument; names the nearest.
  """
  chosen = check(options)
  for name in POWER:
    if name in chosen:
      spectra, num_valid = POWER[name](
        _fold_name(key, name), spectra, num_valid, **chosen[name]
      )
  return spectra, num_valid


def augment_spectrogram(
  key: jax.Array,
  values: jax.Array,
  options: Mapping[str, Mapping[str, Any] | None] | None,
  num_valid: jax.Array | None = None,
) -> jax.Array:
  """Augments normalised spectra `[B, F, M]`; `num_valid` frames `[B]`.

  Raises:
    AvemoError: an unknown augmentation or argument; names the nearest.
  """
  chosen = check(options)
  for name in SPECTROGRAM:
    if name in chosen:
      values = SPECTROGRAM[name](
        _fold_name(key, name), values, num_valid, **chosen[name]
      )
  return values
