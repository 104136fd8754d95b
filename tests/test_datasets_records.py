"""From a clip's files to its records."""

import math
import types

import cv2
import numpy as np
import pytest

from avemo.corpora import clip as clips
from avemo.corpora import given
from avemo.data import schema
from avemo.media import encode
from datasets_tfds import parts, pictures, records, sounds

FILM = records.Options(config='frame')


def make_clip(*, videos=(), audios=()):
  name = clips.Name('a', 's', 'r', 'anger', '', {})
  return clips.make_clip(name, [*map(str, videos)], [*map(str, audios)])


def write_tone(path, seconds, peak=0.3):
  times = np.arange(round(seconds * 16_000)) / 16_000
  tone = peak * np.sin(2 * np.pi * 200 * times)
  encode.write_wav(path, tone.astype(np.float32), 16_000)
  return path


def write_film(path, seconds, speech=None, fps=10, still=False):
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 255, (round(seconds * fps), 1, 1, 3), np.uint8)
  pictures = np.tile(pictures[:1] if still else pictures, (1, 48, 64, 1))
  if still:
    pictures = np.repeat(pictures, round(seconds * fps), axis=0)
  encode.write_media(path, pictures, fps=fps, speech=speech)
  return path


@pytest.mark.parametrize(
  'seconds, shown, pieces',
  [(3.0, 3.0, 1), (10.005, 9.0, 1), (12.0, 12.5, 2), (31.0, 0.0, 4)],
)
def test_segments_are_equal_and_lose_nothing(seconds, shown, pieces):
  speech = np.arange(round(seconds * 16_000)).astype(np.int16)
  count = round(shown * 10)
  times = np.arange(count) / 10
  sound = sounds.Sound('a', len(speech), tuple(np.split(speech, [5, 16_001])))
  picture = make_picture(times) if count else None
  line = parts.make_timeline(make_clip(), sound, picture, None, 10.0)
  shots = picture.read(line.spans) if count else iter(())
  made = list(parts.cut(line, sounds.cut(sound, line.edges), shots, None))
  assert [(p['segment'], p['num_segments']) for p in made] == [
    (number, pieces) for number in range(pieces)
  ]
  heard = [np.frombuffer(part['speech'], '<i2') for part in made]
  np.testing.assert_array_equal(np.concatenate(heard), speech)
  for part, samples in zip(made, heard, strict=True):
    assert len(samples) <= 10.01 * 16_000
    if count:
      inside = part['frame_time'] - part['start']
      assert inside.min() >= 0 and inside.max() < 10
  frames = [frame for part in made for frame in part['frames']]
  assert frames == [b'%d' % number for number in range(count)]


def make_picture(times, missing=()):
  """Pictures that are their numbers, all but some."""
  return types.SimpleNamespace(
    times=times,
    fps=10.0,
    read=lambda spans: (
      pictures.Shot(n, b'%d' % n, True, np.ones(4), np.zeros(10))
      for n in range(len(times))
      if n not in missing
    ),
  )


def test_a_long_film_becomes_records_that_tell_their_place(tmp_path):
  tone = write_tone(tmp_path / 'a.wav', 24.0)
  film = write_film(tmp_path / 'a.avi', 24.0)
  clip = make_clip(videos=[film], audios=[tone])
  made, unusable = records.make_records(clip, FILM)
  assert not unusable
  assert [record['segment'] for record in made] == [0, 1, 2]
  assert [float(record['start']) for record in made] == [0, 8, 16]
  for record in made:
    assert record['num_segments'] == 3
    assert len(record['speech']) == 2 * 8 * 16_000
    assert len(record['frames']) == 80
    np.testing.assert_allclose(
      record['frame_time'], record['frame_index'] / 10, atol=1e-3
    )
    assert record['frame_time'][0] == pytest.approx(record['start'], abs=1e-3)


def test_films_too_large_for_memory_give_the_same_records(
  tmp_path, monkeypatch
):
  clip = make_clip(videos=[write_film(tmp_path / 'a.avi', 2.0)])
  kept = records.make_records(clip, FILM).records
  monkeypatch.setattr(pictures, '_KEPT_BYTES', 50_000)
  again = records.make_records(clip, FILM).records
  assert kept[0]['frames'] == again[0]['frames']
  assert len(kept[0]['frames']) == 20


@pytest.mark.parametrize('peak, usable', [(2e-3, True), (4e-4, False)])
def test_silence_is_unusable_and_quiet_speech_is_not(tmp_path, peak, usable):
  tone = write_tone(tmp_path / 'a.wav', 1.0, peak)
  made, unusable = records.make_records(make_clip(audios=[tone]), FILM)
  assert bool(made) == usable
  assert [file.reason for file in unusable] == (
    [] if usable else ['its sound is silent']
  )


def test_the_next_file_stands_in_for_an_unusable_one(tmp_path):
  silent = write_tone(tmp_path / 'silent.wav', 1.0, 0.0)
  tone = write_tone(tmp_path / 'tone.wav', 1.0)
  clip = make_clip(audios=[tmp_path / 'absent.wav', silent, tone])
  made, unusable = records.make_records(clip, FILM)
  assert len(made[0]['speech']) == 32_000
  assert [file.path for file in unusable] == [
    str(tmp_path / 'absent.wav'),
    str(silent),
  ]


@pytest.mark.parametrize(
  'shown, heard, unusable',
  [(9.0, 4.0, ['a.wav']), (0.5, 4.0, ['a.avi']), (3.0, 4.0, [])],
)
def test_of_picture_and_sound_the_one_cut_short_is_left_out(
  tmp_path, shown, heard, unusable
):
  clip = make_clip(
    videos=[write_film(tmp_path / 'a.avi', shown)],
    audios=[write_tone(tmp_path / 'a.wav', heard)],
  )
  made, files = records.make_records(clip, FILM)
  assert bool(made[0]['speech']) == ('a.wav' not in unusable)
  assert bool(made[0]['frames']) == ('a.avi' not in unusable)
  assert [file.path for file in files] == [str(tmp_path / u) for u in unusable]
  assert all('last' in file.reason for file in files)


def test_the_film_stands_in_for_sound_that_is_cut_short(tmp_path):
  tone = write_tone(tmp_path / 'a.wav', 0.5)
  speech = np.full(48_000, 0.3, np.float32)
  film = write_film(tmp_path / 'a.avi', 3.0, speech)
  clip = make_clip(videos=[film], audios=[tone, film])
  (record,), unusable = records.make_records(clip, FILM)
  assert len(record['speech']) == 2 * 48_000
  assert [file.path for file in unusable] == [str(tone)]


def test_a_film_whose_end_is_lost_is_used_and_told(tmp_path):
  speech = np.full(64_000, 0.3, np.float32)
  film = write_film(tmp_path / 'a.mkv', 4.0, speech)
  whole, unusable = records.make_records(
    make_clip(videos=[film], audios=[film]), FILM
  )
  assert not unusable
  film.write_bytes(film.read_bytes()[: film.stat().st_size // 4])
  made, unusable = records.make_records(
    make_clip(videos=[film], audios=[film]), FILM
  )
  assert 0 < len(made[0]['frames']) < len(whole[0]['frames']) / 2
  (file,) = unusable
  assert file.path == str(film)
  assert 'used in part: says that it lasts 4.0 s' in file.reason


def test_what_nobody_foresaw_costs_one_file(tmp_path):
  def make_detector(face_model):
    raise ZeroDivisionError('no face\nat all')

  clip = make_clip(
    videos=[write_film(tmp_path / 'a.avi', 1.0)],
    audios=[write_tone(tmp_path / 'a.wav', 1.0)],
  )
  (record,), unusable = records.make_records(clip, FILM, make_detector)
  assert record['speech'] and not record['frames']
  assert unusable[0].reason == (
    'cannot be read (ZeroDivisionError: no face at all)'
  )


def test_nothing_longer_than_the_corpus_has(tmp_path):
  options = records.Options(config='frame', longest_clip=2.0)
  tone = np.full(48_000, 0.3, np.float32)
  film = write_film(tmp_path / 'a.avi', 3.0, tone)
  made, unusable = records.make_records(
    make_clip(videos=[film], audios=[film]), options
  )
  assert not made
  assert 'longer than 2 s' in unusable[0].reason
  assert 'lasts longer than 2 s' in unusable[0].reason


def test_no_face_is_fine_in_whole_pictures_unless_nothing_moves(tmp_path):
  moving = make_clip(videos=[write_film(tmp_path / 'a.avi', 1.0)])
  made, unusable = records.make_records(moving, FILM)
  assert not unusable and not made[0]['face'].any()
  assert np.isnan(made[0]['landmarks']).all()
  still = make_clip(videos=[write_film(tmp_path / 'b.avi', 1.0, still=True)])
  made, unusable = records.make_records(still, FILM)
  assert not made and 'still picture' in unusable[0].reason
  made, unusable = records.make_records(moving, records.Options(config='face'))
  assert not made and 'no face' in unusable[0].reason


def test_crops_hold_the_face_at_the_promised_margin(tiny_crema_d):
  film = tiny_crema_d / 'VideoFlash' / '1006_TIE_HAP_XX.flv'
  made, _ = records.make_records(make_clip(videos=[film]), records.Options())
  (record,) = made
  assert record['face'].mean() > 0.9
  for jpeg, box, found in zip(
    record['frames'], record['box'], record['face'], strict=True
  ):
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    height, width = image.shape[:2]
    assert height == width <= schema.MAX_SIDE
    if found:
      assert width / box[2:].max() == pytest.approx(schema.MARGIN, abs=0.02)
      assert box[0] + box[2] / 2 == pytest.approx(width / 2, abs=1)
  whole, _ = records.make_records(make_clip(videos=[film]), FILM)
  image = cv2.imdecode(np.frombuffer(whole[0]['frames'][0], np.uint8), 1)
  assert image.shape == (240, 320, 3)
  # The same face, in pictures of 2/3 the size of the film's.
  crop, frame = record['box'][5], whole[0]['box'][5]
  assert math.isclose(frame[2], crop[2] * 2 / 3, rel_tol=0.02)
  assert 80 < frame[0] + frame[2] / 2 < 240


def test_a_file_that_fails_when_read_again_gives_way_to_the_next(
  tmp_path, monkeypatch
):
  first = write_film(tmp_path / 'a.avi', 12.0)
  second = write_film(tmp_path / 'b.avi', 12.0)
  tone = write_tone(tmp_path / 'a.wav', 12.0)
  clip = make_clip(videos=[first, second], audios=[tone])
  expected = records.make_records(
    make_clip(videos=[second], audios=[tone]), FILM
  )
  read = pictures.Film._read_again

  def fail_late(film):
    for number, image in enumerate(read(film)):
      if film.path == str(first) and number == 100:
        raise OSError('the disk\nis gone')
      yield image

  monkeypatch.setattr(pictures.Film, '_read_again', fail_late)
  made, unusable = records.make_records(clip, FILM)
  assert unusable == [
    (str(first), 'cannot be read (OSError: the disk is gone)', ())
  ]
  assert len(made) == 2
  for record, other in zip(made, expected.records, strict=True):
    assert record['frames'] == other['frames']
    assert record['speech'] == other['speech']


def test_rows_about_a_clip_that_is_left_out_are_all_told(tmp_path):
  path = tmp_path / 'a.wav'
  path.write_bytes(b'no sound at all' * 99)
  said = given.Said({'valence': 0.5}, {}, [4, 7])
  clip = given.join(make_clip(audios=[str(path)]), said, 'mine.csv')
  made, unusable = records.make_records(clip, FILM)
  assert not made and len(unusable) == 3
  rows = [(u.path, u.reason.split(':')[0]) for u in unusable[1:]]
  assert rows == [('mine.csv', 'row 4'), ('mine.csv', 'row 7')]


def test_sound_that_is_not_kept_is_the_same(tmp_path, monkeypatch):
  tone = write_tone(tmp_path / 'a.wav', 25.0)
  clip = make_clip(audios=[tone])
  kept = records.make_records(clip, FILM).records
  monkeypatch.setattr(sounds, '_KEPT_SECONDS', 1)
  again = records.make_records(clip, FILM).records
  assert [r['speech'] for r in kept] == [r['speech'] for r in again]
  assert len(kept) == 3


def test_pictures_that_are_missing_are_held(tmp_path):
  labels = clips.FrameLabels(
    np.arange(8, dtype=np.float32) / 10,
    np.zeros(8, np.float32),
    np.arange(8, dtype=np.int32),
    np.zeros((8, 12), np.float32),
    {'a.txt': 8},
  )
  picture = make_picture(np.arange(6) / 10, missing=(0, 3))
  line = parts.make_timeline(make_clip(), None, picture, labels, 0.4)
  assert line.spans == ((0, 4), (4, 8))
  np.testing.assert_allclose(line.times, np.arange(8) / 10)
  first, second = parts.cut(
    line, sounds.cut(None, line.edges), picture.read(line.spans), labels
  )
  assert first['frames'] == [b'1', b'1', b'2', b'2']
  assert first['face'].tolist() == [0, 1, 1, 0]
  assert second['frames'] == [b'4', b'5', b'5', b'5']
  assert second['face'].tolist() == [1, 1, 0, 0]
  assert second['frame_index'].tolist() == [4, 5, 6, 7]
  assert second['frame_expression'].tolist() == [4, 5, 6, 7]
  (reason,) = [fault.reason for fault in parts.find_mismatches(labels, 6)]
  assert reason == 'used in part: 8 lines for 6 pictures'
  assert not parts.find_mismatches(labels, 8)
