"""EfficientNet through the converter against timm, every tensor drawn."""

import functools
import pathlib
import sys
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import torch
from safetensors import torch as safetensors_torch

from avemo.convert import efficientnet as family
from avemo.models import emotion, videomae
from benchmarks.parity import converted

# Where `make parity` has put it.
TORCHVISION = pathlib.Path(sys.prefix) / 'torchvision'

# The size of a run: its variant and its tolerance.
SIZES = {'small': (('tiny', 1e-5),), 'real': (('b0', 1e-4), ('b2', 1e-4))}
# The outputs of a classifier, by the format in which it is saved here.
NUM_OUTPUTS = {'module': 8, 'pth': 10, 'safetensors': 7}
TINY = [
  ['ds_r1_k3_s1_e1_c16_se0.25'],
  ['ir_r2_k3_s2_e6_c24_se0.25'],
  ['ir_r2_k5_s2_e6_c40_se0.25'],
]


def run(
  references: pathlib.Path, sizes: Sequence[str] = ('small',)
) -> list[dict[str, Any]]:
  """Compares logits and values of every format.

  Args:
    references: not used: timm is a package.
    sizes: out of `SIZES`.

  Returns:
    One row a variant and format.
  """
  del references
  timm = import_timm()
  rows = []
  for size in sizes:
    for variant, tolerance in SIZES[size]:
      for form, outputs in NUM_OUTPUTS.items():
        torch.manual_seed(len(rows))
        model = build(timm, variant)
        # Seven and eight classes are published in a Sequential of one layer.
        linear = torch.nn.Linear(model.num_features, outputs)
        model.classifier = (
          linear if outputs == 10 else torch.nn.Sequential(linear)
        )
        side = family.VARIANTS[variant].size
        frames = np.random.default_rng(0).random((1, 2, side, side, 3))
        frames = frames.astype(np.float32)
        randomize(model, to_torch(frames))
        with tempfile.TemporaryDirectory() as folder:
          path = save(model, pathlib.Path(folder), form)
          row = compare(model, path, frames, tolerance)
        rows.append(
          {
            'family': 'efficientnet',
            'source': f'timm {timm.__version__}, {outputs} outputs',
            'format': form,
            'size': variant,
            **row,
          }
        )
  return rows


def import_timm() -> Any:
  """timm, beside a torchvision whose compiled operators do not load.

  It lies in a folder of its own in the environment, since transformers would
  stumble over it.
  """
  sys.path.append(str(TORCHVISION))
  operators = torch.library.Library('torchvision', 'FRAGMENT')
  for name in ('nms', 'qnms'):
    try:
      operators.define(
        f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
      )
    except RuntimeError:
      break  # They did load.
  import timm

  sys.path.remove(str(TORCHVISION))
  timm.avemo_operators = operators  # They live as long as their library.
  return timm


def build(timm: Any, variant: str) -> torch.nn.Module:
  """timm's own model; `tiny` is the first stages of B0 at a quarter's width."""
  if variant != 'tiny':
    with warnings.catch_warnings():
      # The published weights carry the older of two names.
      warnings.simplefilter('ignore')
      return timm.create_model(f'tf_efficientnet_{variant}_ns')
  from timm.models import _efficientnet_builder as builder
  from timm.models import efficientnet

  widths = functools.partial(builder.round_channels, multiplier=0.25)
  return efficientnet.EfficientNet(
    builder.decode_arch_def(TINY, 1.0),
    num_features=widths(1280),
    stem_size=32,
    round_chs_fn=widths,
    act_layer=torch.nn.SiLU,
    norm_layer=functools.partial(torch.nn.BatchNorm2d, eps=1e-3),
    pad_type='same',
  )


def to_torch(frames: np.ndarray) -> torch.Tensor:
  """Frames in [0, 1] [1, T, H, W, 3] to normalised pictures [T, 3, H, W]."""
  normal = (frames[0] - np.float32(videomae.MEAN)) / np.float32(videomae.STD)
  return torch.from_numpy(normal).permute(0, 3, 1, 2).contiguous()


def randomize(model: torch.nn.Module, pictures: torch.Tensor) -> None:
  """Draws every tensor; statistics are near what the pictures give.

  Else the scale of activations, and of rounding with it, would run away over
  the blocks.
  """
  with torch.no_grad():
    for name, tensor in model.named_parameters():
      if tensor.ndim == 1:
        start = 1.0 if '.bn' in f'.{name}' and name.endswith('weight') else 0.0
        tensor.copy_(start + 0.2 * torch.randn(tensor.shape))

  def draw_statistics(norm, inputs):
    power = inputs[0].square().mean((0, 2, 3))
    shape = power.shape
    norm.running_mean = 0.3 * power.sqrt() * torch.randn(shape)
    norm.running_var = power * (0.7 + 0.6 * torch.rand(shape))

  norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
  hooks = [norm.register_forward_pre_hook(draw_statistics) for norm in norms]
  model.eval()
  with torch.no_grad():
    model(pictures)
  for hook in hooks:
    hook.remove()


def save(
  model: torch.nn.Module, folder: pathlib.Path, form: str
) -> pathlib.Path:
  """Writes the model as published files are written."""
  if form == 'safetensors':
    path = folder / 'model.safetensors'
    safetensors_torch.save_file(model.state_dict(), path)
    return path
  path = folder / f'{form}.pt'
  torch.save(model if form == 'module' else model.state_dict(), path)
  return path


def compare(
  model: torch.nn.Module,
  path: pathlib.Path,
  frames: np.ndarray,
  tolerance: float,
) -> dict[str, Any]:
  """The row's figures; on failure with the first layer that differs."""
  maps = {}
  for name, module in model.named_modules():
    if name in ('bn1', 'bn2') or name.count('.') == 2:
      module.register_forward_hook(
        lambda module, inputs, output, name=name: maps.update({name: output})
      )
  with torch.no_grad():
    # Of a clip: a linear head commutes with the mean over frames.
    expected = model(to_torch(frames)).mean(0).numpy()
  batch = emotion.example_batch(
    frames=frames.shape[1], size=frames.shape[2]
  ) | {'frames': frames}
  ours, variables = converted.load(path, family, batch)
  outputs, state = jax.jit(
    lambda variables, batch: ours.apply(
      variables,
      batch,
      capture_intermediates=True,
      mutable=['intermediates'],
    )
  )(variables, batch)
  parts = [outputs[name][0] for name in ours.heads]
  row = converted.compare(expected, np.concatenate(parts), tolerance)
  if not row['ok']:
    tower = state['intermediates']['video']
    row['first_difference'] = find_first_difference(maps, tower, tolerance)
  return row


def find_first_difference(
  maps: dict[str, torch.Tensor], tower: dict[str, Any], tolerance: float
) -> str:
  """timm's name of the first layer whose output differs."""
  names = {'bn1': 'stem', 'bn2': 'head'}
  for name, output in maps.items():
    own = tower[names.get(name, name.replace('.', '_'))]['__call__'][0]
    theirs = output.permute(0, 2, 3, 1).numpy()
    if not converted.compare(theirs, own, 10 * tolerance)['ok']:
      return name
  return 'classifier'
