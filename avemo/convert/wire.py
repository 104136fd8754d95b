"""Protocol buffers read by field number, without their descriptions.

What goes wrong raises ValueError; callers name the file.
"""

from collections.abc import Iterator

# Of the wire types there are, those that are still written.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

LONGEST_VARINT = 10


def read_varint(data: memoryview, start: int) -> tuple[int, int]:
  """Reads an unsigned number of seven bits a byte.

  Args:
    data: bytes.
    start: its first byte.

  Returns:
    The number, below 2**64, and the position after it.
  """
  value = 0
  for i in range(LONGEST_VARINT):
    if start + i >= len(data):
      raise ValueError('it ends within a number')
    byte = data[start + i]
    value |= (byte & 0x7F) << (7 * i)
    if byte < 0x80:
      return value & (1 << 64) - 1, start + i + 1
  raise ValueError('a number has more than ten bytes')


def read_fields(
  data: memoryview,
) -> Iterator[tuple[int, int | memoryview]]:
  """Yields each field of a message: its number and its value.

  The value is an unsigned number, or the bytes of a text or of a message.
  """
  data = memoryview(data)
  position = 0
  while position < len(data):
    key, position = read_varint(data, position)
    field, kind = key >> 3, key & 7
    if kind == VARINT:
      value, position = read_varint(data, position)
    elif kind == BYTES:
      length, position = read_varint(data, position)
      value = _slice(data, position, length)
      position += length
    elif kind in (FIXED32, FIXED64):
      length = 4 if kind == FIXED32 else 8
      value = int.from_bytes(_slice(data, position, length), 'little')
      position += length
    else:
      raise ValueError(f'a field of the unknown wire type {kind}')
    yield field, value


def read_signed(value: int | memoryview) -> int:
  """A number of the type int32 or int64."""
  if not isinstance(value, int):
    raise ValueError('bytes where a number should be')
  return value - (1 << 64) if value >> 63 else value


def read_bytes(value: int | memoryview) -> memoryview:
  """The bytes of a text or of a message."""
  if isinstance(value, int):
    raise ValueError('a number where bytes should be')
  return value


def read_text(value: int | memoryview) -> str:
  return bytes(read_bytes(value)).decode('utf-8')


def _slice(data: memoryview, start: int, length: int) -> memoryview:
  if start + length > len(data):
    raise ValueError('it ends within a field')
  return data[start : start + length]
