"""Weights that Keras 2 saved as HDF5 (`save_weights`, `save`), by h5py.

The root, or its group `model_weights`, lists `layer_names`; the group of a
layer lists `weight_names`, in the order in which the layer made them, and
holds an array under each.
"""

import json
import math
import mmap
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np

from avemo import errors
from avemo.convert import h5_layout

SIGNATURE = b'\x89HDF\r\n\x1a\n'
SECONDS = 300


def read(
  path: pathlib.Path,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads every weight of a Keras file.

  Args:
    path: the file.

  Returns:
    The tensors, read-only and mapped from the file, named by the layer's
    group and their own name without its output number, such as
    `fc_norm/fc_norm/gamma`, in the file's order, which tells apart weights
    whose names only count; and the attributes `keras_version` and `backend`
    where the file has them.

  Raises:
    AvemoError: the file is not such a file, or not whole, or keeps arrays in
      ways that Keras does not write (compressed, in other files).
  """
  path = pathlib.Path(path)
  layout = _find_layout(path)
  if 'missing' in layout:
    raise errors.AvemoError(
      f'{path}: reading .h5 files needs h5py; install avemo[convert]'
    )
  try:
    if 'error' in layout:
      raise ValueError(layout['error'])
    return _map_weights(path, layout['weights']), layout['attributes']
  except (OSError, TypeError, ValueError) as error:
    raise errors.AvemoError(
      f'{path}: not a whole file of Keras weights: {error}; download or copy '
      'it again'
    ) from error


def _find_layout(path: pathlib.Path) -> dict[str, Any]:
  """What `h5_layout` prints of the file."""
  try:
    result = subprocess.run(
      # Without -P, its own folder would stand before the standard library.
      [sys.executable, '-P', h5_layout.__file__, os.fspath(path)],
      capture_output=True,
      check=True,
      timeout=SECONDS,
      # Threads of linear algebra would count into its limit of memory.
      env=os.environ | {'OPENBLAS_NUM_THREADS': '1'},
    )
    return json.loads(result.stdout)
  except (subprocess.SubprocessError, ValueError):
    return {'error': 'HDF5 cannot read it'}


def _map_weights(
  path: pathlib.Path, weights: list[tuple[str, str, list[int], int]]
) -> dict[str, np.ndarray]:
  with path.open('rb') as file:
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  tensors, left = {}, len(data)
  for name, dtype, shape, offset in weights:
    name = name.removesuffix(':0')
    if name in tensors:
      raise ValueError(f'two of its weights are called {name}')
    count = math.prod(shape)
    left -= count * np.dtype(dtype).itemsize
    if left < 0:
      raise ValueError('it lists more numbers than it holds')
    # Raises ValueError beyond the end, and for a count of 0.
    numbers = np.frombuffer(data, dtype, count, offset) if count else []
    tensors[name] = np.asarray(numbers, dtype).reshape(shape)
  return tensors
