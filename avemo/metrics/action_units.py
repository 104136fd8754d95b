"""F1 of action units, each present or absent, from counts that add up."""

import numpy as np


def counts(
  truth: np.ndarray,
  prediction: np.ndarray,
  groups: np.ndarray | None = None,
  num_groups: int = 1,
) -> np.ndarray:
  """Hits, false alarms, misses and labels of each action unit, by group.

  An example counts only where all units are known that any example has a
  label of, as the challenges of Aff-Wild2 count: it is dropped if one is not.

  Args:
    truth: floats `[N, K]`, 1 present, 0 absent, NaN unknown.
    prediction: bool `[N, K]`.
    groups: int `[N]`, 0 to G - 1; one group when None.
    num_groups: G.

  Returns:
    int64 `[G, K, 4]`.

  Raises:
    ValueError: shapes differ, or a label is neither 0 nor 1.
  """
  truth = np.asarray(truth, np.float64)
  prediction = np.asarray(prediction)
  if truth.shape != prediction.shape or truth.ndim != 2:
    raise ValueError(
      f'truth {truth.shape} and prediction {prediction.shape} must be as large '
      'as each other'
    )
  known = ~np.isnan(truth)
  if not np.isin(truth[known], (0, 1)).all():
    raise ValueError('a label of an action unit is neither 0 nor 1')
  annotated = known.any(0)
  kept = annotated.any() & known[:, annotated].all(1)
  present = truth[kept] == 1
  said = prediction[kept].astype(bool)
  terms = (present & said, ~present & said, present & ~said, known[kept])
  if groups is None:
    groups = np.zeros(len(truth), np.int64)
  groups = np.asarray(groups)[kept]
  found = np.zeros((num_groups, truth.shape[1], len(terms)), np.int64)
  for place, term in enumerate(terms):
    np.add.at(found[..., place], groups, term.astype(np.int64))
  return found


def f1(sums: np.ndarray) -> np.ndarray:
  """F1 of each unit `[..., K]`; 0 without a hit, NaN without a label.

  Args:
    sums: `[..., K, 4]` of `counts`.
  """
  hits, alarms, misses, labels = np.moveaxis(np.asarray(sums, float), -1, 0)
  bottom = 2 * hits + alarms + misses
  result = np.where(labels > 0, 0.0, np.nan)
  np.divide(2 * hits, bottom, out=result, where=(labels > 0) & (bottom > 0))
  return result


def f1_mean(sums: np.ndarray) -> np.ndarray:
  """Mean F1 over the units that have a label; NaN where none has."""
  each = f1(sums)
  known = ~np.isnan(each)
  number = known.sum(-1)
  total = np.where(known, each, 0).sum(-1)
  result = np.full(np.shape(total), np.nan)
  np.divide(total, number, out=result, where=number > 0)
  return result[()]
