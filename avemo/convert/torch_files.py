"""Reads PyTorch's `.pth` and `.pt`, state dicts and whole pickled modules.

Since PyTorch 1.6 a file is a zip of a pickle and of the storages that it
refers to, stored as they are; before, pickles and storages one after another.
Both are read as data (see `pickles`): of what the pickle would have made,
tensors are rebuilt from what is known of them, modules are walked, and the
rest is left alone.
"""

import functools
import os
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from avemo.convert import archive, arrays, pickles, refusal, torch_trees

KIND = 'PyTorch file'

# torch.save began every file with this number, pickled, before version 1.6.
LEGACY_START = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
LEGACY_PROTOCOL = 1001

# NumPy has no such type; a field of this name tells it from uint16.
BFLOAT16 = np.dtype([('bfloat16', '<u2')])

DTYPES = {
  'Double': 'f8',
  'Float': 'f4',
  'Half': 'f2',
  'BFloat16': 'bfloat16',
  'Long': 'i8',
  'Int': 'i4',
  'Short': 'i2',
  'Char': 'i1',
  'Byte': 'u1',
  'Bool': '?',
}
# Names of types in torch, where a storage does not know its own.
TYPES = {
  'float64': 'f8',
  'float32': 'f4',
  'float16': 'f2',
  'bfloat16': 'bfloat16',
  'int64': 'i8',
  'int32': 'i4',
  'int16': 'i2',
  'int8': 'i1',
  'uint8': 'u1',
  'uint16': 'u2',
  'uint32': 'u4',
  'uint64': 'u8',
  'bool': '?',
}

# What rebuilds a tensor, and which of its arguments are storage, offset,
# sizes, strides and (of version 3) the type.
REBUILDERS = {
  'torch._utils._rebuild_tensor': (0, 1, 2, 3, None),
  'torch._utils._rebuild_tensor_v2': (0, 1, 2, 3, None),
  'torch._utils._rebuild_tensor_v3': (0, 1, 2, 3, 6),
}
# What wraps a tensor, and which of its arguments that is.
WRAPPERS = {
  'torch._utils._rebuild_parameter': 0,
  'torch._utils._rebuild_parameter_with_state': 0,
}
TYPED = 'torch._tensor._rebuild_from_type_v2'
DEEPEST_WRAPPING = 4


class Storage(NamedTuple):
  """What a reference of the pickle names: a run of elements of one type."""

  key: str
  dtype: str | None
  size: int


def read(
  path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads the tensors of a file.

  Args:
    path: the file.

  Returns:
    The tensors by name, read-only and mapped where they are not compressed,
    bfloat16 widened to float32, views with their strides; those of the state
    dict that `torch_trees.find_tensors` finds. And plain values beside them:
    of a module by its path (`global_pool.pool_type`), of an
    argparse.Namespace by its own name (`args.nb_classes`).

  Raises:
    AvemoError: the file is broken, or was made to do harm, or has no state
      dict, or needs a class that is not read where a tensor should be.
  """
  with refusal.of(path, KIND):
    data = arrays.map_file(path)
    if data[: len(LEGACY_START)] == LEGACY_START:
      tree, rebuild = _open_legacy(data)
    else:
      tree, rebuild = _open_zip(path)
    tensors, attributes = torch_trees.find_tensors(tree, rebuild)
    arrays.check(tensors, len(data))
    return {name: _widen(x) for name, x in tensors.items()}, attributes


def _widen(x: np.ndarray) -> np.ndarray:
  return arrays.widen_bfloat16(x['bfloat16']) if x.dtype.names else x


def _open_zip(path: str | os.PathLike) -> tuple[Any, Callable]:
  opened = archive.open_archive(path)
  pickled = [x for x in opened.members if x.split('/')[1:] == ['data.pkl']]
  if len(pickled) != 1:
    raise refusal.Refusal(
      'it is a zip without the one data.pkl of torch.save; name a file that '
      'torch.save wrote'
    )
  root = pickled[0].removesuffix('data.pkl')
  if f'{root}constants.pkl' in opened.members:
    raise refusal.Refusal(
      'it is TorchScript, a program; save its state instead: torch.save('
      'torch.jit.load(path).state_dict(), other)'
    )
  order = '<'
  if f'{root}byteorder' in opened.members:
    is_big = bytes(opened.read(f'{root}byteorder')) == b'big'
    order = '>' if is_big else '<'
  tree, _ = pickles.load(opened.read(pickled[0]))

  @functools.cache
  def open_storage(key: str) -> memoryview:
    return opened.read(f'{root}data/{key}')

  return tree, functools.partial(_rebuild, open_storage, order)


def _open_legacy(data: memoryview) -> tuple[Any, Callable]:
  position = 0
  parts = []
  for _ in range(5):
    part, position = pickles.load(data, position)
    parts.append(part)
  _, protocol, system, tree, keys = parts
  if protocol != LEGACY_PROTOCOL or not system.get('little_endian', True):
    raise refusal.Refusal(
      'it is of an early form that is not read; save it again: '
      'torch.save(torch.load(path, weights_only=True), other)'
    )
  sizes = torch_trees.find_storages(tree, _read_reference)
  storages: dict[str, memoryview] = {}
  for key in keys:
    (count,) = struct.unpack_from('<q', data, position)
    storage = sizes.get(key) if type(key) is str else None
    if storage is None or storage.dtype is None or key in storages:
      raise refusal.Refusal(
        'it stores what nothing refers to; download it again'
      )
    size = count * _parse_dtype(storage.dtype).itemsize
    start, position = position + 8, position + 8 + size
    if count < 0 or position > len(data):
      raise refusal.Refusal('its storages end early; download it again')
    storages[key] = data[start:position]
  return tree, functools.partial(_rebuild, storages.__getitem__, '<')


def _rebuild(
  open_storage: Callable[[str], memoryview], order: str, value: Any
) -> np.ndarray | None:
  """The tensor that a record stands for, or None where it is none.

  Args:
    open_storage: key → bytes.
    order: '<' or '>', of the bytes in storages.
    value: what the pickle holds.
  """
  value = _unwrap(value)
  if type(value) is not pickles.Object:
    return None
  places = REBUILDERS.get(str(value.maker))
  if places is None:
    return None
  arguments = value.arguments
  storage, offset, sizes, strides = (arguments[i] for i in places[:4])
  storage = _read_reference(storage)
  dtype = storage.dtype
  if places[4] is not None:
    named = _name(arguments[places[4]]).removeprefix('torch.')
    dtype = TYPES.get(named, named)
  if dtype is None:
    raise refusal.Refusal('a tensor has no type; save it in float32')
  return arrays.view(
    open_storage(storage.key),
    _parse_dtype(dtype).newbyteorder(order),
    _read_sizes(sizes),
    _read_sizes(strides),
    offset,
  )


def _unwrap(value: Any) -> Any:
  """The record of the tensor itself, without what wraps it."""
  for _ in range(DEEPEST_WRAPPING):
    if type(value) is not pickles.Object:
      return value
    name = str(value.maker)
    if name in WRAPPERS:
      value = value.arguments[WRAPPERS[name]]
    elif name == TYPED:
      # Arguments: what rebuilds it, its class, arguments for that, its state.
      value = pickles.Object(value.arguments[0], value.arguments[2])
    else:
      return value
  return value


def _read_sizes(value: Any) -> tuple[int, ...]:
  if type(value) is pickles.Object and str(value.maker) == 'torch.Size':
    (value,) = value.arguments
  if type(value) not in (tuple, list):
    raise refusal.Refusal('a tensor has no sizes; download it again')
  return tuple(value)


def _read_reference(value: Any) -> Storage:
  """What a reference means: ('storage', class, key, device, size, ...)."""
  key = value.key if type(value) is pickles.Reference else None
  if type(key) is not tuple or len(key) < 5 or key[0] != 'storage':
    raise refusal.Refusal('a tensor refers to no storage; download it again')
  _, kind, name, _, size = key[:5]
  # Very early files have storages that are a part of another.
  is_part = len(key) > 5 and key[5] is not None
  if type(name) is not str or type(size) is not int or is_part:
    raise refusal.Refusal('a tensor refers to no storage; download it again')
  module, _, storage = _name(kind).rpartition('.')
  storage = storage.removesuffix('Storage')
  if module == 'torch.storage' and storage == 'Untyped':
    return Storage(name, None, size)
  if module not in ('torch', 'torch.cuda') or storage not in DTYPES:
    raise refusal.Refusal(
      f'a tensor is stored as {refusal.shorten(_name(kind), 60)}, which is not '
      'read; save it in float32'
    )
  return Storage(name, DTYPES[storage], size)


def _name(value: Any) -> str:
  return str(value) if type(value) is pickles.Global else 'nothing'


def _parse_dtype(name: str) -> np.dtype:
  if name == 'bfloat16':
    return BFLOAT16
  if name not in TYPES.values():
    raise refusal.Refusal(
      f'a tensor is of type {refusal.shorten(name, 40)}, which is not read; '
      'save it in float32'
    )
  return np.dtype(name)
