"""VideoMAE of transformers and of the original code, saved and computed."""

import argparse
import functools
import importlib
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.parity import videomae


def save_transformers(
  folder: pathlib.Path, kind: str, size: videomae.Size
) -> videomae.Reference:
  """transformers' model, saved by itself as safetensors."""
  frames, mask = videomae.draw_clip(kind, size)
  config = transformers.VideoMAEConfig(
    image_size=size.size,
    patch_size=size.patch,
    num_frames=size.frames,
    hidden_size=size.width,
    num_hidden_layers=size.depth,
    num_attention_heads=size.num_heads,
    intermediate_size=4 * size.width,
    decoder_hidden_size=size.decoder_width,
    decoder_num_hidden_layers=size.decoder_depth,
    decoder_num_attention_heads=size.decoder_heads,
    decoder_intermediate_size=4 * size.decoder_width,
    num_labels=videomae.NUM_CLASSES,
    # As in published files: pretraining has a norm after the encoder.
    use_mean_pooling=mask is None,
  )
  config._attn_implementation = 'eager'
  if mask is None:
    make = transformers.VideoMAEForVideoClassification
  else:
    make = transformers.VideoMAEForPreTraining
  model = draw_weights(make(config))
  model.save_pretrained(folder)
  clip = torch.from_numpy(videomae.normalize(frames)).permute(0, 1, 4, 2, 3)
  outputs = {}
  encoder = model.videomae
  if mask is None:
    watch(encoder.embeddings, 'embed', outputs)
    for i, layer in enumerate(encoder.encoder.layer):
      watch(layer, f'block_{i}', outputs)
    watch(model.fc_norm, 'feature', outputs)
    inputs = {}
    norms = {'video/fc_norm': model.fc_norm}
  else:
    watch(encoder.layernorm, 'encoded', outputs)
    watch(model.encoder_to_decoder, 'decoder_in', outputs)
    inputs = {'bool_masked_pos': torch.from_numpy(mask)}
    norms = {
      'video/norm': encoder.layernorm,
      'decoder/blocks/norm1': model.decoder.decoder_layers[0].layernorm_before,
      'decoder/norm': model.decoder.norm,
    }
  first = encoder.encoder.layer[0].layernorm_before
  norms['video/encoder/blocks/norm1'] = first
  with torch.no_grad():
    last = model(clip, **inputs).logits
  outputs['logits' if mask is None else 'pixels'] = last.numpy()
  return videomae.Reference(
    f'transformers {transformers.__version__}',
    'safetensors',
    folder,
    frames,
    mask,
    outputs,
    run_norms(norms),
  )


def save_original(
  checkout: pathlib.Path, folder: pathlib.Path, kind: str, size: videomae.Size
) -> Iterator[videomae.Reference]:
  """The original model, saved with what its training saves beside it."""
  frames, mask = videomae.draw_clip(kind, size)
  model = build_original(checkout, size, mask)
  draw_weights(model)
  path = folder / 'checkpoint-99.pth'
  optimizer = torch.optim.AdamW(model.parameters())
  torch.save(
    {
      'model': model.state_dict(),
      'optimizer': optimizer.state_dict(),
      'epoch': 99,
      'args': argparse.Namespace(lr=1e-3),
    },
    path,
  )
  videomae.write_config(folder, size)
  outputs = run_original(model, frames, mask)
  if mask is None:
    norms = {
      'video/encoder/blocks/norm1': model.blocks[0].norm1,
      'video/fc_norm': model.fc_norm,
    }
  else:
    norms = {
      'video/encoder/blocks/norm1': model.encoder.blocks[0].norm1,
      'video/norm': model.encoder.norm,
      'decoder/blocks/norm1': model.decoder.blocks[0].norm1,
      'decoder/norm': model.decoder.norm,
    }
  yield videomae.Reference(
    'MCG-NJU/VideoMAE', 'pth', path, frames, mask, outputs, run_norms(norms)
  )


def build_original(
  checkout: pathlib.Path, size: videomae.Size, mask: np.ndarray | None
) -> torch.nn.Module:
  """The original model; the one for pretraining if there is a mask."""
  finetune, pretrain = import_original(checkout)
  common = {
    'img_size': size.size,
    'patch_size': size.patch,
    'qkv_bias': True,
    'norm_layer': functools.partial(torch.nn.LayerNorm, eps=1e-6),
  }
  if mask is None:
    return finetune.VisionTransformer(
      num_classes=videomae.NUM_CLASSES,
      embed_dim=size.width,
      depth=size.depth,
      num_heads=size.num_heads,
      all_frames=size.frames,
      **common,
    )
  return pretrain.PretrainVisionTransformer(
    encoder_embed_dim=size.width,
    encoder_depth=size.depth,
    encoder_num_heads=size.num_heads,
    decoder_num_classes=2 * size.patch**2 * 3,
    decoder_embed_dim=size.decoder_width,
    decoder_depth=size.decoder_depth,
    decoder_num_heads=size.decoder_heads,
    **common,
  )


def run_original(
  model: torch.nn.Module, frames: np.ndarray, mask: np.ndarray | None
) -> dict[str, np.ndarray]:
  outputs = {}
  clip = torch.from_numpy(videomae.normalize(frames)).permute(0, 4, 1, 2, 3)
  if mask is None:
    watch(model.pos_drop, 'embed', outputs)
    for i, block in enumerate(model.blocks):
      watch(block, f'block_{i}', outputs)
    watch(model.fc_norm, 'feature', outputs)
    inputs = (clip,)
  else:
    watch(model.encoder, 'encoded', outputs)
    watch(model.encoder_to_decoder, 'decoder_in', outputs)
    inputs = (clip, torch.from_numpy(mask))
  with torch.no_grad():
    last = model(*inputs)
  outputs['logits' if mask is None else 'pixels'] = last.numpy()
  return outputs


def run_norms(norms: dict[str, torch.nn.Module]) -> dict[str, np.ndarray]:
  """What each layer norm gives for tokens that show its epsilon."""
  with torch.no_grad():
    return {
      path: norm(torch.from_numpy(videomae.draw_faint(norm.bias.numel())))
      .numpy()
      .copy()
      for path, norm in norms.items()
    }


def draw_weights(model: torch.nn.Module) -> torch.nn.Module:
  """Puts another random tensor into every weight, and ends training.

  Queries and keys are large enough for attention far from uniform, or the
  number of heads would hardly matter.
  """
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      drawn = torch.randn(weight.shape, generator=generator)
      if weight.ndim > 1 and 'token' not in name:
        drawn *= 1.4 / weight[0].numel() ** 0.5
      else:
        drawn *= 0.2
      if 'norm' in name and name.endswith('weight'):
        drawn += 1
      weight.copy_(drawn)
  return model.eval()


def watch(module: torch.nn.Module, name: str, outputs: dict[str, Any]):
  """Stores what the module gives when it is first run."""

  def store(module, inputs, output):
    output = output[0] if isinstance(output, tuple) else output
    outputs.setdefault(name, output.numpy().copy())

  module.register_forward_hook(store)


def import_original(
  checkout: pathlib.Path,
) -> tuple[types.ModuleType, types.ModuleType]:
  """The checkout's modules of fine-tuned and pretraining models.

  They import four small functions from a timm of 2020, of which only two do
  anything here: begin weights, which are drawn anew, and repeat a number.
  """
  timm_layers = types.ModuleType('timm.models.layers')
  timm_layers.drop_path = lambda x, *options: x
  timm_layers.to_2tuple = lambda x: (x, x)
  timm_layers.trunc_normal_ = torch.nn.init.trunc_normal_
  registry = types.ModuleType('timm.models.registry')
  registry.register_model = lambda make: make
  stand_ins = {
    'timm': types.ModuleType('timm'),
    'timm.models': types.ModuleType('timm.models'),
    'timm.models.layers': timm_layers,
    'timm.models.registry': registry,
  }
  before = {name: sys.modules.get(name) for name in stand_ins}
  sys.modules.update(stand_ins)
  sys.path.insert(0, str(checkout))
  try:
    return tuple(
      importlib.import_module(name)
      for name in ('modeling_finetune', 'modeling_pretrain')
    )
  finally:
    sys.path.remove(str(checkout))
    for name, module in before.items():
      if module is None:
        del sys.modules[name]
      else:
        sys.modules[name] = module
