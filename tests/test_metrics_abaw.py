"""ABAW scores against scikit-learn and NumPy, by hand, and their masks."""

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies

from avemo.metrics import abaw

SEEDS = strategies.integers(0, 1 << 16)


def make_mtl(seed, count=60):
  """An annotation with masks of each task, and a prediction."""
  rng = np.random.default_rng(seed)
  made = []
  for _ in range(2):
    made.append(
      np.concatenate(
        [
          rng.integers(-100, 101, (count, 2)) / 100,
          rng.integers(0, 8, (count, 1)),
          rng.integers(0, 2, (count, 12)),
        ],
        axis=1,
      )
    )
  annotation, prediction = made
  annotation[rng.random(count) < 0.2, rng.integers(0, 2)] = -5
  annotation[rng.random(count) < 0.2, 2] = -1
  annotation[rng.random(count) < 0.2, rng.integers(3, 15)] = -1
  return annotation, prediction


def compute_ccc(truth, prediction):
  """Lin's definition from one covariance matrix."""
  (var_x, cov), (_, var_y) = np.cov(truth, prediction, bias=True)
  distance = truth.mean() - prediction.mean()
  return 2 * cov / (var_x + var_y + distance**2)


@hypothesis.given(SEEDS)
def test_the_sum_is_that_of_independent_computations(seed):
  annotation, prediction = make_mtl(seed)
  found = abaw.score_mtl(annotation, prediction)
  kept = (annotation[:, :2] != -5).all(1)
  expected_va = np.mean(
    [compute_ccc(annotation[kept, k], prediction[kept, k]) for k in (0, 1)]
  )
  kept = annotation[:, 2] != -1
  expected_expr = sklearn.metrics.f1_score(
    annotation[kept, 2],
    prediction[kept, 2],
    labels=range(8),
    average='macro',
    zero_division=0,
  )
  kept = (annotation[:, 3:] != -1).all(1)
  expected_au = sklearn.metrics.f1_score(
    annotation[kept, 3:], prediction[kept, 3:], average='macro', zero_division=0
  )
  assert found['num_frames_au'] == kept.sum()
  np.testing.assert_allclose(
    [found['score_va'], found['score_expr'], found['score_au']],
    [expected_va, expected_expr, expected_au],
    atol=1e-12,
  )
  np.testing.assert_allclose(
    found['score'], expected_va + expected_expr + expected_au, atol=1e-12
  )
  order = np.random.default_rng(1).permutation(len(annotation))
  again = abaw.score_mtl(annotation[order], prediction[order])
  np.testing.assert_allclose(again['score'], found['score'], atol=1e-12)


@hypothesis.given(SEEDS)
def test_masked_frames_change_nothing(seed):
  annotation, prediction = make_mtl(seed)
  found = abaw.score_mtl(annotation, prediction)
  prediction[(annotation[:, :2] == -5).any(1), :2] = 0.9
  prediction[annotation[:, 2] == -1, 2] = 3
  prediction[(annotation[:, 3:] == -1).any(1), 3:] = 1
  assert abaw.score_mtl(annotation, prediction) == found


def test_by_hand():
  # Means 2 and 3, variances 2/3 and 8/3, covariance 4/3, of thirds.
  annotation = np.array([[1, 1], [2, 2], [3, 3], [-3, -5], [-15, 1]]) / 3
  annotation[3:] = [[-5, 0.2], [0.2, -5]]
  prediction = np.array([[1, 1], [3, 2], [5, 3], [9, 9], [9, 9]]) / 3
  found = abaw.score_va(annotation, prediction)
  by_hand = 2 * (4 / 3) / (2 / 3 + 8 / 3 + 1)
  assert found['ccc_valence'] == pytest.approx(by_hand)
  assert found['ccc_arousal'] == pytest.approx(1)
  assert found['score'] == pytest.approx((by_hand + 1) / 2)
  assert found['num_frames'] == 3
  # Neutral: 1 hit, 1 false alarm; anger: 1 hit, 1 miss; the other six: none.
  found = abaw.score_expr([0, 1, 1, -1], [0, 0, 1, 5])
  assert found['score'] == pytest.approx((2 / 3 + 2 / 3) / 8)
  assert found['f1_Surprise'] == 0


@pytest.mark.parametrize('value', (0.0, 0.1, -1.0))
def test_a_constant_prediction_scores_nothing(value):
  annotation = np.linspace(-1, 1, 22).reshape(11, 2)
  found = abaw.score_va(annotation, np.full((11, 2), value))
  assert found['score'] == 0


def test_scaling_costs_concordance():
  annotation = np.linspace([-1, -1], [1, 1], 11)
  found = abaw.score_va(annotation, annotation / 2)['score']
  assert found == pytest.approx(2 * 0.5 / (1 + 0.25))


def test_nothing_annotated_is_no_score():
  zeros = np.zeros((3, 2))
  assert np.isnan(abaw.score_va(np.full((3, 2), -5.0), zeros)['score'])
  assert np.isnan(abaw.score_expr([-1, -1], [0, 0])['score'])
  assert np.isnan(abaw.score_au(-np.ones((2, 12)), np.ones((2, 12)))['score'])
  assert np.isnan(abaw.score_va(np.zeros((0, 2)), np.zeros((0, 2)))['score'])
