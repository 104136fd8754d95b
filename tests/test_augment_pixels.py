"""Picture augmentation: per example, shared over frames, type kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.augment import pixels

KEY = jax.random.key(0)
SHAPE = (6, 3, 16, 20, 3)


@pytest.fixture(scope='module')
def frames():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.integers(0, 256, SHAPE), jnp.uint8)


@functools.cache
def jit(name, **options):
  return jax.jit(functools.partial(getattr(pixels, name), **options))


def apply(name, frames, key=KEY, **options):
  return np.asarray(jit(name, **options)(key, frames))


@pytest.mark.parametrize('name', ('flip', 'crop', 'color', 'erase'))
def test_type_shape_and_range_stay_and_examples_differ(frames, name):
  # The same picture in every frame of every example.
  same = jnp.broadcast_to(frames[:1, :1], SHAPE)
  out = apply(name, same, probability=1.0)
  assert out.shape == SHAPE and out.dtype == np.uint8
  for example in out:
    assert (example == example[:1]).all(), 'frames of an example differ'
  if name != 'flip':
    assert len({example.tobytes() for example in out}) > 1
  unit = apply(name, same / jnp.float32(255), probability=1.0)
  assert unit.dtype == np.float32
  assert unit.min() >= 0 and unit.max() <= 1
  np.testing.assert_allclose(np.round(unit * 255), out, atol=1)


@pytest.mark.parametrize('name', ('flip', 'crop', 'color', 'erase'))
def test_probability_zero_changes_nothing_and_keys_decide(frames, name):
  np.testing.assert_array_equal(apply(name, frames, probability=0.0), frames)
  first = apply(name, frames, probability=0.5)
  np.testing.assert_array_equal(first, apply(name, frames, probability=0.5))
  others = [
    apply(name, frames, jax.random.key(k), probability=0.5) for k in (1, 2, 3)
  ]
  assert any((first != other).any() for other in others)


def test_flip_mirrors_about_half_of_the_examples():
  many = jnp.broadcast_to(jnp.arange(4, dtype=jnp.float32), (400, 1, 1, 4))
  many = jnp.stack([many] * 3, axis=-1) / 4
  out = apply('flip', many)[:, 0, 0, :, 0] * 4
  mirrored = (out == [3, 2, 1, 0]).all(-1)
  assert ((out == [0, 1, 2, 3]).all(-1) | mirrored).all()
  assert 0.4 < mirrored.mean() < 0.6


def test_crop_keeps_a_linear_ramp_linear_and_inside():
  # Bilinear resizing of a ramp is a ramp, of the slope of the box's side.
  row = (jnp.arange(32) + 0.5) / 32
  ramp = jnp.broadcast_to(row[:, None, None], (8, 2, 32, 32, 3))
  ramp = ramp.at[..., 1].set(row)
  out = apply('crop', ramp, area=(0.25, 0.25), ratio=(1.0, 1.0))
  for channel, axis in ((0, 2), (1, 3)):
    slopes = np.diff(out[..., channel], axis=axis)
    inner = slopes[:, :, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 0.5 / 32, atol=1e-5)
  starts = out[:, 0, 0, 0, 0]
  assert starts.min() >= 0 and out.max() <= 1
  assert starts.std() > 0.05


def test_color_follows_its_definition(frames):
  unit = np.asarray(frames) / np.float32(255)
  off = {'brightness': 0.0, 'contrast': 0.0, 'saturation': 0.0}
  grey = apply('color', unit, **off, grey=1.0)
  luma = (unit * [0.299, 0.587, 0.114]).sum(-1, keepdims=True)
  np.testing.assert_allclose(
    grey, np.broadcast_to(luma, SHAPE), rtol=0, atol=1e-5
  )
  np.testing.assert_allclose(apply('color', unit, **off), unit, atol=1e-5)
  dark = apply('color', unit / 4, **off | {'brightness': 0.5})
  scale = dark[:, :1, :1, :1, :1] / (unit / 4)[:, :1, :1, :1, :1]
  np.testing.assert_allclose(dark, unit / 4 * scale, atol=1e-5)
  assert (scale > 0.5).all() and (scale < 1.5).all() and scale.std() > 0.05
  # Contrast and saturation keep the mean luma where nothing is clipped.
  middle = 0.4 + 0.2 * unit
  changed = apply('color', middle, **off | {'contrast': 0.3, 'saturation': 0.3})

  def mean_luma(pictures):
    return (pictures * [0.299, 0.587, 0.114]).sum(-1).mean((1, 2, 3))

  np.testing.assert_allclose(mean_luma(changed), mean_luma(middle), atol=1e-5)
  assert np.abs(changed - middle).max() > 0.005


@pytest.mark.parametrize('fill', ('mean', 'zero', 'noise'))
def test_erase_fills_one_rectangle_of_the_asked_area(fill):
  ones = jnp.full((40, 2, 32, 32, 3), 0.5).at[:, :, 0, 0].set(0.25)
  out = apply(
    'erase', ones, area=(0.1, 0.2), ratio=(0.5, 2.0), fill=fill, probability=1.0
  )
  changed = (out != np.asarray(ones)).any(-1)
  assert (changed[:, 0] == changed[:, 1]).all()
  for example in changed[:, 0]:
    rows, columns = example.any(1).nonzero()[0], example.any(0).nonzero()[0]
    assert example[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert 0.06 < example.mean() < 0.25
  expected = {'mean': ones.mean((1, 2, 3))[0, 0], 'zero': 0.0}
  if fill in expected:
    np.testing.assert_allclose(out[changed], expected[fill], atol=1e-5)


def test_unknown_filling_is_refused(frames):
  with pytest.raises(errors.AvemoError, match='grey'):
    pixels.erase(KEY, frames, fill='grey')
