"""Writes torch_files/: small files by torch.save, and what they hold.

Run where torch is installed (they were written with torch 2.13.0); avemo
needs none:

  python tests/golden/make_torch_files.py
"""

import argparse
import collections
import pathlib

import numpy as np
import torch

FOLDER = pathlib.Path(__file__).parent / 'torch_files'


class Pool(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.pool_type = 'avg'
    self.output_size = torch.Size((1, 1))
    self.act = torch.nn.functional.relu


class Net(torch.nn.Module):
  """A module with each thing that whole modules were seen to hold."""

  def __init__(self):
    super().__init__()
    self.stem = torch.nn.Conv2d(3, 4, 3, bias=False)
    self.bn1 = torch.nn.BatchNorm2d(4, eps=1e-3)
    self.blocks = torch.nn.Sequential(
      torch.nn.Linear(4, 5), torch.nn.Identity(), torch.nn.Linear(5, 4)
    )
    self.again = self.blocks[0]
    self.global_pool = Pool()
    self.scale = torch.nn.Parameter(torch.randn(2, 3).to(torch.bfloat16))
    self.register_buffer('table', torch.arange(6.0).reshape(2, 3).T)
    self.register_buffer('passing', torch.zeros(2), persistent=False)
    self.register_parameter('absent', None)
    self.num_features = 4
    self.sizes = (1, 2)
    self.register_forward_hook(print)


def make_state() -> dict[str, torch.Tensor]:
  base = torch.randn(4, 6)
  return {
    'float32': torch.randn(3, 4),
    'float64': torch.randn(2).double(),
    'float16': torch.randn(2, 2).half(),
    'bfloat16': torch.randn(3, 2).bfloat16(),
    'bfloat16_columns': torch.randn(3, 2).bfloat16().T,
    'int64': torch.tensor(7),
    'int32': torch.arange(3, dtype=torch.int32),
    'int16': torch.arange(3, dtype=torch.int16),
    'int8': torch.arange(-1, 2, dtype=torch.int8),
    'uint8': torch.arange(3, dtype=torch.uint8),
    'bool': torch.tensor([True, False, True]),
    'base': base,
    'rows': base[1:3],
    'columns': base[:, 2:5],
    'transposed': base.T,
    'steps': base[::2, 1::3],
    'flat': base.view(2, 12),
    'empty': torch.empty(0, 3),
    'one': torch.tensor([1.5]),
  }


def make_checkpoint() -> dict[str, object]:
  model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
  optimizer = torch.optim.AdamW(model.parameters())
  model(torch.randn(4, 3)).square().sum().backward()
  optimizer.step()
  return {
    'model': model.state_dict(),
    'optimizer': optimizer.state_dict(),
    'epoch': 3,
    'scaler': None,
    'best': np.float64(0.5),
    'args': argparse.Namespace(
      nb_classes=400, lr=1e-3, name='vit', path=pathlib.Path('x'), none=None
    ),
  }


def widen(tensor: torch.Tensor) -> np.ndarray:
  if tensor.dtype == torch.bfloat16:
    tensor = tensor.float()
  return tensor.detach().numpy()


def main():
  torch.manual_seed(0)
  FOLDER.mkdir(exist_ok=True)
  net = Net()
  for parameter in net.parameters():
    torch.nn.init.normal_(parameter)
  net.bn1.running_mean.normal_()
  checkpoint = make_checkpoint()
  parameters = collections.OrderedDict(
    weight=torch.nn.Parameter(torch.randn(2, 3)), bias=torch.randn(2)
  )
  parameters['weight'].note = 'a tensor may have attributes'
  state = make_state()
  legacy = {k: v for k, v in state.items() if k != 'bfloat16_columns'}
  saved = {
    'state': (state, state, {}),
    'protocol4': (state, state, {'pickle_protocol': 4}),
    'module': (net, net.state_dict(), {}),
    'checkpoint': (checkpoint, checkpoint['model'], {}),
    'deepspeed': ({'module': parameters}, parameters, {}),
    'uint16': (
      {'uint16': torch.tensor([0, 1, 65535], dtype=torch.uint16)},
      {'uint16': torch.tensor([0, 1, 65535], dtype=torch.uint16)},
      {},
    ),
    'legacy': (legacy, legacy, {'_use_new_zipfile_serialization': False}),
  }
  expected = {}
  for name, (value, tensors, options) in saved.items():
    torch.save(value, FOLDER / f'{name}.pth', **options)
    for key, tensor in tensors.items():
      expected[f'{name}:{key}'] = widen(tensor)
  script = torch.jit.script(torch.nn.Linear(2, 2))
  torch.jit.save(script, FOLDER / 'script.pt')
  np.savez_compressed(FOLDER / 'expected.npz', **expected)


if __name__ == '__main__':
  main()
