"""Towers with weights from a seed, in directories as conversion leaves them."""

import dataclasses
import json

import jax
import numpy as np

from avemo.data.clips import ClipOptions
from avemo.features import towers
from avemo.runtime import checkpoint

SECTIONS = {
  'face': {
    'use': ('video',),
    'video': {'name': 'efficientnet', 'variant': 'tiny'},
  },
  'vggish': {'use': ('audio',), 'audio': {'name': 'vggish', 'variant': 'tiny'}},
  'wav2vec2': {
    'use': ('audio',),
    'audio': {
      'name': 'wav2vec2',
      'variant': 'tiny',
      'width': 16,
      'depth': 1,
      'num_heads': 2,
      'channels': 8,
      'position_groups': 4,
      'remat': False,
    },
  },
  'cnn': {
    'use': ('audio',),
    'audio': {'name': 'cnn', 'widths': (4,)},
    'features': {'num_mels': 8},
  },
}


def write(folder, name, seed=0, **options):
  """Writes a tower; returns its directory."""
  section = SECTIONS[name]
  (modality,) = section['use']
  options = {'size': 32, 'frames': 1, 'seconds': 0.2} | options
  options = ClipOptions(use=section['use'], **options)
  shapes = towers.find_shapes(towers.make_model(section, modality), options)
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    values = rng.normal(size=leaf.shape).astype(leaf.dtype)
    # Variances are positive, and kernels keep what they read in bounds.
    last = jax.tree_util.keystr(path)
    if 'var' in last or 'scale' in last:
      return np.ones_like(values)
    return values / np.sqrt(max(np.prod(leaf.shape[:-1], dtype=int), 1))

  drawn = jax.tree_util.tree_map_with_path(draw, shapes)
  folder = folder / name
  folder.mkdir(parents=True)
  for kind, tree in drawn.items():
    if tree:
      checkpoint.write_arrays(folder / kind, tree)
  about = {'model': section, 'preprocessing': dataclasses.asdict(options)}
  (folder / 'model.json').write_text(json.dumps(about))
  return folder
