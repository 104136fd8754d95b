"""Films read by features of their frames: how fast, and smoothed along time."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from avemo import errors
from avemo.data import parts as parts_lib
from avemo.data import sequences
from avemo.evaluate import restore, rows, scores, smooth
from avemo.features import films as films_lib
from avemo.features import sources

# From records to what is said of them.
Predict = Callable[[np.ndarray], rows.RecordPredictions]


def smooth_rows(
  found: rows.RecordPredictions,
  restored: restore.Restored,
  dataset: Any,
  parts: Sequence[parts_lib.Part],
  way: str,
  split: str,
  predict: Predict,
) -> tuple[rows.RecordPredictions, dict[str, Any]]:
  """The rows smoothed, and what `metrics.json` says of it.

  Args:
    found: of a split.
    restored: the model.
    dataset: of the records.
    parts: of the dataset.
    way: 'none', 'mean:S', 'median:S' or 'chosen'.
    split: whose rows they are.
    predict: for films on which a window is chosen.

  Raises:
    AvemoError: nothing is labelled by frame, or nothing is held out to choose
      a window on.
  """
  if way == 'none':
    return found, {}
  tasks = restored.tasks
  if not (found.frame >= 0).any():
    raise errors.AvemoError(
      f'smooth={way}: these are clips, and films are smoothed'
    )
  about = {'ways': dict.fromkeys(tasks, way)}
  if way == smooth.CHOSEN and split == 'val':
    note = 'the window is chosen on these films, which are left as they are'
    return found, {'smoothing': {'ways': dict.fromkeys(tasks), 'note': note}}
  if way == smooth.CHOSEN:
    data = restored.config['data']
    other = predict(find_held_out(dataset, parts, refit=data.get('refit')))
    ways, scored = smooth.choose(
      other, find_times(restored, dataset, other), dataset, tasks
    )
    about = {'ways': ways, 'chosen_on': 'val', 'scores': scored}
  before = scores.measure(found, tasks)
  names = [name for task in tasks for name in scores.NAMES[task]]
  about['unsmoothed'] = {
    name: None if np.isnan(before[name]) else before[name] for name in names
  }
  times = find_times(restored, dataset, found)
  found = smooth.apply(found, times, dataset, about['ways'])
  return found, {'smoothing': about}


def find_held_out(
  dataset: Any, parts: Sequence[parts_lib.Part], *, refit: bool | None
) -> np.ndarray:
  """The records on which a window to smooth by is chosen.

  Args:
    dataset: of the parts.
    parts: the corpora.
    refit: whether validation records are trained on as well.

  Raises:
    AvemoError: there are none that are neither trained on nor scored.
  """
  held = parts_lib.find_split(dataset, parts, 'val')
  tested = parts_lib.find_split(dataset, parts, 'test')
  if refit or not len(held) or np.isin(held, tested).any():
    raise errors.AvemoError(
      f'smooth={smooth.CHOSEN}: no films of the training set are held out to '
      'choose on; name a window, such as mean:1'
    )
  return held


def check_way(
  config: Mapping[str, Any], dataset: Any, has_frames: Callable[[], bool]
) -> None:
  """Raises an AvemoError where a run could not be smoothed as its config says.

  Args:
    config: of the run.
    dataset: of the run.
    has_frames: whether frames are labelled, and so scored.
  """
  way = (config.get('evaluate') or {}).get('smooth') or 'none'
  smooth.check(way)
  if way != 'none' and not has_frames():
    raise errors.AvemoError(
      f'config: evaluate.smooth={way}: these are clips, and films are smoothed'
    )
  if way == smooth.CHOSEN:
    data = config['data']
    find_held_out(dataset, parts_lib.read(data), refit=data.get('refit'))


def find_times(
  restored: restore.Restored, dataset: Any, found: rows.RecordPredictions
) -> np.ndarray:
  """Seconds of each row in its film, float64 [M]."""
  features = open_features(restored, dataset, np.unique(found.record))
  return smooth.find_times(dataset, found, features)


def open_towers(restored: restore.Restored) -> restore.Restored:
  """The model with its towers open, which takes a while.

  Raises:
    AvemoError: a tower is gone, or its weights are others.
  """
  if not restored.towers or restored.opened is not None:
    return restored
  section = restored.config['features'].get('towers') or {}
  opened = sources.open_again(restored.towers, section)
  return dataclasses.replace(restored, opened=opened)


def open_features(
  restored: restore.Restored, dataset: Any, records: np.ndarray
) -> sequences.Films | None:
  """What the towers of a run say of frames; None of a model without any."""
  if not restored.towers:
    return None
  options = restored.config['features']
  towers = open_towers(restored).opened
  return films_lib.cache_films(
    options['cache'],
    dataset,
    records,
    towers,
    length=options['frames'],
    threshold=options.get('adaptive'),
  )


def set_adaptive(
  restored: restore.Restored, workdir: pathlib.Path, threshold: float
) -> restore.Restored:
  """The model, to be read at an adaptive frame rate.

  Raises:
    AvemoError: it does not read features of frames.
  """
  if not restored.towers or 'video' not in {
    one['modality'] for one in restored.towers
  }:
    raise errors.AvemoError(
      f'{workdir}: --adaptive is for models over features of faces, frame by '
      'frame (model.name=sequence)'
    )
  section = restored.config['features'] | {'adaptive': threshold}
  config = restored.config | {'features': section}
  return dataclasses.replace(restored, config=config)


def describe_rate(
  restored: restore.Restored, dataset: Any, records: np.ndarray
) -> dict[str, Any]:
  """How many of the faces a tower was run on."""
  features = open_features(restored, dataset, records)
  if features is None or not features.looked_at:
    return {}
  looked_at, faces, frames = features.count_looked_at(records)
  return {
    'frame_rate': {
      'adaptive': restored.config['features'].get('adaptive'),
      'looked_at': looked_at,
      'faces': faces,
      'frames': frames,
    }
  }
