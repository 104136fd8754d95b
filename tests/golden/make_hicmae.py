"""Writes hicmae.npz: outputs of HiCMAE by its authors' code.

Run where torch is installed (it was written with torch 2.13.0), with a
checkout of sunlicai/HiCMAE (commit cdd28d4); avemo needs neither:

  python tests/golden/make_hicmae.py CHECKOUT

Weights and inputs are drawn from their names, so only names, shapes and
outputs are stored.
"""

import functools
import importlib
import json
import pathlib
import sys
import types
import zlib

import numpy as np
import torch

WIDTH = 128


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  drawn = 0.1 * generator.standard_normal(shape)
  if 'norm' in name and name.endswith('weight'):
    drawn += 1
  return drawn.astype(np.float32)


def import_reference(checkout: str):
  """The authors' module; four helpers of an old timm stand here instead."""
  for name in ('timm', 'timm.models', 'timm.models.registry'):
    sys.modules[name] = types.ModuleType(name)
  sys.modules['timm.models.registry'].register_model = lambda function: function
  layers = types.ModuleType('timm.models.layers')
  layers.drop_path = lambda x, *unused: x
  layers.to_2tuple = lambda x: x if isinstance(x, tuple) else (x, x)
  layers.trunc_normal_ = torch.nn.init.trunc_normal_
  sys.modules['timm.models.layers'] = layers
  sys.path.insert(0, checkout)
  return importlib.import_module('modeling_finetune_av')


def main():
  torch.set_num_threads(1)
  model = (
    import_reference(sys.argv[1])
    .AudioVisionTransformer(
      img_size=32,
      num_classes=6,
      embed_dim=WIDTH,
      depth=2,
      num_heads=2,
      qkv_bias=True,
      norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
      all_frames=4,
      img_size_audio=(32, 48),
      embed_dim_audio=WIDTH,
      depth_audio=2,
      num_heads_audio=2,
      fusion_depth=2,
      fusion_num_heads=2,
    )
    .eval()
  )
  shapes = {name: tuple(x.shape) for name, x in model.state_dict().items()}
  model.load_state_dict(
    {name: torch.from_numpy(draw(name, s)) for name, s in shapes.items()}
  )
  clip = torch.from_numpy(draw('clip', (2, 4, 32, 32, 3)) * 10)
  sound = torch.from_numpy(draw('sound', (2, 32, 48)) * 10)
  # So quiet that the norm's epsilon is seen.
  quiet = torch.from_numpy(draw('quiet', (6, WIDTH)) / 100)
  with torch.no_grad():
    feature = model.forward_features(
      clip.permute(0, 4, 1, 2, 3).contiguous(), sound[:, None]
    )
    outputs = {
      'shapes': np.array(json.dumps(shapes)),
      'feature': feature.numpy(),
      'logits': model.head(feature).numpy(),
      'quiet': model.encoder.blocks[0].norm1(quiet).numpy(),
    }
  path = pathlib.Path(__file__).with_name('hicmae.npz')
  np.savez_compressed(path, **outputs)
  print({k: v.shape for k, v in outputs.items()}, path.stat().st_size)


if __name__ == '__main__':
  main()
