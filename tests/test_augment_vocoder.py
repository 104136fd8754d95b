"""Pitch and duration apart: measured on tones, lengths and types kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo.augment import vocoder

KEY = jax.random.key(0)
RATE = 16_000
SIZE = 16_000
LENGTHS = np.array([12_000, 16_000, 9_000], np.int32)
NAMES = ('time_stretch', 'pitch_shift')


def make_tone(frequency, lengths=LENGTHS):
  tone = 0.5 * np.sin(2 * np.pi * frequency * np.arange(SIZE) / RATE)
  inside = np.arange(SIZE) < lengths[:, None]
  return np.where(inside, tone, 0).astype(np.float32)


@functools.cache
def jit(name, **options):
  return jax.jit(functools.partial(getattr(vocoder, name), **options))


def apply(name, speech, lengths=LENGTHS, **options):
  out, length = jit(name, **options)(KEY, speech, jnp.asarray(lengths))
  return np.asarray(out), np.asarray(length)


def measure_frequency(samples):
  """Of the highest peak, between bins by a parabola through logarithms."""
  size = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) + 1e-9)
  top = int(size.argmax())
  left, middle, right = size[top - 1 : top + 2]
  place = top + 0.5 * (left - right) / (left - 2 * middle + right)
  return place * RATE / len(samples)


@pytest.mark.parametrize('factor', [0.8, 1.25])
def test_stretching_changes_the_duration_and_not_the_pitch(factor):
  out, length = apply('time_stretch', make_tone(440), factor=(factor, factor))
  expected = np.minimum(LENGTHS / factor, SIZE)
  np.testing.assert_allclose(length, expected, atol=1)
  for row, n in zip(out, length, strict=True):
    assert (row[n:] == 0).all()
    middle = row[1_000 : n - 1_000]
    assert measure_frequency(middle) == pytest.approx(440, rel=2e-3)
    # As loud as before, to the end, and not fluttering.
    loudness = np.sqrt(np.square(middle[: len(middle) // 400 * 400])
      .reshape(-1, 400).mean(1))  # fmt: skip
    np.testing.assert_allclose(loudness, 0.5 / np.sqrt(2), rtol=0.1)


@pytest.mark.parametrize('semitones', [-4.0, 3.0])
def test_shifting_changes_the_pitch_and_not_the_duration(semitones):
  out, length = apply(
    'pitch_shift', make_tone(440), semitones=(semitones, semitones)
  )
  np.testing.assert_array_equal(length, LENGTHS)
  expected = 440 * 2 ** (semitones / 12)
  for row, n in zip(out, length, strict=True):
    assert (row[n:] == 0).all()
    middle = row[1_000 : n - 1_000]
    assert measure_frequency(middle) == pytest.approx(expected, rel=2e-3)
    assert np.abs(middle).max() == pytest.approx(0.5, rel=0.1)


def test_one_pass_changes_both():
  out, length = apply(
    'pitch_shift', make_tone(440), semitones=(5.0, 5.0), tempo=(1.25, 1.25)
  )
  np.testing.assert_allclose(length, LENGTHS / 1.25, atol=1)
  for row, n in zip(out, length, strict=True):
    assert (row[n:] == 0).all()
    found = measure_frequency(row[1_000 : n - 1_000])
    assert found == pytest.approx(440 * 2 ** (5 / 12), rel=2e-3)


def test_what_comes_first_stays_first():
  # A low tone, then a high one, of a second each in the clip's own time.
  speech = make_tone(300)
  speech[:, 6_000:] = make_tone(900)[:, 6_000:]
  out, length = apply('time_stretch', speech, factor=(1.5, 1.5))
  change = 4_000
  for row, n in zip(out, length, strict=True):
    low = measure_frequency(row[500 : change - 700])
    high = measure_frequency(row[change + 700 : n - 300])
    assert low == pytest.approx(300, rel=0.02)
    assert high == pytest.approx(900, rel=0.02)


def test_a_rate_of_one_gives_the_waveform_back():
  speech = np.random.default_rng(0).normal(0, 0.1, (2, 8_000))
  made = vocoder.stretch(
    jnp.float32(speech), jnp.ones((2, 1)), num_samples=8_000
  )
  np.testing.assert_allclose(made, speech, atol=5e-4)


@pytest.mark.parametrize('name', NAMES)
def test_type_shape_and_odd_lengths(name):
  lengths = np.array([0, 1, 700, SIZE], np.int32)
  noise = np.random.default_rng(0).normal(0, 2_000, (4, SIZE))
  noise[np.arange(SIZE) >= lengths[:, None]] = 0
  speech = jnp.asarray(noise, jnp.int16)
  out, length = apply(name, speech, lengths, probability=1.0)
  assert out.shape == speech.shape and out.dtype == np.int16
  assert length.dtype == np.int32
  assert length[0] == 0 and (length[1:] > 0).all() and (length <= SIZE).all()
  for row, n in zip(out, length, strict=True):
    assert (row[n:] == 0).all()
  assert (out[3] != speech[3]).any()
  same, length = apply(name, speech, lengths, probability=0.0)
  np.testing.assert_array_equal(same, speech)
  np.testing.assert_array_equal(length, lengths)


@pytest.mark.parametrize('name', NAMES)
def test_each_example_has_its_own_draw(name):
  speech = np.tile(make_tone(440, np.full(1, SIZE)), (6, 1))
  out, length = apply(name, speech, np.full(6, 12_000, np.int32))
  found = [
    (round(measure_frequency(row[500 : n - 500])), n)
    for row, n in zip(out, length, strict=True)
  ]
  assert len(set(found)) == 6
