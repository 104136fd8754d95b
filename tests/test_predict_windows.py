"""Windows are cut as in training: people, sound, frames."""

import dataclasses
import functools

import films
import numpy as np
import pytest

from avemo.corpora import crema_d
from avemo.data import clips, schema
from avemo.data.clips import ClipOptions, View
from avemo.media import decode, encode, faces
from avemo.predict import people, sound, windows
from datasets_tfds import records, sounds

OPTIONS = ClipOptions(frames=4, size=48, seconds=8.0)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  root = tmp_path_factory.mktemp('corpus') / 'raw'
  films.simulate_corpus(root)
  return root


@pytest.fixture(scope='module')
def film(corpus):
  """A film, its people, and the file of its sound."""
  path = sorted((corpus / 'VideoFlash').glob('*.flv'))[-1]
  watched = people.watch(path, faces.make_detector())
  return path, watched, corpus / 'AudioWAV' / f'{path.stem}.wav'


@functools.cache
def make_records(corpus, name, config):
  found, _ = crema_d.scan(corpus)
  clip = next(c for c in found if c.clip_id == name)
  options = records.Options(config=config, extra=crema_d.EXTRA)
  return records.make_records(clip, options).records


def cut(film, plan, options, config='face'):
  path, watched, wav = film
  return list(windows.cut(path, watched, wav, plan, options, config=config))


def measure(film):
  return max(film[1].duration, sound.listen(film[2]).duration)


def assert_same_clip(found, wanted):
  assert found.keys() == wanted.keys()
  for name, value in wanted.items():
    np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize('config', schema.CONFIGS)
@pytest.mark.parametrize('sampling', clips.SAMPLINGS)
@pytest.mark.parametrize('margin', [1.3, None])
def test_a_clip_is_read_as_in_evaluation(
  corpus, film, config, sampling, margin
):
  options = dataclasses.replace(OPTIONS, sampling=sampling, margin=margin)
  (record,) = make_records(corpus, film[0].stem, config)
  wanted = clips.load_clip(record, options, View())
  assert wanted['has_video'] and wanted['has_audio']
  plan = windows.plan(measure(film), 1.0, options, film[1].step)
  found = cut(film, plan, options, config)
  assert len(found) >= 2
  for window in found:
    assert_same_clip(window.clip, wanted)


def test_a_window_is_the_part_of_the_record_within_it(corpus, film):
  options = dataclasses.replace(OPTIONS, seconds=0.8)
  (record,) = make_records(corpus, film[0].stem, 'face')
  plan = windows.plan(measure(film), 0.3, options, film[1].step)
  for window in cut(film, plan, options):
    start, stop = plan.window(window.time)
    times = record['frame_time']
    inside = np.flatnonzero((times >= start - 1e-6) & (times < stop - 1e-6))
    speech = np.frombuffer(record['speech'], '<i2')
    first = round(start * clips.SAMPLE_RATE)
    part = record | {
      'frames': [record['frames'][n] for n in inside],
      'face': record['face'][inside],
      'box': record['box'][inside],
      'speech': speech[first : first + options.num_samples].tobytes(),
    }
    assert_same_clip(window.clip, clips.load_clip(part, options, View()))


def test_silence_is_what_datasets_call_so():
  assert sound.SILENCE == sounds.SILENCE


def test_no_more_frames_are_kept_than_a_window_shows(film):
  path, watched, _ = film
  for config, count in (('face', 10), ('frame', 20)):
    shelf = windows.Shelf(path, watched, config, lambda time: None)
    for start in np.arange(0, watched.duration, 0.1):
      shelf.move_to(start, start + 0.3)
      kept = sum(map(len, shelf._kept.values()))
      assert kept <= count
      assert start > watched.duration - 0.3 or kept >= count * 0.8


# -------------------------------------------------------------------- plans


def test_windows_move_inside_at_the_ends():
  plan = windows.plan(10.0, 2.5, OPTIONS, 0.04)
  np.testing.assert_allclose(plan.times, [0, 2.5, 5, 7.5])
  assert [plan.window(t) for t in plan.times] == [
    (0, 8), (0, 8), (1, 9), (2, 10),
  ]  # fmt: skip


def test_a_short_film_is_one_window():
  plan = windows.plan(0.5, 2.0, OPTIONS, 0.04)
  assert plan.times.tolist() == [0] and plan.window(0) == (0, 0.5)
  assert windows.plan(0.0, 2.0, OPTIONS, 0.04).times.tolist() == [0]
  # 0.3 / 0.1 is above 3 by a rounding error.
  assert len(windows.plan(0.3, 0.1, OPTIONS, 0.04).times) == 3


def test_what_is_left_at_the_end_is_no_time_of_its_own():
  for duration, count in ((4.0, 4), (4.09, 4), (4.11, 5)):
    assert len(windows.plan(duration, 1.0, OPTIONS, 0.04).times) == count


def test_dense_windows_hold_their_frames():
  options = ClipOptions(frames=16, sampling='dense', stride=4, seconds=1.0)
  plan = windows.plan(60.0, 1.0, options, 1 / 25)
  assert plan.seconds == pytest.approx(62 / 25)
  long = dataclasses.replace(options, seconds=4.0)
  assert windows.plan(60.0, 1.0, long, 1 / 25).seconds == 4.0
  deaf = dataclasses.replace(long, use=('video',))
  assert windows.plan(60.0, 1.0, deaf, 1 / 25).seconds < 4.0
  blind = dataclasses.replace(options, use=('audio',))
  assert windows.plan(60.0, 1.0, blind, 1 / 25).seconds == 1.0


# ------------------------------------------------------------------- people


def test_two_people_have_windows_of_their_own(film, corpus, tmp_path):
  left, right = sorted((corpus / 'VideoFlash').glob('*.flv'))
  path = films.join(left, right, tmp_path / 'both.mp4')
  watched = people.watch(path, faces.make_detector())
  assert [p.track for p in watched.people] == [1, 2]
  width = decode.probe(path).width
  found = cut(
    (path, watched, path),
    windows.plan(watched.duration, 0.5, OPTIONS, watched.step),
    OPTIONS,
  )
  assert len(found) == 2 * len({w.time for w in found})
  for window in found:
    centre = window.box[0] + window.box[2] / 2
    assert (centre < width / 2) == (window.track == 1)
    assert window.sound == 'shared' and window.clip['has_audio']
  one, two = (w.clip['frames'].astype(float) for w in found[:2])
  assert abs(one - two).mean() > 10
  np.testing.assert_array_equal(
    found[0].clip['speech'], found[1].clip['speech']
  )


def test_nobody_is_shown_with_another_face_after_a_cut(corpus, tmp_path):
  first, second = (
    films.read(path)[0][:30]
    for path in sorted((corpus / 'VideoFlash').glob('*.flv'))
  )
  path = tmp_path / 'cut.mp4'
  encode.write_media(path, [*first, *second], fps=films.FPS)
  watched = people.watch(path, faces.make_detector())
  one, two = watched.people
  assert one.covers(0) and one.stop == 30
  assert two.start == 30 and two.stop == 60
  assert [p.track for p, _ in watched.people_at(0.5)] == [1]
  assert [p.track for p, _ in watched.people_at(2.0)] == [2]


def test_short_gaps_are_closed_and_long_ones_are_not():
  found = np.ones(60, bool)
  found[5:10] = found[20:50] = False
  shown = people.close_gaps(found, np.arange(60) / 25)
  assert shown[:20].all() and shown[50:].all() and not shown[20:50].any()


def test_frames_are_found_by_their_times():
  film = people.Film(np.array([0.0, 0.1, 0.3, 0.4]), ())
  wanted = {0: 0, 0.05: 0, 0.0999: 1, 0.29: 1, 0.3: 2, 0.5: 3, 0.6: None}
  assert {t: film.frame_at(t) for t in wanted} == wanted
  assert people.NO_PICTURES.frame_at(0.0) is None


# -------------------------------------------------------------------- sound


def test_sound_is_cut_at_its_times(tmp_path):
  samples = (np.arange(40_000) % 9_000 + 100).astype(np.int16)
  path = tmp_path / 'steps.wav'
  encode.write_wav(path, samples, 16_000)
  assert sound.listen(path).duration == 2.5
  reader = sound.Reader(path)
  for start, stop in [(0, 1), (0, 1), (0.25, 1.25), (2.0, 2.2), (2.1, 9.0)]:
    np.testing.assert_array_equal(
      reader.cut(start, stop),
      samples[round(start * 16_000) : round(stop * 16_000)],
    )
  assert not len(reader.cut(3.0, 4.0))


def test_a_silent_window_holds_no_sound(tmp_path):
  loud = films.hum(1.0)
  samples = np.concatenate([loud, np.zeros(32_000, np.float32), loud[:800]])
  path = tmp_path / 'pause.wav'
  encode.write_wav(path, samples, 16_000)
  reader = sound.Reader(path)
  assert len(reader.cut(0.0, 1.0)) == 16_000
  assert not len(reader.cut(1.2, 2.2))
  # A twentieth of a second, too short to be heard.
  assert not len(reader.cut(3.0, 4.0))
  assert not len(sound.Reader(None).cut(0.0, 1.0))


def test_memory_does_not_grow_with_the_film(tmp_path):
  path = tmp_path / 'long.wav'
  encode.write_wav(path, np.tile(films.hum(1.0), 240), 16_000)
  reader = sound.Reader(path)
  reader.cut(0.0, 1.0)
  reader.cut(230.0, 231.0)
  assert len(reader._kept) < 12 * 16_000
