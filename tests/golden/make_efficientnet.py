"""Writes efficientnet.npz: outputs of timm's EfficientNet, and its names.

Run where torch, torchvision and timm are installed (it was written with torch
2.13.0 and timm 1.0.31), from the project's root; avemo needs none of them:

  python -m tests.golden.make_efficientnet

Weights and inputs are drawn from their names, so only outputs are stored; the
names and shapes of the real B0 and B2 stand beside them.
"""

import pathlib
import zlib

import numpy as np
import torch

from benchmarks.parity import efficientnet as parity


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return generator.standard_normal(shape).astype(np.float32)


def draw_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Weights that pass a signal on, so that every tensor shows in the end."""
  values = draw(name, shape)
  if len(shape) > 1:
    return values * np.float32(2 / np.prod(shape[1:])) ** 0.5
  if name.endswith('running_var'):
    return 0.9 + 0.3 * np.abs(values)
  is_norm = name.endswith('weight')
  return 0.2 * values + np.float32(is_norm)


def list_tensors(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
  return {
    name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
  }


def main():
  timm = parity.import_timm()
  model = parity.build(timm, 'tiny').eval()
  model.classifier = torch.nn.Sequential(torch.nn.Linear(320, 8))
  tensors = {
    name: draw_tensor(name, x) for name, x in list_tensors(model).items()
  }
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
