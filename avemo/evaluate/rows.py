"""What a model says of clips and frames, row by row."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class RecordPredictions:
  """What a model says of M clips and frames.

  A record whose labels stand by frame has a row a frame, any other has one.
  Clips stand before frames, both in the order asked.

  Attributes:
    record: rows of the index, int64 [M].
    frame: number of the frame in its film, int64 [M]; -1 of a whole clip.
    answered: whether there was anything to judge by, bool [M].
    probabilities: float64 [M, C], the mean over the views; 0 for classes that
      the corpus does not annotate, and throughout without an answer.
    emotion: int32 [M], the labels; -1 where there is none.
    values: by task, float64 [M, K]: valence and arousal, dominance, and
      probabilities of action units; NaN without an answer.
    truth: by task, float64 [M, K], the labels; NaN where there is none.
  """

  record: np.ndarray
  frame: np.ndarray
  answered: np.ndarray
  probabilities: np.ndarray
  emotion: np.ndarray
  values: Mapping[str, np.ndarray]
  truth: Mapping[str, np.ndarray]

  @property
  def prediction(self) -> np.ndarray:
    """The most probable class, int64 [M]; -1 where no class is known."""
    if not self.probabilities.shape[1]:
      return np.full(len(self.record), -1, np.int64)
    return self.probabilities.argmax(-1)

  @property
  def loss(self) -> float:
    """Mean cross entropy of the labelled rows; NaN where none is."""
    labelled = (self.emotion >= 0) & self.answered
    if not labelled.any() or not self.probabilities.shape[1]:
      return float('nan')
    given = self.probabilities[labelled, self.emotion[labelled]]
    return float(-np.log(np.maximum(given, 1e-12)).mean())

  def take(self, rows: np.ndarray) -> 'RecordPredictions':
    """Some of the rows, by a mask or by places."""
    return RecordPredictions(
      *(getattr(self, name)[rows] for name in _COLUMNS),
      {task: value[rows] for task, value in self.values.items()},
      {task: value[rows] for task, value in self.truth.items()},
    )


_COLUMNS = ('record', 'frame', 'answered', 'probabilities', 'emotion')


def join(parts: Sequence[RecordPredictions]) -> RecordPredictions:
  """The rows of several, one after another."""
  if len(parts) == 1:
    return parts[0]
  return RecordPredictions(
    *(np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS),
    *(
      {
        task: np.concatenate([getattr(p, kind)[task] for p in parts])
        for task in getattr(parts[0], kind)
      }
      for kind in ('values', 'truth')
    ),
  )
