"""Frames as batches carry them to the normalised pictures that towers read."""

import jax
import jax.numpy as jnp
import numpy as np

from avemo.models import videomae

# Of ITU-R BT.601, as JPEG and OpenCV weigh red, green and blue.
LUMA = (0.299, 0.587, 0.114)


def normalize(
  frames: jax.Array,
  *,
  grey: bool = False,
  mean: float | None = None,
  std: float | None = None,
) -> jax.Array:
  """Frames [B, T, H, W, 3] as a tower reads them.

  Args:
    frames: uint8, or floats in [0, 1].
    grey: whether colour is left out, for one channel of luma.
    mean: which is subtracted, in [0, 1]; None: the usual ones of ImageNet, by
      colour, and their luma.
    std: by which is then divided, likewise.

  Returns:
    float32 [B, T, H, W, 3], or [B, T, H, W, 1] if `grey`.
  """
  unit = to_unit(frames, grey=grey)
  weights = np.float32(LUMA) if grey else np.eye(3, dtype=np.float32)
  if mean is None:
    mean = weights @ np.float32(videomae.MEAN)
  if std is None:
    std = weights @ np.float32(videomae.STD)
  return (unit - np.float32(mean)) / np.float32(std)


def to_unit(frames: jax.Array, *, grey: bool = False) -> jax.Array:
  """Frames as floats in [0, 1], of one channel if `grey`."""
  if jnp.issubdtype(frames.dtype, jnp.integer):
    frames = frames.astype(jnp.float32) / 255
  frames = frames.astype(jnp.float32)
  if grey:
    # Sums of products, which no GPU rounds to TF32.
    frames = (frames * np.float32(LUMA)).sum(-1, keepdims=True)
  return frames
