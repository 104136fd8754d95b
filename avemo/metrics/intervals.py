"""Bootstrap intervals by speaker: clips of one speaker are not independent."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from avemo.metrics import action_units, classification, regression

# Percentiles over fewer speakers say little, and are left out.
MIN_SPEAKERS = 8
NUM_RESAMPLES = 2_000

Statistic = Callable[[np.ndarray], np.ndarray]


class Interval(NamedTuple):
  """The ends of a confidence interval."""

  low: float
  high: float


def bootstrap(
  sums: np.ndarray,
  statistics: Mapping[str, Statistic],
  *,
  level: float = 0.95,
  num_resamples: int = NUM_RESAMPLES,
  seed: int = 0,
  min_speakers: int = MIN_SPEAKERS,
) -> dict[str, Interval] | None:
  """Percentile intervals, resampling speakers with replacement.

  Args:
    sums: `[S, ...]`, one array a speaker, that add to the whole's (confusion
      matrices, moments).
    statistics: name → function of sums `[R, ...]` to `[R]`.
    level: of confidence.
    num_resamples: R.
    seed: of the resamples; the same seed, the same intervals.
    min_speakers: fewer give no intervals.

  Returns:
    name → Interval, or None with too few speakers. A resample whose statistic
    is NaN does not count.
  """
  sums = np.asarray(sums, np.float64)
  num_speakers = len(sums)
  if num_speakers < min_speakers:
    return None
  times = draw_speakers(num_speakers, num_resamples, seed)
  resampled = resample(sums, times)
  ends = (1 - level) / 2, (1 + level) / 2
  intervals = {}
  for name, statistic in statistics.items():
    values = statistic(resampled)
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, ends) if values.size else (np.nan, np.nan)
    intervals[name] = Interval(float(low), float(high))
  return intervals


def draw_speakers(
  num_speakers: int, num_resamples: int, seed: int
) -> np.ndarray:
  """How often each resample draws each speaker, int [R, S]."""
  rng = np.random.default_rng(seed)
  shares = np.full(num_speakers, 1 / num_speakers)
  return rng.multinomial(num_speakers, shares, num_resamples)


def resample(sums: np.ndarray, times: np.ndarray) -> np.ndarray:
  """Sums of all resamples [R, ...] by one product, from those by speaker."""
  flat = times.astype(np.float64) @ sums.reshape(len(sums), -1)
  return flat.reshape(len(times), *sums.shape[1:])


def _group(
  speakers: Sequence[str], labelled: np.ndarray
) -> tuple[np.ndarray, int]:
  """Speakers as numbers; those without a labelled example do not count."""
  speakers = np.asarray(speakers)
  if speakers.shape != labelled.shape:
    raise ValueError(f'{len(speakers)} speakers for {len(labelled)} examples')
  # Sorted, so that the order of the rows does not matter.
  names = np.unique(speakers[labelled])
  if not len(names):
    return np.zeros(len(speakers), np.int64), 0
  places = np.searchsorted(names, speakers)
  return np.minimum(places, len(names) - 1), len(names)


def classification_intervals(
  truth: np.ndarray,
  prediction: np.ndarray,
  speakers: Sequence[str],
  num_classes: int,
  **options,
) -> dict[str, Interval] | None:
  """Intervals of `uar`, `war` and `f1_macro`.

  Pool the predictions of all folds before the call.

  Args:
    truth: int `[N]`; negative: no label, left out.
    prediction: int `[N]`.
    speakers: `[N]`.
    num_classes: C.
    **options: those of `bootstrap`.

  Returns:
    name → Interval, or None with too few speakers.
  """
  groups, num_groups = _group(speakers, np.asarray(truth) >= 0)
  counts = classification.confusions(
    truth, prediction, groups, num_groups, num_classes
  )
  return bootstrap(counts, classification.METRICS, **options)


def ccc_interval(
  truth: np.ndarray,
  prediction: np.ndarray,
  speakers: Sequence[str],
  **options,
) -> Interval | None:
  """The interval of the CCC; see `regression.ccc` and `bootstrap`."""
  groups, num_groups = _group(speakers, ~np.isnan(truth))
  sums = regression.moments(truth, prediction, groups, num_groups)
  intervals = bootstrap(sums, {'ccc': regression.ccc_of_moments}, **options)
  return intervals and intervals['ccc']


def ccc_intervals(
  truth: np.ndarray,
  prediction: np.ndarray,
  speakers: Sequence[str],
  names: Sequence[str],
  *,
  mean: str | None = None,
  **options,
) -> dict[str, Interval] | None:
  """Intervals of the CCC of several values, and of their mean.

  Args:
    truth: floats `[N, K]`; NaN: no label, left out.
    prediction: floats `[N, K]`.
    speakers: `[N]`.
    names: of the K intervals.
    mean: name of that of the mean; None leaves it out.
    **options: those of `bootstrap`.

  Returns:
    name → Interval, or None with too few speakers.
  """
  groups, num_groups = _group(speakers, ~np.isnan(truth).all(1))
  sums = np.stack(
    [
      regression.moments(truth[:, k], prediction[:, k], groups, num_groups)
      for k in range(len(names))
    ],
    axis=1,
  )
  compute = regression.ccc_of_moments
  statistics = {
    name: lambda sums, place=place: compute(sums[..., place, :])
    for place, name in enumerate(names)
  }
  if mean:
    statistics[mean] = lambda sums: compute(sums).mean(-1)
  return bootstrap(sums, statistics, **options)


def action_unit_interval(
  truth: np.ndarray,
  prediction: np.ndarray,
  speakers: Sequence[str],
  **options,
) -> Interval | None:
  """The interval of the mean F1; see `action_units` and `bootstrap`."""
  groups, num_groups = _group(speakers, ~np.isnan(truth).all(1))
  sums = action_units.counts(truth, prediction, groups, num_groups)
  found = bootstrap(sums, {'f1': action_units.f1_mean}, **options)
  return found and found['f1']
