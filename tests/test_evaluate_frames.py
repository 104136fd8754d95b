"""What is said of windows, said of every frame."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import small_films
import small_run

from avemo.data import clips, labels, targets
from avemo.evaluate import frames, predictions, rows
from avemo.runtime import mesh as mesh_lib

SPACE = labels.LabelSpace.of(small_films.EMOTIONS)
TASKS = ('emotion', 'valence_arousal')
OPTIONS = clips.ClipOptions(
  use=('video',), frames=4, size=64, seconds=0.4, margin=None
)


class Model:
  """Says what is painted: red tells the frame, green the segment."""

  def apply(self, variables, batch, train):
    del variables, train
    pixels = batch['frames'].mean((1, 2, 3))
    number = pixels[:, 1] / 8 * small_films.FRAMES + pixels[:, 0] / 8
    values = number / 100 - 0.5
    return {
      'emotion': number[:, None] * np.arange(3.0),
      'valence_arousal': values[:, None] * np.array([1.0, -1.0]),
    }


def predict(dataset, records, **options):
  mesh = mesh_lib.make_mesh()
  return predictions.predict_records(
    predictions.make_predict_step(Model(), mesh),
    {'params': {}},
    dataset,
    records,
    SPACE,
    tasks=TASKS,
    options=OPTIONS,
    batch_size=8,
    mesh=mesh,
    **options,
  )


@pytest.mark.parametrize('every', [0.08, 0.2, 0.7])
def test_every_frame_has_what_lies_between_its_windows(every):
  dataset = small_films.make_dataset(films=2)
  found = predict(dataset, [2, 0, 1, 4], every=every)
  assert found.record.tolist() == [
    record for record in (2, 0, 1, 4) for _ in range(20)
  ]
  np.testing.assert_array_equal(
    found.frame[:60], [*range(40, 60), *range(20), *range(20, 40)]
  )
  truth = small_films.find_valence(found.frame)
  np.testing.assert_allclose(found.truth['valence_arousal'][:, 0], truth)
  np.testing.assert_array_equal(found.emotion, found.frame // 10 % 3)
  # What is said rises in a line; the mean of four frames of a window lies
  # half a frame off its middle. Frames before the first middle and after the
  # last have what is said there.
  film = found.frame[:60]
  first, last = (5, 54) if every < 0.5 else (5, 55)
  expected = small_films.find_valence(np.clip(film, first, last))
  np.testing.assert_allclose(
    found.values['valence_arousal'][:60, 0], expected, atol=0.02
  )
  alone = found.frame[60:]
  expected = small_films.find_valence(np.clip(alone, 25, 35))
  np.testing.assert_allclose(
    found.values['valence_arousal'][60:, 0], expected, atol=0.02
  )


def test_labels_are_read_once_and_alike():
  dataset = small_films.make_dataset(films=1)
  read = {}
  first = predict(dataset, [0, 1, 2], read=read)
  assert set(read) == {0, 1, 2}
  again = predict(dataset, [0, 1, 2], read=read)
  np.testing.assert_array_equal(first.probabilities, again.probabilities)


def test_frames_without_pictures_are_scored_by_their_neighbours():
  dataset = small_films.make_dataset(films=1)
  bare = {'frames': [], 'face': np.zeros(20, np.uint8)}
  dataset = small_films.open_records(
    [dataset.source[0], dataset.source[1] | bare, dataset.source[2]]
  )
  found = predict(dataset, [0, 1, 2], every=0.2)
  assert found.frame.tolist() == list(range(60)) and found.answered.all()
  truth = small_films.find_valence(np.arange(60))
  np.testing.assert_allclose(found.truth['valence_arousal'][:, 0], truth)
  inside = slice(20, 40)
  np.testing.assert_allclose(
    found.values['valence_arousal'][inside, 0], truth[inside], atol=0.02
  )


def test_interpolation_holds_the_ends_and_fills_holes():
  values = np.array([[1.0, 0.0], [9.0, 9.0], [0.0, 2.0]])
  found = frames.interpolate(
    np.array([0, 4, 6, 8, 12]), np.array([4, 4, 8]), values
  )
  np.testing.assert_allclose(found, [[1, 0], [1, 0], [0.5, 1], [0, 2], [0, 2]])
  assert np.isnan(
    frames.interpolate(np.arange(3), np.zeros(0, int), np.zeros((0, 2)))
  ).all()


def test_a_film_without_anything_to_judge_by_has_no_answer():
  made = [small_films.make_record(0, 0), small_films.make_record(0, 1)]
  for record in made:
    record['face'] = np.zeros(20, np.uint8)
  dataset = small_films.open_records(made)
  table = targets.make_table(dataset, SPACE, tasks=TASKS)
  looks = {
    'record': np.array([0, 1]),
    'frame': np.array([9, 29]),
    'probabilities': np.full((2, 3), 1 / 3),
    'valence_arousal': np.zeros((2, 2)),
  }
  for present in ((False, False), (True, False)):
    looks['present'] = np.array(present)
    found = frames.spread(looks, np.array([0, 1]), dataset, table)
    # One window is enough for the whole film.
    assert found.answered.all() == any(present)
    assert np.isnan(found.values['valence_arousal']).all() != any(present)


def test_frames_of_a_clip_labelled_as_a_whole_are_one_row():
  made = rows.RecordPredictions(
    record=np.array([5, 5, 2, 2, 2]),
    frame=np.array([0, 1, 0, 1, 2]),
    answered=np.array([True, True, False, True, True]),
    probabilities=np.array([[1, 0], [0, 1], [0, 0], [0.5, 0.5], [1, 0]]),
    emotion=np.array([1, 1, 0, 0, 0]),
    values={'valence_arousal': np.array([0, 1, np.nan, 0.5, 0.5])[:, None]},
    truth={'valence_arousal': np.array([1, 1, -1, -1, -1.0])[:, None]},
  )
  found = frames.average(made)
  assert found.record.tolist() == [5, 2] and found.frame.tolist() == [-1, -1]
  assert found.probabilities.tolist() == [[0.5, 0.5], [0.75, 0.25]]
  assert found.emotion.tolist() == [1, 0] and found.answered.all()
  assert found.values['valence_arousal'].tolist() == [[0.5], [0.5]]
  assert found.truth['valence_arousal'].tolist() == [[1], [-1]]
  none = frames.average(made.take(np.array([2])))
  assert not none.answered.any() and not none.probabilities.any()
  assert np.isnan(none.values['valence_arousal']).all()


@pytest.mark.slow
def test_memory_does_not_grow_with_a_film():
  """Ten times as long a film costs its numbers, 200 bytes a frame, alone."""
  peaks = []
  for minutes in (6, 60):
    program = pathlib.Path(__file__).parent / 'long_film.py'
    done = subprocess.run(
      [sys.executable, str(program), str(minutes)],
      capture_output=True,
      text=True,
      check=True,
      env=small_run.make_environment(),
    )
    peaks.append(int(done.stdout.split()[-1]))
  # The pictures of those minutes more would be 800 MiB.
  assert peaks[1] - peaks[0] < 60, peaks
