"""Augmentation of pictures: one draw an example, shared by all its frames.

Every function takes frames `[B, T, H, W, 3]`, uint8 or floats in [0, 1], and
returns the same type and shape. `probability` is that of an example.
"""

import jax
import jax.numpy as jnp
import numpy as np

from avemo import errors

# Rec. 601, as in most image libraries.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def to_unit(frames: jax.Array) -> jax.Array:
  """uint8 to float32 in [0, 1]; floats pass as float32."""
  if frames.dtype == jnp.uint8:
    return frames.astype(jnp.float32) / 255
  return frames.astype(jnp.float32)


def from_unit(frames: jax.Array, dtype) -> jax.Array:
  """The reverse of `to_unit`, rounded where `dtype` is uint8."""
  if dtype == jnp.uint8:
    return jnp.round(jnp.clip(frames, 0, 1) * 255).astype(jnp.uint8)
  return frames.astype(dtype)


def _draw(key: jax.Array, frames: jax.Array, low=0.0, high=1.0) -> jax.Array:
  """One uniform number an example, `[B, 1, 1, 1, 1]`."""
  shape = (len(frames), 1, 1, 1, 1)
  return jax.random.uniform(key, shape, minval=low, maxval=high)


def _change_if_any(chosen: jax.Array, change, frames: jax.Array) -> jax.Array:
  """`change(frames)` if an example is chosen.

  The branch is also a wall: without it XLA fuses the change into each reader
  of a pixel and computes it several times over (crop, colour and mixup took
  seven times as long on CPU; an optimisation barrier did not help).
  """
  return jax.lax.cond(jnp.any(chosen), change, lambda same: same, frames)


def flip(
  key: jax.Array, frames: jax.Array, *, probability: float = 0.5
) -> jax.Array:
  """Mirrors left and right."""
  chosen = _draw(key, frames) < probability
  return jnp.where(chosen, frames[:, :, :, ::-1], frames)


def _interpolate(
  frames: jax.Array, positions: jax.Array, axis: int
) -> jax.Array:
  """Linear interpolation of THWC along one axis at `positions`."""
  below = jnp.floor(positions).astype(jnp.int32)
  shape = [1] * frames.ndim
  shape[axis] = -1
  fraction = (positions - below).reshape(shape)
  above = jnp.minimum(below + 1, frames.shape[axis] - 1)
  return jnp.take(frames, below, axis) * (1 - fraction) + (
    jnp.take(frames, above, axis) * fraction
  )


def _draw_box(
  key: jax.Array,
  num_examples: int,
  area: tuple[float, float],
  ratio: tuple[float, float],
) -> jax.Array:
  """Boxes within the unit square: top, left, height, width, `[B, 4]`."""
  keys = jax.random.split(key, 4)
  shape = (num_examples,)
  size = jax.random.uniform(keys[0], shape, minval=area[0], maxval=area[1])
  aspect = jnp.exp(
    jax.random.uniform(
      keys[1], shape, minval=np.log(ratio[0]), maxval=np.log(ratio[1])
    )
  )
  height = jnp.minimum(jnp.sqrt(size / aspect), 1)
  width = jnp.minimum(jnp.sqrt(size * aspect), 1)
  top = jax.random.uniform(keys[2], shape) * (1 - height)
  left = jax.random.uniform(keys[3], shape) * (1 - width)
  return jnp.stack([top, left, height, width], axis=-1)


def crop(
  key: jax.Array,
  frames: jax.Array,
  *,
  area: tuple[float, float] = (0.5, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
  probability: float = 1.0,
) -> jax.Array:
  """Cuts a box and resizes it, bilinearly, to the size of the input.

  Args:
    key: of JAX.
    frames: `[B, T, H, W, 3]`.
    area: least and greatest part of the picture's area.
    ratio: least and greatest width over height, against the picture's own.
    probability: of an example.
  """
  box_key, chosen_key = jax.random.split(key)
  boxes = _draw_box(box_key, len(frames), area, ratio)
  whole = jnp.array([0.0, 0.0, 1.0, 1.0])
  chosen = jax.random.uniform(chosen_key, (len(frames), 1)) < probability
  boxes = jnp.where(chosen, boxes, whole)
  height, width = frames.shape[2:4]

  # Two gathers of whole rows and columns: measured two to four times faster
  # on CPU than products with interpolation matrices. A crop is never made
  # smaller, so nothing aliases.
  def cut(example, box):
    rows = (box[0] + (np.arange(height) + 0.5) / height * box[2]) * height
    columns = (box[1] + (np.arange(width) + 0.5) / width * box[3]) * width
    example = _interpolate(example, jnp.clip(rows - 0.5, 0, height - 1), 1)
    return _interpolate(example, jnp.clip(columns - 0.5, 0, width - 1), 2)

  def change(same):
    return from_unit(jax.vmap(cut)(to_unit(same), boxes), same.dtype)

  return _change_if_any(chosen, change, frames)


def color(
  key: jax.Array,
  frames: jax.Array,
  *,
  brightness: float = 0.2,
  contrast: float = 0.2,
  saturation: float = 0.2,
  grey: float = 0.0,
  probability: float = 1.0,
) -> jax.Array:
  """Changes brightness, then contrast, then saturation; clipped to [0, 1].

  Args:
    key: of JAX.
    frames: `[B, T, H, W, 3]`.
    brightness: pictures are scaled by 1 ± this.
    contrast: distances from the example's mean luma likewise.
    saturation: distances from each pixel's luma likewise.
    grey: the probability that an example loses its colour.
    probability: of an example, for the first three.
  """
  keys = jax.random.split(key, 5)
  chosen = _draw(keys[0], frames) < probability
  scales = [
    jnp.where(chosen, _draw(k, frames, 1 - strength, 1 + strength), 1)
    for k, strength in zip(
      keys[1:4], (brightness, contrast, saturation), strict=True
    )
  ]
  greyed = _draw(keys[4], frames) < grey
  kept = jnp.where(greyed, 0, scales[2])

  # The three changes in a row, as one sum of the pixel, its luma and the
  # example's mean luma.
  def change(same):
    pictures = to_unit(same)
    mean = jnp.mean(pictures, axis=(1, 2, 3), keepdims=True)
    mean = jnp.sum(mean * LUMA, axis=-1, keepdims=True)
    # By slices: a sum over an axis of three is six times slower on CPU.
    luma = sum(pictures[..., i : i + 1] * LUMA[i] for i in range(3))
    changed = scales[1] * (kept * pictures + (1 - kept) * luma)
    changed = scales[0] * (changed + (1 - scales[1]) * mean)
    return from_unit(jnp.clip(changed, 0, 1), same.dtype)

  return _change_if_any(chosen | greyed, change, frames)


def box_mask(boxes: jax.Array, height: int, width: int) -> jax.Array:
  """Pixels whose centre lies in a box of unit coordinates, bool `[B, H, W]`."""
  rows = (np.arange(height, dtype=np.float32) + 0.5) / height
  columns = (np.arange(width, dtype=np.float32) + 0.5) / width
  top, left, tall, wide = (boxes[:, i, None] for i in range(4))
  inside_rows = (rows >= top) & (rows < top + tall)
  inside_columns = (columns >= left) & (columns < left + wide)
  return inside_rows[:, :, None] & inside_columns[:, None, :]


def erase(
  key: jax.Array,
  frames: jax.Array,
  *,
  area: tuple[float, float] = (0.02, 0.2),
  ratio: tuple[float, float] = (0.3, 3.3),
  fill: str = 'mean',
  probability: float = 0.25,
) -> jax.Array:
  """Erases one box, the same in all frames: a tube through time.

  Args:
    key: of JAX.
    frames: `[B, T, H, W, 3]`.
    area: least and greatest part of the picture's area.
    ratio: least and greatest width over height.
    fill: 'mean' (the example's mean colour), 'zero', or 'noise' (uniform,
      the same in all frames).
    probability: of an example.
  """
  if fill not in ('mean', 'zero', 'noise'):
    raise errors.AvemoError(
      f'augment.erase.fill is mean, zero or noise, not {fill!r}'
    )
  box_key, chosen_key, noise_key = jax.random.split(key, 3)
  height, width = frames.shape[2:4]
  boxes = _draw_box(box_key, len(frames), area, ratio)
  inside = box_mask(boxes, height, width)[:, None, :, :, None]
  chosen = _draw(chosen_key, frames) < probability

  def change(same):
    pictures = to_unit(same)
    if fill == 'mean':
      filling = jnp.mean(pictures, axis=(1, 2, 3), keepdims=True)
    elif fill == 'noise':
      shape = (len(same), 1, *same.shape[2:])
      filling = jax.random.uniform(noise_key, shape)
    else:
      filling = 0.0
    filled = jnp.where(inside & chosen, filling, pictures)
    return from_unit(filled, same.dtype)

  return _change_if_any(chosen, change, frames)
