"""Two systems on the same clips: is the one better on other speakers too?"""

from collections.abc import Callable
from typing import Any

import numpy as np

from avemo.data import labels
from avemo.evaluate import breakdown, scores, summary, table
from avemo.metrics import (
  action_units,
  classification,
  comparison,
  regression,
)

Statistic = Callable[[np.ndarray], np.ndarray]


def compare(
  first: table.Predictions,
  second: table.Predictions,
  metric: str,
  **options: Any,
) -> comparison.Difference | None:
  """The difference of a metric, `first` less `second`, paired by speaker.

  Of frames whose speakers nobody names, by film.

  Args:
    first: predictions, of several seeds one after another.
    second: of the other system.
    metric: one of the main figures of `metrics.json`.
    **options: of `comparison.paired_bootstrap`.

  Returns:
    None where they were scored on different clips, or there are too few
    speakers.
  """
  if list_clips(first, metric) != list_clips(second, metric):
    return None
  speakers = np.union1d(
    breakdown.name_units(first), breakdown.name_units(second)
  )
  one, statistic = sum_by_speaker(first, metric, speakers)
  other, _ = sum_by_speaker(second, metric, speakers)
  axes = tuple(range(1, one.ndim))
  # Who has no label is nobody that could be drawn.
  known = (np.abs(one).sum(axes) > 0) | (np.abs(other).sum(axes) > 0)
  return comparison.paired_bootstrap(
    one[known], other[known], statistic, **options
  )


def list_clips(found: table.Predictions, metric: str) -> set[tuple]:
  """What a metric was scored on: clips or frames, with their labels.

  Other heads may have been scored on more.
  """
  size = len(found.clip_id)
  frame = np.full(size, -1) if found.frame is None else found.frame
  corpus = [''] * size if found.corpus is None else found.corpus
  label, known = find_labels(found, metric)
  columns = corpus, found.clip_id, found.segment, frame, label
  rows = zip(*(list(map(str, column)) for column in columns), strict=True)
  return {row for row, there in zip(rows, known, strict=True) if there}


def find_labels(
  found: table.Predictions, metric: str
) -> tuple[list[str], np.ndarray]:
  """By row, the label that a metric goes by, and whether there is any."""
  if metric in classification.METRICS:
    return list(found.label), np.array([word != '' for word in found.label])
  truth = np.concatenate(
    [np.zeros((len(found.clip_id), 0))]
    + [v for task, v in found.truth.items() if metric in scores.NAMES[task]],
    axis=1,
  )
  rows = np.round(truth, 4).tolist()
  return [str(row) for row in rows], ~np.isnan(truth).all(1)


def sum_by_speaker(
  found: table.Predictions, metric: str, speakers: np.ndarray
) -> tuple[np.ndarray, Statistic]:
  """Sums [S, ...] from which the metric follows, and how.

  Raises:
    ValueError: not a metric of these predictions.
  """
  groups = np.searchsorted(speakers, breakdown.name_units(found))
  if metric in classification.METRICS and found.classes:
    truth, prediction = summary.find_classes(found)
    counts = classification.confusions(
      truth, prediction, groups, len(speakers), len(found.classes)
    )
    return counts, classification.METRICS[metric]
  if metric == 'f1_au' and labels.ACTION_UNITS in found.truth:
    counts = scores.count_units(
      found.truth, found.values, groups, len(speakers)
    )
    return counts, action_units.f1_mean
  compute = regression.ccc_of_moments
  for task in labels.CONTINUOUS:
    if task not in found.truth:
      continue
    truth, given = scores.pick(found.truth, found.values, task)
    names = [f'ccc_{name}' for name in labels.VALUES[task]]
    sums = [
      regression.moments(truth[:, k], given[:, k], groups, len(speakers))
      for k in range(len(names))
    ]
    if metric in names:
      return sums[names.index(metric)], compute
    if metric == 'ccc_mean' and len(names) > 1:
      return np.stack(sums, 1), lambda sums: compute(sums).mean(-1)
  raise ValueError(f'{metric!r}: not a metric of these predictions')
