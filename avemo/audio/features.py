"""Speech as batches carry it to the normalised features that towers read."""

import difflib
import inspect
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from avemo import errors
from avemo.audio import filterbank, spectral

# A clip flatter than this (in dB) is silent: its deviation is not divided by.
MIN_STD = 1e-3

# What decides how many frames a clip has: options, and those of `filterbank`.
FRAMING = ('n_fft', 'hop', 'center')
FILTERBANK_FRAMING = types.MappingProxyType(
  {'n_fft': filterbank.FRAME, 'hop': filterbank.HOP, 'center': False}
)


def to_waveform(speech: jax.Array) -> jax.Array:
  """int16 samples to float32 in [-1, 1]; floats pass as float32."""
  if jnp.issubdtype(speech.dtype, jnp.integer):
    return speech.astype(jnp.float32) / 32_768
  return speech.astype(jnp.float32)


def count_valid_frames(
  speech_length: jax.Array,
  num_frames: int,
  *,
  n_fft: int = 512,
  hop: int = 160,
  center: bool = True,
) -> jax.Array:
  """How many of `num_frames` frames the valid samples fill, int32 `[B]`.

  It is the number of frames that the clip would have without its padding;
  a clip without samples has none.
  """
  length = speech_length + 2 * (n_fft // 2) * center
  count = jnp.where(length >= n_fft, 1 + (length - n_fft) // hop, 0)
  return jnp.minimum(jnp.where(speech_length > 0, count, 0), num_frames)


def _cut_or_pad(power: jax.Array, num_frames: int) -> jax.Array:
  missing = max(0, num_frames - power.shape[-2])
  return jnp.pad(power[:, :num_frames], ((0, 0), (0, missing), (0, 0)))


def _normalize_clip(values: jax.Array, valid: jax.Array, axes) -> jax.Array:
  count = jnp.sum(
    jnp.broadcast_to(valid, values.shape), axis=axes, keepdims=True
  )
  count = jnp.maximum(count, 1)
  mean = jnp.sum(values * valid, axis=axes, keepdims=True) / count
  centred = (values - mean) * valid
  variance = jnp.sum(centred**2, axis=axes, keepdims=True) / count
  return centred / jnp.sqrt(jnp.maximum(variance, MIN_STD**2))


def compute_features(
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  sample_rate: int = 16_000,
  n_fft: int = 512,
  hop: int = 160,
  window: str = 'hann',
  window_length: int | None = 400,
  center: bool = True,
  num_mels: int = 128,
  fmin: float = 0.0,
  fmax: float | None = None,
  htk: bool = False,
  norm: str | None = 'slaney',
  ref: float | str = 1.0,
  amin: float = 1e-10,
  top_db: float | None = 80.0,
  num_mfcc: int | None = None,
  kind: str = 'clip',
  mean: float | Sequence[float] = 0.0,
  std: float | Sequence[float] = 1.0,
  num_frames: int | None = None,
  padding: float | None = None,
) -> jax.Array:
  """Normalised log-mel, or MFCC, of a padded batch.

  A clip's features do not depend on how far it is padded: samples beyond its
  length count as zeros and frames beyond its valid ones (see
  `count_valid_frames`) reach neither `top_db` nor the statistics.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`.
    speech_length: valid samples, int `[B]`.
    sample_rate: in Hz.
    n_fft: see `spectral.stft`, like `hop`, `window`, `window_length` and
      `center`; the edges are padded by zeros.
    hop: likewise.
    window: likewise.
    window_length: likewise; the default is 25 ms.
    center: likewise.
    num_mels: see `spectral.mel_power`, like `fmin`, `fmax`, `htk` and `norm`.
    fmin: likewise.
    fmax: likewise.
    htk: likewise.
    norm: likewise.
    ref: see `spectral.power_to_db`, like `amin` and `top_db`.
    amin: likewise.
    top_db: likewise.
    num_mfcc: cepstral coefficients in place of mel bands; None: mel bands.
    kind: how to normalise: 'none'; 'constant': (x - mean) / std; 'clip': by
      the mean and deviation over the clip's valid frames and all bands;
      'band': the same for each band apart. Silence becomes zeros.
    mean: of 'constant', one number or one a band, in dB.
    std: likewise.
    num_frames: cut or pad to so many frames; None: as many as S makes.
    padding: None: invalid frames are zero after normalisation (with 'none',
      the clip's floor). A number: they have this value before normalisation
      by constants, as AST fills its input up to 1024 frames with 0.

  Returns:
    float32 `[B, F, M]`.

  Raises:
    ValueError: unknown `kind`, or `padding` where no constant follows it.
  """
  if kind not in ('none', 'constant', 'clip', 'band'):
    raise ValueError(f'kind is none, constant, clip or band, not {kind!r}')
  if padding is not None and kind not in ('none', 'constant'):
    raise ValueError(f'padding has no meaning with kind={kind!r}')
  waveform = to_waveform(speech)
  inside = np.arange(waveform.shape[-1]) < speech_length[:, None]
  power = spectral.mel_power(
    jnp.where(inside, waveform, 0),
    sample_rate=sample_rate,
    n_fft=n_fft,
    hop=hop,
    window=window,
    window_length=window_length,
    center=center,
    num_mels=num_mels,
    fmin=fmin,
    fmax=fmax,
    htk=htk,
    norm=norm,
  )
  power = _cut_or_pad(power, num_frames or power.shape[-2])
  count = count_valid_frames(
    speech_length, power.shape[-2], n_fft=n_fft, hop=hop, center=center
  )
  valid = (np.arange(power.shape[-2]) < count[:, None])[..., None]
  values = spectral.power_to_db(
    jnp.where(valid, power, 0), ref=ref, amin=amin, top_db=top_db
  )
  if num_mfcc is not None:
    values = spectral.cepstrum(values, num_mfcc=num_mfcc)
  if padding is not None:
    values = jnp.where(valid, values, padding)
  if kind == 'none':
    return values
  if kind == 'constant':
    values = (values - np.float32(mean)) / np.float32(std)
    return values if padding is not None else jnp.where(valid, values, 0)
  return _normalize_clip(values, valid, (-2,) if kind == 'band' else (-2, -1))


def compute_filterbank(
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  num_mels: int = filterbank.NUM_MELS,
  num_frames: int | None = None,
  mean: float = -4.2677393,
  std: float = 4.5689974,
) -> jax.Array:
  """Kaldi's log mel filter bank of a padded batch, as AST reads it.

  A clip's features do not depend on how far it is padded. Frames beyond its
  last whole one are 0 before normalisation, as AST fills its input.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`, 16 kHz.
    speech_length: valid samples, int `[B]`.
    num_mels: M.
    num_frames: cut or pad to so many frames; None: as many as S makes.
    mean: which is subtracted; the default is AudioSet's.
    std: by twice of which is then divided, likewise.

  Returns:
    float32 `[B, F, M]`.
  """
  waveform = to_waveform(speech)
  if num_frames is not None:
    # What is cut off need not be transformed.
    last = (num_frames - 1) * filterbank.HOP + filterbank.FRAME
    waveform = waveform[:, :last]
  inside = np.arange(waveform.shape[-1]) < speech_length[:, None]
  values = filterbank.log_mel(jnp.where(inside, waveform, 0), num_mels=num_mels)
  values = _cut_or_pad(values, num_frames or values.shape[-2])
  count = count_valid_frames(
    speech_length, values.shape[-2], **FILTERBANK_FRAMING
  )
  valid = (np.arange(values.shape[-2]) < count[:, None])[..., None]
  values = jnp.where(valid, values, 0)
  return (values - np.float32(mean)) / np.float32(2 * std)


# What makes features of speech, by name.
FRONT_ENDS = types.MappingProxyType(
  {'log_mel': compute_features, 'filterbank': compute_filterbank}
)


def find_front_end(options: Mapping[str, Any]) -> str:
  """`front_end`, out of `FRONT_ENDS`, the first when absent."""
  front_end = options.get('front_end', next(iter(FRONT_ENDS)))
  _check_name('front-end', front_end, FRONT_ENDS)
  return front_end


def list_options(options: Mapping[str, Any]) -> tuple[str, ...]:
  """Every option of the front-end that a section of a config names."""
  compute = FRONT_ENDS[find_front_end(options)]
  return ('front_end', *list(inspect.signature(compute).parameters)[2:])


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
  if name not in known:
    near = difflib.get_close_matches(str(name), known, 1, 0.0)[0]
    raise errors.AvemoError(
      f'features: unknown {kind} {name!r}; the nearest is {near!r}'
    )


def features(
  speech: jax.Array,
  speech_length: jax.Array,
  options: Mapping[str, Any] | None = None,
) -> jax.Array:
  """The features that a section of a config describes.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`.
    speech_length: valid samples, int `[B]`.
    options: `front_end`, see `find_front_end`, and its keyword arguments.

  Returns:
    float32 `[B, F, M]`.

  Raises:
    AvemoError: a front-end or an option that does not exist; names the
      nearest.
  """
  options = dict(options or {})
  for name in options:
    _check_name('option', name, list_options(options))
  compute = FRONT_ENDS[find_front_end(options)]
  options.pop('front_end', None)
  return compute(speech, speech_length, **options)


def count_features(
  speech_length: jax.Array, num_frames: int, options: Mapping[str, Any]
) -> jax.Array:
  """How many of the frames that `features` makes are valid, int32 `[B]`."""
  if find_front_end(options) == 'filterbank':
    framing = FILTERBANK_FRAMING
  else:
    framing = {k: options[k] for k in FRAMING if k in options}
  return count_valid_frames(speech_length, num_frames, **framing)
