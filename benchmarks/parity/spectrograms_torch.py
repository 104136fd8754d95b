"""What the references of spectrogram transformers need of torch and timm.

The codes of AST and of AudioMAE run on timm 0.4.5, which
`pip install --no-deps --target DIR/timm-0.4.5 timm==0.4.5` puts beside their
checkouts in DIR; nothing of the installed timm is touched.
"""

import contextlib
import importlib
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.parity import spectrograms

TIMM = 'timm-0.4.5'

# Imported by these codes for what is not done here: reading pictures and
# downloading files.
UNUSED = (
  'torchvision',
  'torchvision.transforms',
  'torchvision.transforms.functional',
  'wget',
)


@contextlib.contextmanager
def borrow(folders: list[pathlib.Path], names: tuple[str, ...]) -> Iterator:
  """Lets modules of some names come from folders, then puts back those before.

  Args:
    folders: searched first.
    names: of packages and modules, their parts included.
  """

  def take() -> dict[str, types.ModuleType]:
    found = [m for m in sys.modules if m.split('.')[0] in names]
    return {name: sys.modules.pop(name) for name in found}

  before, path = take(), list(sys.path)
  sys.path[:0] = map(str, folders)
  try:
    yield
  finally:
    take()
    sys.modules.update(before)
    sys.path[:] = path


@contextlib.contextmanager
def borrow_timm(references: pathlib.Path, *names: str) -> Iterator:
  """Lets timm 0.4.5 be imported, and modules of those names likewise.

  Args:
    references: the folder with `TIMM` and the checkouts.
    names: see `borrow`.
  """
  tops = ('timm', 'torchvision', 'wget', *names)
  with borrow([references / TIMM], tops):
    for name in UNUSED:
      sys.modules[name] = types.ModuleType(name)
    transforms = sys.modules['torchvision.transforms']
    transforms.functional = sys.modules['torchvision.transforms.functional']
    sys.modules['torchvision'].transforms = transforms
    yield importlib.import_module('timm')


def draw_weights(model: torch.nn.Module) -> torch.nn.Module:
  """Draws every tensor by its name, and ends training."""
  state = {
    name: torch.from_numpy(spectrograms.draw(name, tuple(x.shape)))
    for name, x in model.state_dict().items()
  }
  model.load_state_dict(state)
  return model.eval()


def watch(module: torch.nn.Module, name: str, outputs: dict[str, Any]):
  """Stores what the module gives when it is run."""

  def store(module, inputs, output):
    output = output[0] if isinstance(output, tuple) else output
    outputs[name] = output.detach().numpy().copy()

  module.register_forward_hook(store)


def run_norms(norms: dict[str, torch.nn.Module]) -> dict[str, np.ndarray]:
  """What each layer norm gives for tokens that show its epsilon."""
  with torch.no_grad():
    return {
      path: norm(torch.from_numpy(spectrograms.draw_faint(norm.bias.numel())))
      .numpy()
      .copy()
      for path, norm in norms.items()
    }
