"""Masks on spectra, after their normalisation."""

import jax
import jax.numpy as jnp
import numpy as np


def _draw_stripes(
  key: jax.Array, size: int, limit: jax.Array, count: int, widest: jax.Array
) -> jax.Array:
  """bool `[B, size]`: `count` stripes within the first `limit` `[B]` cells.

  A stripe is 0 to `widest` `[B]` cells wide, and lies anywhere that it fits.
  """
  width_key, start_key = jax.random.split(key)
  shape = (len(limit), count)
  widest = jnp.minimum(widest, limit)[:, None]
  width = jax.random.uniform(width_key, shape) * (widest + 1)
  width = jnp.minimum(jnp.floor(width), widest)
  room = limit[:, None] - width
  start = jax.random.uniform(start_key, shape) * (room + 1)
  start = jnp.minimum(jnp.floor(start), room)
  cells = np.arange(size)
  inside = cells >= start[..., None]
  inside &= cells < (start + width)[..., None]
  return jnp.any(inside, axis=1)


def spec_augment(
  key: jax.Array,
  spectrogram: jax.Array,
  num_valid: jax.Array | None = None,
  *,
  time_masks: int = 2,
  time_width: int = 20,
  time_part: float = 0.25,
  frequency_masks: int = 2,
  frequency_width: int = 16,
  fill: float = 0.0,
  probability: float = 1.0,
) -> jax.Array:
  """SpecAugment without time warping: stripes in time and in frequency.

  Args:
    key: of JAX.
    spectrogram: `[B, F, M]`, normalised, so that 0 is the mean.
    num_valid: valid frames, int `[B]`; stripes in time lie within. None: all.
    time_masks: their number.
    time_width: the widest, in frames.
    time_part: none is wider than this part of the valid frames.
    frequency_masks: their number.
    frequency_width: the widest, in bands.
    fill: the value under a mask.
    probability: of an example.

  Returns:
    `[B, F, M]`.
  """
  num_examples, num_frames, num_bands = spectrogram.shape
  time_key, frequency_key, chosen_key = jax.random.split(key, 3)
  if num_valid is None:
    num_valid = jnp.full(num_examples, num_frames)
  widest = jnp.minimum(time_width, jnp.floor(time_part * num_valid))
  hidden = jnp.zeros((num_examples, num_frames, num_bands), bool)
  if time_masks:
    hidden |= _draw_stripes(
      time_key, num_frames, num_valid, time_masks, widest
    )[:, :, None]
  if frequency_masks:
    bands = jnp.full(num_examples, num_bands)
    widest = jnp.full(num_examples, frequency_width)
    hidden |= _draw_stripes(
      frequency_key, num_bands, bands, frequency_masks, widest
    )[:, None, :]
  chosen = jax.random.uniform(chosen_key, (num_examples, 1, 1)) < probability
  return jnp.where(hidden & chosen, fill, spectrogram).astype(spectrogram.dtype)
