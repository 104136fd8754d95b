"""Opens a file of weights of any known format, without running its contents.

The format is told by what the file holds, never by its name.
"""

import hashlib
import importlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from avemo import errors
from avemo.convert import (
  archive,
  numpy_files,
  refusal,
  safetensors_files,
  torch_files,
)

# Formats that a module of this package reads; each has a function
# `read(path) -> (tensors, attributes)`. They are imported when they are
# needed.
READERS = {
  'pth': 'avemo.convert.torch_files',
  'safetensors': 'avemo.convert.safetensors_files',
  'npz': 'avemo.convert.numpy_files',
  'saved_model': 'avemo.convert.saved_model',
  'tf_checkpoint': 'avemo.convert.bundle',
  'h5': 'avemo.convert.keras_h5',
}

# What may stand beside the files, in a folder as transformers saves it.
IN_FOLDERS = ('model.safetensors', 'pytorch_model.bin')
LARGEST_CONFIG = 4 << 20

# The last bytes of a sorted table, which TensorFlow's indices are.
TABLE_END = bytes.fromhex('57fb808b247547db')
# Files that stand where weights should, by their start in lower case.
STAND_INS = {
  b'version https://git-lfs': 'a pointer of Git LFS, not the file; fetch it '
  'with git lfs pull',
  b'<': 'a web page, not weights; download the file itself',
  b'ustar': 'an archive; unpack it and name the file in it',
  b'\x1f\x8b': 'compressed; unpack it first',
  b'gguf': 'a GGUF file, which is not read; use the safetensors',
}


class Source(NamedTuple):
  """What one file of weights holds.

  Attributes:
    tensors: name → array; bfloat16 is widened to float32, the rest has the
      file's type and, where the file stores it plainly, lies in the file
      (memory-mapped, read-only).
    format: a key of `READERS`.
    config: the JSON object in `config.json` beside the file; {} without one.
    attributes: plain values found beside the tensors: of a pickled module
      (`{'global_pool.pool_type': 'avg'}`), of a namespace of arguments
      (`{'args.nb_classes': 400}`), of metadata; {} without.
    path: the file or folder.
    sha256: of the file; of a format of several files, of the lines
      'sha256  name' of each, sorted by name.
  """

  tensors: Mapping[str, np.ndarray]
  format: str
  config: dict[str, Any]
  attributes: dict[str, Any]
  path: pathlib.Path
  sha256: str


def read(path: str | os.PathLike) -> Source:
  """Reads a file of weights.

  Args:
    path: a file; or a folder: a SavedModel, or one with a
      `model.safetensors` or `pytorch_model.bin` in it; or the prefix of
      TensorFlow's checkpoint.

  Raises:
    AvemoError: there is no such file, its format is not read, it is broken,
      or it was made to do harm.
  """
  path = pathlib.Path(path)
  file, kind = _choose(path)
  try:
    reader = importlib.import_module(READERS[kind])
  except ModuleNotFoundError as error:
    raise errors.AvemoError(
      f'{path}: reading it needs {error.name}; install avemo[convert]'
    ) from error
  tensors, attributes = reader.read(file)
  return Source(
    tensors=tensors,
    format=kind,
    config=_read_config(file if file.is_dir() else file.parent),
    attributes=attributes,
    path=path,
    sha256=_hash(_list_files(file, kind)),
  )


def recognise(path: str | os.PathLike) -> str:
  """The format of a file, a key of `READERS`, told by its contents.

  Args:
    path: as of `read`.

  Raises:
    AvemoError: there is no such file, or none of the formats.
  """
  return _choose(pathlib.Path(path))[1]


def _choose(path: pathlib.Path) -> tuple[pathlib.Path, str]:
  """The file to read for a path, and its format."""
  try:
    if path.is_dir():
      return _choose_in_folder(path)
    index = path.with_name(path.name + '.index')
    if not path.is_file() and index.is_file():
      return path, 'tf_checkpoint'
    return path, _recognise(path)
  except OSError as error:
    raise errors.AvemoError(
      f'{path}: cannot be read: {error.strerror}; check the path'
    ) from error


def _choose_in_folder(path: pathlib.Path) -> tuple[pathlib.Path, str]:
  if (path / 'saved_model.pb').is_file():
    return path, 'saved_model'
  for name in IN_FOLDERS:
    if (path / name).is_file():
      return path / name, _recognise(path / name)
  raise errors.AvemoError(
    f'{path}: a folder without {", ".join(("saved_model.pb", *IN_FOLDERS))}; '
    'name the file of weights'
  )


def _recognise(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    start = file.read(512)
    file.seek(max(0, file.seek(0, os.SEEK_END) - len(TABLE_END)))
    end = file.read()
  if start.startswith(b'PK\x03\x04'):
    return _recognise_zip(path)
  if start.startswith(numpy_files.MAGIC):
    return 'npz'
  if start.startswith(b'\x89HDF\r\n\x1a\n'):
    return 'h5'
  if start.startswith(torch_files.LEGACY_START):
    return 'pth'
  if end == TABLE_END:
    return 'tf_checkpoint'
  if safetensors_files.recognise(start):
    return 'safetensors'
  for mark, told in STAND_INS.items():
    found = start[257:262] if mark == b'ustar' else start.lstrip().lower()
    if found.startswith(mark):
      raise errors.AvemoError(f'{path}: {told}')
  if start[:1] == b'\x80' and start[1:2] in b'\x02\x03\x04\x05':
    raise errors.AvemoError(
      f'{path}: a bare pickle, which is not read; save the tensors with '
      'torch.save, or as .safetensors or .npz'
    )
  raise errors.AvemoError(
    f'{path}: none of the formats of weights that are read: PyTorch, '
    "safetensors, NumPy, Keras' .h5, TensorFlow's SavedModel and checkpoint"
  )


def _recognise_zip(path: pathlib.Path) -> str:
  with refusal.of(path, 'zip file'):
    names = archive.open_archive(path).members
    if any(name.split('/')[1:] == ['data.pkl'] for name in names):
      return 'pth'
    if names and all(name.endswith('.npy') for name in names):
      return 'npz'
    if 'model.weights.h5' in names:
      raise refusal.Refusal(
        'a .keras file; unpack it and name the model.weights.h5 in it'
      )
    raise refusal.Refusal(
      'a zip of neither PyTorch nor NumPy; unpack it and name the file of '
      'weights in it'
    )


def _read_config(folder: pathlib.Path) -> dict[str, Any]:
  path = folder / 'config.json'
  if not path.is_file():
    return {}
  with refusal.of(path, 'JSON file'):
    if path.stat().st_size > LARGEST_CONFIG:
      raise refusal.Refusal('too large for a config; move it away')
    config = json.loads(path.read_text(encoding='utf-8'))
    if not isinstance(config, dict):
      raise refusal.Refusal('it is no config of a model; move it away')
    return config


def _list_files(path: pathlib.Path, kind: str) -> list[pathlib.Path]:
  """The files that hold the tensors, the first of them the one named."""
  if kind == 'saved_model':
    return sorted((path / 'variables').glob('variables.*'))
  if kind == 'tf_checkpoint':
    prefix = path.with_suffix('') if path.suffix == '.index' else path
    shards = sorted(
      x
      for x in prefix.parent.glob('*.data-?????-of-?????')
      if x.stem == prefix.name
    )
    index = prefix.with_name(f'{prefix.name}.index')
    return [index, *shards] if index.is_file() else [path]
  return [path]


def _hash(paths: list[pathlib.Path]) -> str:
  found = []
  for path in paths:
    with open(path, 'rb') as file:
      digest = hashlib.file_digest(file, 'sha256').hexdigest()
    found.append((path.name, digest))
  if len(found) == 1:
    return found[0][1]
  lines = ''.join(f'{digest}  {name}\n' for name, digest in sorted(found))
  return hashlib.sha256(lines.encode()).hexdigest()
