"""Speech augmentation: valid lengths, stated strengths, type kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo.augment import sound

KEY = jax.random.key(0)
LENGTHS = np.array([2_000, 1_500, 40, 1, 0, 2_000, 700, 1_999], np.int32)
NAMES = ('time_shift', 'speed', 'gain', 'noise')


@pytest.fixture(scope='module')
def speech():
  values = np.random.default_rng(0).normal(0, 2_000, (8, 2_000))
  values[np.arange(2_000) >= LENGTHS[:, None]] = 0
  return jnp.asarray(values, jnp.int16)


@functools.cache
def jit(name, **options):
  return jax.jit(functools.partial(getattr(sound, name), **options))


def apply(name, speech, lengths=LENGTHS, key=KEY, **options):
  out, length = jit(name, **options)(key, speech, jnp.asarray(lengths))
  return np.asarray(out), np.asarray(length)


@pytest.mark.parametrize('name', NAMES)
def test_type_shape_and_silence_behind_the_length(speech, name):
  out, length = apply(name, speech, probability=1.0)
  assert out.shape == speech.shape and out.dtype == np.int16
  assert length.dtype == np.int32
  assert (length >= 0).all() and (length <= 2_000).all()
  assert length[4] == 0 and (length[:4] > 0).all()
  for row, n in zip(out, length, strict=True):
    assert (row[n:] == 0).all()
  assert (out[0] != speech[0]).any()
  unit, unit_length = apply(name, speech / 32_768.0, probability=1.0)
  np.testing.assert_array_equal(unit_length, length)
  np.testing.assert_allclose(unit * 32_768, out, atol=1.1)


@pytest.mark.parametrize('name', NAMES)
def test_probability_zero_changes_nothing(speech, name):
  out, length = apply(name, speech, probability=0.0)
  np.testing.assert_array_equal(out, speech)
  np.testing.assert_array_equal(length, LENGTHS)


@pytest.mark.parametrize('size', [6, 7])
def test_held_speech_is_the_same(size):
  speech = np.arange(2 * size, dtype=np.int16).reshape(2, size)
  np.testing.assert_array_equal(jax.jit(sound.hold)(speech), speech)


def test_time_shift_moves_zero_filled(speech):
  moved = []
  for seed in range(8):
    out, length = apply(
      'time_shift', speech, key=jax.random.key(seed), max_samples=300
    )
    for row, n, before, n_before in zip(
      out, length, np.asarray(speech), LENGTHS, strict=True
    ):
      # Find the shift from the data alone.
      fits = [
        s
        for s in range(-300, 301)
        if n == min(n_before + s, 2_000)
        and (row[max(s, 0) : n] == before[max(-s, 0) : n - s]).all()
        and (row[: max(s, 0)] == 0).all()
      ]
      assert fits
      assert n >= n_before - n_before // 2
      if n_before == 700:
        moved.append(fits[0])
  assert min(moved) < 0 < max(moved)


def test_speed_changes_pitch_and_length():
  time = np.arange(8_000) / 16_000
  tone = np.sin(2 * np.pi * 500 * time).astype(np.float32)
  speech = jnp.stack([tone] * 4)
  lengths = np.array([6_000, 6_000, 6_000, 8_000], np.int32)
  for factor in (0.8, 1.25):
    out, length = apply('speed', speech, lengths, factor=(factor, factor))
    np.testing.assert_allclose(length, np.minimum(lengths / factor, 8_000), 1)
    expected = np.sin(2 * np.pi * 500 * factor * time)
    for row, n in zip(out, length, strict=True):
      # Linear interpolation of 32 samples a period.
      np.testing.assert_allclose(row[: n - 2], expected[: n - 2], atol=0.01)


def test_gain_scales_each_by_decibels(speech):
  out, _ = apply('gain', speech / 32_768.0, decibels=(-6.0, 6.0))
  rows = [i for i, n in enumerate(LENGTHS) if n > 1]
  change = [
    20 * np.log10(np.std(out[i]) / np.std(speech[i] / 32_768.0)) for i in rows
  ]
  assert np.abs(change).max() <= 6.001 and np.std(change) > 1
  loud, _ = apply('gain', speech, decibels=(60.0, 60.0))
  assert loud.max() == 32_767 and loud.min() == -32_768


def test_noise_has_the_asked_ratio_over_the_valid_samples(speech):
  clean = np.asarray(speech) / 32_768.0
  out, _ = apply('noise', clean, snr=(10.0, 10.0), probability=1.0)
  for row, before, n in zip(out, clean, LENGTHS, strict=True):
    if n >= 700:
      power = (before[:n] ** 2).mean() / ((row - before)[:n] ** 2).mean()
      assert abs(10 * np.log10(power) - 10) < 0.6
  silent, _ = apply('noise', np.zeros_like(clean), probability=1.0)
  assert (silent == 0).all()
