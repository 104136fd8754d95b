"""Films and sound files as written by `avemo.media.encode`."""

import wave

import av
import numpy as np
import pytest

from avemo.media import decode, encode


def make_frames(count, size=(64, 48)):
  """Smooth pictures that wander, [H, W, 3] each."""
  x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
  for index in range(count):
    waves = [np.sin((x + 3 * index) / 9), np.cos(y / 7), np.sin((x + y) / 11)]
    yield np.uint8(127 + 100 * np.stack(waves, axis=-1))


def make_speech(seconds, sample_rate=16_000, seed=0):
  """Noise below 4 kHz, float32 [n]."""
  noise = np.random.default_rng(seed).standard_normal(
    round(seconds * sample_rate)
  )
  window = np.hanning(9) / np.hanning(9).sum()
  return np.float32(0.3 * np.convolve(noise, window, 'same'))


@pytest.mark.parametrize(
  ('suffix', 'video', 'audio', 'rate'),
  [
    ('.flv', 'flv', 'mp3float', 44_100),
    ('.mp4', 'h264', 'aac', 48_000),
    ('.avi', 'mpeg4', 'pcm_s16le', 16_000),
  ],
)
def test_films_have_the_codecs_of_the_corpora_and_stable_bytes(
  tmp_path, suffix, video, audio, rate
):
  written = []
  # An encoder that varies does so once in a few films.
  for number in range(12):
    path = tmp_path / f'{number}{suffix}'
    encode.write_media(
      path, make_frames(30), fps=30_000 / 1001, speech=make_speech(1)
    )
    written.append(path.read_bytes())
  info = decode.probe(path)
  assert len(set(written)) == 1
  assert (info.video_codec, info.audio_codec) == (video, audio)
  assert (info.sample_rate, info.width, info.height) == (rate, 64, 48)
  assert info.fps == pytest.approx(29.97, abs=0.05)
  frames = list(decode.read_frames(path))
  assert len(frames) == 30
  for frame, image in zip(frames, make_frames(30), strict=True):
    assert np.abs(frame.image.astype(int) - image).mean() < 6


def test_wav_holds_the_very_samples(tmp_path):
  speech = np.int16([0, 1, -1, 32767, -32768, 1234])
  encode.write_wav(tmp_path / 'a.wav', speech, 16_000)
  encode.write_media(tmp_path / 'b.wav', None, speech=speech / 32768)
  for name in ('a.wav', 'b.wav'):
    with wave.open(str(tmp_path / name)) as file:
      assert file.getframerate() == 16_000
      stored = np.frombuffer(file.readframes(99), '<i2')
    np.testing.assert_array_equal(stored, speech)


def test_floats_beyond_one_are_clipped():
  np.testing.assert_array_equal(
    encode.to_int16(np.float32([2, -2, 0.5])), [32767, -32768, 16384]
  )


def test_a_broken_run_leaves_no_file(tmp_path):
  def fail():
    yield from make_frames(3)
    raise RuntimeError('no more')

  with pytest.raises(RuntimeError, match='no more'):
    encode.write_media(tmp_path / 'a.mp4', fail(), speech=make_speech(1))
  assert not list(tmp_path.iterdir())


def test_odd_sides_are_padded_by_one_pixel(tmp_path):
  encode.write_media(tmp_path / 'a.mp4', make_frames(2, (63, 47)))
  with av.open(str(tmp_path / 'a.mp4')) as container:
    assert (container.streams.video[0].width) == 64
    assert (container.streams.video[0].height) == 48


def test_nothing_to_write_and_unknown_suffixes_are_refused(tmp_path):
  with pytest.raises(ValueError, match='neither pictures nor sound'):
    encode.write_media(tmp_path / 'a.mp4', None)
  with pytest.raises(ValueError, match='no pictures'):
    encode.write_media(tmp_path / 'a.mp4', [])
  with pytest.raises(ValueError, match=r'cannot write \.txt'):
    encode.write_media(tmp_path / 'a.txt', make_frames(1))
  with pytest.raises(ValueError, match='holds no pictures'):
    encode.write_media(tmp_path / 'a.wav', make_frames(1))
  with pytest.raises(ValueError, match='in a film of'):
    encode.write_media(
      tmp_path / 'a.mp4',
      [np.zeros((48, 64, 3), np.uint8), np.zeros((40, 64, 3), np.uint8)],
    )
  assert not list(tmp_path.iterdir())
