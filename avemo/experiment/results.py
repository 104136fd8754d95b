"""Whether a trial is whole, and scored as its config asks."""

import pathlib
from collections.abc import Mapping, Set
from typing import Any

from avemo.experiment import folders
from avemo.train import settings

# Written last: where it stands, the trial is whole.
RESULT_FILE = 'result.json'

NONE: Set[str] = frozenset()


def read(
  folder: pathlib.Path, config: Mapping[str, Any]
) -> dict[str, Any] | None:
  """What a call has left of the same training, scored in the same way.

  None without, and where the steps have grown or `evaluate` has changed: the
  training then goes on from where it stands, which may be its end.
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
  return None if settings.find_differences(old, config) else result


def is_whole(
  folder: pathlib.Path, config: Mapping[str, Any], conditions: Set[str] = NONE
) -> bool:
  """Whether it is, and has been looked at under all of the conditions."""
  result = read(folder, config)
  if result is None:
    return False
  return conditions <= {
    *result.get('conditions', ()),
    *result.get('left_out', ()),
  }
