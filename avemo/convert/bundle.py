"""TensorFlow's checkpoints, read without TensorFlow.

A checkpoint is a bundle: `<prefix>.index`, a sorted table of where each
tensor lies, and `<prefix>.data-00000-of-00001` and so on, the tensors' bytes.
A SavedModel holds one as `variables/variables`. Objects are saved under
running numbers; the names that they had in the program are in a graph that
the bundle holds as one more tensor.
"""

import collections
import math
import mmap
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from avemo import errors
from avemo.convert import crc32c, table, wire

HEADER = b''
GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'
SUFFIX = '/.ATTRIBUTES/VARIABLE_VALUE'

STRING, BFLOAT16 = 7, 14
# Numbers of TensorFlow's enumeration of types.
DTYPES = {
  1: 'f4',
  2: 'f8',
  3: 'i4',
  4: 'u1',
  5: 'i2',
  6: 'i1',
  9: 'i8',
  10: '?',
  BFLOAT16: 'u2',
  17: 'u2',
  19: 'f2',
  22: 'u4',
  23: 'u8',
}

# Beside a model's own attributes, Keras hangs its variables into these.
SKIPPED = re.compile(
  r'variables|trainable_variables|non_trainable_variables|keras_api'
  r'|regularization_losses|signatures|layer.*|_.*'
)
# Names that a process gave more than once got a number, by its history.
COUNTER = re.compile(r'_id\d+$')

LARGEST_INDEX = 16 << 20
LARGEST_GRAPH = 32 << 20
LONGEST_NAME = 1024

# What reading a broken file raises; NotImplementedError: a whole one.
BROKEN = (ValueError, IndexError, OverflowError, MemoryError)


class Entry(NamedTuple):
  """Where a tensor lies."""

  dtype: int = 0
  shape: tuple[int, ...] = ()
  shard: int = 0
  offset: int = 0
  size: int = 0
  checksum: int = 0
  sliced: bool = False


def find_prefix(path: pathlib.Path) -> pathlib.Path | None:
  """The prefix of the bundle at a path, or None where there is none.

  Args:
    path: a SavedModel's folder, a folder with one bundle, the `.index` file,
      or the prefix that the files of the bundle share.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    found = [path / 'variables' / 'variables.index']
    if not found[0].is_file():
      found = sorted(path.glob('*.index'))
    if len(found) != 1:
      return None
    path = found[0]
  elif path.suffix != '.index':
    path = path.with_name(path.name + '.index')
  return path.with_suffix('') if path.is_file() else None


def list_files(path: pathlib.Path) -> list[pathlib.Path]:
  """The files of the bundle at a path, in a fixed order."""
  prefix = find_prefix(path)
  if prefix is None:
    return []
  shards = prefix.parent.glob('*.data-?????-of-?????')
  shards = [x for x in shards if x.stem == prefix.name]
  return [prefix.with_name(prefix.name + '.index'), *sorted(shards)]


def read(
  path: pathlib.Path,
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
  """Reads every tensor of numbers in a TensorFlow checkpoint.

  Args:
    path: as of `find_prefix`.

  Returns:
    The tensors by name, read-only and mapped from the files, bfloat16 as
    float32; and attributes, which a checkpoint has none of. The name is the
    path of attributes to the object in the program that saved it, such as
    `blocks/1/attn/qkv/kernel`; without a graph of objects, it is the key.

  Raises:
    AvemoError: the files are not a whole checkpoint, or hold what is not
      read: partitioned variables, tensors of unknown types.
  """
  path = pathlib.Path(path)
  prefix = find_prefix(path)
  if prefix is None:
    raise errors.AvemoError(
      f'{path}: no TensorFlow checkpoint is here; name a SavedModel folder or '
      'an .index file with its .data files beside it'
    )
  try:
    return _read_bundle(prefix), {}
  except NotImplementedError as error:
    raise errors.AvemoError(f'{path}: {error}') from error
  except BROKEN as error:
    raise errors.AvemoError(
      f'{path}: not a whole TensorFlow checkpoint: {error}; download or copy '
      'it again'
    ) from error
  except OSError as error:
    raise errors.AvemoError(f'{path}: cannot be read: {error}') from error


def _read_bundle(prefix: pathlib.Path) -> dict[str, np.ndarray]:
  index = prefix.with_name(prefix.name + '.index')
  if index.stat().st_size > LARGEST_INDEX:
    raise ValueError(f'its index is larger than {LARGEST_INDEX} bytes')
  entries = table.read(index.read_bytes())
  num_shards, order = _read_header(entries.pop(HEADER, b''))
  shards = {}
  tensors, graph = {}, None
  for key, value in entries.items():
    name = key.decode('utf-8')
    entry = _read_entry(value)
    if entry.sliced:
      raise NotImplementedError(
        f'{name} is partitioned over several tensors, which is not read; save '
        'it in one piece'
      )
    if not 0 <= entry.shard < num_shards:
      raise ValueError(f'{name} lies in part {entry.shard} of {num_shards}')
    if entry.shard not in shards:
      shards[entry.shard] = _open_shard(prefix, entry.shard, num_shards)
    if (
      not 0
      <= entry.offset
      <= entry.offset + entry.size
      <= len(shards[entry.shard])
    ):
      raise ValueError(f'{name} lies beyond the end of its file')
    data = memoryview(shards[entry.shard])[entry.offset :][: entry.size]
    if entry.dtype == STRING:
      # Other texts, such as names of files, are no weights.
      graph = _read_string(data, entry) if name == GRAPH else graph
    else:
      tensors[name] = _read_tensor(name, data, entry, order)
  if graph is not None:
    names = read_names(graph)
    tensors = _rename(tensors, names)
  return tensors


def _open_shard(
  prefix: pathlib.Path, shard: int, num_shards: int
) -> mmap.mmap | bytes:
  path = prefix.with_name(f'{prefix.name}.data-{shard:05d}-of-{num_shards:05d}')
  if not path.is_file():
    raise errors.AvemoError(
      f'{path}: this part of the checkpoint is missing; put it beside the index'
    )
  with path.open('rb') as file:
    if not path.stat().st_size:
      return b''
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _read_header(data: bytes) -> tuple[int, str]:
  """The number of data files and the byte order."""
  fields = dict(wire.read_fields(data))
  num_shards = wire.read_signed(fields.get(1, 0))
  if num_shards < 1:
    raise ValueError('it has no header')
  return num_shards, '>' if wire.read_signed(fields.get(2, 0)) else '<'


def _read_entry(data: bytes) -> Entry:
  names = {1: 'dtype', 3: 'shard', 4: 'offset', 5: 'size', 6: 'checksum'}
  found = {}
  for field, value in wire.read_fields(data):
    if field == 2:
      found['shape'] = _read_shape(wire.read_bytes(value))
    elif field == 7:
      found['sliced'] = True
    elif field in names:
      found[names[field]] = wire.read_signed(value)
  entry = Entry(**found)
  if entry.offset < 0 or entry.size < 0:
    raise ValueError('a tensor has a negative place')
  return entry


def _read_shape(data: memoryview) -> tuple[int, ...]:
  shape = []
  for field, value in wire.read_fields(data):
    if field == 2:
      sizes = dict(wire.read_fields(wire.read_bytes(value)))
      shape.append(wire.read_signed(sizes.get(1, 0)))
  if len(shape) > 32 or any(size < 0 for size in shape):
    raise ValueError('a tensor has an impossible shape')
  return tuple(shape)


def _read_tensor(
  name: str, data: memoryview, entry: Entry, order: str
) -> np.ndarray:
  if entry.dtype not in DTYPES:
    raise NotImplementedError(
      f'the type of {name}, number {entry.dtype} of TensorFlow, is not read; '
      'save it as float32'
    )
  dtype = np.dtype(DTYPES[entry.dtype]).newbyteorder(order)
  if math.prod(entry.shape) * dtype.itemsize != len(data):
    raise ValueError(f'{name} has {len(data)} bytes for shape {entry.shape}')
  if crc32c.mask(crc32c.compute(data)) != entry.checksum:
    raise ValueError(f'the checksum of {name} is wrong')
  tensor = np.frombuffer(data, dtype).reshape(entry.shape)
  if entry.dtype == BFLOAT16:
    tensor = (tensor.astype(np.uint32) << 16).view(np.float32)
  return tensor


def _read_string(data: memoryview, entry: Entry) -> memoryview:
  """The only element of a tensor of texts."""
  if entry.shape or entry.size > LARGEST_GRAPH:
    raise ValueError('its graph of objects is not one text')
  length, start = wire.read_varint(data, 0)
  if start + 4 + length != len(data):
    raise ValueError('its graph of objects is not whole')
  # The checksum is of the length as four bytes and of what follows it.
  checked = length.to_bytes(4, 'little') + bytes(data[start:])
  if crc32c.mask(crc32c.compute(checked)) != entry.checksum:
    raise ValueError('the checksum of its graph of objects is wrong')
  return data[start + 4 :]


def read_names(graph: memoryview) -> dict[str, str]:
  """The name in the program of each key in the checkpoint.

  Args:
    graph: a message TrackableObjectGraph. Its nodes have children by name,
      and may be reached in many ways; the shortest gives the name.
  """
  nodes = [
    _read_node(wire.read_bytes(value))
    for field, value in wire.read_fields(graph)
    if field == 1
  ]
  names = {}
  seen = {0}
  queue = collections.deque([(0, '')] if nodes else [])
  while queue:
    node, path = queue.popleft()
    children, keys = nodes[node]
    for key in keys:
      names.setdefault(key, path.removeprefix('/'))
    for name, child in children:
      if not 0 <= child < len(nodes):
        raise ValueError('its graph of objects names one that is not there')
      if child not in seen and not SKIPPED.fullmatch(name):
        seen.add(child)
        queue.append((child, f'{path}/{COUNTER.sub("", name)}'))
        if len(path) + len(name) > LONGEST_NAME:
          raise ValueError('its graph of objects has an endless name')
  return names


def _read_node(
  data: memoryview,
) -> tuple[list[tuple[str, int]], list[str]]:
  """The children of an object, by name, and the keys of its tensors."""
  children, keys = [], []
  for field, value in wire.read_fields(data):
    if field == 1:
      fields = dict(wire.read_fields(wire.read_bytes(value)))
      name = wire.read_text(fields.get(2, memoryview(b'')))
      children.append((name, wire.read_signed(fields.get(1, 0))))
    elif field == 2:
      fields = dict(wire.read_fields(wire.read_bytes(value)))
      keys.append(wire.read_text(fields.get(3, memoryview(b''))))
  return children, keys


def _rename(
  tensors: Mapping[str, np.ndarray], names: Mapping[str, str]
) -> dict[str, np.ndarray]:
  renamed = {}
  for key, tensor in tensors.items():
    name = names.get(key) or key.removesuffix(SUFFIX)
    if name in renamed:
      raise ValueError(f'two of its tensors are called {name}')
    renamed[name] = tensor
  return renamed
