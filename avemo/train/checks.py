"""What can be said of a config before JAX starts, which takes seconds."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from avemo import errors
from avemo.corpora import protocols
from avemo.data import parts, schema
from avemo.evaluate import checks


def check_config(config: Mapping[str, Any], workdir: str | os.PathLike) -> None:
  """Raises an AvemoError for a dataset, protocol or weights that are missing.

  Args:
    config: sections by name.
    workdir: of the run.
  """
  if pathlib.Path(workdir).exists() and not pathlib.Path(workdir).is_dir():
    raise errors.AvemoError(f'{workdir}: not a folder; choose another workdir')
  for part in parts.read(config.get('data') or {}):
    protocols.get(part.protocol)
    schema.find_dataset(part.name, config.get('data_dir'))
  for tower in ('video', 'audio'):
    given = (config.get('init') or {}).get(tower)
    if not given:
      continue
    path = pathlib.Path(given).expanduser()
    if not checks.has_model(path):
      what = 'no such folder'
      if path.exists():
        what = 'neither the workdir of a training run nor converted weights'
      raise errors.AvemoError(f'init.{tower}: {path}: {what}')
