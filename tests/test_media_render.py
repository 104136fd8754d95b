"""Films written again with what was recognised drawn on them."""

import av
import numpy as np
import pytest

from avemo import errors
from avemo.media import decode, encode, render

WIDTH, HEIGHT = 161, 121
BOX = np.float32([40, 50, 50, 50])
PROBABILITIES = {'anger': 0.1, 'happiness': 0.9}


def make_speech(seconds=2.0):
  noise = np.random.default_rng(0).standard_normal(round(16_000 * seconds))
  window = np.hanning(15) / np.hanning(15).sum()
  return np.float32(0.4 * np.convolve(noise, window, 'same'))


def make_film(path, count=50, **options):
  frames = (np.full((HEIGHT, WIDTH, 3), 60 + n, np.uint8) for n in range(count))
  encode.write_media(path, frames, **options)
  return path


def lag(reference, heard):
  size = 1 << (len(reference) + len(heard)).bit_length()
  product = np.fft.rfft(heard, size) * np.fft.rfft(reference, size).conj()
  place = int(np.fft.irfft(product).argmax())
  return place - size if place > size // 2 else place


@pytest.mark.parametrize(
  ('suffix', 'copied'),
  [('.mp4', True), ('.flv', True), ('.mkv', True), ('.avi', False)],
)
def test_sound_and_picture_stay_together(tmp_path, suffix, copied):
  source = make_film(tmp_path / f'in{suffix}', speech=make_speech())
  assert render.can_copy_sound(source) == copied
  count = render.render(source, tmp_path / 'out.mp4', lambda frame: [])
  before = [frame.time for frame in decode.read_frames(source)]
  after = [frame.time for frame in decode.read_frames(tmp_path / 'out.mp4')]
  assert count == len(before)
  np.testing.assert_allclose(after, before, atol=1e-4)
  old = decode.read_audio(source, sample_rate=48_000)
  new = decode.read_audio(tmp_path / 'out.mp4', sample_rate=48_000)
  # A frame lasts 40 ms; the packets that were copied decode a sample apart.
  assert abs(lag(old, new)) <= 2
  assert len(new) == pytest.approx(len(old), abs=1_500)
  info = decode.probe(tmp_path / 'out.mp4')
  assert info.video_codec == 'h264'
  assert info.audio_codec.startswith('aac' if suffix != '.flv' else 'mp3')


def test_variable_rates_are_kept(tmp_path):
  gaps = np.random.default_rng(3).uniform(0.01, 0.15, 29)
  times = np.concatenate([[0], np.cumsum(gaps)])
  source = make_film(
    tmp_path / 'in.mkv', 30, times=times, speech=make_speech(3)
  )
  render.render(source, tmp_path / 'out.mp4', lambda frame: [])
  after = [frame.time for frame in decode.read_frames(tmp_path / 'out.mp4')]
  np.testing.assert_allclose(after, times, atol=1e-3)
  heard = decode.read_audio(tmp_path / 'out.mp4')
  assert abs(lag(decode.read_audio(source), heard)) <= 1


@pytest.mark.parametrize('shift', [0.5, -0.3])
@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
def test_sound_that_starts_apart_from_the_picture_stays_so(
  tmp_path, suffix, shift
):
  speech = make_speech()
  whole = make_film(tmp_path / 'whole.mp4', speech=speech)
  source = tmp_path / f'in{suffix}'
  with av.open(str(whole)) as old, av.open(str(source), 'w') as new:
    streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
    for packet in old.demux():
      if packet.size:
        # Five seconds in, so that the earlier stream is not at zero either.
        late = 5 + (shift if packet.stream.type == 'audio' else 0)
        packet.pts += round(late / packet.time_base)
        packet.dts += round(late / packet.time_base)
        packet.stream = streams[packet.stream_index]
        new.mux(packet)
  for film in (source, tmp_path / 'out.mp4'):
    if film != source:
      render.render(source, film, lambda frame: [])
    heard = decode.read_audio(film)
    assert abs(lag(speech, heard) - 16_000 * shift) <= 20
    times = [frame.time for frame in decode.read_frames(film)]
    np.testing.assert_allclose(times, np.arange(50) / 25, atol=2e-3)


def test_silent_films_stay_silent_and_odd_sides_become_even(tmp_path):
  source = make_film(tmp_path / 'in.mkv', 5)
  render.render(source, tmp_path / 'out.mp4', lambda frame: [])
  info = decode.probe(tmp_path / 'out.mp4')
  assert (info.has_audio, info.width, info.height) == (False, 162, 122)
  assert len(list(decode.read_frames(tmp_path / 'out.mp4'))) == 5


def test_overlays_are_drawn_on_the_frames_asked_for(tmp_path):
  source = make_film(tmp_path / 'in.mp4', 6)
  seen = []

  def draw_at(frame):
    seen.append(frame.index)
    if frame.index % 2:
      return []
    return [render.Overlay(BOX, 'happiness', PROBABILITIES)]

  render.render(source, tmp_path / 'out.mp4', draw_at)
  assert seen == list(range(6))
  before = decode.read_frames(source)
  after = decode.read_frames(tmp_path / 'out.mp4')
  for old, new in zip(before, after, strict=True):
    change = np.abs(old.image.astype(int) - new.image)
    assert (change[48:103, 38:93].max() > 60) == (old.index % 2 == 0)


def test_bars_grow_with_their_probability():
  image = np.zeros((360, 640, 3), np.uint8)
  lit = []
  for share in (0.1, 0.5, 0.9):
    overlay = render.Overlay(None, '', {'joy': share}, colour=1)
    drawn = render.draw(image, [overlay])
    lit.append(int((drawn == render.COLOURS[1]).all(axis=-1).sum()))
  assert not image.any()
  # The filled part grows evenly.
  assert lit[2] - lit[1] == pytest.approx(lit[1] - lit[0], rel=0.1)
  assert lit[1] > lit[0] > 0


@pytest.mark.parametrize('corner', [(-30, -20), (150, 100), (0, 0), (400, 400)])
@pytest.mark.parametrize('size', [(HEIGHT, WIDTH), (8, 8), (40, 700)])
def test_overlays_anywhere_fit_any_picture(corner, size):
  image = np.full((*size, 3), 80, np.uint8)
  points = np.float32([[5, 5], [np.nan, 1], [1e4, 3], [1, 1], [2, 2]])
  overlays = [
    render.Overlay(
      np.float32([*corner, 60, 60]), 'a label', PROBABILITIES, 7, points
    ),
    render.Overlay(None, 'no face', PROBABILITIES),
    render.Overlay(None, '', {}),
  ]
  assert render.draw(image, overlays).shape == image.shape


def test_a_film_with_damaged_sound_is_still_drawn(tmp_path):
  source = make_film(tmp_path / 'in.flv', speech=make_speech())
  content = np.frombuffer(source.read_bytes(), np.uint8).copy()
  places = np.random.default_rng(5).integers(3_000, len(content), 40)
  content[places] ^= 255
  source.write_bytes(content.tobytes())
  count = render.render(source, tmp_path / 'out.mp4', lambda frame: [])
  assert count > 10
  assert decode.probe(tmp_path / 'out.mp4').has_video


def test_what_holds_no_pictures_is_refused_and_leaves_nothing(tmp_path):
  encode.write_wav(tmp_path / 'in.wav', make_speech(), 16_000)
  with pytest.raises(errors.MediaError, match='no video stream'):
    render.render(tmp_path / 'in.wav', tmp_path / 'out.mp4', lambda frame: [])
  assert sorted(path.name for path in tmp_path.iterdir()) == ['in.wav']


def test_a_broken_drawing_leaves_no_film(tmp_path):
  source = make_film(tmp_path / 'in.mp4', 5, speech=make_speech())

  def fail(frame):
    raise RuntimeError('no ink')

  with pytest.raises(RuntimeError, match='no ink'):
    render.render(source, tmp_path / 'out.mp4', fail)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['in.mp4']
