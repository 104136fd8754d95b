"""Classification metrics against scikit-learn, by hand, and by property."""

import json
import warnings

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies
from hypothesis.extra import numpy as numpy_strategies

from avemo.metrics import classification

NUM_CLASSES = 5


@strategies.composite
def pairs(draw, least=1):
  size = draw(strategies.integers(least, 40))
  classes = strategies.integers(0, NUM_CLASSES - 1)
  shape = (2, size)
  return draw(numpy_strategies.arrays(np.int64, shape, elements=classes))


def compute_all(truth, prediction):
  counts = classification.confusion(truth, prediction, NUM_CLASSES)
  return {
    name: metric(counts) for name, metric in classification.METRICS.items()
  }


@hypothesis.given(pairs())
def test_equals_scikit_learn(pair):
  truth, prediction = pair
  labels = range(NUM_CLASSES)
  counts = classification.confusion(truth, prediction, NUM_CLASSES)
  np.testing.assert_array_equal(
    counts, sklearn.metrics.confusion_matrix(truth, prediction, labels=labels)
  )
  present = np.unique(truth)
  scores = compute_all(truth, prediction)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    expected = {
      'uar': sklearn.metrics.balanced_accuracy_score(truth, prediction),
      'war': sklearn.metrics.accuracy_score(truth, prediction),
      'f1_macro': sklearn.metrics.f1_score(
        truth, prediction, labels=present, average='macro', zero_division=0
      ),
    }
    per_class = sklearn.metrics.precision_recall_fscore_support(
      truth, prediction, labels=labels, zero_division=np.nan
    )
  for name, value in expected.items():
    np.testing.assert_allclose(scores[name], value, rtol=0, atol=1e-12)
  metrics = (
    classification.precision,
    classification.recall,
    classification.f1,
  )
  for metric, reference in zip(metrics, per_class, strict=False):
    actual = metric(counts)
    defined = ~np.isnan(actual)
    np.testing.assert_allclose(actual[defined], reference[defined], atol=1e-12)


def test_by_hand():
  # Class 2 is absent from the truth, but predicted once.
  truth = [0, 0, 0, 0, 1, 1, -1]
  prediction = [0, 0, 0, 1, 1, 2, 0]
  counts = classification.confusion(truth, prediction, 3)
  np.testing.assert_array_equal(counts, [[3, 1, 0], [0, 1, 1], [0, 0, 0]])
  np.testing.assert_allclose(
    classification.recall(counts), [3 / 4, 1 / 2, np.nan]
  )
  np.testing.assert_allclose(classification.precision(counts), [1, 1 / 2, 0])
  np.testing.assert_allclose(classification.f1(counts), [6 / 7, 1 / 2, 0])
  assert classification.uar(counts) == (3 / 4 + 1 / 2) / 2
  assert classification.war(counts) == 4 / 6
  assert classification.f1_macro(counts) == pytest.approx((6 / 7 + 1 / 2) / 2)


@hypothesis.given(pairs(), strategies.randoms(use_true_random=False))
def test_order_and_names_of_classes_do_not_matter(pair, random):
  scores = compute_all(*pair)
  assert all(0 <= value <= 1 for value in scores.values())
  order = list(range(pair.shape[1]))
  random.shuffle(order)
  assert compute_all(*pair[:, order]) == scores
  names = list(range(NUM_CLASSES))
  random.shuffle(names)
  renamed = compute_all(*np.array(names)[pair])
  for name, value in scores.items():
    np.testing.assert_allclose(renamed[name], value, atol=1e-12)


@hypothesis.given(pairs(), strategies.integers(0, NUM_CLASSES - 1))
def test_a_constant_prediction_is_at_chance(pair, constant):
  truth = pair[0]
  scores = compute_all(truth, np.full_like(truth, constant))
  present = np.unique(truth)
  expected = 1 / len(present) if constant in present else 0
  np.testing.assert_allclose(scores['uar'], expected)
  perfect = compute_all(truth, truth)
  assert perfect == {'uar': 1, 'war': 1, 'f1_macro': 1}


def test_empty_sets_are_nan_and_none_in_json():
  for truth in ([], [-1, -1]):
    scores = compute_all(truth, [0] * len(truth))
    assert all(np.isnan(value) for value in scores.values())
  counts = classification.confusion([], [], 2)
  summary = classification.summarize(counts, ('anger', 'fear'))
  assert summary['uar'] is None and summary['num_examples'] == 0
  assert 'NaN' not in json.dumps(summary)


def test_leading_axes_and_groups():
  rng = np.random.default_rng(0)
  truth, prediction = rng.integers(0, NUM_CLASSES, (2, 200))
  groups = rng.integers(0, 4, 200)
  stack = classification.confusions(truth, prediction, groups, 4, NUM_CLASSES)
  for group in range(4):
    inside = groups == group
    one = classification.confusion(
      truth[inside], prediction[inside], NUM_CLASSES
    )
    np.testing.assert_array_equal(stack[group], one)
    for metric in classification.METRICS.values():
      assert metric(stack)[group] == metric(one)


def test_summary():
  counts = np.array([[3, 1, 0], [0, 1, 1], [0, 0, 0]])
  summary = classification.summarize(counts, ('anger', 'fear', 'calm'))
  assert json.loads(json.dumps(summary)) == summary
  assert summary['uar'] == 0.625
  assert summary['recall'] == {'anger': 0.75, 'fear': 0.5, 'calm': None}
  assert summary['support'] == {'anger': 4, 'fear': 2, 'calm': 0}
  assert summary['confusion']['counts'] == counts.tolist()
  assert summary['num_examples'] == 6
  with pytest.raises(ValueError, match='2 labels'):
    classification.summarize(counts, ('anger', 'fear'))


@pytest.mark.parametrize(
  'truth, prediction', [([0, 1], [0]), ([0, 5], [0, 0]), ([0, 1], [0, -1])]
)
def test_wrong_input_is_refused(truth, prediction):
  with pytest.raises(ValueError):
    classification.confusion(truth, prediction, 5)
