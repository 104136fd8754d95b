"""The spectra against librosa, which computes its transforms in float64.

float32 leaves an error of about 1e-7 of a clip's largest magnitude. Hence the
three bounds: 1e-6 of the maximum for the STFT and the mel power; 1e-4 dB for
bands within 40 dB of the clip's peak; and 1e-4 relative or absolute for all.
"""

import functools
import warnings

import hypothesis
import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import strategies

from avemo.audio import spectral

SETTINGS = {
  'default': {},
  'ast': {'n_fft': 512, 'hop': 160, 'window_length': 400, 'num_mels': 64},
  'reflect': {'n_fft': 400, 'hop': 160, 'num_mels': 64, 'pad_mode': 'reflect'},
  'odd': {
    'n_fft': 511,
    'hop': 101,
    'window': 'hamming',
    'window_length': 300,
    'num_mels': 40,
    'fmin': 50.0,
    'fmax': 7_000.0,
    'htk': True,
    'norm': None,
    'pad_mode': 'edge',
  },
  'aligned': {'n_fft': 256, 'hop': 64, 'num_mels': 32, 'pad_mode': 'reflect'},
}


def make_signal(name: str) -> np.ndarray:
  rng = np.random.default_rng(len(name))
  time = np.arange(8_000) / 16_000
  voice = sum(np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 30))
  signals = {
    'noise': 0.1 * rng.normal(size=8_000),
    'quiet': 1e-4 * rng.normal(size=4_001),
    'silent': np.zeros(3_000),
    'short': 0.3 * rng.normal(size=150),
    'one sample': np.array([0.5]),
    'tone': 0.5 * np.sin(2 * np.pi * 440 * time),
    'voice': voice * np.clip(np.sin(20 * time), 0, 1)
    + 1e-3 * rng.normal(size=8_000),
  }
  return signals[name].astype(np.float32)


SIGNALS = ('noise', 'quiet', 'silent', 'short', 'one sample', 'tone', 'voice')
STFT_OPTIONS = ('n_fft', 'hop', 'window', 'window_length', 'pad_mode')


def compute_by_librosa(signal, options, ref=1.0, top_db=80.0):
  names = {'hop': 'hop_length', 'window_length': 'win_length'}
  frame = {'n_fft': 512, 'hop': 160, 'pad_mode': 'constant'} | {
    k: v for k, v in options.items() if k in STFT_OPTIONS
  }
  frame = {names.get(k, k): v for k, v in frame.items()}
  bank = {k: v for k, v in options.items() if k not in STFT_OPTIONS}
  bank['n_mels'] = bank.pop('num_mels', 128)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    spectrum = librosa.stft(signal, **frame)
    mel = librosa.feature.melspectrogram(y=signal, sr=16_000, **frame, **bank)
    decibels = librosa.power_to_db(mel, ref=ref, top_db=top_db)
    mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=20)
    liftered = librosa.feature.mfcc(S=decibels, n_mfcc=13, lifter=22)
  return spectrum.T, mel.T, decibels.T, mfcc.T, liftered.T


@functools.cache
def jit_all(setting: str):
  options = SETTINGS[setting]
  frame = {k: v for k, v in options.items() if k in STFT_OPTIONS}

  def compute(signal):
    decibels = spectral.log_mel(signal, **options)
    return (
      spectral.stft(signal, **frame),
      spectral.mel_power(signal, **options),
      decibels,
      spectral.mfcc(signal, **options),
      spectral.cepstrum(decibels, num_mfcc=13, lifter=22.0),
    )

  return jax.jit(compute)


def assert_near_librosa(actual, expected):
  spectrum, mel, decibels, *cepstra = (np.asarray(a) for a in actual)
  for linear, reference in ((spectrum, expected[0]), (mel, expected[1])):
    assert linear.shape == reference.shape
    bound = 1e-6 * np.abs(reference).max()
    assert np.abs(linear - reference).max() <= bound
  reference = expected[2]
  loud = reference > reference.max() - 40
  np.testing.assert_allclose(decibels[loud], reference[loud], rtol=0, atol=1e-4)
  np.testing.assert_allclose(decibels, reference, rtol=1e-4, atol=1e-4)
  for cepstrum, reference in zip(cepstra, expected[3:], strict=True):
    # Coefficients cancel to near zero: their scale is that of the clip.
    np.testing.assert_allclose(
      cepstrum, reference, rtol=0, atol=1e-4 * max(1, np.abs(reference).max())
    )


@pytest.mark.parametrize('setting', SETTINGS)
@pytest.mark.parametrize('name', SIGNALS)
def test_equals_librosa(name, setting):
  signal = make_signal(name)
  expected = compute_by_librosa(signal, SETTINGS[setting])
  compute = jit_all(setting)
  assert_near_librosa(compute(jnp.asarray(signal)), expected)


@pytest.mark.parametrize('name', ('noise', 'silent', 'short', 'one sample'))
def test_mfcc_is_within_1e4_for_random_silent_and_short(name):
  signal = make_signal(name)
  expected = compute_by_librosa(signal, {})[3]
  actual = jit_all('default')(jnp.asarray(signal))[3]
  # One unit in the last place of float32 beyond 1e-4: the first coefficient
  # of silence is -1131.
  np.testing.assert_allclose(actual, expected, rtol=1.2e-7, atol=1e-4)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
  seed=strategies.integers(0, 2**32 - 1),
  scale=strategies.floats(1e-4, 1.0),
  zeros=strategies.integers(0, 2_000),
)
def test_equals_librosa_on_random_signals(seed, scale, zeros):
  signal = scale * np.random.default_rng(seed).normal(size=2_000)
  signal = signal.astype(np.float32)
  signal[:zeros] = 0
  expected = compute_by_librosa(signal, SETTINGS['ast'])
  assert_near_librosa(jit_all('ast')(jnp.asarray(signal)), expected)


@pytest.mark.parametrize(
  'ref, top_db', [(1.0, None), (1.0, 20.0), (0.01, 80.0), ('max', 30.0)]
)
def test_decibels_equal_librosa_for_each_clip_of_a_batch(ref, top_db):
  clips = [make_signal('noise'), 1e-3 * make_signal('voice')]
  compute = functools.partial(
    spectral.log_mel, num_mels=40, ref=ref, top_db=top_db
  )
  actual = jax.jit(compute)(jnp.stack(clips))
  for row, clip in zip(actual, clips, strict=True):
    expected = compute_by_librosa(
      clip, {'num_mels': 40}, np.max if ref == 'max' else ref, top_db
    )[2]
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)


def test_uncentred_frames_equal_librosa():
  signal = make_signal('noise')
  expected = librosa.stft(signal, n_fft=400, hop_length=160, center=False).T
  actual = spectral.stft(jnp.asarray(signal), n_fft=400, center=False)
  assert actual.shape == expected.shape
  assert np.abs(actual - expected).max() <= 1e-6 * np.abs(expected).max()


def test_a_signal_without_a_frame_and_integers_are_refused():
  with pytest.raises(ValueError, match='center=True'):
    spectral.stft(jnp.zeros(100), n_fft=400, center=False)
  with pytest.raises(TypeError, match='int16'):
    spectral.stft(jnp.zeros(1_000, jnp.int16))
  with pytest.raises(ValueError, match='amin'):
    spectral.power_to_db(jnp.ones((2, 2)), amin=0.0)


@pytest.mark.parametrize('num_samples', (1, 79, 80, 160, 161, 4_000))
@pytest.mark.parametrize('n_fft, hop', [(400, 160), (511, 100)])
def test_count_frames_is_the_shape(num_samples, n_fft, hop):
  shape = jax.eval_shape(
    lambda x: spectral.stft(x, n_fft=n_fft, hop=hop), jnp.zeros(num_samples)
  ).shape
  count = spectral.count_frames(num_samples, n_fft=n_fft, hop=hop)
  assert shape == (count, 1 + n_fft // 2)


def test_vmap_equals_the_batched_call():
  batch = jnp.stack([make_signal('noise'), make_signal('voice')])
  np.testing.assert_allclose(
    jax.jit(jax.vmap(spectral.log_mel))(batch),
    jax.jit(spectral.log_mel)(batch),
    atol=1e-5,
  )


@pytest.mark.parametrize('name', ('noise', 'silent'))
def test_gradient_is_finite_and_right(name):
  signal = jnp.asarray(make_signal(name)[:1_000])

  @jax.jit
  def total(x):
    return spectral.log_mel(x, num_mels=40, top_db=None).mean()

  gradient = jax.grad(total)(signal)
  assert np.isfinite(gradient).all()
  if name == 'noise':
    direction = gradient / jnp.linalg.norm(gradient)
    step = 1e-3
    slope = total(signal + step * direction) - total(signal - step * direction)
    np.testing.assert_allclose(
      slope / (2 * step), jnp.linalg.norm(gradient), rtol=0.02
    )


def test_constants_are_shared_and_read_only():
  bank = spectral.make_mel_bank(num_mels=40)
  assert bank is spectral.make_mel_bank(num_mels=40)
  with pytest.raises(ValueError):
    bank[0, 0] = 1
