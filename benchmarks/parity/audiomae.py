"""AudioMAE against its authors' code, layer by layer.

The code builds its models, fine-tuned and for pretraining, gets another random
tensor into every weight, and saves the files; ours converts them, and both
read the same spectrograms. Needs torch, the checkout
facebookresearch-AudioMAE and timm 0.4.5, see `spectrograms_torch`.
"""

import functools
import importlib
import importlib.util
import math
import pathlib
import sys
import tempfile
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from avemo.convert import audiomae
from benchmarks.parity import spectrograms

FAMILY = audiomae.FAMILY
NUM_CLASSES = 7
CHECKOUT = 'facebookresearch-AudioMAE'


class Size(NamedTuple):
  """Width D, depth L and heads K of the encoder, time frames of its input."""

  width: int
  depth: int
  num_heads: int
  num_frames: int


SIZES = types.MappingProxyType(
  {
    'tiny': Size(128, 2, 2, 128),
    'small': Size(384, 12, 6, 512),
    'base': Size(768, 12, 12, 1024),
  }
)


def run(
  references: pathlib.Path | None, sizes: tuple[str, ...] = ('tiny', 'small')
) -> list[dict[str, Any]]:
  """Compares the fine-tuned and the pretraining model of every size.

  Args:
    references: folder of checkouts; without it there are no rows.
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
          audiomae.plan, reference, spectrograms.TOLERANCE[size]
        )
        rows.append({'family': FAMILY, 'size': size} | row)
  return rows


def save_all(
  references: pathlib.Path | None, folder: pathlib.Path, size: Size
) -> Iterator[spectrograms.Reference]:
  """The references, if there is the code."""
  if references is not None and (references / CHECKOUT).is_dir():
    yield save_finetuned(references, folder / 'finetuned.pth', size)
    yield save_pretrained(references, folder / 'pretrained.pth', size)


def save_finetuned(
  references: pathlib.Path, path: pathlib.Path, size: Size
) -> spectrograms.Reference:
  """The model of fine-tuning, with the parts that its training puts in."""
  import torch

  models, embeddings = import_code(references, 'models_vit', 'util.patch_embed')
  model = models.VisionTransformer(
    patch_size=16,
    embed_dim=size.width,
    depth=size.depth,
    num_heads=size.num_heads,
    mlp_ratio=4,
    qkv_bias=True,
    norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
    num_classes=NUM_CLASSES,
    global_pool=True,
  )
  model.patch_embed = embeddings.PatchEmbed_new(
    img_size=(size.num_frames, 128),
    patch_size=(16, 16),
    in_chans=1,
    embed_dim=size.width,
    stride=16,
  )
  num_patches = model.patch_embed.num_patches
  table = torch.zeros(1, num_patches + 1, size.width)
  model.pos_embed = torch.nn.Parameter(table, requires_grad=False)
  norms = {'fc_norm': model.fc_norm}

  def compute(spectrogram):
    return {'logits': model(spectrogram)}

  source = 'facebookresearch/AudioMAE, finetuned'
  watched = {'feature': model.fc_norm}
  return save(source, path, model, compute, watched, norms, size)


def save_pretrained(
  references: pathlib.Path, path: pathlib.Path, size: Size
) -> spectrograms.Reference:
  """The model of pretraining, with the decoder that it has by default."""
  import torch

  (models,) = import_code(references, 'models_mae')
  # It asks NumPy for what version 2 has not, for weights that are drawn anew.
  models.MaskedAutoencoderViT.initialize_weights = lambda self: None
  model = models.MaskedAutoencoderViT(
    img_size=(size.num_frames, 128),
    patch_size=16,
    in_chans=1,
    embed_dim=size.width,
    depth=size.depth,
    num_heads=size.num_heads,
    decoder_embed_dim=64,
    mlp_ratio=4,
    norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
    audio_exp=True,
    decoder_mode=1,
  )

  def compute(spectrogram):
    # Nothing is hidden, but the order is drawn all the same.
    tokens, _, order, _ = model.forward_encoder(spectrogram, mask_ratio=0.0)
    order = order[:, :, None].expand(-1, -1, tokens.shape[2])
    return {'feature': tokens[:, 1:].gather(1, order).mean(1)}

  source = 'facebookresearch/AudioMAE, pretrained'
  return save(source, path, model, compute, {}, {'norm': model.norm}, size)


def save(source, path, model, compute, watched, norms, size):
  """Draws the weights, saves the file as training does, and runs the model."""
  import torch

  from benchmarks.parity import spectrograms_torch

  spectrograms_torch.draw_weights(model)
  torch.save({'model': model.state_dict(), 'epoch': 99}, path)
  outputs: dict[str, Any] = {}
  for name, module in watched.items():
    spectrograms_torch.watch(module, name, outputs)
  spectrogram = spectrograms.draw_spectrogram(size.num_frames)
  with torch.no_grad():
    last = compute(torch.from_numpy(spectrogram)[:, None])
  outputs |= {name: x.numpy() for name, x in last.items()}
  norms = norms | {
    'encoder/blocks/norm1': model.blocks[0].norm1,
    'encoder/blocks/norm2': model.blocks[0].norm2,
  }
  return spectrograms.Reference(
    source, path, spectrogram, outputs, spectrograms_torch.run_norms(norms)
  )


def import_code(
  references: pathlib.Path, *names: str
) -> list[types.ModuleType]:
  """Modules of the checkout, with its own change of timm."""
  from benchmarks.parity import spectrograms_torch

  folder = references / CHECKOUT
  with spectrograms_torch.borrow_timm(references):
    importlib.import_module('timm.models.vision_transformer')
    spec = importlib.util.spec_from_file_location(
      'timm.models.swin_transformer',
      folder / 'timm_patch' / 'swin_transformer.py',
    )
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
    # Only for gradients that are not finite, which nothing here has.
    six = types.ModuleType('torch._six')
    six.inf = math.inf
    sys.modules[six.__name__] = six
    tops = tuple(name.split('.')[0] for name in (*names, 'util'))
    with spectrograms_torch.borrow([folder], tops):
      found = [importlib.import_module(name) for name in names]
    del sys.modules[six.__name__]
    return found
