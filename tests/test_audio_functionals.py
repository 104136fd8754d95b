"""Functionals against NumPy and librosa, and what must leave no trace."""

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.stats

from avemo.audio import functionals as lib

SAMPLES = 24_000
LENGTHS = np.array([24_000, 17_001, 9_000], np.int32)


@functools.cache
def jitted():
  return jax.jit(lib.compute_functionals)


def compute(speech, lengths):
  return np.asarray(jitted()(speech, jnp.asarray(lengths, jnp.int32)))


def make_clip(seed, length):
  """Harmonics of a gliding pitch in syllables, between stretches of noise."""
  draw = np.random.default_rng(seed)
  time = np.arange(length) / lib.SAMPLE_RATE
  phase = 2 * np.pi * np.cumsum(120 + 60 * time + 40 * seed) / lib.SAMPLE_RATE
  voice = sum(np.sin(n * phase) / n for n in range(1, 20))
  voice *= np.maximum(0, np.sin(2 * np.pi * 3 * time)) ** 2
  voice[: length // 6] = 0
  clip = 0.1 * voice + 1e-4 * draw.standard_normal(length)
  return np.round(clip * 32_767).astype(np.int16)


@pytest.fixture(scope='module')
def speech():
  # Beyond its length a clip holds rubbish, which must not be seen.
  rubbish = np.random.default_rng(9).integers(-9_999, 9_999, (3, SAMPLES))
  batch = rubbish.astype(np.int16)
  for i, length in enumerate(LENGTHS):
    batch[i, :length] = make_clip(i, length)
  return batch


def split(values):
  """Columns by functional: one row of the answer as a dict."""
  ends = np.cumsum(list(lib.COLUMNS.values()))[:-1]
  return dict(zip(lib.COLUMNS, np.split(values, ends), strict=True))


def add_statistics(found, name, x, percents):
  found[f'{name}_mean'], found[f'{name}_std'] = x.mean(0), x.std(0)
  for percent in percents:
    found[f'{name}_q{percent:02d}'] = np.percentile(x, percent, axis=0)


def change_within(x, mask):
  both = mask[1:] & mask[:-1]
  return np.diff(x, axis=0)[both]


def fit(x):
  """Coefficients of a line, and of a parabola orthogonal to 1 and symmetric."""
  place = np.linspace(-1, 1, len(x))
  parabola = place**2 - np.mean(place**2)
  return [
    ((x - x.mean()) * shape).sum() / ((shape**2).sum() + 1e-3)
    for shape in (place, parabola)
  ]


def refer(clip):
  """All functionals of one unpadded clip, float64."""
  y = clip.astype(np.float64) / 32_768
  options = {'n_fft': 1_024, 'hop_length': 320, 'pad_mode': 'constant'}
  power = np.abs(librosa.stft(y, **options)) ** 2
  mels = librosa.feature.melspectrogram(
    S=power, sr=16_000, n_mels=48, fmin=50
  ).T
  energy = 10 * np.log10(mels.sum(1) + 1e-7 * mels.max() + 1e-7)
  levels = 10 * np.log10(mels + 10**-6.5 * mels.max() + 1e-7)
  active = energy > energy.max() - 35
  places = np.flatnonzero(active)
  inside = np.zeros_like(active)
  inside[places[0] : places[-1] + 1] = True
  mfcc = librosa.feature.mfcc(S=levels.T, n_mfcc=20).T
  found = {}
  add_statistics(found, 'mfcc', mfcc[active], lib.MFCC_QUANTILES)
  found['mfcc_change_std'] = change_within(mfcc, inside).std(0)
  add_statistics(
    found, 'mel_change', change_within(levels, inside), lib.CHANGE_QUANTILES
  )
  course = levels[inside] - levels[inside].mean(0)
  for i, (low, high) in enumerate(
    zip(lib.MODULATION_EDGES, lib.MODULATION_EDGES[1:], strict=False)
  ):
    turns = np.outer(np.arange(low, high), np.arange(len(course))) / 256
    spectrum = np.abs(np.exp(-2j * np.pi * turns) @ course) ** 2
    band = np.log1p(spectrum.mean(0))
    found[f'modulation_{i}'] = band.reshape(12, 4).mean(1)
  refer_pitch(found, power.T, active)
  add_statistics(found, 'energy', energy[inside][:, None], lib.ENERGY_QUANTILES)
  found['duration'] = np.log(inside.sum())
  found['active_share'] = active.sum() / inside.sum()
  found['energy_max'] = energy.max()
  found['energy_change'] = abs(change_within(energy, inside)).mean()
  slope, curvature = fit(energy[inside])
  found['energy_slope'], found['energy_curvature'] = slope, curvature
  shaped = mfcc[active, :12]
  rows, columns = np.triu_indices(12, 1)
  found['mfcc_correlation'] = np.corrcoef(shaped.T)[rows, columns]
  found['mfcc_skewness'] = scipy.stats.skew(shaped)
  found['mfcc_kurtosis'] = np.log1p(scipy.stats.kurtosis(shaped, fisher=False))
  return found


def refer_pitch(found, power, active):
  power = power[:, :260]
  levels = np.log(power + 1e-4 * power.max(1, keepdims=True) + 1e-9)
  salience = np.zeros((len(power), 48))
  for column, pitch in enumerate(lib.PITCHES):
    for n in range(1, 9):
      on, off = (round(h * pitch / 15.625) for h in (n, n - 0.5))
      salience[:, column] += (levels[:, on] - levels[:, off]) / 8
  weight = np.exp(8 * (salience - salience.max(1, keepdims=True)))
  pitch = weight @ np.log2(lib.PITCHES) / weight.sum(1)
  voicing = salience.max(1)
  voiced = active & (voicing >= np.percentile(voicing[active], 40) - 1e-6)
  found['salience_mean'] = salience[active].mean(0)
  add_statistics(found, 'pitch', pitch[voiced][:, None], lib.PITCH_QUANTILES)
  found['pitch_change'] = abs(change_within(pitch, voiced)).mean()
  found['pitch_slope'], found['pitch_curvature'] = fit(pitch[voiced])
  found['voicing_mean'] = voicing[active].mean()
  found['voicing_std'] = voicing[active].std()


def test_functionals_are_those_of_numpy_and_librosa(speech):
  for row, clip, length in zip(
    compute(speech, LENGTHS), speech, LENGTHS, strict=True
  ):
    found, expected = split(row), refer(clip[:length])
    for name in lib.COLUMNS:
      np.testing.assert_allclose(
        found[name],
        np.ravel(expected[name]),
        rtol=2e-3,
        atol=2e-3,
        err_msg=name,
      )


def test_names_are_unique_and_as_many_as_columns(speech):
  assert len(lib.NAMES) == len(set(lib.NAMES)) == 511
  assert compute(speech, LENGTHS).shape == (3, 511)
  assert lib.NAMES[0] == 'mfcc_mean_0'
  assert 'pitch_mean' in lib.NAMES


def test_clips_do_not_depend_on_their_padding(speech):
  batch = compute(speech, LENGTHS)
  longer = np.random.default_rng(1).integers(-999, 999, (3, 90_000))
  longer[:, :SAMPLES] = speech
  found = compute(longer.astype(np.int16), LENGTHS)
  np.testing.assert_allclose(found, batch, rtol=1e-3, atol=1e-3)


def test_silence_around_speech_counts_not(speech):
  clip = speech[0].copy()
  clip[-5_000:] = 0
  shifted = np.zeros((1, SAMPLES), np.int16)
  # Whole frames, so that they see the same samples.
  shifted[0, 1_600:] = clip[:-1_600]
  found = compute(np.concatenate([clip[None], shifted, shifted]), [SAMPLES] * 3)
  np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_louder_speech_differs_in_level_alone(speech):
  clips = np.stack([speech[0], 2 * speech[0], speech[0]])
  first, second, _ = map(split, compute(clips, LENGTHS[[0, 0, 0]]))
  doubled = 20 * np.log10(2)
  for name in ('energy_mean', 'energy_max', 'energy_q50'):
    np.testing.assert_allclose(second[name] - first[name], doubled, atol=0.1)
  for name in ('energy_std', 'pitch_mean', 'duration', 'mel_change_std'):
    np.testing.assert_allclose(first[name], second[name], atol=0.05)


def test_pitch_is_that_of_the_voice():
  pitches = np.array([100, 180, 330])
  phase = 2 * np.pi * pitches[:, None] * np.arange(SAMPLES) / lib.SAMPLE_RATE
  clips = 0.05 * sum(np.sin(n * phase) / n for n in range(1, 12))
  found = compute(np.round(clips * 32_767).astype(np.int16), [SAMPLES] * 3)
  column = lib.NAMES.index('pitch_mean')
  # Candidates lie a seventeenth of an octave apart.
  np.testing.assert_allclose(found[:, column], np.log2(pitches), atol=0.08)


def test_extremes_stay_finite():
  loud = np.full(SAMPLES, 32_767, np.int16)
  clips = np.stack([np.zeros(SAMPLES, np.int16), loud, loud])
  for lengths in ([SAMPLES, SAMPLES, 1], [1, 0, 319], [320, 321, 700]):
    found = compute(clips, lengths)
    assert np.isfinite(found).all()
    for row, length in zip(found, lengths, strict=True):
      assert (row == 0).all() == (length == 0)


def test_windows_of_one_sample_work():
  speech = np.full((2, 1), 500, np.int16)
  found = compute(speech, [1, 0])
  assert found.shape == (2, 511)
  assert np.isfinite(found).all()


def test_gradients_are_finite(speech):
  clips = speech.astype(np.float32) / 32_768
  clips[2] = 0
  lengths = jnp.asarray([SAMPLES, 1, 9_000])
  gradient = jax.jit(
    jax.grad(lambda x: lib.compute_functionals(x, lengths).sum())
  )(clips)
  assert np.isfinite(gradient).all()
  assert (gradient[0] != 0).any()
  assert (gradient[1, 1:] == 0).all()


def test_quantiles_are_linearly_interpolated_over_the_mask():
  draw = np.random.default_rng(3)
  x = draw.standard_normal((4, 13, 5)).astype(np.float32)
  mask = draw.random((4, 13)) < 0.6
  mask[2], mask[3] = False, np.arange(13) == 4
  found = lib.find_quantiles(x, mask, (0, 5, 50, 100))
  for value, percent in zip(found, (0, 5, 50, 100), strict=True):
    assert (value[2] == 0).all()
    for row in (0, 1, 3):
      expected = np.percentile(x[row][mask[row]], percent, axis=0)
      np.testing.assert_allclose(value[row], expected, atol=1e-5)
