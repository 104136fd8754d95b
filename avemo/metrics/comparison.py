"""Differences between systems on the same clips: paired, by speaker."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from avemo.metrics import intervals


class Difference(NamedTuple):
  """One system's score less another's.

  Attributes:
    value: the difference over all speakers.
    low: lower end of its interval.
    high: upper end.
    p: two-sided; below 1 - level exactly where the interval leaves out 0, but
      for the grid of the resamples.
  """

  value: float
  low: float
  high: float
  p: float


def paired_bootstrap(
  first: np.ndarray,
  second: np.ndarray,
  statistic: intervals.Statistic,
  *,
  level: float = 0.95,
  num_resamples: int = intervals.NUM_RESAMPLES,
  seed: int = 0,
  min_speakers: int = intervals.MIN_SPEAKERS,
) -> Difference | None:
  """Resamples speakers, the same for both systems, and takes the difference.

  Args:
    first: `[S, ...]`, one array a speaker, that add to the whole's; see
      `intervals.bootstrap`.
    second: of the other system, the same speakers in the same order.
    statistic: of sums `[R, ...]`, gives `[R]`.
    level: of confidence.
    num_resamples: R.
    seed: of the resamples.
    min_speakers: fewer give nothing.

  Returns:
    `first` less `second`; None with too few speakers, or where a score is
    not known. p is twice the share of resamples on the rarer side of 0, which
    itself counts for both sides, with one added to both counts, so that it is
    never 0.

  Raises:
    ValueError: not as many speakers in both.
  """
  first, second = (np.asarray(sums, np.float64) for sums in (first, second))
  if len(first) != len(second):
    raise ValueError(f'{len(first)} and {len(second)} speakers')
  if len(first) < min_speakers:
    return None
  value = float(statistic(first.sum(0)) - statistic(second.sum(0)))
  times = intervals.draw_speakers(len(first), num_resamples, seed)
  drawn = [
    statistic(intervals.resample(sums, times)) for sums in (first, second)
  ]
  differences = drawn[0] - drawn[1]
  differences = differences[~np.isnan(differences)]
  if np.isnan(value) or not differences.size:
    return None
  low, high = np.quantile(differences, ((1 - level) / 2, (1 + level) / 2))
  rarer = min((differences <= 0).sum(), (differences >= 0).sum())
  p = min(1.0, 2 * (rarer + 1) / (differences.size + 1))
  return Difference(value, float(low), float(high), float(p))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
  """Holm's step-down correction for as many comparisons as are given.

  Args:
    p_values: by name.

  Returns:
    By name, in the order given: the smallest level at which Holm's procedure
    rejects that hypothesis, at most 1.
  """
  order = sorted(p_values, key=lambda name: p_values[name])
  adjusted, largest = {}, 0.0
  for place, name in enumerate(order):
    largest = max(largest, (len(order) - place) * p_values[name])
    adjusted[name] = min(1.0, largest)
  return {name: adjusted[name] for name in p_values}
