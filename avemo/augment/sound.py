"""Augmentation of speech: one draw an example, aware of its valid length.

Every function takes speech `[B, S]`, int16 or floats in [-1, 1], and valid
lengths `[B]`, and returns both, of the same types. Samples beyond the length
are zeros afterwards.
"""

import jax
import jax.numpy as jnp
import numpy as np


def to_unit(speech: jax.Array) -> jax.Array:
  """int16 to float32 in [-1, 1); floats pass as float32."""
  if speech.dtype == jnp.int16:
    return speech.astype(jnp.float32) / 32_768
  return speech.astype(jnp.float32)


def from_unit(speech: jax.Array, dtype) -> jax.Array:
  """The reverse of `to_unit`, rounded and clipped where `dtype` is int16."""
  if dtype == jnp.int16:
    scaled = jnp.round(speech * 32_768)
    return jnp.clip(scaled, -32_768, 32_767).astype(jnp.int16)
  return speech.astype(dtype)


def keep_valid(speech: jax.Array, speech_length: jax.Array) -> jax.Array:
  """Zeros beyond the valid lengths."""
  inside = np.arange(speech.shape[-1]) < speech_length[:, None]
  return jnp.where(inside, speech, 0)


def hold(speech: jax.Array) -> jax.Array:
  """The same speech, `[B, S]`, computed once.

  On CPUs XLA would else compute it, noise and all, once for each of the frames
  that overlap, and again for the clip that it is blended with. What a loop
  reads has to be there before, so it is read by one, along S.
  """
  return jax.lax.platform_dependent(speech, cpu=_copy, default=lambda x: x)


def _copy(speech: jax.Array) -> jax.Array:
  """Copies halves in a loop; the batch may be split over devices."""
  size = speech.shape[-1]
  padded = jnp.pad(speech, ((0, 0), (0, size % 2)))
  halves = jnp.stack(jnp.split(padded, 2, axis=-1))
  halves = jax.lax.map(lambda half: half, halves)
  return jnp.concatenate(halves, axis=-1)[:, :size]


def _draw(key: jax.Array, speech: jax.Array, low=0.0, high=1.0) -> jax.Array:
  """One uniform number an example, `[B, 1]`."""
  return jax.random.uniform(key, (len(speech), 1), minval=low, maxval=high)


def time_shift(
  key: jax.Array,
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  max_samples: int = 1_600,
  probability: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Shifts by up to `max_samples`; zeros come in, what leaves is lost.

  Not circular: a wrapped end would put an onset where speech has none. A
  shift to the left loses at most half of the clip; one to the right grows the
  valid length, up to S.
  """
  most = min(max_samples, speech.shape[-1])
  chosen_key, shift_key = jax.random.split(key)
  shift = jax.random.randint(shift_key, (len(speech),), -most, most + 1)
  shift = jnp.maximum(shift, -(speech_length // 2))
  chosen = _draw(chosen_key, speech)[:, 0] < probability
  shift = jnp.where(chosen & (speech_length > 0), shift, 0)
  padded = jnp.pad(keep_valid(speech, speech_length), ((0, 0), (most, most)))
  shifted = jax.vmap(
    lambda row, start: jax.lax.dynamic_slice_in_dim(
      row, start, speech.shape[-1]
    )
  )(padded, most - shift)
  length = jnp.minimum(speech_length + shift, speech.shape[-1])
  return shifted, length.astype(speech_length.dtype)


def speed(
  key: jax.Array,
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  factor: tuple[float, float] = (0.9, 1.1),
  probability: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Plays faster or slower, pitch included, by linear interpolation.

  The interpolation dampens the highest frequencies a little; a slowed clip
  that outgrows S loses its end.

  Args:
    key: of JAX.
    speech: `[B, S]`.
    speech_length: `[B]`.
    factor: least and greatest speed.
    probability: of an example.
  """
  chosen_key, factor_key = jax.random.split(key)
  rate = _draw(factor_key, speech, *factor)
  rate = jnp.where(_draw(chosen_key, speech) < probability, rate, 1)
  places = np.arange(speech.shape[-1])
  last = jnp.maximum(speech_length - 1, 0)[:, None]
  played = resample(to_unit(speech), rate, speech.shape[-1], last)
  whole = jnp.floor(places * (rate - 1))
  # Sample t is heard as long as t * rate falls on the clip.
  inside = (places + whole <= last) & (speech_length[:, None] > 0)
  length = jnp.sum(inside, axis=-1).astype(speech_length.dtype)
  return from_unit(keep_valid(played, length), speech.dtype), length


def gain(
  key: jax.Array,
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  decibels: tuple[float, float] = (-6.0, 6.0),
  probability: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Louder or softer, clipped to [-1, 1].

  Args:
    key: of JAX.
    speech: `[B, S]`.
    speech_length: `[B]`.
    decibels: least and greatest change.
    probability: of an example.
  """
  chosen_key, gain_key = jax.random.split(key)
  change = _draw(gain_key, speech, *decibels)
  change = jnp.where(_draw(chosen_key, speech) < probability, change, 0)
  scaled = jnp.clip(to_unit(speech) * 10 ** (change / 20), -1, 1)
  scaled = keep_valid(scaled, speech_length)
  return from_unit(scaled, speech.dtype), speech_length


def noise(
  key: jax.Array,
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  snr: tuple[float, float] = (10.0, 40.0),
  probability: float = 0.5,
) -> tuple[jax.Array, jax.Array]:
  """Adds white Gaussian noise to the valid samples; silence stays silent.

  Args:
    key: of JAX.
    speech: `[B, S]`.
    speech_length: `[B]`.
    snr: least and greatest ratio of the clip's power over its valid samples
      to the noise's, in dB.
    probability: of an example.
  """
  chosen_key, snr_key, noise_key = jax.random.split(key, 3)
  waveform = keep_valid(to_unit(speech), speech_length)
  power = jnp.sum(waveform**2, axis=-1, keepdims=True) / jnp.maximum(
    speech_length[:, None], 1
  )
  ratio = _draw(snr_key, speech, *snr)
  scale = jnp.sqrt(power) * 10 ** (-ratio / 20)
  scale = jnp.where(_draw(chosen_key, speech) < probability, scale, 0)
  noisy = waveform + scale * jax.random.normal(noise_key, speech.shape)
  noisy = keep_valid(jnp.clip(noisy, -1, 1), speech_length)
  return from_unit(noisy, speech.dtype), speech_length


def resample(
  waveform: jax.Array,
  rate: jax.Array,
  num_samples: int,
  last: jax.Array | None = None,
) -> jax.Array:
  """Values at multiples of the rate, by linear interpolation.

  Args:
    waveform: floats `[B, S]`.
    rate: samples of the waveform from one value to the next, `[B, 1]`.
    num_samples: number of values.
    last: the sample that is repeated from there on, `[B, 1]`; None: the last.

  Returns:
    `[B, num_samples]`.
  """
  last = waveform.shape[-1] - 1 if last is None else last
  places = np.arange(num_samples)
  # Apart from the whole sample's place, whose size would cost the fraction
  # its last digits in float32.
  offset = places * (rate - 1)
  whole = jnp.floor(offset)
  fraction = offset - whole
  below = jnp.clip(places + whole.astype(jnp.int32), 0, last)
  above = jnp.minimum(below + 1, last)
  return jnp.take_along_axis(waveform, below, -1) * (1 - fraction) + (
    jnp.take_along_axis(waveform, above, -1) * fraction
  )
