"""Reads `.safetensors`: a JSON header, then the bytes of every tensor.

The format is small enough to be read here, which maps tensors instead of
copying them. https://huggingface.co/docs/safetensors
"""

import json
import math
import os
import struct
from typing import Any

import numpy as np

from avemo.convert import arrays, refusal

LARGEST_HEADER = 4 << 20
KIND = 'safetensors file'

DTYPES = {
  'F64': '<f8',
  'F32': '<f4',
  'F16': '<f2',
  'BF16': '<u2',
  'I64': '<i8',
  'I32': '<i4',
  'I16': '<i2',
  'I8': 'i1',
  'U64': '<u8',
  'U32': '<u4',
  'U16': '<u2',
  'U8': 'u1',
  'BOOL': '?',
}


def recognise(start: bytes) -> bool:
  """Whether a file that starts so is of this format."""
  return len(start) > 9 and start[8:9] == b'{' and start[5:8] == bytes(3)


def read(
  path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads every tensor of a file.

  Args:
    path: the file.

  Returns:
    The tensors by name, mapped and read-only, bfloat16 widened to float32; and
    the texts of the header's metadata.

  Raises:
    AvemoError: the file is not whole, or its tensors overlap, leave gaps, or
      are of a type that is not read.
  """
  with refusal.of(path, KIND):
    data = arrays.map_file(path)
    (length,) = struct.unpack_from('<Q', data)
    if length > min(LARGEST_HEADER, len(data) - 8):
      raise refusal.Refusal(
        f'its header would be {length} bytes long; download it again'
      )
    # Decoded here, since json would guess at other encodings.
    text = bytes(data[8 : 8 + length]).decode('utf-8')
    header = json.loads(text, object_pairs_hook=_refuse_twice)
    if not isinstance(header, dict):
      raise refusal.Refusal('its header is no object; download it again')
    attributes = header.pop('__metadata__', None) or {}
    tensors = _read_tensors(header, data[8 + length :])
    arrays.check(tensors, len(data))
    return tensors, dict(attributes)


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) != len(pairs):
    raise refusal.Refusal('its header has a name twice; download it again')
  return found


def _read_tensors(
  header: dict[str, Any], data: memoryview
) -> dict[str, np.ndarray]:
  """The tensors, after a check that they tile the data."""
  if len(header) > arrays.MOST_TENSORS:
    raise refusal.Refusal(f'it holds {len(header)} tensors, more than is read')
  spans = {name: _read_span(name, entry) for name, entry in header.items()}
  end = 0
  for name, (start, stop) in sorted(spans.items(), key=lambda x: x[1]):
    if start != end or stop < start:
      raise refusal.Refusal(
        f'{name!r} lies at {start}..{stop} where {end} is next: its tensors '
        'overlap or leave gaps; download it again'
      )
    end = stop
  if end != len(data):
    raise refusal.Refusal(
      f'its tensors take {end} bytes and it holds {len(data)}; download it '
      'again'
    )
  return {
    name: _read_tensor(name, header[name], data[slice(*span)])
    for name, span in spans.items()
  }


def _read_span(name: str, entry: Any) -> tuple[int, int]:
  arrays.check_name(name)
  start, stop = entry['data_offsets']
  if type(start) is not int or type(stop) is not int:
    raise refusal.Refusal(f'{name!r} lies nowhere; download it again')
  return start, stop


def _read_tensor(
  name: str, entry: dict[str, Any], data: memoryview
) -> np.ndarray:
  kind, shape = entry['dtype'], tuple(entry['shape'])
  if kind not in DTYPES:
    raise refusal.Refusal(
      f'{name!r} is of type {refusal.shorten(str(kind), 20)}, which is not '
      'read; use a file in float32, float16 or bfloat16'
    )
  dtype = np.dtype(DTYPES[kind])
  array = arrays.view(data, dtype, shape)
  if math.prod(shape) * dtype.itemsize != len(data):
    raise refusal.Refusal(
      f'{name!r} of shape {shape} does not fill its {len(data)} bytes; '
      'download it again'
    )
  return arrays.widen_bfloat16(array) if kind == 'BF16' else array
