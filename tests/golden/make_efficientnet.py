"""Writes efficientnet.npz: outputs of timm's EfficientNet, and its names.

Run where torch, torchvision and timm are installed (it was written with torch
2.13.0 and timm 1.0.31); avemo needs none of them:

  python tests/golden/make_efficientnet.py

Weights and inputs are drawn from their names, so only outputs are stored; the
names and shapes of the real B0 and B2 stand beside them.
"""

import pathlib
import sys
import zlib

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from benchmarks.parity import efficientnet as parity


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  values = (0.2 * generator.standard_normal(shape)).astype(np.float32)
  # A variance is positive; small, so that the epsilon beside it is seen.
  return np.abs(values) + 0.05 if name.endswith('running_var') else values


def list_tensors(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
  return {
    name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
  }


def main():
  timm = parity.import_timm()
  model = parity.build(timm, 'tiny').eval()
  model.classifier = torch.nn.Sequential(torch.nn.Linear(320, 8))
  tensors = {name: draw(name, x) for name, x in list_tensors(model).items()}
  model.load_state_dict(
    {name: torch.from_numpy(np.array(x)) for name, x in tensors.items()}
  )
  frames = torch.from_numpy(draw('frames', (4, 32, 32, 3)))
  with torch.no_grad():
    maps = model.forward_features(frames.permute(0, 3, 1, 2))
    outputs = {
      'features': model.forward_head(maps, pre_logits=True),
      'logits': model.forward_head(maps),
    }
  arrays = {name: x.numpy() for name, x in outputs.items()}
  for variant in ('tiny', 'b0', 'b2'):
    shapes = list_tensors(parity.build(timm, variant))
    arrays[f'{variant}_names'] = np.array(list(shapes))
    # As text: shapes have different lengths.
    arrays[f'{variant}_shapes'] = np.array(
      [','.join(map(str, shape)) for shape in shapes.values()]
    )
  path = pathlib.Path(__file__).with_name('efficientnet.npz')
  np.savez_compressed(path, **arrays)
  print({k: v.shape for k, v in arrays.items()}, path.stat().st_size)


if __name__ == '__main__':
  main()
