"""Windows of films: where they lie, and whose label is theirs."""

import itertools

import numpy as np
import pytest
import small_films
from small_dataset import FPS, SIDE

from avemo import errors
from avemo.data import clips, labels, pipeline, targets, windows

SECONDS = 0.4
SPACE = labels.LabelSpace.of(small_films.EMOTIONS)
TASKS = ('emotion', 'valence_arousal', 'action_units')
OPTIONS = clips.ClipOptions(frames=5, size=SIDE, margin=None, seconds=SECONDS)


def seen(clip):
  """Which frames of the segment came out, from what is painted into them."""
  return np.round(clip['frames'][..., 0].mean((-3, -2)) / 8).astype(int)


def test_a_window_lies_around_its_middle_with_the_sound_beside():
  record = small_films.make_record(0, 1)
  cut = windows.cut(record, 9, SECONDS)
  times = cut['frame_time'] - record['start']
  # Ten frames: the middle one, five before it and four after.
  np.testing.assert_allclose(times, np.arange(4, 14) / FPS, atol=1e-5)
  assert len(cut['speech']) == 2 * 16_000 * SECONDS
  first = round(4 / FPS * 16_000)
  assert cut['speech'] == record['speech'][2 * first :][: len(cut['speech'])]
  assert cut['start'] == pytest.approx(float(record['start']) + 4 / FPS)


def test_middles_are_where_a_whole_window_fits():
  record = small_films.make_record(0, 0)
  found = np.flatnonzero(windows.find_middles(record, SECONDS))
  assert found.tolist() == list(range(5, 16))
  # A record shorter than the window is one window.
  assert windows.find_middles(record, 2.0).sum() == 1
  assert windows.count(0.8, 2.0, 0.1) == 1
  whole = windows.cut(record, windows.place_middle(record, 2.0, 1, 0), 2.0)
  assert len(whole['frames']) == 20 and whole['start'] == 0


@pytest.mark.parametrize('every', [0.08, 0.1, 0.2, 1.0])
def test_windows_cover_a_record_to_its_end(every):
  record = small_films.make_record(0, 0)
  count = windows.count(windows.measure(record), SECONDS, every)
  middles = [
    windows.place_middle(record, SECONDS, every, number)
    for number in range(count)
  ]
  assert middles == sorted(middles)
  assert np.diff(middles).max(initial=0) <= np.ceil(every * FPS)
  first, last = (windows.cut(record, middles[n], SECONDS) for n in (0, -1))
  assert first['frame_time'][0] == record['frame_time'][0]
  assert last['frame_time'][-1] == record['frame_time'][-1]


def test_only_labelled_frames_are_drawn_each_as_likely():
  record = small_films.make_record(0, 0, masked=range(8))
  known = ~np.isnan(record['frame_valence'])
  rng = np.random.default_rng(0)
  drawn = [windows.draw_middle(record, SECONDS, known, rng) for _ in range(800)]
  counts = np.bincount(drawn, minlength=20)
  assert set(np.flatnonzero(counts)) == set(range(8, 16))
  assert counts[8:16].min() > 60
  # Nothing known where a middle may be: any window, and no label.
  assert windows.draw_middle(record, SECONDS, np.zeros(20, bool), rng) in range(
    5, 16
  )


def train(dataset, count, **options):
  batches = pipeline.train_batches(
    dataset,
    range(len(dataset.source)),
    SPACE,
    options=OPTIONS,
    batch_size=4,
    seed=3,
    tasks=TASKS,
    **options,
  )
  taken = list(itertools.islice(batches, count))
  batches.close()
  return taken


def test_the_label_is_that_of_the_middle_frame():
  dataset = small_films.make_dataset(masked=(7, 8))
  numbers = []
  for batch in train(dataset, 12):
    segment = dataset.index['segment'][batch['record']]
    frames = seen(batch)
    # Five frames, spread over the ten around the middle one.
    assert (np.ptp(frames, axis=1) < 10).all()
    middle = np.round((batch['valence_arousal'][:, 0] + 0.5) * 100)
    middle = (middle - segment * small_films.FRAMES).astype(int)
    numbers += middle.tolist()
    assert (frames.min(1) >= middle - 5).all()
    assert (frames.max(1) <= middle + 4).all()
    number = middle + segment * small_films.FRAMES
    np.testing.assert_array_equal(batch['emotion'], number // 10 % 3)
    np.testing.assert_array_equal(batch['target'].argmax(1), batch['emotion'])
    np.testing.assert_array_equal(batch['action_units'][:, 0], number % 2)
    np.testing.assert_array_equal(batch['action_units'][:, 1], number >= 30)
    assert batch['valence_arousal_mask'].all()
    assert batch['action_units_mask'].all()
  assert set(numbers) <= set(range(5, 16)) - {7, 8}
  assert len(set(numbers)) > 6


def test_windows_are_drawn_alike_after_a_resume():
  dataset = small_films.make_dataset()
  whole = train(dataset, 5)
  for batch, other in zip(
    whole[2:], train(dataset, 3, first_step=2), strict=True
  ):
    for name in batch:
      np.testing.assert_array_equal(batch[name], other[name])


def test_a_record_without_labels_is_left_out_and_a_window_is_needed():
  made = [
    small_films.make_record(film, 0, masked=range(20) if film else ())
    for film in range(4)
  ]
  dataset = small_films.open_records(made)
  assert {r for b in train(dataset, 4) for r in b['record']} == {0}
  table = targets.make_table(dataset, SPACE, tasks=TASKS)
  with pytest.raises(errors.AvemoError, match=r'data\.seconds'):
    pipeline.list_looks(
      dataset, [0], table, options=clips.ClipOptions(use=('video',), seconds=0)
    )
  with pytest.raises(errors.AvemoError, match='stand by frame'):
    train(dataset, 1, shuffle_labels_seed=1)
  with pytest.raises(errors.AvemoError, match='stand by frame'):
    train(dataset, 1, balanced=True)


def test_the_index_counts_labels_by_frame():
  dataset = small_films.make_dataset(masked=(0, 1))
  index = dataset.index
  assert (index['frame_affect_count'] == 18).all()
  assert index['frame_expression_counts'].sum(1).tolist() == [18] * 15
  assert index['frame_expression_counts'][0, :3].tolist() == [8, 10, 0]
  assert (index['frame_action_units_known'] == 18).all()
  assert index['frame_action_units_present'][0, :2].tolist() == [9, 0]
  assert len(set(index['frame_labels_sha256'])) == 3


def test_frames_without_pictures_keep_their_labels():
  bare = {'frames': [], 'face': np.zeros(20, np.uint8)}
  dataset = small_films.open_records(
    [small_films.make_record(0, 0), small_films.make_record(0, 1) | bare]
  )
  table = targets.make_table(dataset, SPACE, tasks=TASKS)
  assert table.by_frame.all() and table.labelled.all()
  found = targets.read_frames(dataset.source[1], table, 1)
  assert found.emotion.tolist() == [2] * 10 + [0] * 10
  looks = pipeline.list_looks(dataset, [1], table, options=OPTIONS)
  (batch,) = pipeline.eval_batches(
    dataset, looks[:1], table, options=OPTIONS, batch_size=1
  )
  assert batch['frame'] == 25 and batch['has_audio'] and not batch['has_video']
  # What is heard is learned from.
  batches = train(dataset, 4)
  assert {1} < {int(r) for b in batches for r in b['record']}
  assert all(b['valence_arousal_mask'].all() for b in batches)


def test_labels_of_clips_count_where_their_frames_have_none():
  made = [small_films.make_record(n, 0) for n in range(4)]
  empty = {'masked': range(20)}
  made[1] = small_films.make_record(1, 0, **empty) | {
    'emotion': b'anger', 'valence': 0.25, 'arousal': 0.5
  }  # fmt: skip
  # Sound alone has no frames, and is a clip.
  made[2] = small_films.make_record(2, 0, count=0) | {
    'speech': bytes(8000), 'emotion': b'neutral'
  }  # fmt: skip
  made[3] = small_films.make_record(3, 0, **empty)
  dataset = small_films.open_records(made)
  table = targets.make_table(dataset, SPACE, tasks=TASKS)
  assert table.is_labelled('emotion').tolist() == [True, True, True, False]
  assert table.is_labelled('valence_arousal').tolist() == [
    True, True, False, False
  ]  # fmt: skip
  assert not table.is_framed('emotion', 1) and table.is_framed('emotion', 0)
  # Nothing is known of its frames, for whatever task: it is a clip.
  assert table.by_frame.tolist() == [True, False, False, True]
  looks = pipeline.list_looks(dataset, range(4), table, options=OPTIONS)
  assert {record for record, _ in looks} == {0, 1, 2, 3}
  found = targets.read_frames(made[1], table, 1)
  assert set(found.emotion) == {0}
  assert set(found.values['valence_arousal'][:, 0]) == {np.float32(0.25)}
