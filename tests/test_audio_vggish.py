"""VGGish's front-end against outputs of torchvggish's NumPy code."""

import golden_sources
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo.audio import vggish

GOLDEN = np.load(golden_sources.GOLDEN / 'vggish.npz')['patches']
ATOL = 1e-5
BANK = vggish.make_mel_bank()


def make_signal():
  """As in golden: noise, then silence, then a rising tone, int16 [34000]."""
  time = np.arange(12_000) / 16_000
  tone = np.sin(2 * np.pi * (200 * time + 4_000 * time**2))
  noise = 0.2 * golden_sources.draw('noise', (16_000,))
  parts = (noise, np.zeros(6_000), 0.5 * tone)
  return np.round(np.concatenate(parts) * 16_384).astype(np.int16)


def cut(speech, *lengths):
  return jax.device_get(jax.jit(vggish.cut_patches)(speech, np.array(lengths)))


def check(patches):
  np.testing.assert_allclose(patches, GOLDEN, atol=ATOL)


def test_patches_are_those_of_torchvggish():
  signal = make_signal()
  patches, count = cut(signal[None], len(signal))
  assert count.tolist() == [2]
  check(patches[0])
  # The silence, where nothing but the offset is left.
  assert np.isclose(GOLDEN, np.log(0.01)).any()


def test_floats_in_unit_range_read_as_stored_integers():
  signal = make_signal()
  patches, _ = cut(signal[None].astype(np.float32) / 32_768, len(signal))
  check(patches[0])


def test_padding_changes_nothing_and_is_not_read():
  signal = make_signal()
  padded = np.full((3, 60_000), 9_999, np.int16)
  padded[:, : len(signal)] = signal
  patches, count = cut(padded, len(signal), vggish.PATCH_SAMPLES, 60_000)
  assert count.tolist() == [2, 1, 3]
  assert patches.shape == (3, 3, 96, 64)
  check(patches[0, :2])
  np.testing.assert_allclose(patches[1, :1], GOLDEN[:1], atol=ATOL)
  assert not patches[0, 2].any()
  assert not patches[1, 1:].any()


@pytest.mark.parametrize('length', [0, 1, 399, 400, 1_600, 15_599])
def test_a_clip_below_one_patch_has_none(length):
  patches, count = cut(np.full((1, length), 5_000, np.int16), length)
  assert count.tolist() == [0]
  assert patches.shape == (1, 1, 96, 64)
  assert not patches.any()


def test_gradient_is_finite_in_silence():
  def total(speech):
    patches, _ = vggish.cut_patches(speech, jnp.array([16_000]))
    return patches.sum()

  for speech in (np.zeros((1, 16_000)), 0.1 * make_signal()[None, :16_000]):
    gradient = jax.jit(jax.grad(total))(jnp.asarray(speech, jnp.float32))
    assert np.isfinite(gradient).all()


def test_bands_are_triangles_in_mel_of_height_one():
  bank = vggish.make_mel_bank()
  assert bank.shape == (255, 64)
  assert bank.dtype == np.float32
  hertz = np.arange(1, 256) * 16_000 / 512
  assert not bank[(hertz <= 125) | (hertz >= 7_500)].any()
  # Within the range each bin gives all of itself to two neighbours.
  edges = vggish.hertz_to_mel(125), vggish.hertz_to_mel(7_500)
  step = (edges[1] - edges[0]) / 65
  mel = vggish.hertz_to_mel(hertz)
  inner = (mel > edges[0] + step) & (mel < edges[1] - step)
  np.testing.assert_allclose(bank[inner].sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    (
      'TRANSFORM',
      vggish.TRANSFORM._replace(
        weigh=lambda frames: frames,
        make_matrix=lambda: vggish.make_matrix()[::-1],
      ),
    ),
    ('make_mel_bank', lambda: BANK**2),
    ('LOG_OFFSET', 0.0099),
    ('HOP', 159),
  ],
)
def test_faults_are_seen(name, value, monkeypatch):
  monkeypatch.setattr(vggish, name, value)
  signal = make_signal()
  # Not compiled: what was is kept from before the fault.
  patches, _ = vggish.cut_patches(signal[None], np.array([len(signal)]))
  with pytest.raises(AssertionError):
    check(patches[0])
