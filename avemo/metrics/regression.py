"""Concordance of continuous labels (valence, arousal).

The concordance correlation coefficient is 2·cov / (var + var + (mean
difference)²), with variance and covariance divided by the number of values
throughout (population moments), as Lin defined it.
"""

import numpy as np


def _select_labelled(
  truth: np.ndarray, prediction: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """float64 truth and prediction where the truth is not NaN, and where."""
  truth = np.asarray(truth, np.float64)
  prediction = np.asarray(prediction, np.float64)
  if truth.shape != prediction.shape or truth.ndim != 1:
    raise ValueError(
      f'truth {truth.shape} and prediction {prediction.shape} must be as long '
      'as each other'
    )
  labelled = ~np.isnan(truth)
  truth, prediction = truth[labelled], prediction[labelled]
  if not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
    raise ValueError(
      'a prediction of a labelled value, or a label, is no number'
    )
  return truth, prediction, labelled


def ccc(truth: np.ndarray, prediction: np.ndarray) -> float:
  """Concordance correlation coefficient.

  Args:
    truth: floats `[N]`; NaN: no label, left out.
    prediction: floats `[N]`.

  Returns:
    A number in [-1, 1]: 0 where truth or prediction is constant (a constant
    says nothing, even where it is right), NaN without values.

  Raises:
    ValueError: lengths differ, or a labelled prediction is not finite.
  """
  truth, prediction, _ = _select_labelled(truth, prediction)
  if not truth.size:
    return float('nan')
  if np.ptp(truth) == 0 or np.ptp(prediction) == 0:
    return 0.0
  centred = truth - truth.mean()
  centred_prediction = prediction - prediction.mean()
  covariance = np.mean(centred * centred_prediction)
  spread = np.mean(centred**2) + np.mean(centred_prediction**2)
  distance = truth.mean() - prediction.mean()
  return float(2 * covariance / (spread + distance**2))


def moments(
  truth: np.ndarray,
  prediction: np.ndarray,
  groups: np.ndarray,
  num_groups: int,
) -> np.ndarray:
  """Sums from which `ccc_of_moments` follows, one row a group.

  Args:
    truth: floats `[N]`; NaN: no label, left out.
    prediction: floats `[N]`.
    groups: int `[N]`, 0 to G - 1.
    num_groups: G.

  Returns:
    float64 `[G, 6]`: number, sums of truth and prediction, of their squares
    and of their product, all taken about the mean truth of all groups.
  """
  truth, prediction, labelled = _select_labelled(truth, prediction)
  groups = np.asarray(groups)[labelled]
  if truth.size:
    # Concordance does not change, and squares cancel less.
    centre = truth.mean()
    truth, prediction = truth - centre, prediction - centre
  terms = (
    np.ones_like(truth),
    truth,
    prediction,
    truth**2,
    prediction**2,
    truth * prediction,
  )
  return np.stack(
    [np.bincount(groups, term, num_groups) for term in terms], axis=-1
  )


def ccc_of_moments(sums: np.ndarray) -> np.ndarray:
  """CCC from sums `[..., 6]` of `moments`; 0 where a variance vanishes."""
  sums = np.asarray(sums, np.float64)
  number = sums[..., :1]
  means = np.full(sums.shape, np.nan)
  np.divide(sums, number, out=means, where=number > 0)
  _, x, y, xx, yy, xy = np.moveaxis(means, -1, 0)
  variances = xx - x**2, yy - y**2
  # Rounding leaves a constant a variance of this order.
  flat = (variances[0] <= 1e-12 * xx) | (variances[1] <= 1e-12 * yy)
  bottom = variances[0] + variances[1] + (x - y) ** 2
  result = np.where(np.isnan(x), np.nan, 0.0)
  np.divide(2 * (xy - x * y), bottom, out=result, where=~flat & (bottom > 0))
  return result[()]
