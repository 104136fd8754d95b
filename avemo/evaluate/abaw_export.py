"""Submissions to ABAW of predictions.csv, a text file a video."""

import os
import pathlib
from collections.abc import Mapping

import numpy as np

from avemo import errors
from avemo.data import labels
from avemo.evaluate import abaw, page, table
from avemo.evaluate import abaw_files as files
from avemo.metrics import abaw as metrics

# More is present: half of the probabilities.
THRESHOLD = 0.5
_CORPUS = 'aff_wild2'
_VALUES = 'valence_arousal'
_UNITS = [f'AU{number}' for number in labels.UNITS]


def export(
  task: str,
  predictions: str | os.PathLike,
  out: str | os.PathLike,
  annotations: str | os.PathLike | None = None,
) -> list[pathlib.Path]:
  """Writes what a run has said of frames as the challenge wants it.

  A frame that nothing was said of has what was said of the one before it,
  the first ones that of the first that something was said of.

  Args:
    task: 'va', 'expr', 'au' or 'mtl', whose one file has a line a picture.
    predictions: `predictions.csv` of an evaluation.
    out: folder of the files; of 'mtl' too.
    annotations: of the set, or files of as many lines, in whose length each
      video is written; as many frames as were read where None.

  Raises:
    AvemoError: no predictions of frames, of another task, or a video or a
      picture of the annotations that nothing is said of.
  """
  found = table.read(predictions)
  if found.corpus is not None:
    found = found.take(np.array([name == _CORPUS for name in found.corpus]))
  is_frame = found.frame >= 0
  if not is_frame.any():
    raise errors.AvemoError(
      f'{predictions}: holds no frames of films of {_CORPUS}'
    )
  found = found.take(is_frame & found.answered)
  lines = make_lines(task, found, predictions)
  clips: dict[str, dict[int, str]] = {}
  for clip_id, frame, line in zip(
    found.clip_id, found.frame, lines, strict=True
  ):
    clips.setdefault(clip_id, {})[int(frame)] = line
  truth = abaw.read_annotations(task, annotations) if annotations else {}
  out = pathlib.Path(out)
  if task == 'mtl':
    return [write_pictures(out / 'predictions.txt', clips, truth)]
  lengths = {name: len(table.values) for name, table in truth.items()}
  lengths = lengths or {name: max(said) + 1 for name, said in clips.items()}
  header, written = ','.join(files.COLUMNS[task]), []
  for name, length in sorted(lengths.items()):
    said = fill(find_clip(name, clips), length)
    text = '\n'.join([header, *said])
    written.append(page.write_text(out / f'{name}.txt', f'{text}\n'))
  return written


def make_lines(
  task: str, found: table.Predictions, path: str | os.PathLike
) -> list[str]:
  """A line of numbers a row, without the picture."""
  columns = []
  if task in ('va', 'mtl'):
    said = np.clip(find_values(found, _VALUES, path), -1, 1)
    columns.append([','.join(f'{v:.6f}' for v in row) for row in said])
  if task in ('expr', 'mtl'):
    names = [name.lower() for name in metrics.EXPRESSIONS]
    known = [n for n, name in enumerate(found.classes) if name in names]
    if not known:
      raise errors.AvemoError(f'{path}: says nothing of expressions')
    best = found.probabilities[:, known].argmax(1)
    places = [names.index(found.classes[n]) for n in known]
    columns.append([str(places[b]) for b in best])
  if task in ('au', 'mtl'):
    order = [_UNITS.index(name) for name in metrics.ACTION_UNITS]
    said = find_values(found, labels.ACTION_UNITS, path)[:, order] > THRESHOLD
    columns.append([','.join(str(int(v)) for v in row) for row in said])
  return [','.join(parts) for parts in zip(*columns, strict=True)]


def find_values(
  found: table.Predictions, task: str, path: str | os.PathLike
) -> np.ndarray:
  if task not in found.values:
    raise errors.AvemoError(f'{path}: says nothing of {task}')
  return found.values[task]


def find_clip(
  name: str, clips: Mapping[str, Mapping[int, str]]
) -> Mapping[int, str]:
  # Ids are in lower case, files as the challenge spells them.
  said = clips.get(name) or clips.get(name.lower())
  if not said:
    raise errors.AvemoError(
      f'{name}: is annotated, and nothing is said of it; evaluate the part of '
      'the protocol that holds it'
    )
  return said


def fill(said: Mapping[int, str], length: int) -> list[str]:
  """A line a frame; that of the one before where there is none."""
  lines, last = [], said[min(said)]
  for frame in range(length):
    last = said.get(frame, last)
    lines.append(last)
  return lines


def write_pictures(
  path: pathlib.Path,
  clips: Mapping[str, Mapping[int, str]],
  truth: Mapping[str, files.Table],
) -> pathlib.Path:
  """The one file of the multi-task challenge, a line a picture."""
  pictures = [
    f'{name}/{frame + 1:05d}.jpg'
    for name, said in sorted(clips.items())
    for frame in sorted(said)
  ]
  for one in truth.values():
    pictures = list(dict.fromkeys(one.pictures))
  lines = [','.join(('image', *files.COLUMNS['mtl']))]
  for picture in pictures:
    name, frame = files.parse_picture(picture)
    if name is None:
      raise errors.AvemoError(f'{picture}: names no picture of a video')
    said = find_clip(name, clips)
    line = said.get(frame - 1) or fill(said, frame)[-1]
    lines.append(f'{picture},{line}')
  return page.write_text(path, '\n'.join(lines) + '\n')
