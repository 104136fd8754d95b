"""Action units' F1 against scikit-learn, and by property."""

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies
from hypothesis.extra import numpy as numpy_strategies

from avemo.metrics import action_units

PAIRS = numpy_strategies.arrays(
  np.int64, (2, 30, 4), elements=strategies.integers(0, 1)
)


@hypothesis.given(PAIRS)
def test_each_unit_is_the_f1_of_its_presence(pair):
  truth, prediction = pair
  sums = action_units.counts(truth, prediction)[0]
  expected = [
    sklearn.metrics.f1_score(truth[:, k], prediction[:, k], zero_division=0)
    for k in range(4)
  ]
  np.testing.assert_allclose(action_units.f1(sums), expected)
  np.testing.assert_allclose(action_units.f1_mean(sums), np.mean(expected))
  order = np.random.default_rng(0).permutation(30)
  again = action_units.counts(truth[order], prediction[order])[0]
  np.testing.assert_array_equal(again, sums)


@hypothesis.given(PAIRS)
def test_groups_add_up_to_the_whole(pair):
  truth, prediction = pair
  groups = np.arange(30) % 3
  parts = action_units.counts(truth, prediction, groups, 3)
  whole = action_units.counts(truth, prediction)[0]
  np.testing.assert_array_equal(parts.sum(0), whole)


def test_an_example_with_an_unknown_unit_does_not_count():
  nan = np.nan
  # The third unit is annotated nowhere, and keeps nobody out.
  truth = np.array([[1, 1, nan], [1, nan, nan], [0, 1, nan]])
  prediction = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1]], bool)
  sums = action_units.counts(truth, prediction)[0]
  assert sums[:, 3].tolist() == [2, 2, 0]
  found = action_units.f1(sums)
  np.testing.assert_allclose(found[:2], [2 / 3, 2 / 3])
  assert np.isnan(found[2])
  assert action_units.f1_mean(sums) == pytest.approx(2 / 3)


def test_without_labels_there_is_no_score_and_without_hits_it_is_zero():
  nothing = np.full((3, 2), np.nan)
  sums = action_units.counts(nothing, np.ones((3, 2), bool))[0]
  assert np.isnan(action_units.f1_mean(sums))
  assert np.isnan(
    action_units.f1_mean(
      action_units.counts(np.zeros((0, 2)), np.zeros((0, 2)))[0]
    )
  )
  absent = np.zeros((3, 2))
  assert action_units.f1_mean(action_units.counts(absent, absent)[0]) == 0
  with pytest.raises(ValueError, match='neither 0 nor 1'):
    action_units.counts(np.full((1, 1), -1.0), np.ones((1, 1)))
