"""The towers that a config names, and how a workdir remembers them."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from avemo import errors
from avemo.features import films, towers
from avemo.models import layers, sections

# What may be said of a tower.
KEYS = ('path', 'modality', 'checkpoint')


def open_towers(
  section: Mapping[str, Mapping[str, Any]],
) -> dict[str, towers.Tower]:
  """The towers of a config's section, by the names of their features.

  Args:
    section: by name, `path` of a run's workdir or of converted weights;
      `modality` and `checkpoint` as of `towers.load`.

  Raises:
    AvemoError: there is none, or one cannot be opened.
  """
  # A config may list towers for which there are no weights at hand.
  named = {n: one for n, one in section.items() if one and one.get('path')}
  if not named:
    raise errors.AvemoError(
      'config: features.towers names no weights; set the path of a tower, '
      'such as --config.features.towers.face.path=DIR, the workdir of a '
      'training run (configs/frames_towers.py makes small ones) or a directory '
      'of converted weights'
    )
  found = {}
  for name, one in sorted(named.items()):
    layers.check_names(f'features.towers.{name} key', one, KEYS)
    found[name] = towers.load(
      one['path'],
      one.get('modality'),
      checkpoint=one.get('checkpoint') or 'best',
    )
  return found


def describe(opened: Mapping[str, towers.Tower]) -> list[dict[str, Any]]:
  """What `labels.json` says of towers, enough to open the same again."""
  return [
    {
      'name': name,
      'path': os.path.abspath(tower.path),
      'modality': tower.modality,
      'sha256': tower.sha256,
      'width': films.find_width(tower),
    }
    for name, tower in opened.items()
  ]


def open_again(
  described: Sequence[Mapping[str, Any]],
  section: Mapping[str, Mapping[str, Any]],
) -> dict[str, towers.Tower]:
  """The towers that a workdir points to, with the very weights of then.

  Args:
    described: of `describe`.
    section: of the config, which may name a checkpoint.

  Raises:
    AvemoError: a folder is gone, or its weights are others.
  """
  found = {}
  for one in described:
    name, path = one['name'], pathlib.Path(one['path'])
    if not path.is_dir():
      raise errors.AvemoError(
        f'{path}: the tower {name} of this run is gone; put it back'
      )
    tower = towers.load(
      path,
      one['modality'],
      checkpoint=(section.get(name) or {}).get('checkpoint') or 'best',
    )
    if tower.sha256 != one['sha256']:
      raise errors.AvemoError(
        f'{path}: the tower {name} has other weights than when this run was '
        f'trained ({tower.sha256[:12]}, then {one["sha256"][:12]}); put those '
        'back, or train again'
      )
    found[name] = tower
  return found


def list_modalities(opened: Mapping[str, towers.Tower]) -> tuple[str, ...]:
  """Modalities that some tower reads, in the usual order."""
  read = {tower.modality for tower in opened.values()}
  return tuple(name for name in sections.MODALITIES if name in read)
