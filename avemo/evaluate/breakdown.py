"""Metrics speaker by speaker: who is understood worst stands first."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from avemo.data import labels
from avemo.evaluate import scores
from avemo.evaluate.table import Predictions
from avemo.metrics import action_units, classification, regression

# By which speakers are ordered: the first that any of them has.
MAIN = ('uar', 'ccc_mean', 'ccc_dominance', 'f1_au')


def name_speakers(found: Predictions) -> np.ndarray:
  """Names [M] that are different in different corpora."""
  return _name(found, found.speaker)


def name_units(found: Predictions) -> np.ndarray:
  """The same, and of frames whose speaker nobody names the film's."""
  pairs = zip(found.speaker, find_films(found), strict=True)
  return _name(found, [speaker or film for speaker, film in pairs])


def _name(found, names):
  if found.corpus is None:
    return np.asarray(names, str)
  pairs = zip(found.corpus, names, strict=True)
  return np.array([f'{corpus}/{name}' for corpus, name in pairs], str)


def find_films(found: Predictions) -> list[str]:
  """The film of each frame whose speaker is not known; else ''.

  Two people of Aff-Wild2 who share a film are `<film>_left` and `<film>_right`.
  """
  if found.frame is None:
    return [''] * len(found.clip_id)
  rows = zip(found.clip_id, found.speaker, found.frame, strict=True)
  return [
    re.sub('_(left|right)$', '', clip_id) if frame >= 0 and not speaker else ''
    for clip_id, speaker, frame in rows
  ]


def by_speaker(found: Predictions) -> list[dict[str, Any]]:
  """The metrics of each speaker, the worst first.

  Returns:
    Dicts of `speaker`, `num_examples` and the metrics of the tasks that the
    speaker has labels of; `corpus` where there are several. Where a corpus
    names no speaker a film stands for one, as `film`, and clips are left out.
  """
  if not len(found.clip_id):
    return []
  films, speakers = find_films(found), name_units(found)
  names, first, groups = np.unique(
    speakers, return_index=True, return_inverse=True
  )
  count, labelled = len(names), np.zeros(len(speakers), bool)
  columns = {}
  if found.classes:
    index = {name: number for number, name in enumerate(found.classes)}
    prediction = np.array([index.get(n, -1) for n in found.prediction], int)
    truth = np.array([index.get(name, -1) for name in found.label], int)
    truth[prediction < 0] = -1
    labelled |= truth >= 0
    counts = classification.confusions(
      truth, prediction, groups, count, len(found.classes)
    )
    columns |= {n: f(counts) for n, f in classification.METRICS.items()}
  for task in found.truth:
    truth, given = scores.pick(found.truth, found.values, task)
    labelled |= ~np.isnan(truth).all(1)
    if task == labels.ACTION_UNITS:
      sums = scores.count_units(found.truth, found.values, groups, count)
      columns['f1_au'] = action_units.f1_mean(sums)
      continue
    for place, name in enumerate(labels.VALUES[task]):
      sums = regression.moments(truth[:, place], given[:, place], groups, count)
      columns[f'ccc_{name}'] = regression.ccc_of_moments(sums)
    if 'ccc_valence' in columns:
      pair = columns['ccc_valence'], columns['ccc_arousal']
      columns['ccc_mean'] = np.mean(pair, axis=0)
  sizes = np.bincount(groups[labelled], minlength=count)
  rows = []
  for number, place in enumerate(first):
    row = {'speaker': found.speaker[place]}
    if not row['speaker']:
      row = {'film': films[place]}
    if not sizes[number] or not any(row.values()):
      continue
    if found.corpus is not None:
      row['corpus'] = found.corpus[place]
    row['num_examples'] = int(sizes[number])
    rows.append(
      row
      | {
        name: float(values[number])
        for name, values in columns.items()
        if not np.isnan(values[number])
      }
    )
  main = find_main(rows)
  # Of equal ones the first by name; those without the metric last.
  return sorted(rows, key=lambda row: row.get(main, np.inf))


def find_main(rows: Sequence[dict[str, Any]]) -> str | None:
  """By which metric rows are ordered; None where they have none."""
  return next((n for n in MAIN if any(n in row for row in rows)), None)
