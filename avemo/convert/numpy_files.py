"""Reads NumPy's `.npz` and `.npy`, which must hold plain numbers."""

import math
import os
import pathlib
import re
import struct
from typing import Any

import numpy as np

from avemo.convert import archive, arrays, refusal

KIND = 'NumPy file'
MAGIC = b'\x93NUMPY'
# Version → length of the header's length.
VERSIONS = {(1, 0): '<H', (2, 0): '<I'}
# As NumPy writes it; Python 2 may have written L after sizes.
HEADER = re.compile(
  r"\{'descr': (?P<descr>.{1,1000}), 'fortran_order': (?P<columns>True|False), "
  r"'shape': \((?P<shape>(?:\d{1,19}L?,? ?){0,32})\),? ?\}\s*"
)
NUMBERS = re.compile(r"'([<>|=][fiub]\d{1,2})'")
LARGEST_HEADER = 10_000


def read(
  path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads every array of a file.

  Args:
    path: the file.

  Returns:
    The arrays by name (of an `.npy`, the file's own name without its ending),
    read-only, mapped where they are not compressed; and no attributes.

  Raises:
    AvemoError: the file is not whole, or holds anything but numbers.
  """
  with refusal.of(path, KIND):
    data = arrays.map_file(path)
    if data[: len(MAGIC)] == MAGIC:
      name = pathlib.Path(path).stem
      return {name: _read_array(name, data)}, {}
    opened = archive.open_archive(path)
    tensors = {}
    for member in opened.members:
      name = member.removesuffix('.npy')
      arrays.check_name(name)
      tensors[name] = _read_array(name, opened.read(member))
    arrays.check(tensors, len(data))
    return tensors, {}


def _read_array(name: str, data: memoryview) -> np.ndarray:
  layout = VERSIONS.get(tuple(data[len(MAGIC) : len(MAGIC) + 2]))
  if layout is None or data[: len(MAGIC)] != MAGIC:
    raise refusal.Refusal(
      f'{name!r} is no array of numbers in a form that is read; save it by '
      'numpy.save in float32'
    )
  start = len(MAGIC) + 2 + struct.calcsize(layout)
  (length,) = struct.unpack_from(layout, data, len(MAGIC) + 2)
  header = bytes(data[start : start + min(length, LARGEST_HEADER)])
  found = HEADER.fullmatch(header.decode('latin-1'))
  if not found:
    raise refusal.Refusal(
      f'{name!r} has a header that NumPy does not write; download it again'
    )
  numbers = NUMBERS.fullmatch(found['descr'])
  if not numbers:
    raise refusal.Refusal(
      f'{name!r} holds {refusal.shorten(found["descr"], 40)}, not plain '
      'numbers; save it as float32'
    )
  dtype = np.dtype(numbers[1])
  shape = tuple(int(x) for x in re.findall(r'\d+', found['shape']))
  values = data[start + length :]
  if math.prod(shape) * dtype.itemsize != len(values):
    raise refusal.Refusal(
      f'{name!r} of shape {shape} does not fill its {len(values)} bytes; '
      'download it again'
    )
  if found['columns'] == 'True':
    return arrays.view(values, dtype, shape[::-1]).T
  return arrays.view(values, dtype, shape)
