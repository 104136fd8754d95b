"""Kaldi's filter bank against torchaudio's, stored, and against float64."""

import functools
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo.audio import exact, features, filterbank, vggish
from avemo.runtime import mesh as mesh_lib

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'filterbank.npz'
SIGNALS = ('noise', 'sine', 'loud_sine', 'silence', 'short', 'offset')
OPTIONS = {'front_end': 'filterbank'}


def draw(name, size):
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return generator.standard_normal(size)


def make_signal(name):
  time = np.arange(6_400) / 16_000
  signal = {
    'noise': lambda: 0.1 * draw('noise', 6_400),
    'sine': lambda: 0.5 * np.sin(2 * np.pi * 440 * time),
    'loud_sine': lambda: 0.9 * np.sin(2 * np.pi * 3_333 * time),
    'silence': lambda: 0 * time,
    'short': lambda: 0.1 * draw('short', 1_600),
    'offset': lambda: 0.5 + 0.01 * draw('offset', 1_600),
  }[name]()
  return (np.rint(32_768 * signal) / 32_768).astype(np.float32)


def reference(waveform):
  """Kaldi's definition, one step after the other, in float64."""
  waveform = waveform.astype(np.float64) - waveform.mean(dtype=np.float64)
  starts = 160 * np.arange(1 + (len(waveform) - 400) // 160)
  frames = waveform[starts[:, None] + np.arange(400)]
  frames = frames - frames.mean(1, keepdims=True)
  before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
  frames = (frames - 0.97 * before) * np.hanning(400)
  power = np.abs(np.fft.rfft(frames, 512)) ** 2
  low, high = 1127 * np.log(1 + np.array([20, 8_000]) / 700)
  mel = 1127 * np.log(1 + np.arange(257) * 31.25 / 700)
  bands = []
  for band in range(128):
    left, centre, right = low + (band + np.arange(3)) * (high - low) / 129
    rise, fall = (
      (mel - left) / (centre - left),
      (right - mel) / (right - centre),
    )
    weights = np.clip(np.minimum(rise, fall), 0, None)
    weights[256] = 0
    bands.append(power @ weights)
  return np.log(np.maximum(np.stack(bands, 1), np.finfo(np.float32).eps))


@functools.cache
def jit(**options):
  return jax.jit(functools.partial(features.features, options=options))


def compute(speech, lengths, **options):
  return np.asarray(jit(**OPTIONS, **options)(speech, jnp.asarray(lengths)))


@pytest.mark.parametrize('name', SIGNALS)
def test_bands_are_torchaudios(name):
  actual = jax.jit(filterbank.log_mel)(make_signal(name))
  np.testing.assert_allclose(actual, np.load(GOLDEN)[name], atol=1e-4, rtol=0)


@pytest.mark.parametrize('seed', range(4))
def test_bands_beside_a_loud_tone_are_those_of_double_precision(seed):
  generator = np.random.default_rng(seed)
  phase = 2 * np.pi * generator.uniform(100, 7_900) * np.arange(6_400) / 16_000
  signal = 0.9 * np.sin(phase) + 1e-4 * generator.standard_normal(6_400)
  signal = signal.astype(np.float32)
  actual = jax.jit(filterbank.log_mel)(signal)
  np.testing.assert_allclose(actual, reference(signal), atol=5e-5, rtol=0)


WAYS = {
  'transform': (exact.spectra_of_doubles, 1),
  'product': (exact.spectra_of_doubles, 8),
  'slices': (exact.spectra_of_slices, 8),
}


@pytest.mark.parametrize('front_end', [filterbank, vggish])
@pytest.mark.parametrize('way', WAYS)
def test_spectra_have_the_digits_of_double_precision(
  way, front_end, monkeypatch
):
  compute, devices = WAYS[way]
  monkeypatch.setattr(jax, 'device_count', lambda: devices)
  time = np.arange(400) / 16_000
  loud = np.sin(2 * np.pi * 3_333 * time) + 1e-6 * draw('quiet', (3, 400))
  for scale in (0.5, 2.0**-40):
    frames = (scale * loud).astype(np.float32)
    transform = front_end.TRANSFORM
    found = jax.jit(functools.partial(compute, transform=transform))(frames)
    found = jnp.concatenate(found, axis=-1)
    wanted = frames.astype(np.float64) @ transform.make_matrix()
    assert found.dtype == jnp.float32
    bound = 2.0**-33 * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=2.0**-23, atol=bound)


def test_devices_keep_their_own_frames():
  mesh = mesh_lib.make_mesh()
  assert mesh.size > 1
  waveform = jax.device_put(
    np.zeros((mesh.size, 4_000), np.float32), mesh_lib.batch_sharding(mesh)
  )
  text = jax.jit(filterbank.log_mel).lower(waveform).compile().as_text()
  assert 'all-gather' not in text and 'all-to-all' not in text


def test_input_of_ast_is_that_of_transformers():
  signal = make_signal('short')
  actual = compute(signal[None], [1_600], num_frames=12)[0]
  expected = np.load(GOLDEN)['ast_input']
  np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=0)
  np.testing.assert_allclose(actual[8:], 0.46703, atol=1e-5)


def test_padding_leaves_no_trace():
  rng = np.random.default_rng(0)
  # Beyond its length a clip holds rubbish, which must not be seen.
  speech = rng.integers(-9_000, 9_000, (5, 4_000)).astype(np.int16)
  lengths = np.array([4_000, 2_345, 400, 399, 0], np.int32)
  batch = compute(speech, lengths)
  counts = features.count_features(lengths, batch.shape[1], OPTIONS)
  assert counts.tolist() == [23, 13, 1, 0, 0]
  for row, clip, length, count in zip(
    batch, speech, lengths, counts, strict=True
  ):
    alone = compute(clip[None, :length], [length])[0]
    assert len(alone) == count
    np.testing.assert_allclose(row[:count], alone, atol=1e-5)
    np.testing.assert_allclose(row[count:], 4.2677393 / (2 * 4.5689974), 1e-6)


def test_frames_are_cut_or_padded_and_normalised():
  signal = np.stack([make_signal('short')] * 2)
  whole = compute(signal, [1_600, 900])
  cut = compute(signal, [1_600, 900], num_frames=3)
  padded = compute(signal, [1_600, 900], num_frames=20)
  np.testing.assert_allclose(cut, whole[:, :3], atol=1e-5)
  np.testing.assert_allclose(padded[:, :8], whole, atol=1e-5)
  other = compute(signal, [1_600, 900], mean=-6.845978, std=5.5654526)
  expected = (2 * 4.5689974 * whole - 4.2677393 + 6.845978) / (2 * 5.5654526)
  np.testing.assert_allclose(other, expected, atol=1e-5)


def test_gradient_is_that_of_the_logarithm():
  signal = make_signal('short')

  def add(x):
    return filterbank.log_mel(x)[2:4, 40:100].sum()

  gradient = np.asarray(jax.grad(add)(jnp.asarray(signal)))
  direction = draw('direction', 1_600)
  step = 1e-6 * direction
  above, below = (
    reference(signal.astype(np.float64) + s)[2:4, 40:100].sum()
    for s in (step, -step)
  )
  np.testing.assert_allclose(gradient @ direction, (above - below) / 2e-6, 1e-3)
  silent = jax.grad(add)(jnp.zeros(1_600))
  assert np.isfinite(silent).all()


def test_integers_are_refused():
  with pytest.raises(TypeError, match='int16'):
    filterbank.log_mel(np.zeros(1_600, np.int16))
