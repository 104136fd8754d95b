"""What lies in a folder with weights: a run's workdir, or a conversion's."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from avemo import errors
from avemo.runtime import checkpoint as checkpoint_lib

DEFAULT_METRIC = 'val/uar'

# What marks a directory of converted weights, and describes them.
MODEL_FILE = 'model.json'


class Stored(NamedTuple):
  """Where the weights of a folder are, and what they are of.

  Attributes:
    about: the run's config, or what a conversion says of its weights; `model`
      in it is the model's section.
    inputs: file that says, under `preprocessing`, how a record becomes a clip.
    params: folder of the parameters; the average, where a run kept one.
    batch_stats: folder of the statistics; it may be missing.
  """

  about: Mapping[str, Any]
  inputs: pathlib.Path
  params: pathlib.Path
  batch_stats: pathlib.Path


def find_stored(path: str | pathlib.Path, checkpoint: str | int) -> Stored:
  """The weights of a run's workdir, or of a conversion.

  Args:
    path: the folder.
    checkpoint: of a run: 'best', 'last' or a step.

  Raises:
    AvemoError: it is neither, or damaged.
  """
  path = pathlib.Path(path).expanduser()
  if (path / MODEL_FILE).is_file():
    about, inputs = read_json(path / MODEL_FILE), path / MODEL_FILE
    folder, kept = path, 'params'
  elif (path / 'config.json').is_file():
    about = read_json(path / 'config.json')
    inputs = path / 'labels.json'
    store = open_checkpoints(path, about)
    folder = store.directory / str(store.find_step(checkpoint))
    store.close()
    kept = find_kept(about)
  else:
    what = 'neither the workdir of a training run nor converted weights'
    if not path.is_dir():
      what = 'no such folder'
    raise errors.AvemoError(f'{path}: {what}')
  return Stored(about, inputs, folder / kept, folder / 'batch_stats')


def open_checkpoints(
  workdir: pathlib.Path, config: Mapping[str, Any]
) -> checkpoint_lib.Checkpoints:
  """The checkpoints of a run, to be read; ranked as the run has."""
  control = config.get('control', {})
  return checkpoint_lib.Checkpoints(
    workdir / 'checkpoints',
    metric=control.get('metric', DEFAULT_METRIC),
    mode=control.get('mode', 'max'),
    read_only=True,
  )


def find_kept(config: Mapping[str, Any]) -> str:
  """The item of a checkpoint with the parameters that a run stands for."""
  return 'ema' if config.get('optim', {}).get('ema') else 'params'


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """An object from a file of a workdir.

  Raises:
    AvemoError: it is not there, or damaged.
  """
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError as error:
    raise errors.AvemoError(
      f'{path}: not found; name the workdir of a training run'
    ) from error
  except (OSError, ValueError) as error:
    raise errors.AvemoError(f'{path}: cannot be read ({error})') from error
