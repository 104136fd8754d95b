"""Whether a trial is whole, and scored as its config asks."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Set
from typing import Any

from avemo import errors
from avemo.data import dimensions, mixture
from avemo.data import parts as parts_lib
from avemo.experiment import folders
from avemo.train import settings

# Written last: where it stands, the trial is whole.
RESULT_FILE = 'result.json'

NONE: Set[str] = frozenset()


def read(
  folder: pathlib.Path, config: Mapping[str, Any], *, of_any_data: bool = False
) -> dict[str, Any] | None:
  """What a call has left of the same training, scored in the same way.

  None without, and where the steps have grown or `evaluate` has changed: the
  training then goes on from where it stands, which may be its end. Likewise
  where data or towers are not those of then: the training looks closer, and
  refuses others.

  Args:
    folder: of the trial.
    config: of the trial.
    of_any_data: whether the data of now are of no matter, and may be gone.
  """
  path = folder / RESULT_FILE
  if not path.is_file():
    return None
  result = folders.read(path)
  old = result.get('config', {})
  # Neither makes another training.
  for key in ('steps', 'evaluate'):
    if (old.get(key) or {}) != (config.get(key) or {}):
      return None
  if settings.find_differences(old, config):
    return None
  if of_any_data or is_of_same_data(folder, result, config):
    return result
  return None


def is_whole(
  folder: pathlib.Path,
  config: Mapping[str, Any],
  conditions: Set[str] = NONE,
  *,
  of_any_data: bool = False,
) -> bool:
  """Whether it is, and has been looked at under all of the conditions."""
  result = read(folder, config, of_any_data=of_any_data)
  if result is None:
    return False
  return conditions <= {
    *result.get('conditions', ()),
    *result.get('left_out', ()),
  }


def describe_data(
  folder: pathlib.Path, config: Mapping[str, Any]
) -> dict[str, Any]:
  """What `result.json` says of the data and the towers of a training.

  Args:
    folder: with the `labels.json` that the training has written.
    config: of the training.
  """
  about = folders.read(folder / 'labels.json')
  return {
    'dataset_sha256': about.get('dataset_sha256'),
    'towers': {one['name']: one['sha256'] for one in about.get('towers', ())},
    'tower_files': describe_towers(config),
  }


def is_of_same_data(
  folder: pathlib.Path, result: Mapping[str, Any], config: Mapping[str, Any]
) -> bool:
  """Whether dataset and towers are still those of a result.

  A result of an earlier version says nothing of them, but the training's
  `labels.json` does of the dataset. Data that are gone are no others.
  """
  about = result.get('data') or {}
  files = about.get('tower_files', {})
  if any(
    files.get(n, now) != now for n, now in describe_towers(config).items()
  ):
    return False
  old = about.get('dataset_sha256')
  if old is None and (folder / 'labels.json').is_file():
    old = folders.read(folder / 'labels.json').get('dataset_sha256')
  if old is None:
    return True
  section = config.get('data') or {}
  try:
    parts = parts_lib.read(section)
    dataset = parts_lib.open_parts(parts, config.get('data_dir'))
    dataset = dimensions.classify(dataset, section.get('classes_from'))
  except errors.AvemoError:
    return True
  return mixture.identify(dataset) == old


def describe_towers(config: Mapping[str, Any]) -> dict[str, str]:
  """By tower a hash of names, sizes and times of the files of its weights.

  Weights themselves are hashed by the training, which loads them.
  """
  section = (config.get('features') or {}).get('towers') or {}
  found = {}
  for name, one in section.items():
    path = (one or {}).get('path')
    root = pathlib.Path(path).expanduser() if path else None
    if root is None or not root.is_dir():
      continue
    files = []
    for kind in ('checkpoints', 'params', 'batch_stats'):
      for folder, _, names in os.walk(root / kind):
        for file in (pathlib.Path(folder, word) for word in names):
          stat = file.stat()
          place = file.relative_to(root).as_posix()
          files.append([place, stat.st_size, stat.st_mtime_ns])
    text = json.dumps(sorted(files))
    found[name] = hashlib.sha256(text.encode()).hexdigest()
  return found
