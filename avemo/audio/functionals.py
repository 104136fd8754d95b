"""Functionals: what a clip of any length is, in a few hundred numbers.

Statistics over time of the cepstrum, of the changes of the mel bands, of
their modulation, of pitch and of energy, as the acoustic feature sets for
emotion use them. Frames count from the first to the last active one, those
within 35 dB of the loudest; neither silence around the speech nor padding
leaves a trace. All is pure JAX and has finite gradients, silence included.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from avemo.audio import features, spectral

SAMPLE_RATE = 16_000
N_FFT = 1_024
HOP = 320

NUM_MELS = 48
NUM_MFCC = 20
# The first coefficients, whose joint shape is described as well.
NUM_SHAPED = 12

# A frame is active within so many dB of the loudest.
ACTIVE_DB = 35.0
# Mel bands end this far (in dB) below the clip's greatest, like noise, so
# that the depth of silence, a matter of the recording, does not count.
FLOOR_DB = -65.0
# Powers are relative to a full scale of 1: this is digital silence.
SILENCE = 1e-7

# Candidates of the pitch in Hz, and the harmonics whose sum decides.
PITCHES = np.geomspace(70.0, 500.0, 48)
NUM_HARMONICS = 8
# Above the highest harmonic of the highest pitch.
NUM_BINS = 260
# The greater, the more the most salient candidate outweighs the others.
SHARPNESS = 8.0

# Modulation is sampled at multiples of the frame rate over this length, which
# are averaged between these edges (0.2 to 25 Hz) and over 4 mel bands.
MODULATION_LENGTH = 256
MODULATION_EDGES = (1, 4, 8, 14, 24, 40, 70, 128)
MELS_A_GROUP = 4

# The quantiles, in percent.
MFCC_QUANTILES = (10, 50, 90)
CHANGE_QUANTILES = (5, 95)
PITCH_QUANTILES = (5, 25, 50, 75, 95)
ENERGY_QUANTILES = (10, 25, 50, 75, 90)
# A frame is voiced when more salient than this share of the active ones.
VOICED_QUANTILE = 40


def _name_quantiles(name: str, quantiles: tuple[int, ...]) -> list[str]:
  return [f'{name}_q{q:02d}' for q in quantiles]


# How many numbers each functional has, in the order in which they stand.
COLUMNS = (
  dict.fromkeys(
    [
      'mfcc_mean',
      'mfcc_std',
      *_name_quantiles('mfcc', MFCC_QUANTILES),
      'mfcc_change_std',
    ],
    NUM_MFCC,
  )
  | dict.fromkeys(
    ['mel_change_std', *_name_quantiles('mel_change', CHANGE_QUANTILES)],
    NUM_MELS,
  )
  | dict.fromkeys(
    [f'modulation_{i}' for i in range(len(MODULATION_EDGES) - 1)],
    NUM_MELS // MELS_A_GROUP,
  )
  | {'salience_mean': len(PITCHES)}
  | dict.fromkeys(
    [
      'pitch_mean',
      'pitch_std',
      *_name_quantiles('pitch', PITCH_QUANTILES),
      'pitch_change',
      'pitch_slope',
      'pitch_curvature',
      'voicing_mean',
      'voicing_std',
      'duration',
      'active_share',
      'energy_max',
      'energy_mean',
      'energy_std',
      *_name_quantiles('energy', ENERGY_QUANTILES),
      'energy_change',
      'energy_slope',
      'energy_curvature',
    ],
    1,
  )
  | {
    'mfcc_correlation': NUM_SHAPED * (NUM_SHAPED - 1) // 2,
    'mfcc_skewness': NUM_SHAPED,
    'mfcc_kurtosis': NUM_SHAPED,
  }
)

# The names of all columns, such as `mfcc_mean_3`.
NAMES = tuple(
  name if count == 1 else f'{name}_{i}'
  for name, count in COLUMNS.items()
  for i in range(count)
)


class Frames(NamedTuple):
  """What each frame of a clip is described by.

  Attributes:
    mels: log-mel in dB, [B, F, M].
    energy: of all bands, in dB, [B, F].
    salience: of each candidate of the pitch, [B, F, P].
    active: whether the frame is near the loudest, bool [B, F].
    inside: whether it lies between the first and the last active frame.
  """

  mels: jax.Array
  energy: jax.Array
  salience: jax.Array
  active: jax.Array
  inside: jax.Array


def compute_functionals(
  speech: jax.Array, speech_length: jax.Array
) -> jax.Array:
  """The functionals of padded clips.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`, 16 kHz.
    speech_length: valid samples, int `[B]`.

  Returns:
    float32 `[B, D]`, columns as in `NAMES`; zeros for a clip without samples.
  """
  return summarize(*compute_power(speech, speech_length))


def compute_power(
  speech: jax.Array, speech_length: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Power spectra, where augmentation acts, and how many of them are valid.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`, 16 kHz.
    speech_length: valid samples, int `[B]`.

  Returns:
    float32 `[B, F, N_FFT // 2 + 1]` and int32 `[B]`.
  """
  waveform = features.to_waveform(speech)
  inside = np.arange(waveform.shape[-1]) < speech_length[:, None]
  power = spectral.stft_power(
    jnp.where(inside, waveform, 0), n_fft=N_FFT, hop=HOP
  )
  num_frames = features.count_valid_frames(
    speech_length, power.shape[-2], n_fft=N_FFT, hop=HOP
  )
  return power, num_frames


def summarize(power: jax.Array, num_frames: jax.Array) -> jax.Array:
  """The functionals of power spectra.

  Args:
    power: `[B, F, N_FFT // 2 + 1]`.
    num_frames: valid frames, int `[B]`.

  Returns:
    float32 `[B, D]`, columns as in `NAMES`; zeros for a clip without frames.
  """
  frames = describe_frames(power, num_frames)
  mfcc = spectral.cepstrum(frames.mels, num_mfcc=NUM_MFCC)
  found = {
    **summarize_cepstrum(mfcc, frames),
    **summarize_changes(frames),
    **summarize_modulation(frames),
    **summarize_pitch(frames),
    **summarize_energy(frames),
    **summarize_shape(mfcc[..., :NUM_SHAPED], frames.active),
  }
  found = jnp.concatenate([found[name] for name in COLUMNS], axis=-1)
  return jnp.where(num_frames[:, None] > 0, found, 0)


# ------------------------------------------------------------------ frames


def describe_frames(power: jax.Array, num_frames: jax.Array) -> Frames:
  """Mel bands, energy, salience and activity of each frame."""
  valid = np.arange(power.shape[1]) < num_frames[:, None]
  power = jnp.where(valid[..., None], power, 0)
  bank = spectral.make_mel_bank(
    sample_rate=SAMPLE_RATE, n_fft=N_FFT, num_mels=NUM_MELS, fmin=50.0
  )
  mels = jnp.matmul(power, bank, precision='highest')
  # A floor is a constant: no gradient runs through it.
  peak = jax.lax.stop_gradient(mels.max((1, 2), keepdims=True))
  energy = _to_decibels(mels.sum(2) + SILENCE * peak[..., 0] + SILENCE)
  loudest = jnp.where(valid, energy, -jnp.inf).max(1, keepdims=True)
  active = valid & (energy > loudest - ACTIVE_DB)
  return Frames(
    mels=_to_decibels(mels + 10 ** (FLOOR_DB / 10) * peak + SILENCE),
    energy=energy,
    salience=measure_salience(power),
    active=active,
    inside=find_inside(active),
  )


def _to_decibels(power: jax.Array) -> jax.Array:
  return 10 * jnp.log10(power)


def find_inside(active: jax.Array) -> jax.Array:
  """True from the first to the last True of each row of `[B, F]`."""
  before = jax.lax.cummax(active.astype(jnp.int32), axis=1)
  after = jax.lax.cummax(active.astype(jnp.int32), axis=1, reverse=True)
  return (before & after).astype(bool)


def measure_salience(power: jax.Array) -> jax.Array:
  """How much more power lies on a pitch's harmonics than between them.

  Args:
    power: `[B, F, N_FFT // 2 + 1]`.

  Returns:
    `[B, F, P]`, in the logarithm of power; 0 in silence.
  """
  power = power[..., :NUM_BINS]
  # The floor keeps the depth of the gaps from deciding.
  peak = jax.lax.stop_gradient(power.max(-1, keepdims=True))
  levels = jnp.log(power + 1e-4 * peak + 1e-9)
  return jnp.matmul(levels, make_harmonic_bank(), precision='highest')


@functools.cache
def make_harmonic_bank() -> np.ndarray:
  """Weights of the bins for each pitch, float32 `[NUM_BINS, P]`."""
  number = np.arange(1, NUM_HARMONICS + 1)
  bank = np.zeros((NUM_BINS, len(PITCHES)))
  for column, pitch in enumerate(PITCHES):
    for places, weight in ((number, 1.0), (number - 0.5, -1.0)):
      bins = np.rint(places * pitch * N_FFT / SAMPLE_RATE).astype(int)
      np.add.at(bank[:, column], bins, weight / NUM_HARMONICS)
  return bank.astype(np.float32)


# -------------------------------------------------------------- statistics


def find_greatest(x: jax.Array, axis: int) -> jax.Array:
  """The maximum along an axis, which is kept; one element has its gradient.

  That of `max` is shared by all that equal it, which may be none, 0 / 0, where
  XLA computes x once more and rounds it differently.
  """
  place = jnp.argmax(x, axis=axis, keepdims=True)
  return jnp.take_along_axis(x, place, axis)


def measure(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Mean and standard deviation of `[B, F, C]` where the mask `[B, F]` is."""
  weight = mask[..., None] / jnp.maximum(mask.sum(1), 1)[:, None, None]
  mean = (x * weight).sum(1)
  variance = (jnp.square(x - mean[:, None]) * weight).sum(1)
  # The square root has no gradient at 0.
  return mean, jnp.sqrt(jnp.maximum(variance, 1e-6))


def find_quantiles(
  x: jax.Array, mask: jax.Array, percents: tuple[int, ...]
) -> list[jax.Array]:
  """Quantiles of `[B, F, C]` where the mask is, interpolated, each `[B, C]`.

  They are 0 where the mask is nowhere True.
  """
  count = mask.sum(1)[:, None, None]
  # Positions that do not count sort to the end, and are never read there.
  ordered = jnp.sort(
    jnp.where(mask[..., None], x, jnp.inf).swapaxes(1, 2), axis=-1
  )
  last = jnp.maximum(count - 1, 0)
  found = []
  for percent in percents:
    place = percent / 100 * last
    below = jnp.floor(place).astype(jnp.int32)
    fraction = place - below
    low, high = (
      jnp.take_along_axis(ordered, jnp.minimum(i, last), -1)
      for i in (below, below + 1)
    )
    value = jnp.where(count > 0, low, 0) * (1 - fraction)
    value += jnp.where(count > 0, high, 0) * fraction
    found.append(value[..., 0])
  return found


def fit_contour(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Slope and curvature of `[B, F]` over the frames of the mask, each `[B, 1]`.

  The frames count as evenly spaced from -1 to 1, whatever lies between them.
  """
  count = jnp.maximum(mask.sum(1, keepdims=True), 2)
  place = (jnp.cumsum(mask, axis=1) - 1) / (count - 1) * 2 - 1
  line = jnp.where(mask, place, 0)
  spread = jnp.square(line).sum(1, keepdims=True) / count
  parabola = jnp.where(mask, jnp.square(place) - spread, 0)
  centred = jnp.where(mask, x - measure(x[..., None], mask)[0], 0)
  return tuple(
    (centred * shape).sum(1, keepdims=True)
    / (jnp.square(shape).sum(1, keepdims=True) + 1e-3)
    for shape in (line, parabola)
  )


def _change(x: jax.Array) -> jax.Array:
  """From each frame of `[B, F, ...]` to the next; 0 from the last."""
  return jnp.diff(x, axis=1, append=x[:, -1:])


def _both(mask: jax.Array) -> jax.Array:
  """Whether a frame and the next are both True."""
  return mask & jnp.pad(mask[:, 1:], ((0, 0), (0, 1)))


# -------------------------------------------------------------- functionals


def summarize_cepstrum(mfcc: jax.Array, frames: Frames) -> dict[str, jax.Array]:
  """Timbre, by MFCC over the active frames."""
  mean, std = measure(mfcc, frames.active)
  change = measure(_change(mfcc), _both(frames.inside))[1]
  quantiles = find_quantiles(mfcc, frames.active, MFCC_QUANTILES)
  return {
    'mfcc_mean': mean,
    'mfcc_std': std,
    'mfcc_change_std': change,
    **dict(
      zip(_name_quantiles('mfcc', MFCC_QUANTILES), quantiles, strict=True)
    ),
  }


def summarize_changes(frames: Frames) -> dict[str, jax.Array]:
  """How fast the mel bands rise and fall."""
  change, mask = _change(frames.mels), _both(frames.inside)
  names = _name_quantiles('mel_change', CHANGE_QUANTILES)
  quantiles = find_quantiles(change, mask, CHANGE_QUANTILES)
  return {
    'mel_change_std': measure(change, mask)[1],
    **dict(zip(names, quantiles, strict=True)),
  }


def summarize_modulation(frames: Frames) -> dict[str, jax.Array]:
  """Power of the mel bands' course over time, by modulation frequency."""
  mean = measure(frames.mels, frames.inside)[0][:, None]
  course = jnp.where(frames.inside[..., None], frames.mels - mean, 0)
  # Wrapped, a longer clip has the same spectrum at the same frequencies, so
  # that they do not depend on S.
  num_examples, num_frames, num_mels = course.shape
  missing = -num_frames % MODULATION_LENGTH
  course = jnp.pad(course, ((0, 0), (0, missing), (0, 0)))
  course = course.reshape(num_examples, -1, MODULATION_LENGTH, num_mels).sum(1)
  spectrum = jnp.fft.rfft(course.swapaxes(1, 2))
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  found = {}
  for i, low in enumerate(MODULATION_EDGES[:-1]):
    level = jnp.log1p(power[..., low : MODULATION_EDGES[i + 1]].mean(-1))
    groups = level.reshape(num_examples, -1, MELS_A_GROUP).mean(-1)
    found[f'modulation_{i}'] = groups
  return found


def summarize_pitch(frames: Frames) -> dict[str, jax.Array]:
  """Pitch in octaves over the voiced frames, and how voiced they are."""
  salience, active = frames.salience, frames.active
  voicing = find_greatest(salience, -1)
  pitch = jnp.matmul(
    jax.nn.softmax(SHARPNESS * salience),
    np.log2(PITCHES).astype(np.float32)[:, None],
    precision='highest',
  )
  (threshold,) = find_quantiles(voicing, active, (VOICED_QUANTILE,))
  voiced = active & (voicing >= threshold[:, None])[..., 0]
  mean, std = measure(pitch, voiced)
  slope, curvature = fit_contour(pitch[..., 0], voiced)
  voicing_mean, voicing_std = measure(voicing, active)
  quantiles = find_quantiles(pitch, voiced, PITCH_QUANTILES)
  return {
    'salience_mean': measure(salience, active)[0],
    'pitch_mean': mean,
    'pitch_std': std,
    **dict(
      zip(_name_quantiles('pitch', PITCH_QUANTILES), quantiles, strict=True)
    ),
    'pitch_change': measure(jnp.abs(_change(pitch)), _both(voiced))[0],
    'pitch_slope': slope,
    'pitch_curvature': curvature,
    'voicing_mean': voicing_mean,
    'voicing_std': voicing_std,
  }


def summarize_energy(frames: Frames) -> dict[str, jax.Array]:
  """How long, how steadily and how loudly the clip speaks."""
  inside = frames.inside
  energy = frames.energy[..., None]
  count = jnp.maximum(inside.sum(1, keepdims=True), 1)
  mean, std = measure(energy, inside)
  slope, curvature = fit_contour(frames.energy, inside)
  quantiles = find_quantiles(energy, inside, ENERGY_QUANTILES)
  return {
    'duration': jnp.log(count.astype(jnp.float32)),
    'active_share': frames.active.sum(1, keepdims=True) / count,
    'energy_max': find_greatest(frames.energy, 1),
    'energy_mean': mean,
    'energy_std': std,
    **dict(
      zip(_name_quantiles('energy', ENERGY_QUANTILES), quantiles, strict=True)
    ),
    'energy_change': measure(jnp.abs(_change(energy)), _both(inside))[0],
    'energy_slope': slope,
    'energy_curvature': curvature,
  }


def summarize_shape(mfcc: jax.Array, active: jax.Array) -> dict[str, jax.Array]:
  """Correlations of the coefficients, and the form of their distributions."""
  mean, std = measure(mfcc, active)
  scaled = (mfcc - mean[:, None]) / std[:, None]
  scaled = jnp.where(active[..., None], scaled, 0)
  count = jnp.maximum(active.sum(1), 1)[:, None]
  products = jnp.einsum('bfi,bfj->bij', scaled, scaled, precision='highest')
  rows, columns = np.triu_indices(mfcc.shape[-1], 1)
  return {
    'mfcc_correlation': products[:, rows, columns] / count,
    'mfcc_skewness': (scaled**3).sum(1) / count,
    'mfcc_kurtosis': jnp.log1p((scaled**4).sum(1) / count),
  }
