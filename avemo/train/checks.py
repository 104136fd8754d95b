"""What can be said of a config before JAX starts, which takes seconds."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from avemo import errors
from avemo.corpora import protocols
from avemo.data import labels, parts, schema
from avemo.evaluate import checks
from avemo.train import settings


def check_config(config: Mapping[str, Any], workdir: str | os.PathLike) -> None:
  """Raises an AvemoError for a dataset, protocol or weights that are missing.

  Args:
    config: sections by name.
    workdir: of the run.
  """
  if pathlib.Path(workdir).exists() and not pathlib.Path(workdir).is_dir():
    raise errors.AvemoError(f'{workdir}: not a folder; choose another workdir')
  if 'steps' in config and 'optim' in config:
    settings.check_warmup(config['steps'], config['optim'].get('warmup', 0))
  check_heads((config.get('model') or {}).get('heads') or ())
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
    check_tower(tower, path)


def check_heads(heads: str | Sequence[str]) -> None:
  """Raises an AvemoError that names the nearest head to a wrong one."""
  for head in (heads,) if isinstance(heads, str) else heads:
    settings.check_value('model.heads', head, labels.TASKS)


def check_tower(tower: str, path: pathlib.Path) -> None:
  """Raises an AvemoError where a run is of other towers than the one asked."""
  about = path / 'config.json'
  if not about.is_file():
    return
  model = json.loads(about.read_text(encoding='utf-8')).get('model') or {}
  use = model.get('use')
  if use and tower not in use:
    raise errors.AvemoError(
      f'init.{tower}: {path}: this run has no tower for {tower}; it has '
      f'{" and ".join(use)}'
    )
