"""Reads NumPy's `.npz` and `.npy`, which must hold plain numbers."""

import io
import math
import os
import pathlib
from typing import Any

import numpy as np

from avemo.convert import archive, arrays, refusal

KIND = 'NumPy file'
MAGIC = b'\x93NUMPY'
HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}
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
  start = io.BytesIO(bytes(data[: LARGEST_HEADER + 16]))
  version = np.lib.format.read_magic(start)
  if version not in HEADERS:
    raise refusal.Refusal(
      f'{name!r} is of version {version} of the format, which only named '
      'fields need; save plain numbers'
    )
  shape, in_columns, dtype = HEADERS[version](start, LARGEST_HEADER)
  if dtype.hasobject or dtype.kind not in 'fiub' or dtype.shape:
    raise refusal.Refusal(
      f'{name!r} holds {refusal.shorten(str(dtype), 40)}, not plain numbers; '
      'save it as float32'
    )
  values = data[start.tell() :]
  if math.prod(shape) * dtype.itemsize != len(values):
    raise refusal.Refusal(
      f'{name!r} of shape {shape} does not fill its {len(values)} bytes; '
      'download it again'
    )
  if in_columns:
    return arrays.view(values, dtype, shape[::-1]).T
  return arrays.view(values, dtype, shape)
