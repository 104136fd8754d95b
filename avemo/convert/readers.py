"""Opens a file of weights of any known format, without running its contents.

The format is told by what the file holds, never by its name.
"""

import hashlib
import importlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from avemo import errors

# Formats that a module of this package reads; each has a function
# `read(path) -> (tensors, attributes)`. They are imported when they are
# needed: h5py belongs to an extra.
READERS = {
  'pth': 'avemo.convert.torch_files',
  'safetensors': 'avemo.convert.safetensors_files',
  'npz': 'avemo.convert.numpy_files',
  'saved_model': 'avemo.convert.saved_model',
  'tf_checkpoint': 'avemo.convert.bundle',
  'h5': 'avemo.convert.keras_h5',
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
