"""Reading films and sound of every kind, as `avemo.media.decode` does."""

import fractions
import os
import pathlib
import resource
import subprocess
import sys

import av
import numpy as np
import pytest

from avemo import errors
from avemo.media import container as containers
from avemo.media import decode, encode

SIDE = 32


def bar_frame(value):
  """A picture whose grey level, a multiple of 4, is its number."""
  return np.full((SIDE, 2 * SIDE, 3), value, np.uint8)


def number_of(image):
  return round(float(image.mean()) / 4)


def make_film(path, count=50, *, speech=None, **options):
  frames = (bar_frame(4 * number) for number in range(count))
  encode.write_media(path, frames, speech=speech, **options)
  return path


def make_noise(count, seed=0):
  noise = np.random.default_rng(seed).standard_normal(count)
  window = np.hanning(15) / np.hanning(15).sum()
  return np.float32(0.4 * np.convolve(noise, window, 'same'))


def lag(reference, heard):
  """Samples by which `heard` comes later than `reference`."""
  size = 1 << (len(reference) + len(heard)).bit_length()
  product = np.fft.rfft(heard, size) * np.fft.rfft(reference, size).conj()
  place = int(np.fft.irfft(product).argmax())
  return place - size if place > size // 2 else place


def mux_shifted(path, *, video_start, audio_start, count=40, rate=16_000):
  """Writes a film whose streams start at the given seconds; returns sound."""
  speech = encode.to_int16(make_noise(2 * rate))
  with av.open(str(path), 'w', format='matroska') as out:
    video = out.add_stream('libx264', rate=25, options={'crf': '10', 'bf': '0'})
    video.width, video.height, video.pix_fmt = 2 * SIDE, SIDE, 'yuv420p'
    audio = out.add_stream('pcm_s16le', rate=rate, layout='mono')
    packets = []
    for number in range(count):
      frame = av.VideoFrame.from_ndarray(bar_frame(4 * number), 'rgb24')
      packets += video.encode(frame.reformat(format='yuv420p'))
    packets += video.encode(None)
    shift = round(video_start / packets[0].time_base)
    for packet in packets:
      packet.pts += shift
      packet.dts += shift
    sound = []
    for start in range(0, len(speech), 1600):
      frame = av.AudioFrame.from_ndarray(
        speech[None, start : start + 1600], 's16', 'mono'
      )
      frame.sample_rate, frame.pts = rate, start
      frame.time_base = fractions.Fraction(1, rate)
      sound += audio.encode(frame)
    for packet in sound:
      packet.pts += round(audio_start / packet.time_base)
      packet.dts = packet.pts
    out.mux(
      sorted(packets + sound, key=lambda packet: packet.dts * packet.time_base)
    )
  return speech / np.float32(32768)


# --- what cannot be used -------------------------------------------------


def broken_files(folder):
  """Yields (path, part of the message)."""
  folder = pathlib.Path(folder)
  (folder / 'empty.mp4').write_bytes(b'')
  (folder / 'stub.flv').write_text(
    'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'
  )
  (folder / 'text.mp4').write_text('dear diary,\nno film today\n' * 40)
  (folder / 'text.txt').write_text('dear diary,\nno film today\n' * 40)
  (folder / 'list.mp4').write_text(
    f'ffconcat version 1.0\nfile {folder}/good.mp4\n'
  )
  (folder / 'list.m3u8').write_text(f'#EXTM3U\n#EXTINF:1,\n{folder}/good.mp4\n')
  good = make_film(folder / 'good.mp4', 10)
  (folder / 'cut.mp4').write_bytes(good.read_bytes()[:500])
  (folder / 'noise.flv').write_bytes(np.random.default_rng(0).bytes(5_000))
  encode.write_wav(folder / 'zero.wav', np.zeros(0, np.int16), 16_000)
  (folder / 'folder.mp4').mkdir()
  yield folder / 'missing.mp4', 'no such file'
  yield folder / 'empty.mp4', 'is empty'
  yield folder / 'stub.flv', 'git-LFS stub'
  for name in ('text.mp4', 'text.txt', 'list.mp4', 'list.m3u8', 'cut.mp4'):
    yield folder / name, 'not a media file'
  yield folder / 'noise.flv', 'not a media file'
  yield folder / 'zero.wav', 'neither pictures nor sound'
  yield folder / 'folder.mp4', 'a folder'


def test_unusable_files_give_one_clear_line(tmp_path):
  for path, reason in broken_files(tmp_path):
    with pytest.raises(errors.MediaError) as caught:
      decode.probe(path)
    text = str(caught.value)
    assert reason in text and path.name in text and '\n' not in text
    for read in (
      decode.read_audio,
      lambda name: list(decode.read_frames(name)),
    ):
      with pytest.raises(errors.MediaError):
        read(path)


def test_missing_streams_are_states(tmp_path):
  silent = make_film(tmp_path / 'silent.mp4', 10)
  info = decode.probe(silent)
  assert (info.has_video, info.has_audio) == (True, False)
  assert decode.read_audio(silent) is None
  assert list(decode.stream_audio(silent)) == []
  encode.write_media(tmp_path / 'voice.m4a', None, speech=make_noise(8_000))
  info = decode.probe(tmp_path / 'voice.m4a')
  assert (info.has_video, info.has_audio, info.width) == (False, True, 0)
  with pytest.raises(errors.MediaError, match='no video stream'):
    next(decode.read_frames(tmp_path / 'voice.m4a'))


def test_a_cover_picture_is_not_a_film(tmp_path):
  path = tmp_path / 'song.mp3'
  with av.open(str(path), 'w') as out:
    audio = out.add_stream('libmp3lame', rate=44_100, layout='mono')
    cover = out.add_stream('mjpeg')
    cover.width, cover.height, cover.pix_fmt = 64, 32, 'yuvj420p'
    cover.disposition = av.stream.Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(bar_frame(80), 'rgb24')
    sound = av.AudioFrame.from_ndarray(
      encode.to_int16(make_noise(44_100))[None], 's16', 'mono'
    )
    sound.sample_rate = 44_100
    out.mux(cover.encode(frame.reformat(format='yuvj420p')))
    out.mux(cover.encode(None))
    out.mux(audio.encode(sound))
    out.mux(audio.encode(None))
  info = decode.probe(path)
  assert (info.has_video, info.has_audio) == (False, True)


@pytest.mark.parametrize('suffix', ['.mp4', '.flv', '.avi', '.wav'])
def test_damaged_files_end_with_frames_or_a_media_error(tmp_path, suffix):
  path = tmp_path / f'whole{suffix}'
  speech = make_noise(16_000)
  if suffix == '.wav':
    encode.write_wav(path, speech, 16_000)
  else:
    make_film(path, 25, speech=speech)
  whole = np.frombuffer(path.read_bytes(), np.uint8)
  damaged = tmp_path / f'damaged{suffix}'
  readable = 0
  for seed in range(40):
    rng = np.random.default_rng(seed)
    content = whole.copy()
    if seed % 2:
      content = content[: rng.integers(len(content))]
    else:
      # Every other time in the headers, which steer the reading.
      end = min(2_000, len(content)) if seed % 4 else len(content)
      places = rng.integers(0, end, rng.integers(1, 60))
      content[places] = rng.integers(0, 256, len(places))
    damaged.write_bytes(content.tobytes())
    try:
      images = [frame.image for frame in decode.read_frames(damaged, fps=25)]
      assert images and all(image.shape[2] == 3 for image in images)
      assert len(images) < 25 * (2 * containers.MAX_GAP)
      readable += 1
    except errors.MediaError as error:
      assert '\n' not in str(error)
    try:
      sound = decode.read_audio(damaged)
      assert sound is None or (
        np.isfinite(sound).all() and np.abs(sound).max(initial=0) <= 1
      )
      readable += sound is not None
    except errors.MediaError as error:
      assert '\n' not in str(error)
  assert readable > 10


# --- time ----------------------------------------------------------------


def test_every_frame_at_its_own_time(tmp_path):
  path = make_film(tmp_path / 'a.flv', 50, fps=25)
  frames = list(decode.read_frames(path))
  assert [frame.index for frame in frames] == list(range(50))
  assert [number_of(frame.image) for frame in frames] == list(range(50))
  np.testing.assert_allclose(
    [frame.time for frame in frames], np.arange(50) / 25, atol=1e-3
  )


def test_variable_rate_is_read_at_a_constant_one(tmp_path):
  rng = np.random.default_rng(1)
  times = np.concatenate([[0], np.cumsum(rng.uniform(0.01, 0.2, 39))])
  path = make_film(tmp_path / 'a.mkv', 40, times=times)
  native = list(decode.read_frames(path))
  np.testing.assert_allclose([frame.time for frame in native], times, atol=1e-3)
  even = list(decode.read_frames(path, fps=30))
  assert [frame.time for frame in even] == [n / 30 for n in range(len(even))]
  assert len(even) == pytest.approx(30 * times[-1], abs=10)
  for frame in even:
    shown = np.searchsorted(times, frame.time + 1.5e-3, side='right') - 1
    assert number_of(frame.image) == shown


@pytest.mark.parametrize('suffix', ['.mp4', '.avi', '.mkv', '.flv'])
def test_times_are_read_without_pictures(tmp_path, suffix):
  film = make_film(tmp_path / f'a{suffix}', speech=make_noise(16_000), fps=30)
  times = [frame.time for frame in decode.read_frames(film)]
  np.testing.assert_allclose(decode.read_times(film), times, atol=1e-9)
  when = 0.1 + np.cumsum(np.random.default_rng(0).uniform(0.02, 0.2, 50))
  uneven = make_film(tmp_path / 'b.mkv', times=when)
  times = [frame.time for frame in decode.read_frames(uneven)]
  np.testing.assert_allclose(decode.read_times(uneven), times, atol=1e-9)
  sound = tmp_path / 'c.wav'
  encode.write_wav(sound, make_noise(1_000), 16_000)
  with pytest.raises(errors.MediaError, match='no video stream'):
    decode.read_times(sound)


def test_a_constant_rate_may_be_higher_or_lower(tmp_path):
  path = make_film(tmp_path / 'a.mp4', 50, fps=25)
  half = [number_of(f.image) for f in decode.read_frames(path, fps=12.5)]
  double = [number_of(f.image) for f in decode.read_frames(path, fps=50)]
  assert half == list(range(0, 50, 2))
  assert double == [n // 2 for n in range(100)]


def test_odd_times_become_rising_ones():
  step = 0.04
  stated = [0.5, None, 0.58, 0.58, 0.62, 0.60, 0.70]
  clock = containers.Clock(0.5, step)
  times = [clock(time) for time in stated]
  assert np.all(np.diff(times) > 0)
  np.testing.assert_allclose(times[:4], [0, 0.04, 0.08, 0.12])
  assert times[-1] == pytest.approx(0.20)
  # All alike, all missing, set back, leaping by hours.
  for stated in ([0.0] * 5, [None] * 5, [9, 9.04, 0, 0.04, 0.08]):
    clock = containers.Clock(9 if stated[0] == 9 else 0, step)
    times = [clock(time) for time in stated]
    np.testing.assert_allclose(times, step * np.arange(5))
  clock = containers.Clock(0, step)
  np.testing.assert_allclose(
    [clock(time) for time in (0, 1e5, 1e5 + 0.04)], [0, 0.04, 0.08]
  )


def test_streams_without_any_times_are_read(tmp_path):
  path = tmp_path / 'raw.h264'
  with av.open(str(path), 'w', format='h264') as out:
    video = out.add_stream('libx264', rate=25, options={'crf': '10'})
    video.width, video.height, video.pix_fmt = 2 * SIDE, SIDE, 'yuv420p'
    for number in range(20):
      frame = av.VideoFrame.from_ndarray(bar_frame(4 * number), 'rgb24')
      out.mux(video.encode(frame.reformat(format='yuv420p')))
    out.mux(video.encode(None))
  frames = list(decode.read_frames(path))
  assert [number_of(frame.image) for frame in frames] == list(range(20))
  assert np.all(np.diff([frame.time for frame in frames]) > 0)
  info = decode.probe(path)
  assert info.has_video and info.num_frames == 20


# --- pictures ------------------------------------------------------------


@pytest.mark.parametrize('degrees', [90, 180, -90])
def test_rotated_films_come_upright(tmp_path, degrees):
  image = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
  image[: SIDE // 2, :SIDE] = 200  # Bright where the top left corner is.
  path = tmp_path / 'turned.mp4'
  with encode.MediaWriter(path, size=(2 * SIDE, SIDE)) as writer:
    writer.video.set_display_rotation(degrees)
    for _ in range(3):
      writer.write_frame(image)
  expected = np.rot90(image, degrees // 90)
  info = decode.probe(path)
  assert (info.height, info.width) == expected.shape[:2]
  assert info.rotation % 360 == degrees % 360
  for frame in decode.read_frames(path):
    assert np.abs(frame.image.astype(int) - expected).mean() < 8
  small = next(decode.read_frames(path, max_side=SIDE)).image
  assert max(small.shape) == SIDE
  assert (small.shape[0] > small.shape[1]) == (degrees != 180)


def test_pixels_that_are_not_square_are_stretched(tmp_path):
  path = tmp_path / 'wide.mkv'
  with encode.MediaWriter(path, size=(64, 48)) as writer:
    writer.video.codec_context.sample_aspect_ratio = fractions.Fraction(4, 3)
    writer.write_frame(np.zeros((48, 64, 3), np.uint8))
  info = decode.probe(path)
  assert (info.width, info.height) == (85, 48)
  assert next(decode.read_frames(path)).image.shape == (48, 85, 3)


def test_max_side_never_enlarges(tmp_path):
  path = make_film(tmp_path / 'a.mp4', 2)
  shape = lambda side: next(decode.read_frames(path, max_side=side)).image.shape
  assert shape(1000) == (SIDE, 2 * SIDE, 3)
  assert shape(16) == (8, 16, 3)


# --- sound ---------------------------------------------------------------


def test_sound_at_16_khz_is_read_unchanged(tmp_path):
  speech = encode.to_int16(make_noise(20_001))
  encode.write_wav(tmp_path / 'a.wav', speech, 16_000)
  np.testing.assert_array_equal(
    decode.read_audio(tmp_path / 'a.wav'), speech / np.float32(32768)
  )


@pytest.mark.parametrize('suffix', ['.mp4', '.flv', '.mkv', '.avi', '.mov'])
def test_sound_stays_with_the_picture_in_every_container(tmp_path, suffix):
  speech = make_noise(32_000)
  path = make_film(tmp_path / f'a{suffix}', 50, speech=speech)
  heard = decode.read_audio(path)
  assert abs(lag(speech, heard)) <= 2
  assert len(heard) == pytest.approx(32_000, abs=400)
  loudness = np.linalg.norm(heard) / np.linalg.norm(speech)
  assert loudness == pytest.approx(1, abs=0.06)  # LAME scales by 0.95.


@pytest.mark.parametrize(
  ('video_start', 'audio_start'),
  [(0.0, 0.5), (0.32, 0.0), (0.24, 0.24), (3.0, 3.1), (0.0, 0.0)],
)
def test_streams_that_start_apart_are_aligned(
  tmp_path, video_start, audio_start
):
  path = tmp_path / 'a.mkv'
  speech = mux_shifted(path, video_start=video_start, audio_start=audio_start)
  heard = decode.read_audio(path)
  late = round(16_000 * (audio_start - video_start))
  assert abs(lag(speech, heard) - late) <= 16  # Matroska counts milliseconds.
  assert len(heard) == pytest.approx(32_000 + late, abs=20)
  if late > 100:
    assert not heard[: late - 20].any()
  frames = list(decode.read_frames(path))
  assert frames[0].time == pytest.approx(0, abs=1e-3)
  assert [number_of(frame.image) for frame in frames] == list(range(40))


def test_pieces_of_sound_join_to_the_whole(tmp_path):
  encode.write_media(tmp_path / 'a.mp3', None, speech=make_noise(40_000))
  pieces = list(decode.stream_audio(tmp_path / 'a.mp3', chunk=7_000))
  assert {len(piece) for piece in pieces[:-1]} == {7_000}
  np.testing.assert_array_equal(
    np.concatenate(pieces), decode.read_audio(tmp_path / 'a.mp3')
  )


def test_stereo_is_averaged_and_resampled_in_place(tmp_path):
  left, right = make_noise(48_000, 1), make_noise(48_000, 2)
  both = encode.to_int16(np.stack([left, right], axis=1))
  path = tmp_path / 'a.wav'
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('pcm_s16le', rate=48_000, layout='stereo')
    frame = av.AudioFrame.from_ndarray(both.reshape(1, -1), 's16', 'stereo')
    frame.sample_rate = 48_000
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  np.testing.assert_allclose(
    decode.read_audio(path, sample_rate=48_000), (left + right) / 2, atol=1e-4
  )
  low = decode.read_audio(path)
  assert len(low) == pytest.approx(16_000, abs=20)
  assert abs(lag(((left + right) / 2)[::3], low)) <= 1


# --- memory --------------------------------------------------------------

_READ_LONG = """
import resource, sys
from avemo.media import decode
kilobytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for frame in decode.read_frames(sys.argv[1], fps=25):
  if frame.index == 300:
    early = kilobytes()
for piece in decode.stream_audio(sys.argv[1]):
  pass
print(frame.index + 1, kilobytes() - early)
"""


@pytest.mark.skipif(
  not hasattr(resource, 'RUSAGE_SELF'), reason='no memory accounting here'
)
def test_memory_does_not_grow_with_the_film(tmp_path):
  path = tmp_path / 'long.flv'
  image = np.zeros((240, 320, 3), np.uint8)
  frames = (image for _ in range(1_500))
  encode.write_media(path, frames, fps=25, speech=make_noise(60 * 16_000))
  output = subprocess.run(
    [sys.executable, '-c', _READ_LONG, str(path)],
    capture_output=True,
    text=True,
    check=True,
  ).stdout.split()
  # Held, the pictures alone would be 276 MB.
  assert int(output[0]) == 1_500 and int(output[1]) < 30_000


# --- real files ----------------------------------------------------------

needs_real_data = pytest.mark.skipif(
  not os.environ.get('AVEMO_REAL_DATA'),
  reason='AVEMO_REAL_DATA does not name a folder of real recordings',
)


@needs_real_data
def test_real_films_and_recordings_are_read():
  folder = pathlib.Path(os.environ['AVEMO_REAL_DATA'])
  film = folder / 'video' / 'single_face.mp4'
  info = decode.probe(film)
  assert (info.width, info.height, info.fps) == (640, 360, 30)
  assert len(list(decode.read_frames(film))) == 72
  assert len(decode.read_audio(film)) / 16_000 == pytest.approx(2.42, abs=0.01)
  originals = sorted((folder / 'ravdess_48k_originals').rglob('*.wav'))
  assert originals
  for path in originals:
    small = next((folder / 'ravdess').rglob(path.name))
    ours, theirs = decode.read_audio(path), decode.read_audio(small)
    assert abs(lag(theirs, ours)) <= 1
    assert len(ours) == pytest.approx(len(theirs), abs=2)
