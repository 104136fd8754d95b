"""What can be said of a workdir before JAX starts, which takes seconds."""

import contextlib
import json
import os
import pathlib

from avemo import errors

# A training run's, and that of converted weights.
_MARKS = ('config.json', 'model.json')


def has_model(folder: str | os.PathLike) -> bool:
  """Whether a folder is a training run's, or holds converted weights."""
  return any((pathlib.Path(folder) / mark).is_file() for mark in _MARKS)


def check_sharing(workdir: str | os.PathLike) -> None:
  """Raises an AvemoError where several processes cannot share a model's clips.

  That is one over features of frames, which one process keeps.
  """
  path = pathlib.Path(workdir) / 'labels.json'
  with contextlib.suppress(OSError, ValueError, AttributeError):
    if json.loads(path.read_text()).get('towers'):
      raise errors.AvemoError(
        f'{workdir}: reads features of frames, which one process keeps; '
        'evaluate it in one'
      )


def check_workdir(workdir: str | os.PathLike) -> None:
  """Raises an AvemoError where no model can be in a folder."""
  if not has_model(workdir):
    path = pathlib.Path(workdir) / _MARKS[0]
    raise errors.AvemoError(
      f'{path}: not found; name the workdir of a training run'
    )
