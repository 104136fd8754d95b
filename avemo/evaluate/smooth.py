"""Predictions of frames smoothed along whole films, in order.

The window is given, or it is chosen on films of the training set that the
model has not been trained on, each task by its own metric.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo import errors
from avemo.data import labels
from avemo.evaluate import frames, scores
from avemo.evaluate.rows import RecordPredictions
from avemo.metrics import smoothing

# What `smooth` may be beside what `metrics.smoothing.parse` reads.
CHOSEN = 'chosen'

# Windows to choose from, in seconds.
SECONDS = (0.2, 0.4, 0.8, 1.2, 2.0, 3.0, 5.0, 10.0)

# By what a task's window is chosen.
METRICS = {
  labels.EMOTION: 'f1_macro',
  'valence_arousal': 'ccc_mean',
  'dominance': 'ccc_dominance',
  labels.ACTION_UNITS: 'f1_au',
}


def check(text: str) -> None:
  """Raises an AvemoError for what is no way to smooth."""
  if text != CHOSEN:
    try:
      smoothing.parse(text)
    except errors.AvemoError as error:
      raise errors.AvemoError(
        f'{error}; or {CHOSEN}, by films of the training set that were held out'
      ) from error


def list_candidates() -> list[str]:
  """Ways to smooth, from none to the widest window."""
  wide = [f'{kind}:{s:g}' for s in SECONDS for kind in ('mean', 'median')]
  return ['none', *wide]


def find_times(
  dataset: Any, found: RecordPredictions, films: Any = None
) -> np.ndarray:
  """Seconds of each row in its film, float64 [M]; NaN of whole clips.

  Args:
    dataset: of the records.
    found: rows.
    films: features of frames, which know times, so that no record is opened.
  """
  times = np.full(len(found.record), np.nan)
  for record in np.unique(found.record[found.frame >= 0]):
    source = (
      dataset.source[int(record)] if films is None else films.read(record)
    )
    own = np.flatnonzero((found.record == record) & (found.frame >= 0))
    order = np.argsort(source['frame_index'], kind='stable')
    numbers = np.asarray(source['frame_index'])[order]
    places = np.searchsorted(numbers, found.frame[own])
    times[own] = np.asarray(source['frame_time'], np.float64)[order][places]
  return times


def apply(
  found: RecordPredictions,
  times: np.ndarray,
  dataset: Any,
  ways: Mapping[str, str],
) -> RecordPredictions:
  """The rows, each film's frames smoothed along its time.

  Args:
    found: rows of frames; rows of whole clips stay as they are.
    times: of the rows, [M].
    dataset: of the records.
    ways: by task, 'none', 'mean:S' or 'median:S'.
  """
  probabilities = found.probabilities.copy()
  values = {task: value.copy() for task, value in found.values.items()}
  is_frame = found.frame >= 0
  for film in frames.find_films(dataset, np.unique(found.record)):
    rows = np.flatnonzero(np.isin(found.record, film) & is_frame)
    rows = rows[np.argsort(times[rows], kind='stable')]
    if not len(rows) or not found.answered[rows].all():
      continue
    for task, way in ways.items():
      kind, seconds = smoothing.parse(way)
      if task == labels.EMOTION:
        probabilities[rows] = smoothing.smooth_probabilities(
          times[rows], probabilities[rows], kind, seconds
        )
      else:
        values[task][rows] = smoothing.smooth(
          times[rows], values[task][rows], kind, seconds
        )
  return dataclasses.replace(found, probabilities=probabilities, values=values)


def choose(
  found: RecordPredictions,
  times: np.ndarray,
  dataset: Any,
  tasks: Sequence[str],
) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
  """The way to smooth each task that scores best; of equals the narrowest.

  Args:
    found: rows of films that are held out of training.
    times: of the rows.
    dataset: of the records.
    tasks: of the model.

  Returns:
    By task the way, and by task the score of every way.
  """
  table: dict[str, dict[str, float]] = {task: {} for task in tasks}
  for way in list_candidates():
    smoothed = apply(found, times, dataset, dict.fromkeys(tasks, way))
    metrics = scores.measure(smoothed, tasks)
    for task in tasks:
      table[task][way] = float(metrics[METRICS[task]])
  ways = {}
  for task, each in table.items():
    known = {way: s for way, s in each.items() if not np.isnan(s)}
    # The first of the largest.
    ways[task] = max(known, key=known.get) if known else 'none'
  return ways, table
