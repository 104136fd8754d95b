"""Smoothing of what is estimated along time."""

import difflib
import math

import numpy as np

from avemo import errors

KINDS = ('none', 'mean', 'median')


def parse(text: str) -> tuple[str, float]:
  """Reads `none`, `mean:S` or `median:S`.

  Returns:
    The kind, and the length of the window in seconds; 0 for none.

  Raises:
    AvemoError: anything else.
  """
  kind, colon, length = text.partition(':')
  if kind not in KINDS:
    near = difflib.get_close_matches(kind, KINDS, 1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    raise errors.AvemoError(
      f'smooth={text!r}: use none, mean:S or median:S, S in seconds{hint}'
    )
  if kind == 'none' and not colon:
    return kind, 0.0
  try:
    seconds = float(length)
  except ValueError:
    seconds = math.nan
  if kind == 'none' or not 0 < seconds < math.inf:
    raise errors.AvemoError(
      f'smooth={text!r}: use none, mean:S or median:S, S in seconds above 0'
    )
  return kind, seconds


def smooth(
  times: np.ndarray, values: np.ndarray, kind: str, seconds: float
) -> np.ndarray:
  """The mean or median of each value and its neighbours in time.

  Args:
    times: [N], seconds, rising.
    values: [N, K]. A row with a NaN is unknown: it stays so, and counts for
      no other row. A column of nothing but NaN says nothing of its rows.
    kind: of `KINDS`.
    seconds: neighbours are at most half of this away.

  Returns:
    float64 [N, K].
  """
  times = np.asarray(times, np.float64)
  values = np.asarray(values, np.float64)
  if kind == 'none':
    return values
  take = {'mean': np.mean, 'median': np.median}[kind]
  is_unknown = np.isnan(values)
  columns = np.flatnonzero(~is_unknown.all(axis=0))
  known = np.flatnonzero(~is_unknown[:, columns].any(axis=1))
  # Times are multiples of a step: their differences carry rounding errors.
  reach = seconds / 2 + 1e-6
  first = np.searchsorted(times[known], times[known] - reach)
  last = np.searchsorted(times[known], times[known] + reach, side='right')
  smoothed = values.copy()
  for place, low, high in zip(known, first, last, strict=True):
    near = values[known[low:high]]
    smoothed[place, columns] = take(near[:, columns], axis=0)
  return smoothed


def smooth_probabilities(
  times: np.ndarray, values: np.ndarray, kind: str, seconds: float
) -> np.ndarray:
  """As `smooth`, with rows that sum to 1 again."""
  smoothed = smooth(times, values, kind, seconds)
  if kind != 'median':
    return smoothed
  # Medians of the classes are all 0 where each class is rare.
  total = smoothed.sum(axis=1, keepdims=True)
  means = smooth(times, values, 'mean', seconds)
  return np.where(total > 0, smoothed / np.where(total > 0, total, 1), means)
