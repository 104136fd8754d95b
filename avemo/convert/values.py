"""Numbers of published tensors as those of a model's parameters.

Every function raises AvemoError with the tensor's name.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo import errors


def widen(name: str, tensor: Any) -> np.ndarray:
  """The tensor as an array that arithmetic keeps: float32 or float64."""
  array = np.asarray(tensor)
  if np.issubdtype(array.dtype, np.floating):
    wide = np.promote_types(array.dtype.newbyteorder('='), np.float32)
    return array.astype(wide, copy=False)
  # A whole number is a counter; an array of them is a quantised tensor, whose
  # scale is elsewhere.
  if not np.issubdtype(array.dtype, np.integer) or array.ndim:
    raise errors.AvemoError(
      f'{name!r} holds {array.dtype}, not floating-point weights'
    )
  return array


def narrow(name: str, array: np.ndarray) -> np.ndarray:
  """The array in float32, a whole number as it is; it must be finite."""
  array = np.asarray(array)
  if not np.issubdtype(array.dtype, np.floating):
    return array
  with np.errstate(over='ignore'):
    array = np.asarray(array, np.float32)
  if not np.isfinite(array).all():
    raise errors.AvemoError(f'{name!r} holds values that are not finite')
  return array


def stack(path: str, layers: Mapping[int, np.ndarray]) -> np.ndarray:
  """Layers numbered 0..L-1, each `[...]` → `[L, ...]`."""
  expected = range(len(layers))
  if sorted(layers) != list(expected):
    missing = sorted(set(expected) - set(layers))
    raise errors.AvemoError(
      f'{path!r} lacks layer {missing[0]} of {max(layers) + 1}'
    )
  shapes = {array.shape for array in layers.values()}
  if len(shapes) > 1:
    raise errors.AvemoError(
      f'the layers of {path!r} differ in shape: {sorted(shapes)}'
    )
  return np.stack([layers[index] for index in expected])
