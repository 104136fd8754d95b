"""Tables of rules that carry named tensors into a tree of parameters.

A table is strict both ways: every tensor of the file is used once or dropped
by name, every parameter is filled once, and every shape is checked. Files that
differ from what a table expects are refused, with what differs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avemo import errors
from avemo.convert import names, values

# Findings that one error tells.
MOST_TOLD = 12


def identity(x: np.ndarray) -> np.ndarray:
  """Returns the array as it is."""
  return x


class Rule(NamedTuple):
  """One row of a table.

  A name may hold captures for whole numbers: `blocks.{i}.norm1.weight`. A
  capture that also stands in the target is put in there. One that does not is
  the layer: its results, which must be numbered 0..L-1, are stacked along a
  new first axis.

  Attributes:
    source: the name of a tensor; or a tuple of names, with the same captures,
      which make the targets together.
    target: a path in the tree, joined by '/'; or a tuple of paths, with the
      same captures; or None, which drops the tensors. Where tensors are
      dropped, '*' in source stands for any text.
    transform: from the source array(s), each an argument, to the target array,
      or to a tuple of arrays where target is a tuple.
    optional: the rule may match nothing; one that drops always may.
  """

  source: str | tuple[str, ...]
  target: str | tuple[str, ...] | None
  transform: Callable[..., Any] = identity
  optional: bool = False


def transpose(x: np.ndarray) -> np.ndarray:
  """Dense kernel `[out, in]` → `[in, out]`."""
  _check_rank(x, 2)
  return x.T


def conv(x: np.ndarray) -> np.ndarray:
  """Convolution kernel `[O, I, *k]` → `[*k, I, O]`, of any rank."""
  if x.ndim < 3:
    raise ValueError(f'a convolution kernel has at least 3 axes, not {x.ndim}')
  return np.transpose(x, (*range(2, x.ndim), 1, 0))


def split_heads(num_heads: int) -> Callable[[np.ndarray], np.ndarray]:
  """Kernel of query, key or value, `[K·d, D]` → `[D, K, d]`."""

  def split(x):
    _check_rank(x, 2)
    return x.T.reshape(x.shape[1], num_heads, -1)

  return split


def split_qkv(num_heads: int) -> Callable[[np.ndarray], tuple]:
  """Fused kernel `[3·K·d, D]`, rows q, k, v → three kernels `[D, K, d]`."""

  def split(x):
    _check_rank(x, 2)
    kernels = x.T.reshape(x.shape[1], 3, num_heads, -1)
    return kernels[:, 0], kernels[:, 1], kernels[:, 2]

  return split


def split_qkv_bias(num_heads: int) -> Callable[[np.ndarray], tuple]:
  """Fused bias `[3·K·d]` → three biases `[K, d]`."""

  def split(x):
    _check_rank(x, 1)
    query, key, value = x.reshape(3, num_heads, -1)
    return query, key, value

  return split


def bias_heads(num_heads: int) -> Callable[[np.ndarray], np.ndarray]:
  """Bias of query, key or value, `[K·d]` → `[K, d]`."""

  def split(x):
    _check_rank(x, 1)
    return x.reshape(num_heads, -1)

  return split


def out_heads(num_heads: int) -> Callable[[np.ndarray], np.ndarray]:
  """Kernel of the output projection, `[D, K·d]` → `[K, d, D]`."""

  def split(x):
    _check_rank(x, 2)
    return x.T.reshape(num_heads, -1, x.shape[0])

  return split


def _check_rank(x: np.ndarray, rank: int):
  if x.ndim != rank:
    raise ValueError(f'{x.ndim} axes where {rank} are expected')


class _Table(NamedTuple):
  """A rule with its names compiled."""

  rule: Rule
  sources: tuple[str, ...]
  targets: tuple[str, ...]
  patterns: tuple[re.Pattern, ...]
  layer: str | None  # The capture that is stacked.


def convert(
  tensors: Mapping[str, Any],
  rules: Sequence[Rule],
  shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, np.ndarray]:
  """Carries tensors into parameters by the first rule that matches each.

  Args:
    tensors: name → array, of any floating type, or a whole number (a counter).
    rules: the table.
    shapes: path → shape, of every parameter that must be filled.

  Returns:
    Path → array for exactly the paths of shapes: float32, whole numbers as
    they were.

  Raises:
    AvemoError: tensors and table, or table and shapes, differ; one line names
      what is left over, what is missing and the nearest candidates.
  """
  tables = [_compile(rule) for rule in rules]
  found, unmatched = _match(tensors, tables)
  problems = _tell_names(tensors, tables, found, unmatched)
  _refuse(problems)
  filled: dict[str, np.ndarray] = {}
  for table, groups in zip(tables, found, strict=True):
    if table.rule.target is None:
      continue
    try:
      _put(_make(table, groups, tensors), table, shapes, filled)
    except errors.AvemoError as error:
      problems.append(str(error))
  if not problems:
    problems = names.tell_first(
      [path for path in shapes if path not in filled],
      lambda path: f'nothing fills {path!r}',
    )
  _refuse(problems)
  return filled


def rename(
  tensors: Mapping[str, Any], replacements: Sequence[tuple[str, str]]
) -> dict[str, Any]:
  """Applies regular expressions to the names, in order.

  Args:
    tensors: name → anything.
    replacements: (pattern, replacement) as `re.sub` takes them, such as
      ('^module\\.', '').

  Raises:
    AvemoError: two names become one.
  """
  compiled = [(re.compile(old), new) for old, new in replacements]
  renamed: dict[str, Any] = {}
  origins: dict[str, str] = {}
  for name, value in tensors.items():
    new_name = name
    for pattern, replacement in compiled:
      new_name = pattern.sub(replacement, new_name)
    if new_name in renamed:
      raise errors.AvemoError(
        f'{origins[new_name]!r} and {name!r} are both {new_name!r}: the file '
        'holds one tensor under two names; remove one of them'
      )
    renamed[new_name], origins[new_name] = value, name
  return renamed


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Paths joined by '/' → nested dicts; raises ValueError on a clash."""
  tree: dict[str, Any] = {}
  for path, value in flat.items():
    *parents, last = path.split('/')
    node = tree
    for part in parents:
      node = node.setdefault(part, {})
      if not isinstance(node, dict):
        raise ValueError(f'{path!r} lies below a leaf')
    if last in node:
      raise ValueError(f'{path!r} is a leaf and a branch, or given twice')
    node[last] = value
  return tree


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Nested dicts → paths joined by '/'; an empty dict leaves nothing."""
  flat: dict[str, Any] = {}
  for name, value in tree.items():
    if isinstance(value, Mapping):
      flat |= flatten(value, f'{prefix}{name}/')
    else:
      flat[f'{prefix}{name}'] = value
  return flat


def _compile(rule: Rule) -> _Table:
  """Raises ValueError for a rule that cannot mean anything."""
  sources = _as_tuple(rule.source)
  targets = () if rule.target is None else _as_tuple(rule.target)
  named = {names.find_captures(name) for name in sources}
  placed = {names.find_captures(path) for path in targets}
  if len(named) != 1 or len(placed) > 1:
    raise ValueError(f'{rule.source!r}: names of one rule differ in captures')
  captures = named.pop()
  kept = placed.pop() if placed else captures
  layers = captures - kept
  if kept - captures or len(layers) > 1:
    raise ValueError(f'{rule.source!r}: captures do not lead to {targets}')
  dropped = rule.target is None
  patterns = tuple(names.compile_pattern(name, dropped) for name in sources)
  return _Table(rule, sources, targets, patterns, next(iter(layers), None))


def _as_tuple(given: str | tuple[str, ...]) -> tuple[str, ...]:
  return (given,) if isinstance(given, str) else tuple(given)


# One a rule: captures (sorted) → the name found for each source, or None.
_Groups = dict[tuple[tuple[str, int], ...], list[str | None]]


def _match(
  tensors: Mapping[str, Any], tables: Sequence[_Table]
) -> tuple[list[_Groups], list[str]]:
  """The names that each rule takes, and those that none takes."""
  found: list[_Groups] = [{} for _ in tables]
  unmatched = []
  for name in tensors:
    for table, groups in zip(tables, found, strict=True):
      matches = [pattern.fullmatch(name) for pattern in table.patterns]
      place = next((i for i, m in enumerate(matches) if m), None)
      if place is None:
        continue
      captured = matches[place].groupdict()
      key = tuple(sorted((k, int(v)) for k, v in captured.items()))
      groups.setdefault(key, [None] * len(matches))[place] = name
      break
    else:
      unmatched.append(name)
  return found, unmatched


def _find_lacking(
  found: Sequence[_Groups], tables: Sequence[_Table]
) -> list[str]:
  """The names that rules need and the tensors lack."""
  lacking = []
  for table, groups in zip(tables, found, strict=True):
    if table.rule.target is None:
      continue
    if not groups and not table.rule.optional:
      lacking += table.sources
    for key, group in groups.items():
      for source, name in zip(table.sources, group, strict=True):
        if name is None:
          lacking.append(names.substitute(source, dict(key)))
  return lacking


def _tell_names(
  tensors: Mapping[str, Any],
  tables: Sequence[_Table],
  found: Sequence[_Groups],
  unmatched: Sequence[str],
) -> list[str]:
  """The names that are too many and those that are missing."""
  own = list(tensors)
  wanted = [source for table in tables for source in table.sources]
  return names.tell_first(
    unmatched,
    lambda name: f'{name!r} is not expected{names.tell_near(name, wanted)}',
  ) + names.tell_first(
    _find_lacking(found, tables),
    lambda name: f'{name!r} is missing{names.tell_near(name, own)}',
  )


def _refuse(problems: Sequence[str]):
  """Raises AvemoError unless there are none."""
  if problems:
    more = len(problems) - MOST_TOLD
    told = '; '.join(problems[:MOST_TOLD])
    raise errors.AvemoError(
      f'the tensors do not fit the model: {told}'
      + (f'; and {more} more' if more > 0 else '')
      + '; convert the file that was published for this model, unchanged'
    )


def _make(
  table: _Table, groups: _Groups, tensors: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """The arrays of one rule, by path, layers stacked."""
  layers: dict[str, dict[int, np.ndarray]] = {}
  for key in sorted(groups):
    captures = dict(key)
    outputs = _transform(table, groups[key], tensors)
    for target, output in zip(table.targets, outputs, strict=True):
      path = names.substitute(target, captures)
      number = 0 if table.layer is None else captures[table.layer]
      layers.setdefault(path, {})[number] = output
  return {
    path: values.stack(path, found) if table.layer else found[0]
    for path, found in layers.items()
  }


def _transform(
  table: _Table, group: Sequence[str], tensors: Mapping[str, Any]
) -> tuple[np.ndarray, ...]:
  arrays = [values.widen(name, tensors[name]) for name in group]
  try:
    outputs = table.rule.transform(*arrays)
  except (ValueError, IndexError, TypeError) as error:
    told = ', '.join(
      f'{name!r} {x.shape}' for name, x in zip(group, arrays, strict=True)
    )
    raise errors.AvemoError(
      f'{told} cannot become {" and ".join(table.targets)}: {error}'
    ) from error
  single = isinstance(table.rule.target, str)
  outputs = (outputs,) if single else tuple(outputs)
  if len(outputs) != len(table.targets):
    raise ValueError(f'{table.sources}: the transform made {len(outputs)}')
  return tuple(values.narrow(group[0], output) for output in outputs)


def _put(
  made: Mapping[str, np.ndarray],
  table: _Table,
  shapes: Mapping[str, tuple[int, ...]],
  filled: dict[str, np.ndarray],
):
  """Adds one rule's arrays to filled, if they are what the model asks for."""
  for path, array in made.items():
    told = ' and '.join(repr(source) for source in table.sources)
    if path not in shapes:
      raise errors.AvemoError(
        f'{told} makes {path!r}, which the model does not have'
        + names.tell_near(path, list(shapes))
      )
    if path in filled:
      raise errors.AvemoError(f'{told} fills {path!r} a second time')
    if array.shape != tuple(shapes[path]):
      raise errors.AvemoError(
        f'{told} makes {path!r} of shape {array.shape}, the model has '
        f'{tuple(shapes[path])}'
      )
    filled[path] = array
