"""Sections of a config handed to the functions that take them."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from avemo import errors


def find_keys(function: Callable[..., Any]) -> list[str]:
  """Names of the arguments that a section may set."""
  parameters = inspect.signature(function).parameters.values()
  return [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]


def check_keys(section: str, keys: Iterable[str], known: Sequence[str]) -> None:
  """Raises an AvemoError that names the nearest known key to a wrong one."""
  for key in keys:
    if key not in known:
      near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
      place = f'{section}.{key}' if section else key
      raise errors.AvemoError(
        f'config: unknown key {place!r}; did you mean {near[0]!r}?'
      )


def check_value(key: str, value: str, known: Sequence[str]) -> None:
  """Raises an AvemoError that names the nearest known value to a wrong one."""
  if value not in known:
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.0)
    raise errors.AvemoError(
      f'config: {key}={value!r} is unknown; did you mean {near[0]!r}? One of '
      f'{", ".join(map(str, known))}'
    )


def check_ranges(
  config: Mapping[str, Any],
  ranges: Mapping[str, tuple[float | None, float | None]],
) -> None:
  """Raises an AvemoError for a number outside its least and greatest."""
  values = flatten(config)
  for key, (least, greatest) in ranges.items():
    value = values.get(key)
    if value is None:
      continue
    # Not a number compares as False with everything.
    inside = (least is None or value >= least) and (
      greatest is None or value <= greatest
    )
    if not inside:
      bounds = [
        f'{word} {bound:g}'
        for word, bound in (('at least', least), ('at most', greatest))
        if bound is not None
      ]
      raise errors.AvemoError(f'config: {key}={value}: {", ".join(bounds)}')


def split(
  section: str,
  options: Mapping[str, Any],
  *functions: Callable[..., Any] | Sequence[str],
) -> list[dict[str, Any]]:
  """Shares a section out among functions, by the names of their arguments.

  Args:
    section: its name, for errors.
    options: its keys and values.
    functions: each takes its keyword-only arguments; a sequence lists names.

  Returns:
    One dict a function.

  Raises:
    AvemoError: a key that none of them takes; names the nearest.
  """
  known = [find_keys(f) if callable(f) else list(f) for f in functions]
  check_keys(section, options, sum(known, []))
  return [{k: v for k, v in options.items() if k in keys} for keys in known]


def flatten(config: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Dotted keys to values; an empty section is a value."""
  flat = {}
  for key, value in config.items():
    name = f'{prefix}{key}'
    if isinstance(value, Mapping) and value:
      flat |= flatten(value, f'{name}.')
    else:
      flat[name] = value
  return flat


# What may differ between two runs of one workdir: none of it changes what is
# learned, except by rounding on another mesh.
FREE = (
  'data_dir',
  'data.workers',
  'features.cache',
  'features.allow_overlap',
  'init.allow_overlap',
  'evaluate',
  'checkpoint',
  'mesh',
  'sharding',
  'log_every',
)


def list_briefly(lines: Sequence[str], most: int = 5) -> str:
  """The first lines, and how many more there are."""
  shown = '; '.join(lines[:most])
  left = len(lines) - most
  return f'{shown}; and {left} more' if left > 0 else shown


def check_warmup(steps: int, warmup: int) -> None:
  """Raises an AvemoError for a warm-up that outlasts the run."""
  if not 0 <= warmup <= steps:
    raise errors.AvemoError(
      f'optim.warmup={warmup}: must lie between 0 and steps={steps}; '
      f'add --config.optim.warmup={steps // 10}'
    )


def find_differences(
  old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[str]:
  """Lines for the keys that make `new` another training than `old`.

  `steps` may grow; the keys of `FREE` may differ.
  """
  old, new = flatten(old), flatten(new)
  lines = []
  for key in sorted(old.keys() | new.keys()):
    before, after = old.get(key), new.get(key)
    if before == after or any(
      key == free or key.startswith(f'{free}.') for free in FREE
    ):
      continue
    if key == 'steps' and after is not None and after >= (before or 0):
      continue
    lines.append(f'{key} was {before!r}, is {after!r}')
  return lines
