"""The bootstrap by speaker: against a plain loop, and its rules."""

import numpy as np
import pytest

from avemo.metrics import classification, intervals, regression

C = 4


def make_predictions(num_speakers=12, seed=0, right=0.6, clips=30):
  rng = np.random.default_rng(seed)
  speakers = np.repeat([f'{i:02d}' for i in range(num_speakers)], clips)
  truth = rng.integers(0, C, len(speakers))
  guess = rng.integers(0, C, len(speakers))
  prediction = np.where(rng.random(len(speakers)) < right, truth, guess)
  return truth, prediction, speakers


def test_equals_a_loop_over_resampled_examples():
  truth, prediction, speakers = make_predictions()
  result = intervals.classification_intervals(
    truth, prediction, speakers, C, num_resamples=200, seed=3
  )
  names = np.unique(speakers)
  times = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), 200)
  values = []
  for row in times:
    drawn = np.concatenate(
      [
        np.flatnonzero(speakers == name)
        for name, count in zip(names, row, strict=True)
        for _ in range(count)
      ]
    )
    counts = classification.confusion(truth[drawn], prediction[drawn], C)
    values.append([m(counts) for m in classification.METRICS.values()])
  expected = np.quantile(values, (0.025, 0.975), axis=0).T
  np.testing.assert_allclose(list(result.values()), expected, atol=1e-12)


def test_intervals_hold_the_score_and_widen_with_the_level():
  data = make_predictions()
  score = classification.uar(classification.confusion(*data[:2], C))
  wide = intervals.classification_intervals(*data, C)['uar']
  narrow = intervals.classification_intervals(*data, C, level=0.5)['uar']
  assert wide.low < narrow.low < score < narrow.high < wide.high


def test_same_seed_same_interval_whatever_the_order():
  truth, prediction, speakers = make_predictions()
  first = intervals.classification_intervals(truth, prediction, speakers, C)
  order = np.random.default_rng(1).permutation(len(truth))
  again = intervals.classification_intervals(
    truth[order], prediction[order], speakers[order], C
  )
  assert first == again
  other = intervals.classification_intervals(
    truth, prediction, speakers, C, seed=1
  )
  assert first != other


def test_left_out_below_eight_speakers_with_labels():
  assert intervals.classification_intervals(*make_predictions(7), C) is None
  assert intervals.classification_intervals(*make_predictions(8), C)
  truth, prediction, speakers = make_predictions(8)
  truth[speakers == '07'] = -1
  args = truth, prediction, speakers, C
  assert intervals.classification_intervals(*args) is None
  assert intervals.classification_intervals([], [], [], C) is None
  assert intervals.ccc_interval([], [], []) is None


def test_it_is_the_speakers_that_are_resampled():
  # Half of the speakers all right, half all wrong: by speaker the interval is
  # wide, although there are many clips.
  speakers = np.repeat([f'{i:02d}' for i in range(10)], 100)
  truth = np.tile(np.arange(C), 250)
  prediction = np.where(speakers < '05', truth, (truth + 1) % C)
  low, high = intervals.classification_intervals(
    truth, prediction, speakers, C
  )['war']
  assert low <= 0.25 and high >= 0.75


def test_coverage_over_simulated_corpora():
  # Ten speakers: percentile intervals are a little too narrow.
  held = 0
  for seed in range(100):
    data = make_predictions(10, seed, right=0.6, clips=20)
    low, high = intervals.classification_intervals(*data, C, num_resamples=300)[
      'war'
    ]
    held += low <= 0.6 + 0.4 / C <= high
  assert 80 <= held <= 100


def test_ccc_interval_equals_a_loop():
  rng = np.random.default_rng(0)
  speakers = np.repeat([f'{i:02d}' for i in range(9)], 20)
  truth = rng.normal(size=180)
  prediction = 0.5 * truth + rng.normal(size=180) * 0.3 + 0.2
  truth[::17] = np.nan
  interval = intervals.ccc_interval(
    truth, prediction, speakers, num_resamples=100
  )
  names = np.unique(speakers)
  times = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), 100)
  values = []
  for row in times:
    drawn = np.concatenate(
      [
        np.tile(np.flatnonzero(speakers == name), count)
        for name, count in zip(names, row, strict=True)
      ]
    )
    values.append(regression.ccc(truth[drawn], prediction[drawn]))
  np.testing.assert_allclose(
    interval, np.quantile(values, (0.025, 0.975)), atol=1e-12
  )


def test_speakers_of_another_number_are_refused():
  with pytest.raises(ValueError, match='speakers'):
    intervals.classification_intervals([0, 1], [0, 1], ['a'], C)
