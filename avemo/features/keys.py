"""What a cached embedding depends on: data, weights, preprocessing, code."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import avemo
from avemo.data import index, mixture
from avemo.data.clips import ClipOptions
from avemo.features import towers

# Records whose every byte is looked at, spread over the dataset.
_LOOKED_AT = 16

# Of the package: what lies between a record and an embedding.
_CODE = (
  'audio/*.py',
  'models/*.py',
  'data/clips.py',
  'data/loading.py',
  'data/pipeline.py',
  'features/*.py',
)
_PACKAGES = ('jax', 'jaxlib', 'flax', 'numpy', 'opencv-python-headless')


def describe(
  dataset: Any, tower: towers.Tower, options: ClipOptions, **more: Any
) -> dict[str, Any]:
  """All that the embeddings of a tower depend on.

  Args:
    dataset: of the records.
    tower: that embeds them.
    options: how a record becomes a clip.
    **more: whatever else changes what the tower reads.
  """
  return {
    'data': identify_data(dataset),
    'weights': tower.sha256,
    # As text, with all attributes and their defaults.
    'tower': repr(getattr(tower.model, tower.modality)),
    'front_end': dict(tower.model.features),
    'pictures': dict(tower.model.pictures),
    'clip': choose_options(tower.modality, options),
    'code': hash_code(),
    # Products are rounded otherwise on another kind of device.
    'backend': jax.default_backend(),
    'matmul_precision': jax.config.jax_default_matmul_precision,
    'packages': {name: importlib.metadata.version(name) for name in _PACKAGES},
    **more,
  }


def choose_options(modality: str, options: ClipOptions) -> dict[str, Any]:
  """The options of a clip that change what a modality's tower reads."""
  chosen = dataclasses.asdict(options)
  if modality == 'video':
    left_out = {'seconds', 'use'}
  elif options.sampling == 'uniform' or 'video' not in options.use:
    # Speech is then the same whichever frames are chosen.
    left_out = chosen.keys() - {'seconds', 'sampling'}
  else:
    left_out = {'size', 'squeeze'}
  # An option that is new changes the key until it is known not to matter.
  return {k: v for k, v in chosen.items() if k not in left_out}


def identify_data(dataset: Any) -> dict[str, Any]:
  """The records of a dataset: a hash of each, and every byte of some of them.

  The index has the hashes, of when the dataset was prepared; some records are
  looked at as they are now. One in memory may have no hashes.
  """
  count = len(dataset.index['clip_id'])
  places = np.unique(np.linspace(0, count - 1, _LOOKED_AT).astype(int))
  digest = hashlib.sha256()
  for place in places:
    digest.update(index.hash_record(dataset.source[int(place)]).encode())
  return {
    'name': dataset.name,
    'index': mixture.identify(dataset),
    'hashes': _hash_all(dataset.index.get(index.HASH, ())),
    'records': count,
    'looked_at': digest.hexdigest(),
  }


def _hash_all(hashes: Sequence[str]) -> str:
  return hashlib.sha256(''.join(map(str, hashes)).encode()).hexdigest()


@functools.cache
def hash_code() -> str:
  """A sha256 of the code between a record and an embedding."""
  root, digest = pathlib.Path(avemo.__file__).parent, hashlib.sha256()
  for pattern in _CODE:
    for path in sorted(root.glob(pattern)):
      digest.update(path.name.encode() + path.read_bytes())
  return digest.hexdigest()
