"""predictions.csv: one row a clip or frame, from which every metric starts."""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from avemo import errors
from avemo.data import labels
from avemo.evaluate import page

_LABELS = 'label_'
# What one row of the table always has; tasks add columns.
_ALWAYS = labels.VALUES['valence_arousal']


@dataclasses.dataclass(frozen=True)
class Predictions:
  """What a model said of M clips or frames.

  Attributes:
    classes: C class names.
    clip_id: M ids.
    segment: segment of the film, int [M]; 0 where a clip is whole.
    speaker: M speaker ids.
    label: M class names; empty where the corpus gives none.
    probabilities: float64 [M, C], rows sum to 1 over the classes in play, or
      to 0 where a clip held nothing to judge by.
    frame: number of the frame in its film, int [M]; -1 of a whole clip. None:
      all are whole.
    corpus: M names where there are several corpora, else None.
    values: by task, float64 [M, K]; NaN where nothing can be said.
    truth: by task, float64 [M, K], the labels; NaN where there is none.
  """

  classes: tuple[str, ...]
  clip_id: Sequence[str]
  segment: np.ndarray
  speaker: Sequence[str]
  label: Sequence[str]
  probabilities: np.ndarray
  frame: np.ndarray | None = None
  corpus: Sequence[str] | None = None
  values: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  truth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

  @property
  def prediction(self) -> list[str]:
    """The most probable class of each row; '' where nothing can be said."""
    if not self.classes:
      return [''] * len(self.clip_id)
    best = np.argmax(self.probabilities, axis=1)
    some = self.probabilities.sum(1) > 0
    return [
      self.classes[i] if s else '' for i, s in zip(best, some, strict=True)
    ]

  @property
  def answered(self) -> np.ndarray:
    """Whether a row held anything to judge by, bool [M]."""
    said = [~np.isnan(value).all(1) for value in self.values.values()]
    return np.any([self.probabilities.sum(1) > 0, *said], axis=0)

  def take(self, rows: np.ndarray) -> 'Predictions':
    """Some of the rows, by a mask."""
    places = np.flatnonzero(rows)
    pick = lambda column: [column[place] for place in places]
    return dataclasses.replace(
      self,
      clip_id=pick(self.clip_id),
      segment=np.asarray(self.segment)[places],
      speaker=pick(self.speaker),
      label=pick(self.label),
      probabilities=self.probabilities[places],
      frame=None if self.frame is None else self.frame[places],
      corpus=None if self.corpus is None else pick(self.corpus),
      values={task: value[places] for task, value in self.values.items()},
      truth={task: value[places] for task, value in self.truth.items()},
    )


def join(tables: Sequence[Predictions]) -> Predictions:
  """The rows of several tables, one after another.

  Raises:
    AvemoError: they are of other classes or tasks.
  """
  first = tables[0]
  for other in tables:
    if other.classes != first.classes or set(other.values) != set(first.values):
      raise errors.AvemoError(
        f'predictions of {", ".join(first.classes)} and of '
        f'{", ".join(other.classes)} cannot be pooled: other classes or tasks'
      )
  together = lambda name: [row for t in tables for row in getattr(t, name)]
  stack = lambda name: np.concatenate([getattr(t, name) for t in tables])
  by_task = lambda name: {
    task: np.concatenate([getattr(t, name)[task] for t in tables])
    for task in first.values
  }
  return Predictions(
    classes=first.classes,
    clip_id=together('clip_id'),
    segment=stack('segment'),
    speaker=together('speaker'),
    label=together('label'),
    probabilities=stack('probabilities'),
    frame=None if first.frame is None else stack('frame'),
    corpus=None if first.corpus is None else together('corpus'),
    values=by_task('values'),
    truth=by_task('truth'),
  )


def write(path: str | os.PathLike, predictions: Predictions) -> pathlib.Path:
  """Writes the table whole or not at all.

  Probabilities and values keep 9 digits, enough to give back each float32.
  """
  tasks = [task for task in labels.VALUES if task in predictions.values]
  extra = [n for task in tasks for n in labels.VALUES[task]]
  columns = [*_ALWAYS, *(name for name in extra if name not in _ALWAYS)]
  size = len(predictions.clip_id)
  numbers = {name: np.full(size, np.nan) for name in columns}
  for prefix, group in (('', predictions.values), (_LABELS, predictions.truth)):
    for task in tasks:
      for place, name in enumerate(labels.VALUES[task]):
        numbers[prefix + name] = group[task][:, place]
  names = list(numbers)
  table = np.stack([numbers[name] for name in names], axis=1)
  frame = predictions.frame
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  writer.writerow(
    ['clip_id', 'segment', 'frame', 'speaker', 'label', 'prediction']
    + [f'p_{name}' for name in predictions.classes]
    + names
    + ([] if predictions.corpus is None else ['corpus'])
  )
  said = predictions.prediction
  for row in range(size):
    probabilities = predictions.probabilities[row]
    writer.writerow(
      [
        predictions.clip_id[row],
        int(predictions.segment[row]),
        '' if frame is None or frame[row] < 0 else int(frame[row]),
        predictions.speaker[row],
        predictions.label[row],
        said[row],
      ]
      + [f'{p:.9g}' if said[row] else '' for p in probabilities]
      + ['' if np.isnan(value) else f'{value:.9g}' for value in table[row]]
      + ([] if predictions.corpus is None else [predictions.corpus[row]])
    )
  return page.write_text(path, buffer.getvalue())


def read(path: str | os.PathLike) -> Predictions:
  """Reads the table back.

  Raises:
    AvemoError: no such file, or not one that `write` wrote.
  """
  try:
    with open(path, newline='', encoding='utf-8') as file:
      rows = list(csv.DictReader(file))
    names = list(rows[0])
    classes = [name for name in names if name.startswith('p_')]

    def read_numbers(columns, unknown):
      numbers = [[float(r[c] or unknown) for c in columns] for r in rows]
      return np.array(numbers).reshape(len(rows), len(columns))

    tasks = [
      task
      for task, columns in labels.VALUES.items()
      if all(_LABELS + name in names for name in columns)
    ]
    return Predictions(
      classes=tuple(name.removeprefix('p_') for name in classes),
      clip_id=[row['clip_id'] for row in rows],
      segment=np.array([int(row['segment']) for row in rows]),
      speaker=[row['speaker'] for row in rows],
      label=[row['label'] for row in rows],
      probabilities=read_numbers(classes, 0),
      frame=np.array([int(row['frame'] or -1) for row in rows]),
      corpus=[row['corpus'] for row in rows] if 'corpus' in names else None,
      values={task: read_numbers(labels.VALUES[task], 'nan') for task in tasks},
      truth={
        task: read_numbers([_LABELS + n for n in labels.VALUES[task]], 'nan')
        for task in tasks
      },
    )
  except FileNotFoundError as error:
    raise errors.AvemoError(
      f'{path}: no such file; `avemo evaluate` writes it'
    ) from error
  except (KeyError, ValueError, IndexError, TypeError, csv.Error) as error:
    raise errors.AvemoError(
      f'{path}: not a table of predictions; run `avemo evaluate` again'
    ) from error
