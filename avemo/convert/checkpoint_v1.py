"""TensorFlow's first checkpoint format, read without TensorFlow.

VGGish is published in it. One file, a sorted table: under the empty key what
tensors there are, and under one key each a message with the tensor's values.
"""

import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from avemo.convert import arrays, refusal, table, wire

KIND = 'TensorFlow checkpoint'
# What stands under the empty key begins with a list of tensors here, and with
# the number of shards in the index of the later format.
START = 0x0A

# By the numbers of TensorFlow's types: NumPy's, and the field that holds the
# values. Counters are kept in a form of their own.
FLOATS = {1: ('<f4', 5), 2: ('<f8', 6)}
COUNTERS = {3: 7, 9: 10}
CONTENT = 4


class Entry(NamedTuple):
  """What the list says of a tensor."""

  shape: tuple[int, ...]
  dtype: int


def recognise(start: bytes) -> bool:
  """Whether a sorted table that starts so is of this format.

  Args:
    start: the first bytes of the file, 32 at least.
  """
  view = memoryview(start)
  if len(view) < 32 or view[0] or view[1]:
    return False
  try:
    _, position = wire.read_varint(view, 2)
  except ValueError:
    return False
  return view[position] == START


def read(
  path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads every tensor of a checkpoint.

  Args:
    path: the file, such as `vggish_model.ckpt`.

  Returns:
    The arrays by name, read-only; and no attributes.

  Raises:
    AvemoError: the file is not whole, or holds anything but numbers.
  """
  with refusal.of(path, KIND):
    data = arrays.map_file(path)
    # Blocks may be compressed, but weights hardly can.
    entries = table.read(data, max(table.LARGEST, 4 * len(data)))
    listed = dict(_read_list(entries.pop(b'')))
    tensors = {}
    for value in entries.values():
      for name, message in _read_slices(value):
        if name not in listed or name in tensors:
          raise refusal.Refusal(
            f'{name!r} is not listed, or stands in it twice; download or copy '
            'it again'
          )
        tensors[name] = _read_tensor(name, listed[name], message)
    missing = sorted(set(listed) - set(tensors))
    if missing:
      raise refusal.Refusal(
        f'{missing[0]!r} is listed without values; download or copy it again'
      )
    arrays.check(tensors, len(data))
    return tensors, {}


def _read_list(value: bytes) -> Iterator[tuple[str, Entry]]:
  """Yields the name of each tensor and what is said of it."""
  for number, meta in wire.read_fields(memoryview(value)):
    if number != 1:
      continue
    for inner, tensor in wire.read_fields(wire.read_bytes(meta)):
      if inner == 1:
        yield _read_entry(wire.read_bytes(tensor))


def _read_entry(message: memoryview) -> tuple[str, Entry]:
  name, shape, dtype, slices = '', (), 0, 0
  for number, value in wire.read_fields(message):
    if number == 1:
      name = wire.read_text(value)
      arrays.check_name(name)
    elif number == 2:
      shape = _read_shape(wire.read_bytes(value))
    elif number == 3:
      dtype = value
    elif number == 4:
      slices += 1
  if slices > 1:
    raise refusal.Refusal(
      f'{name!r} was saved in {slices} slices, which is not read; save it whole'
    )
  return name, Entry(shape, dtype)


def _read_shape(message: memoryview) -> tuple[int, ...]:
  sizes = []
  for number, dimension in wire.read_fields(message):
    if number != 2:
      continue
    size = 0  # As a message leaves it out.
    for inner, value in wire.read_fields(wire.read_bytes(dimension)):
      if inner == 1:
        size = wire.read_signed(value)
    if size < 0:
      raise ValueError('a negative size')
    sizes.append(size)
  return tuple(sizes)


def _read_slices(value: bytes) -> Iterator[tuple[str, memoryview]]:
  """Yields names and the messages that hold their values."""
  for number, message in wire.read_fields(memoryview(value)):
    if number != 2:
      continue
    name, data = '', None
    for inner, part in wire.read_fields(wire.read_bytes(message)):
      if inner == 1:
        name = wire.read_text(part)
      elif inner == 3:
        data = wire.read_bytes(part)
    if data is None:
      raise ValueError(f'{name!r} has no values')
    yield name, data


def _read_tensor(name: str, entry: Entry, message: memoryview) -> np.ndarray:
  fields = {}
  for number, value in wire.read_fields(message):
    # Values are packed, so that each field stands once.
    if number in fields and number > 3:
      raise ValueError(f'{name!r} has values that are not packed')
    fields[number] = value
  if entry.dtype in FLOATS:
    dtype, field = FLOATS[entry.dtype]
    data = wire.read_bytes(fields.get(CONTENT, fields.get(field, b'')))
    array = np.frombuffer(data, dtype)
  elif entry.dtype in COUNTERS and math.prod(entry.shape) == 1:
    data = memoryview(wire.read_bytes(fields.get(COUNTERS[entry.dtype], b'\0')))
    number, _ = wire.read_varint(data, 0)
    array = np.array([wire.read_signed(number)])
  else:
    raise refusal.Refusal(
      f'{name!r} holds numbers of type {entry.dtype}, which is not read; it '
      'is no file of weights'
    )
  return array.reshape(entry.shape)
