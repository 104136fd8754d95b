"""From what is said of windows to what is said of every frame.

A film is looked at in windows that lie `every` seconds apart, each wholly in
one record, as in training; what is said of a window is said of its middle
frame. Between two middles it is interpolated in a straight line, across
records; before the first and after the last it is held. Windows without
anything to judge by are left out, so that their neighbours fill them.

Films are taken one after another: in memory are a batch of windows and a few
numbers a frame, however long they are.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo.data import clips, mixture, targets
from avemo.evaluate.rows import RecordPredictions, join

Read = dict[int, tuple[np.ndarray, targets.FrameLabels]]


def spread(
  found: Mapping[str, np.ndarray],
  records: np.ndarray,
  dataset: Any,
  table: targets.Table,
  read: Read | None = None,
) -> RecordPredictions:
  """A row for every frame that the records store, in order.

  Args:
    found: rows of `make_predict_step`, windows alone, in any order.
    records: asked for, [N]; all with labels by frame.
    dataset: of the records.
    table: its labels.
    read: numbers and labels of the frames of records, kept from one call to
      the next; filled where they are missing.
  """
  read = {} if read is None else read
  films = find_films(dataset, records)
  names = ('probabilities', *table.values)
  order = np.argsort(found['record'], kind='stable')
  starts = np.searchsorted(found['record'][order], np.arange(len(table.part)))
  ends = np.append(starts, len(order))[1:]
  made: dict[int, RecordPredictions] = {}
  for film in films:
    rows = np.concatenate([order[starts[r] : ends[r]] for r in film])
    rows = rows[found['present'][rows]]
    for record in film:
      if record not in read:
        stored = dataset.source[record]
        number = np.asarray(stored['frame_index'], np.int64)
        read[record] = number, targets.read_frames(stored, table, record)
      number, truth = read[record]
      said = {
        name: interpolate(number, found['frame'][rows], found[name][rows])
        for name in names
      }
      shares = said.pop('probabilities')
      made[record] = RecordPredictions(
        record=np.full(len(number), record, np.int64),
        frame=number,
        answered=np.full(len(number), len(rows) > 0),
        probabilities=np.nan_to_num(shares),
        emotion=truth.emotion,
        values=said,
        truth={k: v.astype(np.float64) for k, v in truth.values.items()},
      )
  return join([made[int(record)] for record in records])


def average(found: RecordPredictions) -> RecordPredictions:
  """A row a record, of rows a frame: what is said is averaged over them.

  Labels are those of the first frame: of a whole clip, all have the same.
  """
  _, first, place = np.unique(
    found.record, return_index=True, return_inverse=True
  )
  count = np.bincount(place, found.answered, len(first))
  answered = count > 0

  def mean(values):
    total = np.zeros((len(first), values.shape[1]))
    # Where there is no answer there is no number.
    np.add.at(total, place, np.where(found.answered[:, None], values, 0))
    return total / np.maximum(count, 1)[:, None]

  order = np.argsort(first)
  return RecordPredictions(
    record=found.record[first],
    frame=np.full(len(first), -1, np.int64),
    answered=answered,
    probabilities=mean(found.probabilities),
    emotion=found.emotion[first],
    values={
      task: np.where(answered[:, None], mean(value), np.nan)
      for task, value in found.values.items()
    },
    truth={task: value[first] for task, value in found.truth.items()},
  ).take(order)


def find_films(dataset: Any, records: np.ndarray) -> list[list[int]]:
  """The records of each film, in the order of its segments."""
  parts = mixture.find_parts(dataset, records)
  films: dict[tuple[int, str], list[int]] = {}
  for part, record in zip(parts, map(int, records), strict=True):
    film = clips.as_text(dataset.index['video_id'][record])
    films.setdefault((int(part), film), []).append(record)
  segment = dataset.index['segment']
  return [
    sorted(film, key=lambda r: int(segment[r])) for film in films.values()
  ]


def interpolate(
  frame: np.ndarray, middle: np.ndarray, values: np.ndarray
) -> np.ndarray:
  """Values at frames from those at the middles of windows.

  Args:
    frame: numbers of the frames, [n].
    middle: numbers of the middle frames, [W], in any order; the first of
      several windows with one middle counts.
    values: [W, K].

  Returns:
    float64 [n, K]; NaN without any window.
  """
  if not len(middle):
    return np.full((len(frame), values.shape[1]), np.nan)
  places, first = np.unique(middle, return_index=True)
  columns = values[first].astype(np.float64).T
  made = [np.interp(frame, places, column) for column in columns]
  return np.reshape(made, (-1, len(frame))).T
