"""Pitch and duration of speech apart from each other, by a phase vocoder.

Flanagan and Golden (1966); frames, phases and hop as in Laroche and Dolson
(1999), without phase locking. Each function takes speech `[B, S]`, int16 or
floats in [-1, 1], and valid lengths `[B]`, and returns both, of the same
types; samples beyond the length are zeros afterwards.
"""

import jax
import jax.numpy as jnp
import numpy as np

from avemo.augment import sound

# 64 ms at 16 kHz: the harmonics of a low voice stand apart.
N_FFT = 1_024
# Four frames over each sample, fewer of which are heard as a flutter.
OVERLAP = 4


def time_stretch(
  key: jax.Array,
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  factor: tuple[float, float] = (0.8, 1.25),
  probability: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Speaks faster or slower at the same pitch.

  A slowed clip that outgrows S loses its end.

  Args:
    key: of JAX.
    speech: `[B, S]`.
    speech_length: `[B]`.
    factor: least and greatest speed; log-uniform between them.
    probability: of an example.
  """
  rate, chosen = _draw(key, speech, np.log(factor), probability)
  length = jnp.minimum(jnp.round(speech_length / rate[:, 0]), speech.shape[-1])
  made = stretch(
    sound.keep_valid(sound.to_unit(speech), speech_length),
    rate,
    num_samples=speech.shape[-1],
  )
  return _choose(chosen, made, length, speech, speech_length)


def pitch_shift(
  key: jax.Array,
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  semitones: tuple[float, float] = (-2.0, 2.0),
  tempo: tuple[float, float] = (1.0, 1.0),
  probability: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Speaks higher or lower, at the same speed or not; formants move alike.

  The clip is stretched by the vocoder and played faster, or the reverse. What
  would lie beyond half the sample rate is folded back, softly: speech has
  little there.

  Args:
    key: of JAX.
    speech: `[B, S]`.
    speech_length: `[B]`.
    semitones: least and greatest shift; 12 are an octave.
    tempo: least and greatest speed, log-uniform: as `time_stretch` beside it,
      in half of the time.
    probability: of an example.
  """
  bounds = np.array(semitones) * np.log(2) / 12
  factor, chosen = _draw(key, speech, bounds, probability)
  tempo_key = jax.random.fold_in(key, 1)
  rate, _ = _draw(tempo_key, speech, np.log(tempo), 1.0)
  size = speech.shape[-1]
  length = jnp.minimum(jnp.round(speech_length / rate[:, 0]), size)
  stretched = stretch(
    sound.keep_valid(sound.to_unit(speech), speech_length),
    rate / factor,
    # Room for the longest; the interpolation reads one sample further.
    num_samples=int(np.ceil(size * max(1.0, np.exp(bounds[1])))) + 1,
  )
  made = sound.resample(stretched, factor, size)
  return _choose(chosen, made, length, speech, speech_length)


def stretch(
  waveform: jax.Array, rate: jax.Array, *, num_samples: int
) -> jax.Array:
  """Plays each waveform at its own rate, at the pitch that it has.

  Output frames lie a hop apart and show what the input has at `rate` times
  their place: magnitudes are interpolated, and phases advance as they do
  there from one hop to the next.

  Args:
    waveform: float32 `[B, S]`.
    rate: speed `[B, 1]`, above 0; 2 is twice as fast.
    num_samples: of the output; what the input does not fill is silence.

  Returns:
    float32 `[B, num_samples]`.
  """
  hop = N_FFT // OVERLAP
  window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
  # A frame is centred on each multiple of the hop; one more to interpolate to.
  count = -(-waveform.shape[-1] // hop) + 2
  margin = count * hop + N_FFT // 2 - waveform.shape[-1]
  padded = jnp.pad(waveform, ((0, 0), (N_FFT // 2, margin)))
  spectrum = jnp.fft.rfft(_cut_frames(padded, count) * window)  # [B, F, N]
  size = jnp.abs(spectrum)
  # How far each bin turns from one hop to the next, as a unit complex number:
  # no angle need be taken, nor unwrapped.
  turns = _to_unit_circle(spectrum[:, 1:] * jnp.conj(spectrum[:, :-1]))
  num_frames = -(-num_samples // hop) + 1
  places = np.arange(num_frames) * rate
  below = jnp.floor(places).astype(jnp.int32)
  fraction = (places - below)[..., None]
  inside = (below < count - 1)[..., None]
  below = jnp.minimum(below, count - 2)[..., None]
  take = lambda values, index: jnp.take_along_axis(values, index, axis=1)
  magnitude = (
    take(size, below) * (1 - fraction) + take(size, below + 1) * fraction
  )
  # The last turn leads out of the clip.
  turns = jnp.moveaxis(take(turns, below)[:, :-1], 1, 0)
  first = _to_unit_circle(spectrum[:, 0])
  # Unit length again at each frame: errors would grow along the clip.
  turn = lambda phase, by: 2 * (_to_unit_circle(phase * by),)
  _, phases = jax.lax.scan(turn, first, turns)
  phases = jnp.moveaxis(jnp.concatenate([first[None], phases]), 0, 1)
  frames = jnp.fft.irfft(jnp.where(inside, magnitude, 0) * phases, n=N_FFT)
  total = _add_frames(frames * window, hop)
  weight = _add_frames(
    jnp.broadcast_to(np.square(window), (1, num_frames, N_FFT)), hop
  )
  made = total / jnp.maximum(weight, 1e-3)
  return made[:, N_FFT // 2 : N_FFT // 2 + num_samples]


def _to_unit_circle(values: jax.Array) -> jax.Array:
  """Complex numbers of length 1 at the same angles; 1 for 0."""
  length = jnp.square(values.real) + jnp.square(values.imag)
  return jnp.where(length > 0, values * jax.lax.rsqrt(length), 1)


def _cut_frames(padded: jax.Array, count: int) -> jax.Array:
  """Frames [B, count, N_FFT], a hop apart."""
  hop = N_FFT // OVERLAP
  blocks = padded[:, : (count + OVERLAP - 1) * hop]
  blocks = blocks.reshape(len(padded), -1, hop)
  shifted = [blocks[:, n : n + count] for n in range(OVERLAP)]
  return jnp.concatenate(shifted, axis=-1)


def _add_frames(frames: jax.Array, hop: int) -> jax.Array:
  """The sum of frames [B, F, N_FFT], each a hop after the one before."""
  batch_size, count, _ = frames.shape
  blocks = frames.reshape(batch_size, count, OVERLAP, hop)
  total = sum(
    jnp.pad(blocks[:, :, n], ((0, 0), (n, OVERLAP - 1 - n), (0, 0)))
    for n in range(OVERLAP)
  )
  return total.reshape(batch_size, -1)


def _draw(key, speech, bounds, probability):
  """Log-uniform factors [B, 1], 1 where not chosen, and which are [B, 1]."""
  chosen_key, key = jax.random.split(key)
  shape = (len(speech), 1)
  low, high = bounds
  factor = jnp.exp(jax.random.uniform(key, shape, minval=low, maxval=high))
  chosen = jax.random.uniform(chosen_key, shape) < probability
  return jnp.where(chosen, factor, 1), chosen


def _choose(chosen, made, length, speech, speech_length):
  """What was made where it was chosen, else the speech as it was."""
  length = length.astype(speech_length.dtype)
  made = sound.keep_valid(jnp.clip(made, -1, 1), length)
  made = sound.from_unit(made, speech.dtype)
  before = sound.keep_valid(speech, speech_length)
  return (
    jnp.where(chosen, made, before),
    jnp.where(chosen[:, 0], length, speech_length),
  )
