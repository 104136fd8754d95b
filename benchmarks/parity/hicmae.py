"""HiCMAE through the converter against its authors' code, every tensor drawn.

The checkout is sunlicai/HiCMAE, of which two modules are imported.
"""

import importlib
import math
import pathlib
import sys
import tempfile
import types
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import torch

from avemo.convert import hicmae as family
from avemo.models import cross, emotion, hicmae, videomae
from benchmarks.parity import converted

CHECKOUT = 'sunlicai-HiCMAE'
NUM_CLASSES = 6

# The size of a run: width, depth, fusion depth, frames, picture and
# spectrogram, and its tolerance. The real one is that of CREMA-D and MAFW.
SIZES = {
  'small': (
    ((64, 2, 2, 4, 32, 64), 1e-5),
    ((192, 3, 1, 4, 48, 96), 1e-5),
  ),
  'real': (((512, 10, 2, 16, 160, 256), 1e-4),),
}


def run(
  references: pathlib.Path, sizes: Sequence[str] = ('small',)
) -> list[dict[str, Any]]:
  """Compares logits after fine-tuning, and the encoders of pre-training.

  Args:
    references: a folder with the checkout `CHECKOUT`.
    sizes: out of `SIZES`.

  Returns:
    Rows a size, kind of file and output.
  """
  tuned, pretrained = import_reference(pathlib.Path(references) / CHECKOUT)
  rows = []
  for size in sizes:
    for geometry, tolerance in SIZES[size]:
      torch.manual_seed(0)
      cases = [('fine-tuned', make_tuned(tuned, geometry))]
      if size != 'real':
        cases.append(('pre-trained', make_pretrained(pretrained, geometry)))
      for kind, model in cases:
        randomize(model)
        with tempfile.TemporaryDirectory() as folder:
          path = pathlib.Path(folder) / 'checkpoint.pth'
          torch.save({'model': model.state_dict(), 'epoch': 1}, path)
          found = compare(model, path, geometry, tolerance)
        rows += [
          {
            'family': 'hicmae',
            'source': f'authors, {kind}, {row.pop("output")}',
            'format': 'pth',
            'size': f'D{geometry[0]} L{geometry[1]}+{geometry[2]}',
            **row,
          }
          for row in found
        ]
  return rows


def import_reference(
  checkout: pathlib.Path,
) -> tuple[types.ModuleType, types.ModuleType]:
  """The authors' modules for fine-tuning and for pre-training.

  They take four helpers from a timm of their time, which stand here instead.
  """
  helpers = {
    'timm': {},
    'timm.models': {},
    'timm.models.layers': {
      'drop_path': lambda x, *unused: x,
      'to_2tuple': lambda x: x if isinstance(x, tuple) else (x, x),
      'trunc_normal_': torch.nn.init.trunc_normal_,
    },
    'timm.models.registry': {'register_model': lambda function: function},
  }
  names = ('modeling_finetune_av', 'modeling_pretrain_av')
  kept = {name: sys.modules.get(name) for name in helpers}
  for name, members in helpers.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)
  sys.path.insert(0, str(checkout))
  try:
    return tuple(importlib.import_module(name) for name in names)
  finally:
    sys.path.remove(str(checkout))
    for name, module in kept.items():
      del sys.modules[name]
      if module is not None:
        sys.modules[name] = module


def make_tuned(module: Any, geometry: tuple[int, ...]) -> torch.nn.Module:
  """The authors' model for fine-tuning."""
  width, depth, fusion_depth, frames, side, time = geometry
  return module.AudioVisionTransformer(
    img_size=side,
    num_classes=NUM_CLASSES,
    embed_dim=width,
    depth=depth,
    num_heads=width // 64,
    qkv_bias=True,
    norm_layer=make_norm,
    all_frames=frames,
    img_size_audio=(time, 128),
    embed_dim_audio=width,
    depth_audio=depth,
    num_heads_audio=width // 64,
    fusion_depth=fusion_depth,
    fusion_num_heads=width // 64,
  )


def make_pretrained(module: Any, geometry: tuple[int, ...]) -> torch.nn.Module:
  """The authors' model for pre-training, with the smallest decoders."""
  width, depth, fusion_depth, _, side, time = geometry
  return module.PretrainAudioVisionTransformer(
    img_size=side,
    encoder_embed_dim=width,
    encoder_depth=depth,
    encoder_num_heads=width // 64,
    decoder_embed_dim=16,
    decoder_depth=2,
    decoder_num_heads=2,
    qkv_bias=True,
    norm_layer=make_norm,
    img_size_audio=(time, 128),
    encoder_embed_dim_audio=width,
    encoder_depth_audio=depth,
    encoder_num_heads_audio=width // 64,
    decoder_embed_dim_audio=16,
    decoder_depth_audio=2,
    decoder_num_heads_audio=2,
    encoder_fusion_depth=fusion_depth,
    encoder_fusion_num_heads=width // 64,
    return_intermediate_features=(1,),
  )


def make_norm(width: int) -> torch.nn.LayerNorm:
  """The layer norm of every published model."""
  return torch.nn.LayerNorm(width, eps=1e-6)


def randomize(model: torch.nn.Module) -> None:
  """Draws every tensor, of a size that makes attention far from even."""
  model.eval()
  with torch.no_grad():
    for name, tensor in model.named_parameters():
      draw = torch.randn(tensor.shape)
      if 'norm' in name and name.endswith('weight'):
        tensor.copy_(1 + 0.2 * draw)
      elif name.endswith('layer_weights'):
        tensor.copy_(draw)
      elif tensor.ndim == 1:
        tensor.copy_(0.2 * draw)
      else:
        sharp = 1.5 if 'qkv' in name or '.q.' in name or 'kv' in name else 1.0
        tensor.copy_(draw * sharp / math.sqrt(tensor[0].numel()))


def compare(
  model: torch.nn.Module,
  path: pathlib.Path,
  geometry: tuple[int, ...],
  tolerance: float,
) -> list[dict[str, Any]]:
  """Rows of a file: feature and logits, or the fusion's tokens."""
  _, _, _, frames, side, time = geometry
  batch = emotion.example_batch(frames=frames, size=side, samples=8_000)
  ours, variables = converted.load(path, family, batch)
  draw = np.random.default_rng(2)
  clip = draw.normal(size=(2, frames, side, side, 3)).astype(np.float32)
  sound = draw.normal(size=(2, time, 128)).astype(np.float32)
  inputs = (
    torch.from_numpy(clip).permute(0, 4, 1, 2, 3).contiguous(),
    torch.from_numpy(sound)[:, None],
  )
  if hasattr(model, 'fc_norm'):
    with torch.no_grad():
      feature = model.forward_features(*inputs)
      expected = {'feature': feature, 'logits': model.head(feature)}
    found = run_tuned(ours, variables, clip, sound)
  else:
    expected = run_pretrained(model, inputs)
    found = run_encoders(ours, variables, clip, sound)
  rows = []
  for name, theirs in expected.items():
    row = converted.compare(theirs.numpy(), found[name], tolerance)
    if not row['ok']:
      row['first_difference'] = find_first_difference(
        model, inputs, ours, variables, (clip, sound), tolerance
      )
    rows.append({'output': name, **row})
  return rows


def run_tuned(
  ours: hicmae.HiCMAE, variables: Any, clip: np.ndarray, sound: np.ndarray
) -> dict[str, np.ndarray]:
  """Our feature and logits."""

  def both(model, clip, sound):
    feature = model.extract(clip, sound)
    logits = model.head({'joint': feature})['joint']['emotion']
    return {'feature': feature, 'logits': logits}

  return jax.jit(lambda v, *x: ours.apply(v, *x, method=both))(
    variables, clip, sound
  )


def run_encoders(
  ours: hicmae.HiCMAE, variables: Any, clip: np.ndarray, sound: np.ndarray
) -> dict[str, np.ndarray]:
  """Our tokens after the fusion, the layer scores not being in the file."""

  def fuse(tree, clip, sound):
    tokens = []
    for name, cut, shape in (
      ('video', videomae.cut_tubelets(clip, hicmae.TUBELET), hicmae.TUBELET),
      ('audio', hicmae.cut_patches(sound, hicmae.PATCH), hicmae.PATCH),
    ):
      params = tree[name] | {'layer_scores': np.zeros(ours.depth, np.float32)}
      channels = 3 if name == 'video' else 1
      tower = hicmae.Tower(
        ours.width, ours.depth, (*shape, channels), ours.num_heads
      )
      tokens.append(tower.apply({'params': params}, cut)[0])
    fusion = cross.Fusion(ours.fusion_depth, ours.num_heads)
    return fusion.apply({'params': tree['fusion']}, *tokens)

  video, audio = jax.jit(fuse)(variables['params'], clip, sound)
  return {'video tokens': video, 'audio tokens': audio}


def run_pretrained(
  model: torch.nn.Module, inputs: tuple[torch.Tensor, torch.Tensor]
) -> dict[str, torch.Tensor]:
  """The reference's tokens after the fusion, nothing being masked."""
  tokens = []
  with torch.no_grad():
    for encoder, x in zip(
      (model.encoder, model.encoder_audio), inputs, strict=True
    ):
      embedded = encoder.patch_embed(x)
      # Their table counts 16 frames; this clip may be of fewer.
      size = embedded.shape[1]
      table = sys.modules['modeling_finetune_av'].get_sinusoid_encoding_table
      encoder.pos_embed = table(size, embedded.shape[2])
      mask = torch.zeros(len(x), size, dtype=torch.bool)
      tokens.append(encoder(x, mask)[0])
    video, audio = model.encoder_fusion(*tokens)
  return {'video tokens': video, 'audio tokens': audio}


def find_first_difference(
  model: torch.nn.Module,
  inputs: tuple[torch.Tensor, torch.Tensor],
  ours: hicmae.HiCMAE,
  variables: Any,
  own_inputs: tuple[np.ndarray, np.ndarray],
  tolerance: float,
) -> str:
  """The authors' name of the first encoder block that differs, if one does."""
  made = {}
  for name, module in model.named_modules():
    if name.count('.') == 2 and name.startswith('encoder') and 'blocks' in name:
      module.register_forward_hook(
        lambda module, inputs, output, name=name: made.update({name: output})
      )
  if hasattr(model, 'fc_norm'):
    with torch.no_grad():
      model(*inputs)
  else:
    run_pretrained(model, inputs)
  cut = {
    'video': videomae.cut_tubelets(own_inputs[0], hicmae.TUBELET),
    'audio': hicmae.cut_patches(own_inputs[1], hicmae.PATCH),
  }
  for name, encoder in (('video', 'encoder'), ('audio', 'encoder_audio')):
    params = variables['params'][name]
    tower = hicmae.Tower(
      ours.width,
      ours.depth,
      params['patch_embed']['kernel'].shape[:-1],
      ours.num_heads,
    )
    params = {'layer_scores': np.zeros(ours.depth, np.float32)} | params
    _, state = tower.apply(
      {'params': params},
      cut[name],
      capture_intermediates=True,
      mutable=['intermediates'],
    )
    every = state['intermediates']['encoder']['__call__'][0]
    for number, mine in enumerate(every):
      block = f'{encoder}.blocks.{number}'
      if not converted.compare(made[block], mine, 10 * tolerance)['ok']:
        return block
  return 'a block of the fusion, or what follows it'
