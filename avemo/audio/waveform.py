"""The samples themselves, as towers over raw speech read them."""

import jax
import jax.numpy as jnp
import numpy as np

from avemo.audio import features

# Of Baevski et al.'s inputs, as transformers' feature extractor has it.
EPSILON = 1e-7


def standardize(speech: jax.Array, speech_length: jax.Array) -> jax.Array:
  """Zero mean and unit variance over the valid samples of each clip.

  A clip's values do not depend on how far the batch is padded.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`.
    speech_length: valid samples, int `[B]`.

  Returns:
    float32 `[B, S]`, 0 after a clip's end; a silent clip is all 0.
  """
  samples = features.to_waveform(speech)
  valid = np.arange(samples.shape[-1]) < speech_length[:, None]
  count = jnp.maximum(valid.sum(-1, keepdims=True), 1)
  mean = jnp.sum(samples, -1, keepdims=True, where=valid) / count
  centred = jnp.where(valid, samples - mean, 0)
  variance = jnp.sum(centred**2, -1, keepdims=True) / count
  return centred / jnp.sqrt(variance + EPSILON)
