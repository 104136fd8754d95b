"""What `metrics.json` says of a table of predictions."""

from typing import Any

import numpy as np

from avemo.data import labels
from avemo.evaluate import breakdown, scores
from avemo.evaluate.table import Predictions
from avemo.metrics import action_units, classification, intervals


def score(found: Predictions) -> dict[str, Any]:
  """Metrics of a table, each where its task has labels, with breakdowns.

  Rows without any label count in `num_unlabelled` alone, and those that lack
  every modality in use in `num_without_input`. Of several corpora each has
  its own metrics, over its own classes, under `corpora`.
  """
  metrics = score_rows(found)
  metrics['speakers'] = breakdown.by_speaker(found)
  if found.corpus is not None:
    names = np.asarray(found.corpus)
    metrics['corpora'] = {
      name: score_rows(keep_own_classes(found.take(names == name)))
      for name in sorted(set(found.corpus))
    }
  return metrics


def keep_own_classes(found: Predictions) -> Predictions:
  """Without the classes that one corpus does not annotate."""
  # Those have no probability at all, in any row. One that is labelled may be
  # so improbable that it has none either.
  own = found.probabilities.any(0) | np.isin(found.classes, found.label)
  names = [n for n, kept in zip(found.classes, own, strict=True) if kept]
  return Predictions(
    **{
      field: getattr(found, field)
      for field in found.__dataclass_fields__
      if field not in ('classes', 'probabilities')
    },
    classes=tuple(names),
    probabilities=found.probabilities[:, own],
  )


def score_rows(found: Predictions) -> dict[str, Any]:
  """Metrics of all rows together, with intervals by speaker or film."""
  named = np.array([bool(name) for name in found.speaker], bool)
  speakers = breakdown.name_speakers(found)
  if not named.any():
    speakers = breakdown.name_units(found)
  answered = found.answered
  labelled, metrics, bounds = np.zeros(len(speakers), bool), {}, {}
  if found.classes:
    truth, prediction = find_classes(found)
    labelled |= np.array([bool(label) for label in found.label], bool)
    counts = classification.confusion(truth, prediction, len(found.classes))
    metrics |= classification.summarize(counts, found.classes)
    # The counts stand under `confusion`, their order under `labels`.
    metrics['confusion'] = counts.tolist()
    metrics['labels'] = list(found.classes)
    bounds |= (
      intervals.classification_intervals(
        truth, prediction, speakers, len(found.classes)
      )
      or {}
    )
  for task in found.truth:
    known = ~np.isnan(found.truth[task]).all(1)
    labelled |= known
    if (known & answered).any():
      more, more_bounds = score_task(found, task, speakers)
      metrics |= more
      bounds |= more_bounds
  metrics['num_examples'] = int((labelled & answered).sum())
  metrics['num_unlabelled'] = int((~labelled).sum())
  metrics['num_without_input'] = int((~answered).sum())
  count = len(set(speakers[labelled & answered & named]))
  metrics['num_speakers'] = count
  if found.frame is not None:
    metrics['num_frames'] = int(
      (labelled & answered & (found.frame >= 0)).sum()
    )
  ends = {name: [one.low, one.high] for name, one in bounds.items()} or None
  metrics['intervals'] = ends if count else None
  if ends and not count:
    metrics['intervals_by_film'] = ends
  if not metrics['intervals']:
    metrics['intervals_note'] = (
      f'no intervals by speaker: {count} speakers are known, '
      f'{intervals.MIN_SPEAKERS} are needed'
    )
  return metrics


def find_classes(found: Predictions) -> tuple[np.ndarray, np.ndarray]:
  """True and predicted classes, int [M]; -1 without a label or an answer."""
  index = {name: number for number, name in enumerate(found.classes)}
  label = np.array([index.get(name, -1) for name in found.label], int)
  prediction = np.array([index.get(name, -1) for name in found.prediction], int)
  return np.where(prediction < 0, -1, label), prediction


def score_task(
  found: Predictions, task: str, speakers: np.ndarray
) -> tuple[dict[str, Any], dict[str, intervals.Interval]]:
  """Metrics of a task beside the emotion, and their intervals."""
  truth, given = scores.pick(found.truth, found.values, task)
  values = scores.measure_values({task: truth}, {task: given})
  metrics = {
    name: None if np.isnan(value) else value for name, value in values.items()
  }
  if task == labels.ACTION_UNITS:
    each = action_units.f1(scores.count_units(found.truth, found.values))
    metrics['action_units'] = {
      name: None if np.isnan(value) else float(value)
      for name, value in zip(labels.VALUES[task], each, strict=True)
    }
    found = intervals.action_unit_interval(
      truth, given > scores.THRESHOLD, speakers
    )
    return metrics, {'f1_au': found} if found else {}
  names = [f'ccc_{name}' for name in labels.VALUES[task]]
  mean = 'ccc_mean' if len(names) > 1 else None
  # A value that only some corpora have leaves no mean to speak of.
  found = intervals.ccc_intervals(truth, given, speakers, names, mean=mean)
  return metrics, found or {}
