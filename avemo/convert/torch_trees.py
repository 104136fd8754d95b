"""Finds the state dict in what a PyTorch file holds."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from avemo.convert import arrays, pickles, refusal

# Where training code keeps the weights, the usual first. DeepSpeed: 'module'.
KEYS = ('model', 'module', 'state_dict', 'model_state_dict')
DEEPEST_KEYS = 3

DICTS = frozenset({'builtins.dict', 'collections.OrderedDict'})
NAMESPACE = 'argparse.Namespace'

# Bounds of a walk: modules may be shared, so a small file can spell out a
# tree of any size.
DEEPEST = 32
MOST_NODES = 100_000
LONGEST_VALUE = 64

PLAIN = (str, int, float, bool)

Rebuild = Callable[[Any], np.ndarray | None]


def find_tensors(
  tree: Any, rebuild: Rebuild
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """The tensors that a file means, and plain values beside them.

  Args:
    tree: what its pickle holds, of plain values and records of `pickles`.
    rebuild: from a record to its tensor, or to None where it is none.

  Returns:
    The tensors of the state dict (see `find_state_dict`) or of the module that
    stands in its place, in the file's order; and the attributes.

  Raises:
    Refusal: there is no state dict, or something else where a tensor should
      be.
  """
  state, attributes = find_state_dict(tree)
  if _is_module(state):
    tensors: dict[str, np.ndarray] = {}
    _walk(state, '', rebuild, tensors, attributes, [MOST_NODES], DEEPEST)
    return tensors, attributes
  found = read_dict(state)
  if found is None:
    raise refusal.Refusal(
      f'it holds {_tell(state)}, not a state dict or a module; save the '
      "model's state_dict()"
    )
  tensors = {}
  for name, value in found.items():
    if value is None or type(value) in (list, tuple):
      continue
    if read_dict(value) is not None:
      continue
    plain = _read_plain(value)
    if plain is not None:
      attributes[str(name)] = plain
      continue
    tensors[name] = _need_tensor(name, value, rebuild)
  if not tensors:
    keys = ', '.join(repr(key) for key in list(found)[:8])
    raise refusal.Refusal(
      f'it holds no tensors under {", ".join(KEYS)} or at its top, where it '
      f'has {refusal.shorten(keys, 160)}; save the state dict alone'
    )
  return tensors, attributes


def find_state_dict(tree: Any) -> tuple[Any, dict[str, Any]]:
  """What holds the tensors: below one of `KEYS`, or the tree itself.

  Args:
    tree: what the pickle holds.

  Returns:
    A dict, the record of one or of a module; and the plain values on the way
    to it, those of namespaces as `key.name`.
  """
  attributes: dict[str, Any] = {}
  for _ in range(DEEPEST_KEYS):
    if _is_module(tree):
      break
    found = read_dict(tree) or {}
    inner = [found[key] for key in KEYS if _holds_tensors(found.get(key))]
    if not inner and not _has_tensors(found):
      # What is there instead is worth telling.
      inner = [found[key] for key in KEYS if read_dict(found.get(key))]
    if not inner:
      break
    attributes |= dict(_list_attributes(found))
    tree = inner[0]
  return tree, attributes


def _holds_tensors(value: Any) -> bool:
  """Whether a value is a module, or a dict of tensors or of state dicts."""
  found = read_dict(value) or {}
  return (
    _is_module(value)
    or any(key in found for key in KEYS)
    or _has_tensors(found)
  )


def _has_tensors(found: Mapping[Any, Any]) -> bool:
  return any(
    type(x) is pickles.Object and '_rebuild' in x.maker.name
    for x in found.values()
  )


def find_storages(
  tree: Any, read_reference: Callable[[Any], Any]
) -> dict[str, Any]:
  """Every storage that a tree refers to, by key.

  Args:
    tree: what the pickle holds.
    read_reference: from a reference to a record with a `key`.
  """
  found = {}
  seen: set[int] = set()
  waiting = [tree]
  while waiting:
    value = waiting.pop()
    if type(value) is pickles.Reference:
      storage = read_reference(value)
      found.setdefault(storage.key, storage)
    elif type(value) in (list, tuple, dict, pickles.Object):
      if id(value) not in seen:
        seen.add(id(value))
        waiting += _list_children(value)
  return found


def read_dict(value: Any) -> dict[Any, Any] | None:
  """The entries of a dict or of the record of one; None of anything else."""
  if type(value) is dict:
    return value
  if type(value) is not pickles.Object or str(value.maker) not in DICTS:
    return None
  if value.items or not value.arguments:
    return value.items
  # Python 2 gives the entries to the class instead.
  pairs = value.arguments[0]
  if type(pairs) is dict:
    return pairs
  if type(pairs) not in (list, tuple):
    return None
  entries = [tuple(pair) for pair in pairs if type(pair) in (list, tuple)]
  return {x[0]: x[1] for x in entries if len(x) == 2 and type(x[0]) is str}


def _list_children(value: Any) -> list[Any]:
  if type(value) is dict:
    return list(value.values())
  if type(value) is pickles.Object:
    return [
      value.arguments,
      value.state,
      value.entries,
      *value.items.values(),
    ]
  return list(value)


def _is_module(value: Any) -> bool:
  """Whether a record is that of a torch.nn.Module, whatever its class."""
  state = value.state if type(value) is pickles.Object else None
  return type(state) is dict and '_parameters' in state and '_modules' in state


def _walk(
  module: pickles.Object,
  prefix: str,
  rebuild: Rebuild,
  tensors: dict[str, np.ndarray],
  attributes: dict[str, Any],
  budget: list[int],
  depth: int,
):
  """Adds a module's tensors and attributes, and those of the ones within."""
  state = module.state
  temporary = _read_names(state.get('_non_persistent_buffers_set'))
  for kind in ('_parameters', '_buffers'):
    for name, value in (read_dict(state.get(kind)) or {}).items():
      _spend(budget)
      if value is None or (kind == '_buffers' and name in temporary):
        continue
      path = f'{prefix}{name}'
      tensors[path] = _need_tensor(path, value, rebuild)
  for name, value in state.items():
    _spend(budget)
    plain = _read_plain(value)
    public = type(name) is str and name[:1] != '_' and name != 'training'
    if public and plain is not None:
      attributes[prefix + name] = plain
  for name, value in (read_dict(state['_modules']) or {}).items():
    _spend(budget)
    if value is None:
      continue
    path = f'{prefix}{name}'
    arrays.check_name(path)
    if not _is_module(value):
      raise refusal.Refusal(
        f'{path!r} is {_tell(value)}, not a module; save the '
        "model's state_dict()"
      )
    if depth == 0:
      raise refusal.Refusal('its modules hold each other without an end')
    _walk(value, f'{path}.', rebuild, tensors, attributes, budget, depth - 1)


def _spend(budget: list[int]):
  budget[0] -= 1
  if budget[0] < 0:
    raise refusal.Refusal(
      f'it has more than {MOST_NODES} parts; use a file from its publisher'
    )


def _read_names(value: Any) -> frozenset[str]:
  """The texts in the record of a set."""
  if type(value) is not pickles.Object or value.maker != pickles.SET:
    return frozenset()
  given = value.arguments[0] if value.arguments else ()
  given = given if type(given) in (list, tuple) else ()
  return frozenset(x for x in (*given, *value.entries) if type(x) is str)


def _need_tensor(name: Any, value: Any, rebuild: Rebuild) -> np.ndarray:
  arrays.check_name(name)
  tensor = rebuild(value)
  if tensor is None:
    raise refusal.Refusal(
      f'{name!r} is {_tell(value)} where a tensor should be; save the '
      "model's state_dict() in float32"
    )
  return tensor


def _list_attributes(
  found: Mapping[Any, Any],
) -> Iterator[tuple[str, Any]]:
  """Plain values of a checkpoint, and those of the namespaces in it."""
  for key, value in found.items():
    if type(key) is not str:
      continue
    plain = _read_plain(value)
    if plain is not None:
      yield key, plain
    is_record = type(value) is pickles.Object and str(value.maker) == NAMESPACE
    if is_record and type(value.state) is dict:
      for name, inner in value.state.items():
        plain = _read_plain(inner)
        if plain is not None:
          yield f'{key}.{name}', plain


def _read_plain(value: Any) -> Any:
  """A text, a number, or a short row of them; None of anything else."""
  if type(value) is pickles.Object and str(value.maker) == 'torch.Size':
    value = value.arguments[0] if value.arguments else None
  if type(value) in PLAIN:
    return value
  if type(value) in (list, tuple) and len(value) <= LONGEST_VALUE:
    if value and all(type(x) in PLAIN for x in value):
      return tuple(value)
  return None


def _tell(value: Any) -> str:
  if type(value) is pickles.Object:
    return f'what {refusal.shorten(str(value.maker), 80)} makes'
  if type(value) is pickles.Global:
    return refusal.shorten(str(value), 80)
  return f'a {type(value).__name__}'
