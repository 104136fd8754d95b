"""Augmentation of power spectra: other speakers, rooms and microphones.

Every function takes power spectra `[B, F, N]`, frequencies from 0 to half the
sample rate, and the number of valid frames, int `[B]`, and returns both.
`probability` is that of an example.
"""

import jax
import jax.numpy as jnp
import numpy as np

Spectra = tuple[jax.Array, jax.Array]


def _draw(
  key: jax.Array,
  power: jax.Array,
  low: float,
  high: float,
  probability: float,
  neutral: float = 0.0,
  count: int = 1,
) -> jax.Array:
  """Uniform numbers `[B, count]`; neutral where the example is not chosen."""
  chosen_key, key = jax.random.split(key)
  size = len(power)
  drawn = jax.random.uniform(key, (size, count), minval=low, maxval=high)
  chosen = jax.random.uniform(chosen_key, (size, 1)) < probability
  return jnp.where(chosen, drawn, neutral)


def _draw_factor(
  key: jax.Array, power: jax.Array, factor, probability: float
) -> jax.Array:
  """Log-uniform factors `[B, 1]`; 1 where the example is not chosen."""
  low, high = np.log(factor)
  return jnp.exp(_draw(key, power, low, high, probability))


def _interpolate(power: jax.Array, places: jax.Array, axis: int) -> jax.Array:
  """Values at `places` `[B, n]` along an axis of `[B, F, N]`, linearly."""
  last = power.shape[axis] - 1
  places = jnp.clip(places, 0, last)
  below = jnp.floor(places).astype(jnp.int32)
  above = jnp.minimum(below + 1, last)
  fraction = jnp.expand_dims(places - below, 3 - axis)
  take = jax.vmap(lambda row, index: jnp.take(row, index, axis=axis - 1))
  return take(power, below) * (1 - fraction) + take(power, above) * fraction


def vocal_tract(
  key: jax.Array,
  power: jax.Array,
  num_valid: jax.Array,
  *,
  factor: tuple[float, float] = (0.86, 1.16),
  probability: float = 1.0,
) -> Spectra:
  """Stretches frequencies, formants and pitch alike: a speaker of other size.

  Args:
    key: of JAX.
    power: `[B, F, N]`.
    num_valid: `[B]`.
    factor: least and greatest factor of the frequencies; what would lie
      beyond the highest frequency is lost, what is missing there repeats it.
    probability: of an example.
  """
  scale = _draw_factor(key, power, factor, probability)
  places = np.arange(power.shape[2]) / scale
  return _interpolate(power, places, 2), num_valid


def tempo(
  key: jax.Array,
  power: jax.Array,
  num_valid: jax.Array,
  *,
  factor: tuple[float, float] = (0.82, 1.22),
  probability: float = 1.0,
) -> Spectra:
  """Speaks faster or slower at the same pitch.

  A slowed clip that outgrows F loses its end.

  Args:
    key: of JAX.
    power: `[B, F, N]`.
    num_valid: `[B]`.
    factor: least and greatest speed.
    probability: of an example.
  """
  rate = _draw_factor(key, power, factor, probability)
  last = jnp.maximum(num_valid - 1, 0)[:, None]
  frames = np.arange(power.shape[1])
  places = jnp.minimum(frames * rate, last)
  count = jnp.sum(frames * rate <= last, axis=1)
  count = jnp.minimum(count, power.shape[1]).astype(num_valid.dtype)
  count = jnp.where(num_valid > 0, count, 0)
  return _interpolate(power, places, 1), count


def equalizer(
  key: jax.Array,
  power: jax.Array,
  num_valid: jax.Array,
  *,
  decibels: float = 4.0,
  level: float = 4.0,
  points: int = 4,
  sample_rate: int = 16_000,
  probability: float = 1.0,
) -> Spectra:
  """Another microphone and room: gains that vary smoothly with frequency.

  Args:
    key: of JAX.
    power: `[B, F, N]`.
    num_valid: `[B]`.
    decibels: the greatest gain or loss at a point.
    level: likewise of all frequencies together.
    points: evenly spaced on the mel scale, with straight lines between.
    sample_rate: in Hz.
    probability: of an example.
  """
  curve_key, level_key = jax.random.split(key)
  gains = _draw(
    curve_key, power, -decibels, decibels, probability, count=points
  )
  gains += _draw(level_key, power, -level, level, probability)
  hertz = np.linspace(0, sample_rate / 2, power.shape[2])
  mels = np.log1p(hertz / 700)
  places = mels / mels[-1] * (points - 1)
  # Each bin's share of the points on either side.
  shares = np.maximum(0, 1 - abs(places - np.arange(points)[:, None]))
  curve = jnp.matmul(gains, shares.astype(np.float32), precision='highest')
  return power * 10 ** (curve[:, None] / 10), num_valid


def noise_floor(
  key: jax.Array,
  power: jax.Array,
  num_valid: jax.Array,
  *,
  decibels: tuple[float, float] = (-80.0, -50.0),
  probability: float = 1.0,
) -> Spectra:
  """Adds the mean power of white noise; silence stays silent.

  Args:
    key: of JAX.
    power: `[B, F, N]`.
    num_valid: `[B]`.
    decibels: least and greatest, relative to the clip's greatest power.
    probability: of an example.
  """
  ratio = _draw(key, power, *decibels, probability, neutral=-jnp.inf)
  peak = power.max((1, 2), keepdims=True)
  return power + peak * 10 ** (ratio[..., None] / 10), num_valid
