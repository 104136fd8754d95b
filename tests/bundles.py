"""Writes TensorFlow checkpoints without TensorFlow, and breaks files."""

import numpy as np
import pyarrow

from avemo.convert import crc32c, table

CODES = {'f4': 1, 'f8': 2, 'i4': 3, 'i8': 9, 'f2': 19}


def write_varint(value: int) -> bytes:
  out = bytearray()
  while value > 0x7F:
    out.append(value & 0x7F | 0x80)
    value >>= 7
  return bytes([*out, value])


def write_field(field: int, value: int | bytes) -> bytes:
  if isinstance(value, int):
    return write_varint(field << 3) + write_varint(value)
  return write_varint(field << 3 | 2) + write_varint(len(value)) + value


def write_fixed32(field: int, value: int) -> bytes:
  return write_varint(field << 3 | 5) + value.to_bytes(4, 'little')


def write_graph(names: dict[str, str]) -> bytes:
  """A graph of objects in which each key is reached by its name."""
  children, keys = [{}], ['']
  for key, name in names.items():
    node = 0
    for part in name.split('/'):
      if part not in children[node]:
        children[node][part] = len(children)
        children.append({})
        keys.append('')
      node = children[node][part]
    keys[node] = key
  graph = b''
  for members, key in zip(children, keys, strict=True):
    node = b''
    for part, child in members.items():
      node += write_field(
        1, write_field(1, child) + write_field(2, part.encode())
      )
    if key:
      node += write_field(2, write_field(3, key.encode()))
    graph += write_field(1, node)
  return graph


def write_text(text: bytes) -> tuple[bytes, int]:
  """The bytes of a tensor of one text, and its checksum."""
  length = len(text).to_bytes(4, 'little')
  inner = crc32c.mask(crc32c.compute(length)).to_bytes(4, 'little')
  checksum = crc32c.mask(crc32c.compute(length + inner + text))
  return write_varint(len(text)) + inner + text, checksum


def write_entry(dtype, shape, shard, offset, size, checksum) -> bytes:
  dims = b''.join(write_field(2, write_field(1, n)) for n in shape)
  entry = write_field(1, dtype) + write_field(2, dims)
  entry += write_field(3, shard) + write_field(4, offset)
  return entry + write_field(5, size) + write_fixed32(6, checksum)


def write_block(entries: dict[bytes, bytes], snappy: bool = False) -> bytes:
  block, previous = b'', b''
  for key, value in entries.items():
    shared = 0
    while key[: shared + 1] == previous[: shared + 1] and shared < len(key):
      shared += 1
    block += write_varint(shared) + write_varint(len(key) - shared)
    block += write_varint(len(value)) + key[shared:] + value
    previous = key
  block += bytes(4) + (1).to_bytes(4, 'little')
  if snappy:
    block = pyarrow.compress(block, codec='snappy', asbytes=True)
  return seal(block + bytes([snappy]))


def seal(block: bytes) -> bytes:
  """The block, with its kind, and the checksum after it."""
  return block + crc32c.mask(crc32c.compute(block)).to_bytes(4, 'little')


def write_table(
  entries: dict[bytes, bytes], snappy: bool = False, per_block: int = 4
) -> bytes:
  out, handles = b'', {}
  ordered = sorted(entries)
  for start in range(0, len(ordered), per_block):
    keys = ordered[start : start + per_block]
    block = write_block({key: entries[key] for key in keys}, snappy)
    handles[keys[-1]] = write_varint(len(out)) + write_varint(len(block) - 5)
    out += block
  meta = write_varint(len(out)) + write_varint(8)
  out += seal(bytes(4) + (1).to_bytes(4, 'little') + b'\0')
  index = write_block(handles)
  footer = meta + write_varint(len(out)) + write_varint(len(index) - 5)
  return out + index + footer.ljust(40, b'\0') + table.MAGIC


def write_bundle(
  prefix, tensors, *, graph=None, num_shards=1, snappy=False, order='<'
):
  """Writes a checkpoint; `bfloat16` tensors are given as their 16 bits (u2).

  Args:
    prefix: path of the files without their suffixes.
    tensors: arrays by key.
    graph: bytes of the graph of objects.
    num_shards: over which the tensors go in turn.
    snappy: compress the blocks of the index.
    order: of the bytes.
  """
  header = write_field(1, num_shards) + write_field(2, int(order == '>'))
  entries = {b'': header + write_field(3, write_field(1, 1))}
  shards = [b''] * num_shards
  for i, (key, tensor) in enumerate(sorted(tensors.items())):
    code = CODES.get(tensor.dtype.str[1:], 14)
    data = tensor.astype(tensor.dtype.newbyteorder(order)).tobytes()
    shard = i % num_shards
    entries[key.encode()] = write_entry(
      code,
      tensor.shape,
      shard,
      len(shards[shard]),
      len(data),
      crc32c.mask(crc32c.compute(data)),
    )
    shards[shard] += data
  if graph is not None:
    data, checksum = write_text(graph)
    entries[b'_CHECKPOINTABLE_OBJECT_GRAPH'] = write_entry(
      7, (), 0, len(shards[0]), len(data), checksum
    )
    shards[0] += data
  prefix.parent.mkdir(parents=True, exist_ok=True)
  index = prefix.with_name(f'{prefix.name}.index')
  index.write_bytes(write_table(entries, snappy))
  for i, data in enumerate(shards):
    name = f'{prefix.name}.data-{i:05d}-of-{num_shards:05d}'
    prefix.with_name(name).write_bytes(data)


def example_tensors(seed: int = 0) -> dict[str, np.ndarray]:
  generator = np.random.default_rng(seed)
  shapes = {'a': (3, 4), 'ab': (), 'b/c': (2, 1, 5), 'b/cd': (0, 3), 'e': (7,)}
  return {
    f'{k}/.ATTRIBUTES/VARIABLE_VALUE': generator.standard_normal(v).astype('f4')
    for k, v in shapes.items()
  }


def mutate(data: bytes, generator: np.random.Generator) -> bytes:
  """A few bytes changed, taken out, doubled or put in."""
  data = bytearray(data)
  for _ in range(generator.integers(1, 4)):
    place = int(generator.integers(len(data) or 1))
    length = int(generator.integers(1, 9))
    kind = generator.integers(5)
    if kind < 2:
      data[place : place + 1] = bytes([generator.integers(256)])
    elif kind == 2:
      data[place : place + length] = b'\xff' * length
    elif kind == 3:
      del data[place : place + length]
    else:
      data[place:place] = data[place : place + length]
  return bytes(data)
