"""Losses of the tasks, over what each example has a label of.

Every loss is a sum over examples of a share and what the example costs; the
shares of a task sum to 1 over a batch with any label of it. So the parts of a
batch sum to the batch's loss, but for concordance, which is that of each part.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from avemo import errors
from avemo.data import labels
from avemo.models import operations


def masked_log_softmax(logits: jax.Array, class_mask: jax.Array) -> jax.Array:
  """Log-probabilities, float32 [B, C]; -inf outside `class_mask` [B, C].

  A row without any class is 0 throughout, so that its gradient is 0 as well.
  """
  logits = logits.astype(operations.find_wide_dtype(logits))
  some = class_mask.any(-1, keepdims=True)
  kept = jnp.where(class_mask | ~some, logits, -jnp.inf)
  return jnp.where(some, jax.nn.log_softmax(kept, axis=-1), 0.0)


def smooth(
  target: jax.Array, class_mask: jax.Array, label_smoothing: float
) -> jax.Array:
  """Moves a share of each target [B, C] evenly onto its valid classes."""
  share = class_mask / jnp.maximum(class_mask.sum(-1, keepdims=True), 1)
  return (1 - label_smoothing) * target + label_smoothing * share


def cross_entropy(
  logits: jax.Array,
  target: jax.Array,
  class_mask: jax.Array,
  *,
  label_smoothing: float = 0.0,
) -> jax.Array:
  """Cross entropy with hard, mixed or voted targets, float32 [B].

  Args:
    logits: [B, C].
    target: shares of the classes [B, C]; 0 where there is no label.
    class_mask: bool [B, C].
    label_smoothing: share of each target that is spread evenly over the
      valid classes.
  """
  target = smooth(target, class_mask, label_smoothing)
  log_probabilities = masked_log_softmax(logits, class_mask)
  # Selected before the product: 0 * -inf is not 0.
  log_probabilities = jnp.where(class_mask, log_probabilities, 0.0)
  return -(target * log_probabilities).sum(-1)


def weigh_examples(
  batch: Mapping[str, jax.Array], class_weights: jax.Array
) -> jax.Array:
  """Weights [B]: that of the target's classes; 0 for padding, no label."""
  target = batch['target']
  labelled = (target.sum(-1) > 0) & batch['mask']
  return jnp.where(labelled, target @ class_weights, 0.0)


def share_values(batch: Mapping[str, jax.Array], task: str) -> jax.Array:
  """Shares [B, K] of what is labelled; each value with a label as much."""
  known = (batch[f'{task}_mask'] & batch['mask'][:, None]).astype(jnp.float32)
  count = known.sum(0)
  share = known / jnp.maximum(count, 1)
  return share / jnp.maximum((count > 0).sum(), 1)


KINDS = ('ccc', 'mse', 'ccc+mse')


def continuous_loss(
  kind: str, prediction: jax.Array, truth: jax.Array, share: jax.Array
) -> jax.Array:
  """1 - CCC, the mean squared error, or their sum; a scalar.

  Concordance is that of the labelled values of the batch, with variances as in
  `metrics.regression`; where truth or prediction is constant it is 0.

  Args:
    kind: out of `KINDS`.
    prediction: [B, K].
    truth: [B, K]; 0 where unknown.
    share: [B, K] of `share_values`.
  """
  prediction = prediction.astype(operations.find_wide_dtype(prediction))
  loss = jnp.zeros((), prediction.dtype)
  if 'mse' in kind:
    loss += (share * (prediction - truth) ** 2).sum()
  if 'ccc' in kind:
    total = share.sum(0)
    weight = share / jnp.maximum(total, 1e-9)
    mean, mean_truth = (weight * prediction).sum(0), (weight * truth).sum(0)
    residual, residual_truth = prediction - mean, truth - mean_truth
    covariance = (weight * residual * residual_truth).sum(0)
    variance = (weight * residual**2).sum(0)
    variance_truth = (weight * residual_truth**2).sum(0)
    bottom = variance + variance_truth + (mean - mean_truth) ** 2
    # Selected before the quotient, for its gradient would not be finite. From
    # a constant truth there is nothing to learn but what rounding leaves.
    some = variance_truth > 1e-12
    ccc = jnp.where(some, 2 * covariance / jnp.where(some, bottom, 1), 0)
    loss += (total * (1 - ccc)).sum()
  return loss


def binary_cross_entropy(
  logits: jax.Array, truth: jax.Array, weights: jax.Array
) -> jax.Array:
  """Cross entropy of units that are present or absent, float32 [B, K].

  Args:
    logits: [B, K].
    truth: in [0, 1], [B, K].
    weights: of a unit that is present, [K].
  """
  logits = logits.astype(operations.find_wide_dtype(logits))
  present = weights * truth * jax.nn.log_sigmoid(logits)
  return -present - (1 - truth) * jax.nn.log_sigmoid(-logits)


# Of a unit that hardly ever occurs, which one example must not decide.
MOST_WEIGHT = 20.0


def weigh_units(
  kind: str | None, known: np.ndarray, present: np.ndarray
) -> np.ndarray:
  """Weights of units that are present, float32 [K].

  Args:
    kind: None is 1 for each; 'balanced' is how many times more often a unit
      is absent than present, up to `MOST_WEIGHT`.
    known: how many training labels each unit has, [K].
    present: in how many of them it is present, [K].
  """
  if kind is None:
    return np.ones(len(known), np.float32)
  if kind != 'balanced':
    raise errors.AvemoError(
      f"loss.action_unit_weights={kind!r}: use None or 'balanced'"
    )
  ratio = (np.asarray(known, np.float64) - present) / np.maximum(present, 1)
  ratio = np.where(np.asarray(present) > 0, ratio, 1.0)
  return np.clip(ratio, 1 / MOST_WEIGHT, MOST_WEIGHT).astype(np.float32)


def weigh_present(batch: Mapping[str, jax.Array]) -> jax.Array:
  """Weights [B]: 1, labelled or not; 0 for padding and where all is missing."""
  present = batch['has_video'] | batch['has_audio']
  return (present & batch['mask']).astype(jnp.float32)


def weigh_classes(kind: str | None, target: np.ndarray) -> np.ndarray:
  """Weights of the classes, float32 [C].

  Args:
    kind: None is 1 for each; 'balanced' is inverse to how often a class
      occurs, with mean 1 over the examples, and 0 for one that never occurs.
    target: of the training records, shares of the classes [N, C].
  """
  if kind is None:
    return np.ones(target.shape[1], np.float32)
  if kind != 'balanced':
    raise errors.AvemoError(
      f"loss.class_weights={kind!r}: use None or 'balanced'"
    )
  counts = target.sum(0, dtype=np.float64)
  occurs = counts > 0
  weights = counts.sum() / (occurs.sum() * np.maximum(counts, 1e-9))
  return np.where(occurs, weights, 0).astype(np.float32)


def measure(
  outputs: Mapping[str, jax.Array],
  batch: Mapping[str, jax.Array],
  tasks: tuple[str, ...],
  *,
  label_smoothing: float = 0.0,
  continuous: str = 'ccc',
  unit_weights: np.ndarray | None = None,
) -> dict[str, jax.Array]:
  """The loss of each task over a batch or a part of one.

  Args:
    outputs: of the model, by task.
    batch: labels, masks and shares (`share`, `<task>_share`).
    tasks: what is learned, out of `labels.TASKS`.
    label_smoothing: see `cross_entropy`.
    continuous: see `continuous_loss`.
    unit_weights: see `binary_cross_entropy`.
  """
  found = {}
  for task in tasks:
    if task == labels.EMOTION:
      each = cross_entropy(
        outputs[task],
        batch['target'],
        batch['class_mask'],
        label_smoothing=label_smoothing,
      )
      found[task] = (batch['share'] * each).sum()
      continue
    share, truth = batch[f'{task}_share'], batch[task]
    if task == labels.ACTION_UNITS:
      each = binary_cross_entropy(outputs[task], truth, unit_weights)
      found[task] = (share * each).sum()
    else:
      found[task] = continuous_loss(continuous, outputs[task], truth, share)
  return found
