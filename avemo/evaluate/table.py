"""predictions.csv: one row a clip, from which every metric starts."""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from avemo import errors
from avemo.evaluate import page


@dataclasses.dataclass(frozen=True)
class Predictions:
  """What a model said of N clips.

  Attributes:
    classes: C class names.
    clip_id: N ids.
    segment: segment of the film, int [N]; 0 where a clip is whole.
    speaker: N speaker ids.
    label: N class names; empty where the corpus gives none.
    probabilities: float64 [N, C], rows sum to 1 over the classes in play, or
      to 0 where a clip held nothing to judge by.
  """

  classes: tuple[str, ...]
  clip_id: Sequence[str]
  segment: np.ndarray
  speaker: Sequence[str]
  label: Sequence[str]
  probabilities: np.ndarray

  @property
  def prediction(self) -> list[str]:
    """The most probable class of each clip; '' where nothing can be said."""
    best = np.argmax(self.probabilities, axis=1)
    some = self.probabilities.sum(1) > 0
    return [
      self.classes[i] if s else '' for i, s in zip(best, some, strict=True)
    ]


def write(path: str | os.PathLike, predictions: Predictions) -> pathlib.Path:
  """Writes the table whole or not at all.

  Probabilities keep 9 digits, enough to give back each float32.
  """
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  writer.writerow(
    ['clip_id', 'segment', 'frame', 'speaker', 'label', 'prediction']
    + [f'p_{name}' for name in predictions.classes]
    + ['valence', 'arousal']
  )
  rows = zip(
    predictions.clip_id,
    predictions.segment,
    predictions.speaker,
    predictions.label,
    predictions.prediction,
    predictions.probabilities,
    strict=True,
  )
  for clip_id, segment, speaker, label, prediction, probabilities in rows:
    writer.writerow(
      [clip_id, int(segment), '', speaker, label, prediction]
      + [f'{p:.9g}' if prediction else '' for p in probabilities]
      + ['', '']
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
    columns = [name for name in rows[0] if name.startswith('p_')]
    return Predictions(
      classes=tuple(name.removeprefix('p_') for name in columns),
      clip_id=[row['clip_id'] for row in rows],
      segment=np.array([int(row['segment']) for row in rows]),
      speaker=[row['speaker'] for row in rows],
      label=[row['label'] for row in rows],
      probabilities=np.array(
        [[float(row[c] or 0) for c in columns] for row in rows]
      ),
    )
  except FileNotFoundError as error:
    raise errors.AvemoError(
      f'{path}: no such file; `avemo evaluate` writes it'
    ) from error
  except (KeyError, ValueError, IndexError, TypeError) as error:
    raise errors.AvemoError(
      f'{path}: not a table of predictions; run `avemo evaluate` again'
    ) from error
