"""Prints where the weights of a Keras file lie in it, as JSON.

A program of its own, run by `keras_h5`: HDF5 is written in C and can crash on
a broken file, which must not take its caller with it.

  python -P h5_layout.py FILE

It prints `{"weights": [[name, dtype, shape, offset], …], "attributes": {…}}`
or `{"error": "why not"}`.
"""

import contextlib
import json
import sys
from typing import Any

# Weights that belong to the model itself and to no layer of it.
TOP = 'top_level_model_weights'

MEMORY_LIMIT = 4 << 30

# What h5py raises for a file that is not whole, by where it notices.
BROKEN = (
  AttributeError,
  KeyError,
  MemoryError,
  OSError,
  OverflowError,
  RuntimeError,
  TypeError,
  ValueError,
)


def read_layout(path: str) -> dict[str, Any]:
  """What there is to print for a file."""
  try:
    import h5py
  except ImportError:
    return {'missing': 'h5py'}
  try:
    with h5py.File(path, 'r') as file:
      return _read_file(h5py, file)
  except BROKEN as error:
    return {'error': ' '.join(str(error).split())[:200]}


def _read_file(h5py: Any, file: Any) -> dict[str, Any]:
  if file.userblock_size:
    raise ValueError('something stands before it in the file')
  root = file
  if 'layer_names' not in file.attrs and 'model_weights' in file:
    root = _get(h5py, file, 'model_weights', h5py.Group)
  groups = _read_list(root, 'layer_names')
  if not groups:
    raise ValueError('it lists no layers')
  if TOP in root:
    groups.append(TOP)
  weights = []
  for group in groups:
    layer = _get(h5py, root, group, h5py.Group)
    for name in _read_list(layer, 'weight_names'):
      array = _get(h5py, layer, name, h5py.Dataset)
      weights.append([f'{group}/{name}', *_find_array(array, name)])
  attributes = {
    name: _decode(root.attrs[name])
    for name in ('backend', 'keras_version')
    if name in root.attrs
  }
  return {'weights': weights, 'attributes': attributes}


def _find_array(array: Any, name: str) -> tuple[str, tuple[int, ...], int]:
  """The type, the shape and the place of an array kept as it is."""
  if array.dtype.kind not in 'fiu':
    raise ValueError(f'{name} is of type {array.dtype}')
  # Other layouts could unfold to any size, or name other files to read.
  plain = array.chunks is None and not array.is_virtual and not array.external
  offset = array.id.get_offset() if plain else None
  if array.nbytes and offset is None:
    raise ValueError(f'{name} is not kept as plain numbers')
  return array.dtype.str, array.shape, offset or 0


def _get(h5py: Any, group: Any, name: str, kind: type) -> Any:
  """The member at a path in the group, by hard links alone."""
  for part in name.split('/'):
    if not isinstance(group, h5py.Group) or part in ('', '.', '..'):
      raise ValueError(f'{name} is no path in it')
    # Others lead out of the file.
    if not isinstance(group.get(part, getlink=True), h5py.HardLink):
      raise ValueError(f'{name} is not in the file itself')
    group = group[part]
  if not isinstance(group, kind):
    raise ValueError(f'{name} is not a {kind.__name__.lower()}')
  return group


def _read_list(group: Any, name: str) -> list[str]:
  """A list of texts; Keras splits those that HDF5 would find too long."""
  if name in group.attrs:
    return _decode_all(group.attrs[name])
  texts = []
  while (part := f'{name}{len(texts)}') in group.attrs:
    texts.append(_decode_all(group.attrs[part]))
  if not texts:
    raise ValueError(f'it has no list {name}')
  return [text for part in texts for text in part]


def _decode_all(texts: Any) -> list[str]:
  # A list of no texts is stored as one of no numbers.
  return [_decode(text) for text in texts]


def _decode(text: Any) -> str:
  return text.decode('utf-8') if isinstance(text, bytes) else str(text)


def main():
  with contextlib.suppress(ImportError, ValueError, OSError):
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
  print(json.dumps(read_layout(sys.argv[1])))


if __name__ == '__main__':
  main()
