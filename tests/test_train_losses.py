"""Losses against NumPy, and what must not reach them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.metrics import regression
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


# ------------------------------------------------------- values beside emotion


def make_values(size=12, seed=0):
  """A batch of valence and arousal with a mask, padding and predictions."""
  rng = np.random.default_rng(seed)
  known = rng.random((size, 2)) < 0.7
  batch = {
    'x': np.where(known, rng.uniform(-1, 1, (size, 2)), 0).astype(np.float32),
    'x_mask': known,
    'mask': np.arange(size) != 3,
  }
  return batch, rng.uniform(-1, 1, (size, 2)).astype(np.float32)


@pytest.mark.parametrize('kind', losses.KINDS)
def test_continuous_losses_are_those_of_the_labelled_values(kind):
  batch, prediction = make_values()
  share = losses.share_values(batch, 'x')
  found = losses.continuous_loss(kind, prediction, batch['x'], share)
  known = batch['x_mask'] & batch['mask'][:, None]
  expected = []
  for k in range(2):
    truth, given = batch['x'][known[:, k], k], prediction[known[:, k], k]
    ccc = 1 - regression.ccc(truth, given)
    mse = np.mean((truth.astype(np.float64) - given) ** 2)
    expected.append({'ccc': ccc, 'mse': mse, 'ccc+mse': ccc + mse}[kind])
  np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


@pytest.mark.parametrize('kind', losses.KINDS)
def test_what_is_masked_or_padded_moves_nothing(kind):
  batch, prediction = make_values()
  share = losses.share_values(batch, 'x')
  compute = jax.grad(
    lambda p: losses.continuous_loss(kind, p, batch['x'], share)
  )
  grads = np.asarray(compute(prediction))
  known = batch['x_mask'] & batch['mask'][:, None]
  assert np.isfinite(grads).all() and grads[known].any()
  assert not grads[~known].any()
  # Without a label, without spread, with one label alone: finite, and 0 where
  # there is nothing.
  for mask, value in (
    (known & False, 0.5),
    (known, 0.0),
    (known & [1, 0], 0.5),
  ):
    mask = mask & (np.arange(12)[:, None] == 5) if value else mask
    share = losses.share_values(batch | {'x_mask': mask}, 'x')
    flat = jnp.full((12, 2), value)
    loss, grads = jax.value_and_grad(
      lambda p, t=flat, s=share: losses.continuous_loss(kind, p, t, s)
    )(flat)
    assert np.isfinite(loss) and np.isfinite(grads).all()
    if not mask.any():
      assert loss == 0


def test_parts_of_a_batch_share_its_squares():
  batch, prediction = make_values()
  share = losses.share_values(batch, 'x')
  whole = losses.continuous_loss('mse', prediction, batch['x'], share)
  parts = [
    losses.continuous_loss('mse', prediction[p], batch['x'][p], share[p])
    for p in (slice(0, 6), slice(6, 12))
  ]
  np.testing.assert_allclose(sum(parts), whole, rtol=1e-5)


def test_action_units_cost_their_cross_entropy():
  rng = np.random.default_rng(1)
  logits = rng.normal(size=(6, 3)).astype(np.float32) * 3
  truth = rng.integers(0, 2, (6, 3)).astype(np.float32)
  weights = np.float32([1, 5, 0.5])
  p = 1 / (1 + np.exp(-logits.astype(np.float64)))
  expected = -weights * truth * np.log(p) - (1 - truth) * np.log(1 - p)
  found = losses.binary_cross_entropy(logits, truth, weights)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  extreme = losses.binary_cross_entropy(
    jnp.float32([[1e4, -1e4]]), jnp.float32([[1, 0]]), np.ones(2)
  )
  np.testing.assert_array_equal(extreme, 0)


def test_rare_units_weigh_more_within_bounds():
  known, present = np.array([100, 100, 100, 0]), np.array([20, 0, 1, 0])
  found = losses.weigh_units('balanced', known, present)
  np.testing.assert_allclose(found, [4, 1, losses.MOST_WEIGHT, 1])
  np.testing.assert_array_equal(losses.weigh_units(None, known, present), 1)
  with pytest.raises(errors.AvemoError, match='balanced'):
    losses.weigh_units('inverse', known, present)


def test_shares_sum_to_one_over_what_is_labelled():
  batch, _ = make_values()
  share = losses.share_values(batch, 'x')
  np.testing.assert_allclose(share.sum(0), [0.5, 0.5], rtol=1e-6)
  half = losses.share_values(
    batch | {'x_mask': batch['x_mask'] & [True, False]}, 'x'
  )
  np.testing.assert_allclose(half.sum(0), [1, 0], rtol=1e-6)
