"""Smoothing along whole films, and the window that held-out films choose."""

import dataclasses

import numpy as np
import pytest
import small_films

from avemo import errors
from avemo.data import labels
from avemo.evaluate import scores, smooth
from avemo.evaluate.rows import RecordPredictions

TASKS = (labels.EMOTION, 'valence_arousal')


@pytest.fixture(scope='module')
def dataset():
  return small_films.make_dataset(films=8)


def make_rows(dataset, films, slow, seed):
  """Noisy predictions of labels that change slowly, or at every frame."""
  rng = np.random.default_rng(seed)
  record = np.repeat([3 * f + s for f in films for s in range(3)], 20)
  frame = np.tile(np.arange(60), len(films))
  count = len(record)
  if slow:
    emotion = frame // 20 % 3
    value = np.sin(2 * np.pi * frame / 60)
  else:
    emotion, value = rng.integers(0, 3, count), rng.uniform(-1, 1, count)
  logits = 1.5 * np.eye(3)[emotion] + rng.normal(size=(count, 3))
  shares = np.exp(logits)
  truth = np.stack([value, -value], axis=1)
  return RecordPredictions(
    record=record,
    frame=frame,
    answered=np.ones(count, bool),
    probabilities=shares / shares.sum(1, keepdims=True),
    emotion=emotion.astype(np.int32),
    values={'valence_arousal': truth + 0.6 * rng.normal(size=truth.shape)},
    truth={'valence_arousal': truth},
  )


def score_both(dataset, slow):
  """Before and after, with the window that other films have chosen."""
  held = make_rows(dataset, range(4), slow, 0)
  times = smooth.find_times(dataset, held)
  ways, scored = smooth.choose(held, times, dataset, TASKS)
  found = make_rows(dataset, range(4, 8), slow, 1)
  smoothed = smooth.apply(
    found, smooth.find_times(dataset, found), dataset, ways
  )
  return scores.measure(found, TASKS), scores.measure(smoothed, TASKS), ways


def test_smoothing_helps_where_labels_vary_slowly(dataset):
  before, after, ways = score_both(dataset, slow=True)
  assert after['f1_macro'] > before['f1_macro'] + 0.1
  assert after['ccc_mean'] > before['ccc_mean'] + 0.1
  assert 'none' not in ways.values()


def test_smoothing_does_not_help_where_labels_jump(dataset):
  before, after, _ = score_both(dataset, slow=False)
  assert after['f1_macro'] <= before['f1_macro'] + 1e-9
  assert after['ccc_mean'] <= before['ccc_mean'] + 1e-9


def test_films_are_smoothed_apart_and_across_their_segments(dataset):
  found = make_rows(dataset, range(2), True, 0)
  times = smooth.find_times(dataset, found)
  np.testing.assert_allclose(times[:60], np.arange(60) / 25, atol=1e-6)
  ways = {'valence_arousal': 'mean:0.2'}
  made = smooth.apply(found, times, dataset, ways)
  given = found.values['valence_arousal']
  # 0.1 s on either side: two frames, also where a segment ends.
  for place in (30, 19, 20, 58):
    near = slice(place - 2, min(place + 3, 60))
    np.testing.assert_allclose(
      made.values['valence_arousal'][place], given[near].mean(0)
    )
  np.testing.assert_allclose(
    made.values['valence_arousal'][60], given[60:63].mean(0)
  )
  np.testing.assert_array_equal(made.probabilities, found.probabilities)
  shuffled = found.take(np.random.default_rng(0).permutation(120))
  again = smooth.apply(
    shuffled, smooth.find_times(dataset, shuffled), dataset, ways
  )
  order = np.lexsort((again.frame, again.record))
  np.testing.assert_allclose(
    again.values['valence_arousal'][order], made.values['valence_arousal']
  )


def test_a_film_without_an_answer_stays_without(dataset):
  found = make_rows(dataset, range(1), True, 0)
  found = dataclasses.replace(
    found,
    answered=np.zeros(60, bool),
    probabilities=np.zeros((60, 3)),
    values={'valence_arousal': np.full((60, 2), np.nan)},
  )
  times = smooth.find_times(dataset, found)
  made = smooth.apply(found, times, dataset, dict.fromkeys(TASKS, 'median:1'))
  assert not made.probabilities.any()
  assert np.isnan(made.values['valence_arousal']).all()


def test_what_is_no_way_is_said():
  smooth.check('chosen')
  with pytest.raises(errors.AvemoError, match='or chosen, by films'):
    smooth.check('means:1')
