"""Arrays that lie in a file, within bounds that no file can widen."""

import math
import mmap
import os
from collections.abc import Mapping

import numpy as np

from avemo.convert import refusal

# Far above what any published model has.
MOST_TENSORS = 100_000
LONGEST_NAME = 1024
MOST_AXES = 16

# Tensors may share the bytes of one storage (tied weights), and compressed
# files hold more than their size; neither may ask for any amount of memory.
LARGEST_SHARE = 4
ALLOWANCE = 64 << 20


def map_file(path: str | os.PathLike) -> memoryview:
  """The bytes of a file, read-only, paged in as they are used."""
  with open(path, 'rb') as file:
    if os.fstat(file.fileno()).st_size == 0:
      raise refusal.Refusal('the file is empty; download or copy it again')
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def view(
  data: memoryview,
  dtype: np.dtype,
  shape: tuple[int, ...],
  strides: tuple[int, ...] | None = None,
  offset: int = 0,
) -> np.ndarray:
  """An array over bytes, without a copy.

  Args:
    data: where it lies.
    dtype: of its elements.
    shape: of the array.
    strides: in elements; None: row-major, without gaps.
    offset: of the first element, in elements.

  Returns:
    The array, read-only where data is.

  Raises:
    Refusal: it would reach beyond data, or repeat elements of it.
  """
  strides = pack(shape) if strides is None else strides
  numbers = (*shape, *strides, offset)
  if (
    len(shape) > MOST_AXES
    or len(shape) != len(strides)
    or any(type(x) is not int or not 0 <= x < 1 << 48 for x in numbers)
  ):
    raise refusal.Refusal(
      'a tensor has sizes or strides that none can have; download it again'
    )
  available = len(data) // dtype.itemsize
  size = math.prod(shape)
  last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
  if size > available or (size and offset + last >= available):
    raise refusal.Refusal(
      f'a tensor of shape {shape}, strides {strides} and offset {offset} '
      f'reaches beyond the {available} elements stored for it; download the '
      'file again'
    )
  if not size:
    return np.zeros(shape, dtype)
  return np.ndarray(
    shape,
    dtype,
    buffer=data,
    offset=offset * dtype.itemsize,
    strides=tuple(s * dtype.itemsize for s in strides),
  )


def pack(shape: tuple[int, ...]) -> tuple[int, ...]:
  """Row-major strides in elements."""
  return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
  """Bits of bfloat16, uint16 of any shape → float32."""
  wide = np.asarray(bits).astype(np.uint32)
  wide <<= 16
  return wide.view(np.float32)


def check(tensors: Mapping[str, np.ndarray], size: int):
  """Refuses tensors that are more than a file of that size can mean.

  Args:
    tensors: name → array, of which those in the file take no memory yet.
    size: of the file, in bytes.

  Raises:
    Refusal: too many, too large together, or none.
  """
  if not tensors:
    raise refusal.Refusal('it holds no tensors; name a file of weights')
  total = sum(tensor.nbytes for tensor in tensors.values())
  if len(tensors) > MOST_TENSORS or total > LARGEST_SHARE * size + ALLOWANCE:
    raise refusal.Refusal(
      f'its {len(tensors)} tensors would take {total} bytes, out of a file of '
      f'{size}; no published model does, use a file from its publisher'
    )


def check_name(name: object):
  """Refuses what cannot name a tensor."""
  if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
    raise refusal.Refusal(
      f'a tensor is named by a {type(name).__name__} that is no name; use a '
      'file from its publisher'
    )
