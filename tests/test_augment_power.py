"""Other voices, tempi, microphones and noise, on power spectra."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import augment
from avemo.augment import power as lib

VALID = np.array([40, 20, 1, 0], np.int32)


def apply(function, spectra, valid=VALID, seed=0, **options):
  function = jax.jit(functools.partial(function, **options))
  found, count = function(jax.random.key(seed), spectra, jnp.asarray(valid))
  assert found.shape == spectra.shape
  assert count.dtype == valid.dtype
  return np.asarray(found), np.asarray(count)


def make_spectra(seed=0, shape=(4, 40, 65)):
  return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize('name', augment.POWER)
def test_neither_chance_nor_strength_changes_nothing(name):
  neutral = {
    'tempo': {'factor': (1.0, 1.0)},
    'vocal_tract': {'factor': (1.0, 1.0)},
    'equalizer': {'decibels': 0.0, 'level': 0.0},
    'noise_floor': {'decibels': (-300.0, -300.0)},
  }
  spectra = make_spectra()
  for options in ({'probability': 0.0}, neutral[name]):
    found, count = apply(augment.POWER[name], spectra, **options)
    # What lies behind a clip's end is nobody's sound.
    for row, end in enumerate(VALID):
      np.testing.assert_allclose(
        found[row, :end], spectra[row, :end], rtol=1e-5
      )
    np.testing.assert_array_equal(count, VALID)


def test_vocal_tract_moves_frequencies_by_its_factor():
  bins = np.arange(257)
  spectra = np.exp(-(((bins - 80) / 6) ** 2)).astype(np.float32)
  spectra = np.broadcast_to(spectra, (4, 3, 257))
  found, count = apply(lib.vocal_tract, spectra, factor=(1.25, 1.25))
  expected = np.exp(-(((bins / 1.25 - 80) / 6) ** 2))
  np.testing.assert_allclose(
    found, np.broadcast_to(expected, found.shape), atol=0.02
  )
  np.testing.assert_array_equal(count, VALID)


def test_vocal_tracts_differ_by_example_within_the_range():
  bins = np.arange(257)
  spectra = np.exp(-(((bins - 100) / 4) ** 2)).astype(np.float32)
  spectra = np.broadcast_to(spectra, (300, 1, 257))
  valid = np.ones(300, np.int32)
  found, _ = apply(lib.vocal_tract, spectra, valid, factor=(0.8, 1.25))
  places = found[:, 0].argmax(-1) / 100
  assert len(set(places)) > 20
  assert 0.79 <= places.min() < 0.85 and 1.18 < places.max() <= 1.26


def test_tempo_resamples_the_valid_frames():
  spectra = np.tile(np.arange(40, dtype=np.float32)[:, None], (4, 1, 5))
  found, count = apply(lib.tempo, spectra, factor=(1.25, 1.25))
  np.testing.assert_array_equal(count, [32, 16, 1, 0])
  for row, size in zip(found, count, strict=True):
    expected = 1.25 * np.arange(size)
    np.testing.assert_allclose(row[:size, 0], expected, rtol=1e-5)
  found, count = apply(lib.tempo, spectra, factor=(0.8, 0.8))
  # The longest would need 49 frames.
  np.testing.assert_array_equal(count, [40, 24, 1, 0])
  np.testing.assert_allclose(found[1, :24, 0], 0.8 * np.arange(24), rtol=1e-5)


def test_equalizer_is_one_smooth_curve_an_example():
  spectra = make_spectra(shape=(200, 4, 513)) + 0.1
  valid = np.full(200, 4, np.int32)
  found, _ = apply(lib.equalizer, spectra, valid, decibels=5.0, level=3.0)
  gains = 10 * np.log10(found / spectra)
  np.testing.assert_allclose(gains, gains[:, :1].repeat(4, 1), atol=1e-3)
  gains = gains[:, 0]
  assert 5 < abs(gains).max() <= 8
  assert abs(np.diff(gains)).max() < 0.5
  assert (np.ptp(gains, axis=1) > 0.5).mean() > 0.9
  level, _ = apply(lib.equalizer, spectra, valid, decibels=0.0, level=3.0)
  gains = 10 * np.log10(level / spectra)
  assert np.ptp(gains, axis=(1, 2)).max() < 1e-3
  assert 2.5 < abs(gains).max() <= 3.001


def test_noise_floor_lies_below_the_peak_and_spares_silence():
  spectra = np.zeros((4, 40, 65), np.float32)
  spectra[0, 3, 7] = 2.0
  found, _ = apply(lib.noise_floor, spectra, decibels=(-20.0, -20.0))
  np.testing.assert_allclose(found[0] - spectra[0], 0.02, rtol=1e-4)
  assert (found[1:] == 0).all()


def test_all_at_once_by_the_config_and_the_key():
  spectra, valid = make_spectra(), jnp.asarray(VALID)
  options = {name: {} for name in augment.FUNCTIONS}
  run = jax.jit(lambda key: augment.augment_power(key, spectra, options, valid))
  first, count = run(jax.random.key(0))
  again, _ = run(jax.random.key(0))
  other, _ = run(jax.random.key(1))
  np.testing.assert_array_equal(first, again)
  assert (np.asarray(first) != other).any()
  assert np.isfinite(first).all()
  assert ((count > 0) == (VALID > 0)).all()
  same, count = augment.augment_power(
    jax.random.key(0), spectra, {'spec_augment': {}, 'tempo': None}, valid
  )
  np.testing.assert_array_equal(same, spectra)
  np.testing.assert_array_equal(count, VALID)
