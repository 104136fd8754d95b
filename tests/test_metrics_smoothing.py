import numpy as np
import pytest

from avemo import errors
from avemo.metrics import smoothing

TIMES = np.arange(5) * 0.1
VALUES = np.array([[1.0, 0.0], [1, 0], [0, 1], [1, 0], [1, 0]])


def test_parse():
  assert smoothing.parse('none') == ('none', 0.0)
  assert smoothing.parse('mean:2') == ('mean', 2.0)
  assert smoothing.parse('median:0.5') == ('median', 0.5)


@pytest.mark.parametrize(
  'text',
  ['medain:2', 'mean', 'mean:', 'mean:0', 'mean:-1', 'mean:nan', 'mean:x']
  + ['none:1', '', 'mean:inf'],
)
def test_parse_refuses_in_one_line(text):
  with pytest.raises(errors.AvemoError, match='none, mean:S or median:S'):
    smoothing.parse(text)


def test_parse_names_the_nearest_kind():
  with pytest.raises(errors.AvemoError, match="did you mean 'median'"):
    smoothing.parse('medain:2')


def test_neighbours_are_within_half_the_window_on_both_sides():
  # 0.1 + 0.2 is not 0.3: the neighbours at exactly half a window count.
  found = smoothing.smooth(TIMES, VALUES, 'mean', 0.2)
  np.testing.assert_allclose(found[:, 1], [0, 1 / 3, 1 / 3, 1 / 3, 0])
  np.testing.assert_array_equal(
    smoothing.smooth(TIMES, VALUES, 'mean', 0.19), VALUES
  )
  median = smoothing.smooth(TIMES, VALUES, 'median', 0.2)
  np.testing.assert_array_equal(median[:, 1], np.zeros(5))


def test_neighbours_are_near_in_time_not_in_number():
  times = [0.0, 1.0, 50.0]
  found = smoothing.smooth(times, [[0.0], [1.0], [5.0]], 'mean', 4.0)
  np.testing.assert_allclose(found, [[0.5], [0.5], [5.0]])


def test_the_unknown_stays_unknown_and_counts_for_nobody():
  values = VALUES.copy()
  values[2] = np.nan
  found = smoothing.smooth(TIMES, values, 'mean', 0.2)
  assert np.isnan(found[2]).all()
  np.testing.assert_array_equal(found[[0, 1, 3, 4]], VALUES[[0, 1, 3, 4]])
  nothing = np.full((5, 2), np.nan)
  assert np.isnan(smoothing.smooth(TIMES, nothing, 'median', 1.0)).all()


def test_probabilities_sum_to_one_again():
  values = np.eye(3)
  times = np.arange(3) * 0.1
  # The median of each class is 0: the mean takes its place.
  found = smoothing.smooth_probabilities(times, values, 'median', 1.0)
  np.testing.assert_allclose(found, np.full((3, 3), 1 / 3))
  values = np.array([[0.6, 0.4, 0.0], [0.1, 0.5, 0.4], [0.5, 0.1, 0.4]])
  found = smoothing.smooth_probabilities(times, values, 'median', 1.0)
  np.testing.assert_allclose(found[1], np.array([0.5, 0.4, 0.4]) / 1.3)
  np.testing.assert_array_equal(
    smoothing.smooth_probabilities(times, values, 'none', 0.0), values
  )


def test_a_column_of_nothing_leaves_the_others_alone():
  values = np.array([[0.0, np.nan], [1, np.nan], [np.nan, np.nan], [2, np.nan]])
  found = smoothing.smooth(np.arange(4.0), values, 'mean', 2.0)
  np.testing.assert_allclose(found[:, 0], [0.5, 0.5, np.nan, 2])
  assert np.isnan(found[:, 1]).all()
