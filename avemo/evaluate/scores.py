"""The metrics of rows of predictions, each where its task exists."""

from collections.abc import Mapping, Sequence

import numpy as np

from avemo.data import labels
from avemo.evaluate.rows import RecordPredictions
from avemo.metrics import action_units, classification, regression

Values = Mapping[str, np.ndarray]

# Names of the metrics of each task, the one to choose by first.
NAMES = {
  labels.EMOTION: tuple(classification.METRICS),
  'valence_arousal': ('ccc_mean', 'ccc_valence', 'ccc_arousal'),
  'dominance': ('ccc_dominance',),
  labels.ACTION_UNITS: ('f1_au',),
}
# From which probability on a unit counts as present.
THRESHOLD = 0.5


def list_metrics(tasks: Sequence[str], keys: Sequence[str]) -> list[str]:
  """What an evaluation measures: over all corpora, then corpus by corpus."""
  names = [name for task in tasks for name in NAMES[task]] + ['loss']
  if len(keys) < 2:
    return names
  return names + [f'{key}/{name}' for key in keys for name in names]


def measure(found: RecordPredictions, tasks: Sequence[str]) -> dict[str, float]:
  """The metrics of the tasks, and the sum of their losses.

  The loss is cross entropy of the emotion, 1 - CCC of continuous values and
  cross entropy of action units, each of weight 1. What has no label is NaN.
  """
  metrics, losses = {}, []
  if labels.EMOTION in tasks:
    emotion = np.where(found.answered, found.emotion, -1)
    counts = classification.confusion(
      emotion, found.prediction, found.probabilities.shape[1]
    )
    metrics |= {
      name: float(compute(counts))
      for name, compute in classification.METRICS.items()
    }
    losses.append(found.loss)
  metrics |= measure_values(found.truth, found.values)
  for task in labels.CONTINUOUS:
    if task in tasks:
      losses.append(1 - metrics[NAMES[task][0]])
  if labels.ACTION_UNITS in tasks:
    truth, given = pick(found.truth, found.values, labels.ACTION_UNITS)
    given = np.clip(given, 1e-7, 1 - 1e-7)
    each = -truth * np.log(given) - (1 - truth) * np.log(1 - given)
    known = each[~np.isnan(each)]
    losses.append(known.mean() if known.size else np.nan)
  known = [loss for loss in losses if not np.isnan(loss)]
  return metrics | {'loss': float(sum(known)) if known else float('nan')}


def measure_values(truth: Values, values: Values) -> dict[str, float]:
  """Concordances and the F1 of action units, of the tasks that are given."""
  metrics = {}
  for task in labels.CONTINUOUS:
    if task not in truth:
      continue
    known, given = pick(truth, values, task)
    for place, name in enumerate(labels.VALUES[task]):
      metrics[f'ccc_{name}'] = regression.ccc(known[:, place], given[:, place])
  if 'ccc_valence' in metrics:
    pair = metrics['ccc_valence'], metrics['ccc_arousal']
    metrics['ccc_mean'] = float(np.mean(pair))
  if labels.ACTION_UNITS in truth:
    metrics['f1_au'] = float(action_units.f1_mean(count_units(truth, values)))
  return metrics


def pick(
  truth: Values, values: Values, task: str
) -> tuple[np.ndarray, np.ndarray]:
  """Labels and values [M, K]; what has no answer counts as unlabelled."""
  given = values[task]
  return np.where(np.isnan(given), np.nan, truth[task]), given


def count_units(
  truth: Values,
  values: Values,
  groups: np.ndarray | None = None,
  num_groups: int = 1,
) -> np.ndarray:
  """Counts [K, 4] of `metrics.action_units`; by group [G, K, 4]."""
  known, given = pick(truth, values, labels.ACTION_UNITS)
  counts = action_units.counts(known, given > THRESHOLD, groups, num_groups)
  return counts[0] if groups is None else counts
