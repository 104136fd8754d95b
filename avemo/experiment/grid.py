"""The trials of a config's `get_sweep()`: what differs, and their names.

A sweep is a list of dicts of dotted keys and values, one a trial:

  def get_sweep():
    return [
      {'model.fusion.kind': kind, 'seed': seed}
      for kind in ('early', 'late')
      for seed in (0, 1, 2)
    ]

The key `arg` is no field but what `get_config` takes, as text or as a dict:
`{'arg': {'system': 'late'}}`.
"""

import collections
import dataclasses
import difflib
import hashlib
import importlib.util
import inspect
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from avemo import errors
from avemo.experiment import configs

ARG = 'arg'
# Longer names than this end in a hash.
LONGEST = 80

EXAMPLE = (
  "def get_sweep(): return [{'seed': seed} for seed in (0, 1, 2)], beside "
  'get_config'
)


@dataclasses.dataclass(frozen=True)
class Trial:
  """One point of a grid.

  Attributes:
    name: readable, safe in a path, and of the overrides alone.
    overrides: dotted keys and values.
    config: with them, a nested dict.
  """

  name: str
  overrides: dict[str, Any]
  config: dict[str, Any]


def load_trials(arguments: Sequence[str]) -> list[Trial]:
  """The trials that `--config=FILE[:arg] --config.a.b=v …` describe.

  What the command line sets holds for all trials.

  Raises:
    AvemoError: no `get_sweep`, an empty grid, a trial twice, an unknown key
      (names the nearest) or a value of the wrong type.
  """
  file, colon, arg = arguments[0].removeprefix('--config=').partition(':')
  # First, so that what is wrong with the file itself is said as ever.
  configs.load(arguments)
  points = load_points(pathlib.Path(file), arg)
  given = {word.split('=')[0].removeprefix('--config.') for word in arguments}
  trials: list[Trial] = []
  seen: set[tuple[str, int]] = set()
  for number, overrides in enumerate(points):
    try:
      for key in given & overrides.keys():
        raise errors.AvemoError(
          f'--config.{key} on the command line, and the grid sets it as well'
        )
      config = make_config(arguments, overrides)
    except errors.AvemoError as error:
      raise errors.AvemoError(
        f'{file}: trial {number} of get_sweep: {error}'
      ) from error
    system = hash_of(find_system(overrides)), config['seed']
    if system in seen:
      raise errors.AvemoError(
        f'{file}: trial {number} of get_sweep is there twice: {overrides}'
      )
    seen.add(system)
    trials.append(Trial(make_name(overrides), overrides, config))
  counts = collections.Counter(trial.name for trial in trials)
  # All that share a name: the order of the grid must not tell them apart.
  return [
    dataclasses.replace(t, name=f'{t.name}-{hash_of(t.overrides)}')
    if counts[t.name] > 1
    else t
    for t in trials
  ]


def load_points(path: pathlib.Path, arg: str = '') -> list[dict[str, Any]]:
  """What `get_sweep` of a file returns, looked at."""
  spec = importlib.util.spec_from_file_location('avemo_sweep_config', path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    if not hasattr(module, 'get_sweep'):
      raise errors.AvemoError(f'{path}: no get_sweep(); add {EXAMPLE}')
    takes = inspect.signature(module.get_sweep).parameters
    points = module.get_sweep(arg) if takes else module.get_sweep()
    points = [spread_arg(dict(point)) for point in points]
  except errors.AvemoError:
    raise
  except Exception as error:  # The file is the user's: anything may happen.
    raise errors.AvemoError(
      f'{path}: get_sweep: {configs.explain(error)}; it returns a list of '
      f'dicts, such as {EXAMPLE}'
    ) from error
  if not points:
    raise errors.AvemoError(f'{path}: get_sweep() gives no trial')
  return points


def spread_arg(point: dict[str, Any]) -> dict[str, Any]:
  """A point whose `arg`, if any, is a dict of text."""
  for key in point:
    if not isinstance(key, str):
      raise TypeError(f'key {key!r} is no text')
  if ARG not in point:
    return point
  arg = point[ARG]
  if isinstance(arg, str):
    pairs = (part.partition('=') for part in arg.split(',') if part)
    arg = {name: text if equals else 'true' for name, equals, text in pairs}
  return point | {ARG: {name: str(value) for name, value in arg.items()}}


def make_config(
  arguments: Sequence[str], overrides: Mapping[str, Any]
) -> dict[str, Any]:
  """The config of one trial, a nested dict as JSON gives it back."""
  first, *flags = arguments
  if overrides.get(ARG):
    words = ','.join(f'{k}={v}' for k, v in overrides[ARG].items())
    # What comes later counts.
    first += f'{"," if ":" in first else ":"}{words}'
  config = configs.load([first, *flags])
  for key, value in overrides.items():
    if key != ARG:
      set_field(config, key, value)
  return json.loads(json.dumps(config.to_dict()))


def set_field(config: ml_collections.ConfigDict, key: str, value: Any) -> None:
  """Sets a field by its dotted name.

  Raises:
    AvemoError: no such field (names the nearest), or another type.
  """
  *parents, last = key.split('.')
  section, path = config, []
  for name in [*parents, last]:
    if not isinstance(section, ml_collections.ConfigDict):
      raise errors.AvemoError(f'{key!r}: {".".join(path)} is no section')
    if name not in section:
      near = difflib.get_close_matches(name, list(section), 1, cutoff=0.0)
      where = '.'.join([*path, near[0]]) if near else ''
      hint = f'; did you mean {where!r}?' if near else ''
      raise errors.AvemoError(f'no key {key!r} in the config{hint}')
    path.append(name)
    if name != last or len(path) <= len(parents):
      section = section[name]
  try:
    setattr(section, last, value)
  except (TypeError, ValueError, KeyError, AttributeError) as error:
    raise errors.AvemoError(f'{key}: {configs.explain(error)}') from error


# -------------------------------------------------------------------- names


def make_name(overrides: Mapping[str, Any]) -> str:
  """A folder's name from what differs, such as 'fusion.kind=late_seed=1'.

  The last two words of each key, in alphabetical order, the seed last. It
  depends on this trial alone, so that a grid may grow.
  """
  flat = {k: v for k, v in overrides.items() if k != ARG}
  flat |= dict(overrides.get(ARG) or {})
  words = [
    f'{".".join(key.split(".")[-2:])}={show_value(flat[key])}'
    for key in sorted(flat, key=lambda key: (key == 'seed', key))
  ]
  text = '_'.join(words) or 'as_it_is'
  name = re.sub(r'[^\w.+=-]+', '-', text)
  if name != text or len(name) > LONGEST:
    name = f'{name[:LONGEST].rstrip("-._")}-{hash_of(overrides)}'
  return name


def show_value(value: Any) -> str:
  if isinstance(value, tuple | list):
    return '+'.join(map(show_value, value)) or 'none'
  if isinstance(value, Mapping):
    return json.dumps(value, sort_keys=True, default=str)
  return str(value).lower() if value is None or value is True else str(value)


def hash_of(overrides: Mapping[str, Any]) -> str:
  text = json.dumps(overrides, sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()[:8]


def find_system(overrides: Mapping[str, Any]) -> dict[str, Any]:
  """The overrides of a trial without its seed: what several seeds are of."""
  rest = {key: value for key, value in overrides.items() if key != 'seed'}
  if ARG in rest:
    rest[ARG] = {k: v for k, v in rest[ARG].items() if k != 'seed'}
  return {key: value for key, value in rest.items() if key != ARG or value}
