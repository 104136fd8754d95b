"""Pictures of sound against the published steps, one frame at a time."""

import functools

import jax
import librosa
import matplotlib
import numpy as np
import pytest
import scipy.fft

from avemo.audio import picture


def draw(speech, length, **options):
  compute = functools.partial(picture.draw, **options)
  return np.asarray(jax.jit(compute)(speech, length))


def make_sound(length, seed=0):
  noise = np.random.default_rng(seed)
  time = np.arange(length) / 16_000
  voice = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20))
  voice = voice * (0.2 + np.clip(np.sin(15 * time), 0, 1))
  noise = 0.02 * noise.standard_normal(length)
  return (3000 * (voice + noise)).astype(np.int16)


def compute_slowly(sound, *, kind, windows, columns, hop, top_db, amin):
  """The steps as the source has them, in float64, frame by frame."""
  sound = sound / 32_768
  sound = sound / np.abs(sound).max()
  sound = np.append(sound[0], sound[1:] - 0.97 * sound[:-1])
  step = len(sound) // (windows + 1)
  span = max(2 * step - 400, 0)
  if hop is None:
    offsets = [i * span // (columns - 1) for i in range(columns)]
  else:
    offsets = [round(i * hop * 16_000) for i in range(10_000)]
    offsets = [place for place in offsets if place <= span]
  sound = np.append(sound, np.zeros(400))
  bank = librosa.filters.mel(
    sr=16_000, n_fft=512, n_mels=40, htk=True, norm=None
  )
  power = np.empty((windows, len(offsets), 40))
  for n in range(windows):
    for f, offset in enumerate(offsets):
      frame = sound[n * step + offset :][:400] * np.hamming(400)
      power[n, f] = bank @ (np.abs(np.fft.rfft(frame, 512)) ** 2 / 512)
  decibels = 20 * np.log10(np.maximum(power, amin))
  if top_db is not None:
    decibels = np.maximum(decibels, decibels.max() - 2 * top_db)
  if kind == 'mel':
    return decibels
  found = scipy.fft.dct(decibels, type=2, norm='ortho', axis=-1)[..., 1:14]
  return found * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))


OPTIONS = {
  'default': {'hop': None, 'top_db': 80.0, 'amin': 1e-10},
  'published': {k: picture.PUBLISHED[k] for k in ('hop', 'top_db', 'amin')},
  'coarse': {'hop': 0.01, 'top_db': None, 'amin': 1e-10},
}


@pytest.mark.parametrize('kind', picture.KINDS)
@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
def test_values_are_those_of_the_published_steps(kind, options):
  options = {'kind': kind, 'windows': 3, 'columns': 20} | options
  # One clip fills the batch, one does not, one is shorter than its frames.
  sounds = [make_sound(n, n) for n in (4000, 2500, 1100)]
  speech = np.zeros((3, 4000), np.int16)
  for row, sound in zip(speech, sounds, strict=True):
    row[: len(sound)] = sound
  length = np.int32([len(sound) for sound in sounds])
  compute = functools.partial(picture.compute_windows, **options)
  values, count = jax.device_get(jax.jit(compute)(speech, length))
  for row, number, sound in zip(values, count, sounds, strict=True):
    expected = compute_slowly(sound, **options)
    assert number == expected.shape[1]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
      row[:, :number], expected, rtol=1e-4, atol=1e-4 * scale
    )


def draw_slowly(values, size, limits):
  """Each pixel the mean over its area, one by one."""
  windows, frames, bands = values.shape
  pixels = np.empty((windows, size, size))
  fine = lambda count: np.arange(size * count) // size
  for n in range(windows):
    own = values if limits == 'clip' else values[n]
    unit = (values[n] - own.min()) / (own.max() - own.min())
    for y in range(size):
      rows = fine(bands)[y * bands : (y + 1) * bands]
      for x in range(size):
        columns = fine(frames)[x * frames : (x + 1) * frames]
        pixels[n, size - 1 - y, x] = unit[np.ix_(columns, rows)].mean()
  return pixels


@pytest.mark.parametrize(
  ('limits', 'hop', 'columns'),
  [('clip', None, None), ('window', None, 30), ('clip', 5e-3, None)],
)
def test_pixels_are_means_over_their_area(limits, hop, columns):
  speech = np.stack([make_sound(5000), make_sound(5000, 1)])
  length = np.int32([5000, 3300])
  options = {'windows': 2, 'hop': hop, 'kind': 'mel'}
  found = draw(
    speech, length, size=12, limits=limits, columns=columns, **options
  )
  compute = functools.partial(
    picture.compute_windows, columns=columns or 12, **options
  )
  values, count = jax.device_get(jax.jit(compute)(speech, length))
  assert found.shape == (2, 2, 12, 12, 3) and found.dtype == np.uint8
  for row, own, number in zip(found, values, count, strict=True):
    pixels = draw_slowly(own[:, : int(number)], 12, limits)
    levels = np.floor(255 * pixels), np.ceil(255 * pixels)
    low, high = (picture.make_colors()[x.astype(int)] for x in levels)
    assert ((row == low) | (row == high)).all()


def test_pictures_follow_the_clip_not_its_padding_or_volume():
  sound = make_sound(6000)
  padded = np.zeros((2, 9000), np.int16)
  padded[0, :6000], padded[1, :6000] = sound, sound // 2 * 2
  padded[:, 7000:] = 9999
  length = np.int32([6000, 6000])
  options = {'size': 16, 'windows': 4}
  alone = draw(sound[None], length[:1], **options)
  both = draw(padded, length, **options)
  np.testing.assert_array_equal(alone[0], both[0])
  floats = padded.astype(np.float32) / 32_768
  softer = draw(0.25 * floats, length, **options)
  near = np.abs(softer.astype(int) - both)
  assert near.max() <= 4


def test_no_sound_is_black_and_silence_is_not():
  speech = np.zeros((3, 5000), np.int16)
  speech[0] = make_sound(5000)
  found = draw(speech, np.int32([5000, 0, 5000]), size=8, windows=2)
  assert found[0].std() > 0
  assert (found[1] == 0).all()
  assert (found[2] == picture.make_colors()[0]).all()


def test_a_tone_lies_at_its_height_and_time():
  time = np.arange(16_000) / 16_000
  tone = 0.5 * np.sin(2 * np.pi * np.where(time < 0.5, 300, 3000) * time)
  (found,) = picture.draw_waveform(tone, kind='mel', size=40)
  # The yellow end of the colours, red and green without blue.
  bright = found[..., 0].astype(int) - found[..., 2]
  early, late = bright[:, :16].sum(1), bright[:, 24:].sum(1)
  assert early.argmax() > 30 and late.argmax() < 20


def test_long_sound_is_seen_throughout():
  # Clicks between the frames that 16 columns alone would have.
  sound = np.zeros(320_000, np.float32)
  sound[30_000::20_000] = 1
  (found,) = picture.draw_waveform(sound, kind='mel', size=16)
  assert (found.reshape(16, 16, 3).std((0, 2)) > 0).sum() > 10
  assert picture.draw_waveform(np.zeros(0), size=16).shape == (1, 16, 16, 3)


def test_colors_are_viridis():
  table = matplotlib.colormaps['viridis'](np.arange(256))[:, :3]
  assert np.abs(picture.make_colors() - 255 * table).max() < 2.5


def test_wrong_words_are_refused():
  speech, length = make_sound(4000)[None], np.int32([4000])
  with pytest.raises(ValueError, match='mfcc, mel'):
    picture.draw(speech, length, kind='cqt')
  with pytest.raises(ValueError, match='clip, window'):
    picture.draw(speech, length, limits='frame')


def test_shares_of_cells_sum_to_one():
  for count, size in ((40, 12), (13, 224), (7, 7)):
    shares = picture.share_cells(count, size)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(shares.sum(0), size / count)
