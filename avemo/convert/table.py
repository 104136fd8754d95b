"""LevelDB's sorted tables: the index of a TensorFlow checkpoint is one.

What goes wrong raises ValueError; callers name the file.
"""

from collections.abc import Iterator

from avemo.convert import crc32c, wire

MAGIC = bytes.fromhex('57fb808b247547db')
FOOTER = 48
# After each block: how it is compressed, and a checksum.
TRAILER = 5
UNCOMPRESSED, SNAPPY = 0, 1

# Of what a block or a table may unfold to. Indices of real checkpoints hold
# some hundred bytes a tensor.
LARGEST = 16 << 20


def read(
  data: bytes | memoryview, largest: int = LARGEST
) -> dict[bytes, bytes]:
  """The keys and values of a table, in its order.

  Args:
    data: the whole file.
    largest: of what a block and the table may unfold to, in bytes.
  """
  view = memoryview(data)
  if len(view) < FOOTER or view[-8:] != MAGIC:
    raise ValueError('it does not end as a table does')
  position = len(view) - FOOTER
  for _ in range(3):  # Of the block of statistics, which is not read.
    start, position = wire.read_varint(view, position)
  size, position = wire.read_varint(view, position)
  entries = {}
  total = end = 0
  for _, handle in _read_entries(_read_block(view, start, size, largest)):
    start, position = wire.read_varint(memoryview(handle), 0)
    size, position = wire.read_varint(memoryview(handle), position)
    # A small file whose blocks overlap could unfold to any size.
    if start < end:
      raise ValueError('its blocks are out of order')
    end = start + size + TRAILER
    for key, value in _read_entries(_read_block(view, start, size, largest)):
      if key in entries:
        raise ValueError('a key stands in it twice')
      total += len(key) + len(value)
      if total > largest:
        raise ValueError(f'it unfolds to more than {largest} bytes')
      entries[key] = value
  return entries


def _read_block(
  data: memoryview, start: int, size: int, largest: int
) -> memoryview:
  if start + size + TRAILER > len(data) - FOOTER:
    raise ValueError('a block lies beyond its end')
  block = data[start : start + size]
  compression = data[start + size]
  stored = int.from_bytes(data[start + size + 1 :][:4], 'little')
  checked = data[start : start + size + 1]
  if stored != crc32c.mask(crc32c.compute(checked)):
    raise ValueError('the checksum of a block is wrong')
  if compression == SNAPPY:
    return _decompress(block, largest)
  if compression != UNCOMPRESSED:
    raise ValueError(f'a block is compressed in the unknown way {compression}')
  return block


def _read_entries(block: memoryview) -> Iterator[tuple[bytes, bytes]]:
  """Yields keys and values; each key goes on from the one before it."""
  if len(block) < 4:
    raise ValueError('a block is too short')
  restarts = int.from_bytes(block[-4:], 'little')
  end = len(block) - 4 * (restarts + 1)
  if end < 0:
    raise ValueError('a block is too short')
  position, key = 0, b''
  while position < end:
    shared, position = wire.read_varint(block, position)
    own, position = wire.read_varint(block, position)
    length, position = wire.read_varint(block, position)
    if shared > len(key) or position + own + length > end:
      raise ValueError('an entry of a block is not whole')
    key = key[:shared] + bytes(block[position : position + own])
    position += own
    yield key, bytes(block[position : position + length])
    position += length


def _decompress(data: memoryview, largest: int) -> memoryview:
  """The bytes of a block in Snappy's raw format."""
  import pyarrow

  size, _ = wire.read_varint(data, 0)
  if size > largest:
    raise ValueError(f'a block claims to hold {size} bytes')
  try:
    unfolded = pyarrow.decompress(data, decompressed_size=size, codec='snappy')
  except (OSError, pyarrow.ArrowException) as error:
    raise ValueError('a compressed block is broken') from error
  return memoryview(unfolded)
