"""Classification metrics from confusion matrices.

Every metric takes counts `[..., C, C]`, rows true and columns predicted, and
works on any leading axes. Averages over classes run over the classes present
in the truth: a class that no example has can be neither found nor missed, and
predicting it costs the recall of the true class. Without examples a metric is
NaN.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion(
  truth: np.ndarray, prediction: np.ndarray, num_classes: int
) -> np.ndarray:
  """Counts of true against predicted classes.

  Args:
    truth: int `[N]`; negative: no label, left out.
    prediction: int `[N]`.
    num_classes: C.

  Returns:
    int64 `[C, C]`, rows true.

  Raises:
    ValueError: lengths differ, or a class lies outside 0 to C - 1.
  """
  groups = np.zeros(np.shape(truth), np.int64)
  return confusions(truth, prediction, groups, 1, num_classes)[0]


def confusions(
  truth: np.ndarray,
  prediction: np.ndarray,
  groups: np.ndarray,
  num_groups: int,
  num_classes: int,
) -> np.ndarray:
  """One confusion matrix a group, int64 `[G, C, C]`; see `confusion`."""
  truth, prediction, groups = (
    np.asarray(values) for values in (truth, prediction, groups)
  )
  if not truth.shape == prediction.shape == groups.shape or truth.ndim != 1:
    raise ValueError(
      f'truth {truth.shape}, prediction {prediction.shape} and groups '
      f'{groups.shape} must be as long as each other'
    )
  labelled = truth >= 0
  truth, prediction, groups = (
    values[labelled].astype(np.int64) for values in (truth, prediction, groups)
  )
  for values in (truth, prediction):
    if values.size and not 0 <= values.min() <= values.max() < num_classes:
      raise ValueError(
        f'classes lie in 0 to {num_classes - 1}, not '
        f'{values.min()} to {values.max()}'
      )
  cells = (groups * num_classes + truth) * num_classes + prediction
  counts = np.bincount(cells, minlength=num_groups * num_classes**2)
  return counts.reshape(num_groups, num_classes, num_classes)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
  """The quotient, NaN where the denominator is zero."""
  result = np.full(np.shape(numerator), np.nan)
  np.divide(numerator, denominator, out=result, where=denominator > 0)
  return result


def _mean_over_present(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
  present = counts.sum(-1) > 0
  total = np.where(present, values, 0).sum(-1)
  return _divide(total, present.sum(-1))[()]


def recall(counts: np.ndarray) -> np.ndarray:
  """Recall of each class `[..., C]`; NaN where the truth lacks the class."""
  counts = np.asarray(counts, np.float64)
  return _divide(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1))


def precision(counts: np.ndarray) -> np.ndarray:
  """Precision of each class `[..., C]`; NaN where it is never predicted."""
  counts = np.asarray(counts, np.float64)
  return _divide(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-2))


def f1(counts: np.ndarray) -> np.ndarray:
  """F1 of each class `[..., C]`; NaN where neither true nor predicted."""
  counts = np.asarray(counts, np.float64)
  hits = np.diagonal(counts, axis1=-2, axis2=-1)
  return _divide(2 * hits, counts.sum(-1) + counts.sum(-2))


def uar(counts: np.ndarray) -> np.ndarray:
  """Unweighted average recall: the mean over classes present in the truth."""
  counts = np.asarray(counts, np.float64)
  return _mean_over_present(recall(counts), counts)


def war(counts: np.ndarray) -> np.ndarray:
  """Weighted average recall, which is accuracy."""
  counts = np.asarray(counts, np.float64)
  hits = np.trace(counts, axis1=-2, axis2=-1)
  return _divide(hits, counts.sum((-2, -1)))[()]


def f1_macro(counts: np.ndarray) -> np.ndarray:
  """Mean F1 over the classes present in the truth."""
  counts = np.asarray(counts, np.float64)
  return _mean_over_present(f1(counts), counts)


METRICS = {'uar': uar, 'war': war, 'f1_macro': f1_macro}


def _to_json(value: float) -> float | None:
  return None if np.isnan(value) else float(value)


def summarize(counts: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
  """What `metrics.json` says of one confusion matrix; NaN becomes None.

  Args:
    counts: `[C, C]`, rows true.
    labels: C names.

  Returns:
    `uar`, `war`, `f1_macro`; `recall`, `precision`, `f1` (label → value);
    `support` (label → number of true examples); `confusion` (`labels`,
    `counts`); `num_examples`.
  """
  counts = np.asarray(counts)
  if counts.shape != (len(labels), len(labels)):
    raise ValueError(f'{len(labels)} labels for counts {counts.shape}')
  summary: dict[str, Any] = {
    name: _to_json(metric(counts)) for name, metric in METRICS.items()
  }
  for metric in (recall, precision, f1):
    values = map(_to_json, metric(counts))
    summary[metric.__name__] = dict(zip(labels, values, strict=True))
  support = counts.sum(-1).tolist()
  summary['support'] = dict(zip(labels, support, strict=True))
  summary['confusion'] = {'labels': list(labels), 'counts': counts.tolist()}
  summary['num_examples'] = int(counts.sum())
  return summary
