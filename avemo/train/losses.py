"""Losses over the classes that each example's corpus annotates."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from avemo import errors


def masked_log_softmax(logits: jax.Array, class_mask: jax.Array) -> jax.Array:
  """Log-probabilities, float32 [B, C]; -inf outside `class_mask` [B, C].

  A row without any class is 0 throughout, so that its gradient is 0 as well.
  """
  logits = logits.astype(jnp.float32)
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
