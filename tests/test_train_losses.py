"""Losses against NumPy, and what must not reach them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.train import losses

rng = np.random.default_rng(0)
LOGITS = rng.normal(size=(4, 5)).astype(np.float32)
MASK = np.array(
  [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0]], bool
)
TARGET = np.float32(
  [[0, 0, 1, 0, 0], [0.25, 0, 0.75, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
)


def expected_loss(smoothing):
  found = []
  for logits, mask, target in zip(LOGITS, MASK, TARGET, strict=True):
    kept = logits[mask].astype(np.float64)
    log_p = kept - np.log(np.exp(kept).sum())
    soft = (1 - smoothing) * target[mask] + smoothing / mask.sum()
    found.append(-(soft * log_p).sum())
  return found


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_runs_over_the_valid_classes(smoothing):
  found = losses.cross_entropy(LOGITS, TARGET, MASK, label_smoothing=smoothing)
  np.testing.assert_allclose(
    found, expected_loss(smoothing), rtol=1e-5, atol=1e-7
  )


def test_gradients_are_finite_and_zero_outside_the_valid_classes():
  def total(logits):
    mask = jnp.concatenate([MASK, jnp.zeros((1, 5), bool)])
    target = jnp.concatenate([TARGET, jnp.zeros((1, 5))])
    each = losses.cross_entropy(logits, target, mask, label_smoothing=0.1)
    return each.sum()

  grads = jax.grad(total)(jnp.concatenate([LOGITS, LOGITS[:1] * 1e4]))
  assert np.isfinite(grads).all()
  assert not grads[:4][~MASK].any()
  assert not grads[4].any()


def test_probabilities_sum_to_one_over_the_mask():
  log_p = losses.masked_log_softmax(LOGITS, MASK)
  np.testing.assert_allclose(np.exp(log_p).sum(-1), 1, rtol=1e-6)
  assert np.isneginf(log_p[~MASK]).all()
  half = losses.masked_log_softmax(jnp.bfloat16(LOGITS), MASK)
  assert half.dtype == jnp.float32


def test_padding_and_missing_labels_weigh_nothing():
  batch = {'target': TARGET, 'mask': np.array([True, True, False, True])}
  weights = losses.weigh_examples(batch, np.float32([1, 2, 3, 4, 5]))
  np.testing.assert_allclose(weights, [3, 0.25 + 0.75 * 3, 0, 0])


def test_balanced_classes_weigh_the_same_together():
  target = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 3, 3]]
  weights = losses.weigh_classes('balanced', target)
  np.testing.assert_allclose(weights * target.sum(0), [2, 2, 0, 2])
  np.testing.assert_allclose((target @ weights).mean(), 1)
  np.testing.assert_array_equal(losses.weigh_classes(None, target), 1)
  with pytest.raises(errors.AvemoError, match='balanced'):
    losses.weigh_classes('inverse', target)
