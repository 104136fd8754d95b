"""CCC against its definition, its moments, and by property."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as numpy_strategies

from avemo.metrics import regression

PAIRS = strategies.integers(2, 40).flatmap(
  lambda size: numpy_strategies.arrays(
    np.float64,
    (2, size),
    # Steps of 0.01, as annotations have: no variances of denormal numbers.
    elements=strategies.integers(-100, 100).map(lambda value: value / 100),
  )
)


def compute_by_moments(truth, prediction, groups=None, num_groups=1):
  if groups is None:
    groups = np.zeros(len(truth), np.int64)
  sums = regression.moments(truth, prediction, groups, num_groups)
  return float(regression.ccc_of_moments(sums.sum(0)))


def test_by_hand():
  # Means 2 and 3, variances 2/3 and 8/3, covariance 4/3.
  assert regression.ccc([1, 2, 3], [1, 3, 5]) == pytest.approx(
    2 * (4 / 3) / (2 / 3 + 8 / 3 + 1)
  )
  assert regression.ccc([1, 2, np.nan, 3], [1, 3, 9, 5]) == pytest.approx(
    regression.ccc([1, 2, 3], [1, 3, 5])
  )


@hypothesis.given(PAIRS)
def test_definition_bounds_and_symmetry(pair):
  truth, prediction = pair
  value = regression.ccc(truth, prediction)
  assert -1 - 1e-12 <= value <= 1 + 1e-12
  np.testing.assert_allclose(
    value, regression.ccc(prediction, truth), atol=1e-12
  )
  order = np.random.default_rng(0).permutation(len(truth))
  np.testing.assert_allclose(
    value, regression.ccc(truth[order], prediction[order]), atol=1e-12
  )
  if np.ptp(truth) and np.ptp(prediction):
    covariance = np.cov(truth, prediction, ddof=0)
    expected = (
      2
      * covariance[0, 1]
      / (np.trace(covariance) + (truth.mean() - prediction.mean()) ** 2)
    )
    np.testing.assert_allclose(value, expected, atol=1e-12)
    np.testing.assert_allclose(regression.ccc(truth, truth), 1)
    np.testing.assert_allclose(
      regression.ccc(truth, 2 * truth.mean() - truth), -1
    )


@hypothesis.given(PAIRS)
def test_moments_add_up_to_the_same(pair):
  truth, prediction = pair
  groups = np.arange(len(truth)) % 3
  value = compute_by_moments(truth, prediction, groups, 3)
  np.testing.assert_allclose(
    value, regression.ccc(truth, prediction), atol=1e-9
  )


@pytest.mark.parametrize('constant', (0.0, 0.1, -0.7))
def test_constants_say_nothing(constant):
  flat, varied = np.full(7, constant), np.linspace(-1, 1, 7)
  for truth, prediction in ((flat, varied), (varied, flat), (flat, flat)):
    assert regression.ccc(truth, prediction) == 0
    assert compute_by_moments(truth, prediction) == 0


def test_empty_sets_are_nan_and_bad_numbers_are_refused():
  for truth in (np.array([]), np.array([np.nan, np.nan])):
    assert np.isnan(regression.ccc(truth, np.zeros(len(truth))))
    assert np.isnan(compute_by_moments(truth, np.zeros(len(truth))))
  with pytest.raises(ValueError, match='no number'):
    regression.ccc([0.0, 1.0], [0.0, np.nan])
  with pytest.raises(ValueError, match='long'):
    regression.ccc([0.0, 1.0], [0.0])
