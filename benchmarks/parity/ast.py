"""AST against transformers and the authors' code, layer by layer.

Each code builds its model, gets another random tensor into every weight, and
saves the file; ours converts it, and both read the same spectrograms. Needs
torch and transformers; for the authors' code its checkout YuanGongND-ast and
timm 0.4.5, see `spectrograms_torch`.
"""

import importlib
import pathlib
import tempfile
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from avemo.convert import ast
from benchmarks.parity import spectrograms

FAMILY = ast.FAMILY
NUM_CLASSES = 7
CHECKOUT = 'YuanGongND-ast'


class Size(NamedTuple):
  """Of transformers' model, which may have any, and of the authors'.

  Attributes:
    width: D, of transformers' model.
    depth: L, of both; the authors' have 12 blocks at most.
    num_heads: K, of transformers' model.
    num_frames: of its spectrogram.
    num_mels: likewise.
    model_size: of the authors' models.
    input_tdim: time frames of its spectrogram.
    stride: of its patches.
  """

  width: int
  depth: int
  num_heads: int
  num_frames: int
  num_mels: int
  model_size: str
  input_tdim: int
  stride: int


SIZES = types.MappingProxyType(
  {
    'tiny': Size(48, 2, 3, 57, 36, 'tiny224', 128, 16),
    'small': Size(384, 12, 6, 256, 128, 'small224', 128, 10),
    'base': Size(768, 12, 12, 1024, 128, 'base384', 1024, 10),
  }
)


def run(
  references: pathlib.Path | None, sizes: tuple[str, ...] = ('tiny', 'small')
) -> list[dict[str, Any]]:
  """Compares every code and size.

  Args:
    references: folder of checkouts; None leaves out what needs one.
    sizes: names in `SIZES`.

  Returns:
    Rows: `family`, `source`, `format`, `size`, `max_abs_delta`, `scale` (the
    largest output), `ok`; `layer`, the first that differs, where one does.
  """
  rows = []
  for size in sizes:
    with tempfile.TemporaryDirectory() as folder:
      for reference in save_all(references, pathlib.Path(folder), SIZES[size]):
        row = spectrograms.compare(
          ast.plan, reference, spectrograms.TOLERANCE[size]
        )
        rows.append({'family': FAMILY, 'size': size} | row)
  return rows


def save_all(
  references: pathlib.Path | None, folder: pathlib.Path, size: Size
) -> Iterator[spectrograms.Reference]:
  """The references of every code that there is."""
  yield save_transformers(folder / 'transformers', size)
  if references is not None and (references / CHECKOUT).is_dir():
    yield save_original(references, folder / 'audio_model.pth', size)


def save_transformers(
  folder: pathlib.Path, size: Size
) -> spectrograms.Reference:
  """transformers' model, saved by itself as safetensors."""
  import torch
  import transformers
  from safetensors import numpy as safetensors_numpy

  from benchmarks.parity import spectrograms_torch

  make = transformers.ASTForAudioClassification
  model = make(
    transformers.ASTConfig(
      hidden_size=size.width,
      num_hidden_layers=size.depth,
      num_attention_heads=size.num_heads,
      intermediate_size=4 * size.width,
      max_length=size.num_frames,
      num_mel_bins=size.num_mels,
      num_labels=NUM_CLASSES,
    )
  )
  model.save_pretrained(folder)
  # Names in files are not those of modules in every version.
  path = folder / 'model.safetensors'
  tensors = {
    name: spectrograms.draw(name, x.shape)
    for name, x in safetensors_numpy.load_file(path).items()
  }
  safetensors_numpy.save_file(tensors, path, metadata={'format': 'pt'})
  model = make.from_pretrained(folder, attn_implementation='eager').eval()
  outputs: dict[str, Any] = {}
  tower = model.audio_spectrogram_transformer
  spectrograms_torch.watch(tower.embeddings, 'embed', outputs)
  blocks = tower.encoder.layer
  for i, block in enumerate(blocks):
    spectrograms_torch.watch(block, f'block_{i}', outputs)
  spectrograms_torch.watch(model.classifier.layernorm, 'feature', outputs)
  spectrogram = spectrograms.draw_spectrogram(size.num_frames, size.num_mels)
  with torch.no_grad():
    logits = model(torch.from_numpy(spectrogram)).logits
  norms = {
    'encoder/blocks/norm1': blocks[0].layernorm_before,
    'encoder/blocks/norm2': blocks[0].layernorm_after,
    'norm': tower.layernorm,
    'fc_norm': model.classifier.layernorm,
  }
  return spectrograms.Reference(
    f'transformers {transformers.__version__}',
    folder,
    spectrogram,
    outputs | {'logits': logits.numpy()},
    spectrograms_torch.run_norms(norms),
  )


def save_original(
  references: pathlib.Path, path: pathlib.Path, size: Size
) -> spectrograms.Reference:
  """The authors' model, saved under DataParallel as by their training."""
  import torch

  from benchmarks.parity import spectrograms_torch

  folder = references / CHECKOUT / 'src' / 'models'
  with spectrograms_torch.borrow_timm(references, 'ast_models'):
    with spectrograms_torch.borrow([folder], ('ast_models',)):
      make = importlib.import_module('ast_models').ASTModel
      model = make(
        label_dim=NUM_CLASSES,
        fstride=size.stride,
        tstride=size.stride,
        input_tdim=size.input_tdim,
        imagenet_pretrain=False,
        model_size=size.model_size,
        verbose=False,
      )
  model.v.blocks = model.v.blocks[: size.depth]
  parallel = spectrograms_torch.draw_weights(torch.nn.DataParallel(model))
  torch.save(parallel.state_dict(), path)
  outputs: dict[str, Any] = {}
  spectrograms_torch.watch(model.v.pos_drop, 'embed', outputs)
  for i, block in enumerate(model.v.blocks):
    spectrograms_torch.watch(block, f'block_{i}', outputs)
  spectrograms_torch.watch(model.mlp_head[0], 'feature', outputs)
  spectrogram = spectrograms.draw_spectrogram(size.input_tdim)
  with torch.no_grad():
    logits = model(torch.from_numpy(spectrogram))
  norms = {
    'encoder/blocks/norm1': model.v.blocks[0].norm1,
    'encoder/blocks/norm2': model.v.blocks[0].norm2,
    'norm': model.v.norm,
    'fc_norm': model.mlp_head[0],
  }
  return spectrograms.Reference(
    'YuanGongND/ast',
    path,
    spectrogram,
    outputs | {'logits': logits.numpy()},
    spectrograms_torch.run_norms(norms),
  )
