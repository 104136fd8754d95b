"""Differences between systems on the same clips: paired, by speaker."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from avemo.metrics import intervals

# So many speakers are exchanged in every way there is, more by drawn ones.
MAX_EXACT = 12


class Difference(NamedTuple):
  """One system's score less another's.

  Attributes:
    value: the difference over all speakers.
    low: lower end of its interval.
    high: upper end.
    p: two-sided, by exchanging the two systems for some of the speakers.
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
    not known. The interval is of resampled speakers, p of `exchange`: shares of
    resamples beyond 0 would be too small with few speakers.

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
  p = exchange(first, second, statistic, num_resamples, seed)
  return Difference(value, float(low), float(high), p)


def exchange(
  first: np.ndarray,
  second: np.ndarray,
  statistic: intervals.Statistic,
  num_resamples: int,
  seed: int,
) -> float:
  """How often two systems differ as much when speakers change sides.

  Were they alike, either could have said what the other did of a speaker. Up to
  `MAX_EXACT` speakers all exchanges are counted, so that with S of them p is at
  least 2 / 2**S (a sign-flip test by speaker); for more, as many as there are
  resamples, with one added to both counts.

  Args:
    first: `[S, ...]`, see `paired_bootstrap`, like the others.
  """
  size = len(first)
  if size <= MAX_EXACT:
    swaps = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
  else:
    swaps = np.random.default_rng(seed).integers(0, 2, (num_resamples, size))
  moved = np.tensordot(swaps, second - first, axes=1)
  found = statistic(first.sum(0) + moved) - statistic(second.sum(0) - moved)
  value = statistic(first.sum(0)) - statistic(second.sum(0))
  # Where a score is not known the exchange counts against the difference.
  extreme = ~(np.abs(found) < np.abs(value) - 1e-12)
  if size <= MAX_EXACT:
    return float(extreme.mean())
  return float((extreme.sum() + 1) / (num_resamples + 1))


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
