"""Features of padded batches: padding leaves no trace, and normalisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.audio import features, spectral

SAMPLES = 4_000
LENGTHS = np.array([4_000, 2_345, 100, 0], np.int32)
MELS = {'num_mels': 40}


@functools.cache
def jit(options):
  return jax.jit(functools.partial(features.features, options=dict(options)))


def compute(speech, lengths, options):
  return np.asarray(jit(tuple(options.items()))(speech, jnp.asarray(lengths)))


@pytest.fixture(scope='module')
def speech():
  # Beyond its length a clip holds rubbish, which must not be seen.
  rng = np.random.default_rng(0)
  return rng.integers(-9_000, 9_000, (4, SAMPLES)).astype(np.int16)


@pytest.mark.parametrize('kind', ('none', 'constant', 'clip', 'band'))
def test_features_do_not_depend_on_the_padding(speech, kind):
  options = MELS | {'kind': kind, 'mean': -30.0, 'std': 12.0}
  batch = compute(speech, LENGTHS, options)
  for row, clip, length in zip(batch, speech, LENGTHS, strict=True):
    if length:
      alone = compute(clip[None, :length], np.array([length]), options)[0]
      np.testing.assert_allclose(row[: len(alone)], alone, atol=2e-4)
      row = row[len(alone) :]
    if kind != 'none':
      assert (row == 0).all()


def test_valid_frames_are_those_of_the_unpadded_clip():
  num_frames = spectral.count_frames(SAMPLES)
  counts = features.count_valid_frames(LENGTHS, num_frames)
  expected = [spectral.count_frames(int(n)) if n else 0 for n in LENGTHS]
  np.testing.assert_array_equal(counts, expected)


def test_without_normalisation_it_is_log_mel_with_the_floor_behind(speech):
  batch = compute(speech, LENGTHS, MELS | {'kind': 'none'})
  clip = jnp.asarray(speech[1, :2_345] / np.float32(32_768))
  alone = spectral.log_mel(clip, num_mels=40, window_length=400)
  np.testing.assert_allclose(batch[1, : len(alone)], alone, atol=1e-4)
  np.testing.assert_allclose(
    batch[1, len(alone) :], alone.max() - 80, rtol=1e-5
  )


@pytest.mark.parametrize('kind, axes', [('clip', (0, 1)), ('band', (0,))])
def test_clip_statistics_are_over_valid_frames(speech, kind, axes):
  batch = compute(speech, LENGTHS, MELS | {'kind': kind})
  for row, length in zip(batch[:3], LENGTHS[:3], strict=True):
    valid = np.asarray(row[: spectral.count_frames(int(length))])
    np.testing.assert_allclose(valid.mean(axes), 0, atol=1e-4)
    if len(valid) > 1:
      np.testing.assert_allclose(valid.std(axes), 1, atol=1e-3)


def test_constants_may_be_per_band(speech):
  mean, std = np.linspace(-60, -20, 40), np.linspace(5, 15, 40)
  plain = compute(speech, LENGTHS, MELS | {'kind': 'none'})
  scaled = compute(
    speech,
    LENGTHS,
    MELS | {'kind': 'constant', 'mean': tuple(mean), 'std': tuple(std)},
  )
  np.testing.assert_allclose(scaled[0], (plain[0] - mean) / std, atol=1e-4)


def test_ast_padding_is_normalised_too(speech):
  mean, std = -4.2677393, 2 * 4.5689974
  options = MELS | {'kind': 'constant', 'mean': mean, 'std': std}
  batch = compute(speech, LENGTHS, options | {'padding': 0.0, 'num_frames': 64})
  assert batch.shape == (4, 64, 40)
  np.testing.assert_allclose(batch[1, 20:], 0.467, atol=1e-3)
  plain = compute(speech, LENGTHS, options)
  np.testing.assert_allclose(batch[1, :10], plain[1, :10], atol=1e-5)
  cut = compute(speech, LENGTHS, options | {'num_frames': 5})
  np.testing.assert_allclose(cut[0], plain[0, :5], atol=1e-5)


def test_mfcc_in_place_of_mel_bands(speech):
  batch = compute(speech, LENGTHS, MELS | {'kind': 'none', 'num_mfcc': 13})
  clip = jnp.asarray(speech[0] / np.float32(32_768))
  alone = spectral.mfcc(clip, num_mels=40, num_mfcc=13, window_length=400)
  np.testing.assert_allclose(batch[0], alone, atol=1e-3)


def test_silence_becomes_zeros_with_finite_gradients():
  speech = jnp.zeros((2, 1_600))
  lengths = jnp.array([1_600, 0])

  def total(x):
    return (features.features(x, lengths, MELS) ** 2).sum()

  value, gradient = jax.jit(jax.value_and_grad(total))(speech)
  assert value == 0
  assert np.isfinite(gradient).all()


def test_int16_and_float_agree(speech):
  waveform = speech / np.float32(32_768)
  np.testing.assert_allclose(
    compute(speech, LENGTHS, MELS),
    compute(waveform, LENGTHS, MELS),
    atol=1e-5,
  )


def test_wrong_options_are_named(speech):
  with pytest.raises(errors.AvemoError, match="nearest is 'num_mels'"):
    features.features(speech, LENGTHS, {'num_mel': 40})
  for section, near in (
    ({'front_end': 'filterbanks'}, 'filterbank'),
    ({'front_end': 'filterbank', 'num_mfc': 3}, 'num_mels'),
  ):
    with pytest.raises(errors.AvemoError, match=f'nearest is {near!r}'):
      features.features(speech, LENGTHS, section)
  with pytest.raises(ValueError, match='clip'):
    features.features(speech, LENGTHS, {'kind': 'clips'})
  with pytest.raises(ValueError, match='padding'):
    features.features(speech, LENGTHS, {'kind': 'clip', 'padding': 0.0})
