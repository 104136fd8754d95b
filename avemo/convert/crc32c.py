"""CRC-32C (Castagnoli), of large arrays at the speed of NumPy."""

import functools

import numpy as np

POLYNOMIAL = 0x82F63B78  # Bits reversed.

# TensorFlow and LevelDB store checksums so, lest one be taken of another.
MASK_DELTA = 0xA282EAD8

# Below this length, the loop over bytes is faster than setting up lanes.
SMALL = 4096
LANES = 16_384


def compute(data: bytes | memoryview | np.ndarray) -> int:
  """The checksum of bytes, as an unsigned number of 32 bits."""
  data = np.frombuffer(data, np.uint8)
  if len(data) < SMALL:
    return _run(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
  # The register is linear in what is fed to it, so equal parts run side by
  # side and are joined; the start value belongs to the first part alone.
  lanes = LANES if len(data) > 64 * LANES else 64
  length = len(data) // lanes
  head = data[: lanes * length].reshape(lanes, length)
  state = np.zeros(lanes, np.uint32)
  state[0] = 0xFFFFFFFF
  state = _join(_run_lanes(head, state), length)
  return _run(data[lanes * length :], state) ^ 0xFFFFFFFF


def mask(checksum: int) -> int:
  """The checksum as it is stored in files."""
  turned = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
  return (turned + MASK_DELTA) & 0xFFFFFFFF


@functools.cache
def _table() -> np.ndarray:
  table = np.arange(256, dtype=np.uint32)
  for _ in range(8):
    table = np.where(table & 1, table >> 1 ^ POLYNOMIAL, table >> 1)
  return table.astype(np.uint32)


@functools.cache
def _numbers() -> tuple[int, ...]:
  return tuple(int(x) for x in _table())


def _run(data: np.ndarray, state: int) -> int:
  table = _numbers()
  for byte in data.tobytes():
    state = table[(state ^ byte) & 0xFF] ^ state >> 8
  return state


def _run_lanes(data: np.ndarray, state: np.ndarray) -> np.ndarray:
  """Feeds row i of the data [lanes, length] into register i."""
  table = _table()
  step = 64
  for start in range(0, data.shape[1], step):
    # Turned piece by piece: columns of the whole would each touch every page.
    piece = np.ascontiguousarray(data[:, start : start + step].T)
    for column in piece:
      state = table[(state ^ column) & 0xFF] ^ state >> 8
  return state


def _join(states: np.ndarray, length: int) -> int:
  """One register out of those of parts of `length` bytes, in their order."""
  shift = _power(length)
  while len(states) > 1:
    states = _apply(shift, states[0::2]) ^ states[1::2]
    shift = _apply(shift, shift)
  return int(states[0])


def _power(length: int) -> np.ndarray:
  """What `length` zero bytes do to each of the 32 bits, as columns [32]."""
  bits = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
  result, factor = bits, _table()[bits & 0xFF] ^ bits >> 8
  while length:
    if length & 1:
      result = _apply(factor, result)
    factor = _apply(factor, factor)
    length >>= 1
  return result


def _apply(columns: np.ndarray, vectors: np.ndarray) -> np.ndarray:
  """The product, over two elements, of a matrix and each vector of bits."""
  product = np.zeros_like(vectors)
  for i, column in enumerate(columns):
    product ^= column * (vectors >> np.uint32(i) & np.uint32(1))
  return product
