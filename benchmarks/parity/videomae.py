"""VideoMAE against the codes that its files come from, layer by layer.

Each code builds its model, gets another random tensor into every weight, and
saves the file; ours converts it, and both compute the same clips. Needs torch
and transformers; for the original code its checkout, MCG-NJU-VideoMAE, and
for innat's the checkout innat-VideoMAE and a Python with TensorFlow 2.12,
named by TENSORFLOW_PYTHON where it is not the one that runs.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from avemo import errors, models
from avemo.convert import readers, rules, videomae
from avemo.models import emotion, layers, positions
from avemo.models import videomae as towers

FAMILY = 'videomae'
KINDS = ('finetuned', 'pretraining')
NUM_CLASSES = 5
ORIGINAL, INNAT = 'MCG-NJU-VideoMAE', 'innat-VideoMAE'

# Of the largest output.
TOLERANCE = types.MappingProxyType({'tiny': 1e-5, 'small': 1e-5, 'base': 1e-4})


# Layer norms by their path: the part of the model, and the field of its
# epsilon. On the tokens of clips, no epsilon makes a difference that shows.
NORMS = types.MappingProxyType(
  {
    'video/encoder/blocks/norm1': ('video', 'epsilon'),
    'video/fc_norm': ('video', 'fc_epsilon'),
    'video/norm': ('video', 'epsilon'),
    'decoder/blocks/norm1': ('decoder', 'epsilon'),
    'decoder/norm': ('decoder', 'norm_epsilon'),
  }
)


class Size(NamedTuple):
  """Of an encoder, its decoder and the clips; heads are K of each."""

  width: int
  depth: int
  num_heads: int
  decoder_width: int
  decoder_depth: int
  decoder_heads: int
  patch: int
  frames: int
  size: int
  batch: int


# Pretraining models of two of the codes have 16 frames, whatever is asked.
SIZES = types.MappingProxyType(
  {
    'tiny': Size(16, 2, 2, 8, 1, 2, 8, 16, 16, 2),
    'small': Size(384, 12, 6, 192, 4, 3, 16, 16, 112, 1),
    'base': Size(768, 12, 12, 384, 4, 6, 16, 16, 224, 1),
  }
)


class Reference(NamedTuple):
  """A saved file and what its code computes.

  Attributes:
    source: whose code it is.
    format: of the file.
    path: of the file.
    frames: uint8 [B, T, H, W, 3].
    mask: hidden tokens, bool [B, N], of a pretraining model.
    outputs: by layer, from first to last; the last is the model's own.
    norms: of some layer norms, by path, what they give for `draw_faint`.
  """

  source: str
  format: str
  path: pathlib.Path
  frames: np.ndarray
  mask: np.ndarray | None
  outputs: dict[str, np.ndarray]
  norms: dict[str, np.ndarray]


def run(
  references: pathlib.Path | None,
  sizes: tuple[str, ...] = ('tiny', 'small'),
  kinds: tuple[str, ...] = KINDS,
) -> list[dict[str, Any]]:
  """Compares every code, format, kind and size.

  Args:
    references: folder of checkouts; None leaves out what needs one.
    sizes: names in `SIZES`.
    kinds: of models, out of `KINDS`.

  Returns:
    Rows: `family`, `source`, `format`, `size`, `max_abs_delta`, `scale` (the
    largest output), `ok`; `layer`, the first that differs, where one does.
  """
  rows = []
  for size in sizes:
    for kind in kinds:
      with tempfile.TemporaryDirectory() as folder:
        for reference in save_all(
          references, pathlib.Path(folder), kind, SIZES[size]
        ):
          row = compare(reference, TOLERANCE[size])
          rows.append(
            {
              'family': FAMILY,
              'source': f'{reference.source}, {kind}',
              'format': reference.format,
              'size': size,
            }
            | row
          )
  return rows


def save_all(
  references: pathlib.Path | None, folder: pathlib.Path, kind: str, size: Size
) -> Iterator[Reference]:
  """The references of every code that there is."""
  from benchmarks.parity import videomae_torch

  savers = {ORIGINAL: videomae_torch.save_original, INNAT: save_innat}
  yield videomae_torch.save_transformers(folder / 'transformers', kind, size)
  for name, save in savers.items():
    if references is not None and (references / name).is_dir():
      (folder / name).mkdir()
      yield from save(references / name, folder / name, kind, size)


def compare(reference: Reference, tolerance: float) -> dict[str, Any]:
  """How far our model is from a reference, and from which layer on.

  Args:
    reference: to convert and to compare with.
    tolerance: of the largest output.
  """
  model, params = load(reference.path)
  return compare_params(model, params, reference, tolerance)


def compare_params(
  model: Any, params: Any, reference: Reference, tolerance: float
) -> dict[str, Any]:
  """As `compare`, for a model that is loaded."""
  expected = list(reference.outputs.values())[-1]
  output = compute(model, params, reference.frames, reference.mask)
  row = measure(output, expected, tolerance)
  if not row['ok']:
    row['layer'] = find_first(model, params, reference, tolerance)
  for path, expected in reference.norms.items():
    norm = compute_norm(model, params, path)
    if row['ok'] and not measure(norm, expected, tolerance)['ok']:
      row |= {'ok': False, 'layer': f'{path}, its epsilon'}
  return row


def measure(
  output: Any, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
  if output.shape != expected.shape:
    return {'max_abs_delta': np.inf, 'scale': 0.0, 'ok': False}
  delta = float(np.abs(np.asarray(output) - expected).max())
  scale = float(np.abs(expected).max())
  ok = bool(delta <= tolerance * scale)
  return {'max_abs_delta': delta, 'scale': scale, 'ok': ok}


def find_first(
  model: Any, params: Any, reference: Reference, tolerance: float
) -> str:
  """The first layer whose output differs."""
  outputs = compute_layers(model, params, reference.frames, reference.mask)
  for name, output in outputs.items():
    if not measure(output, reference.outputs[name], tolerance)['ok']:
      return name
  return list(reference.outputs)[-1]


def compute_norm(model: Any, params: Any, path: str) -> jax.Array:
  """The first layer norm at a path, on inputs that show its epsilon."""
  part, field = NORMS[path]
  weights = {
    name: rules.flatten(params)[f'{path}/{name}'] for name in ('scale', 'bias')
  }
  if '/blocks/' in path:
    weights = {name: weight[0] for name, weight in weights.items()}
  norm = layers.LayerNorm(getattr(getattr(model, part), field))
  return norm.apply({'params': weights}, draw_faint(weights['bias'].size))


def draw_faint(width: int) -> np.ndarray:
  """Tokens, float32 [4, width], of so small a variance that epsilon shows."""
  generator = np.random.default_rng(width)
  return 0.01 * generator.standard_normal((4, width)).astype(np.float32)


def load(path: pathlib.Path) -> tuple[Any, dict[str, Any]]:
  """Our model of a file, and its parameters."""
  plan = videomae.plan(readers.read(path))
  options = dict(plan.model)
  name = options.pop('name', 'emotion')
  if name == 'emotion':
    options['num_classes'] = plan.num_classes
  model = models.MODELS[name](**options)
  shapes = find_shapes(model)
  return model, rules.nest(rules.convert(plan.tensors, plan.rules, shapes))


@functools.cache
def find_shapes(model: Any) -> dict[str, tuple[int, ...]]:
  """The shape of every parameter of a model."""
  tubelet = model.video.tubelet
  batch = emotion.example_batch(frames=2 * tubelet[0], size=2 * tubelet[1])
  keys = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}
  params = jax.eval_shape(lambda: model.init(keys, batch))['params']
  return {path: leaf.shape for path, leaf in rules.flatten(params).items()}


def compute(
  model: Any, params: Any, frames: np.ndarray, mask: np.ndarray | None
) -> jax.Array:
  """Logits, or the pixels of the hidden tokens."""
  return _compute(model, params, frames, () if mask is None else divide(mask))


@functools.partial(jax.jit, static_argnames='model')
def _compute(model, params, frames, tokens):
  if tokens:
    return model.apply(
      {'params': params}, frames, *tokens, method='reconstruct'
    )
  batch = {'frames': frames, 'has_video': np.ones(len(frames), bool)}
  return model.apply({'params': params}, batch)['emotion']


def divide(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Tokens that are seen and those that are not, each in rising order."""
  order = mask.argsort(axis=1, stable=True)
  border = int((~mask[0]).sum())
  return order[:, :border], order[:, border:]


def compute_layers(
  model: Any, params: Any, frames: np.ndarray, mask: np.ndarray | None
) -> dict[str, jax.Array]:
  """The output of each layer but the last, by its name in references."""
  if mask is None:
    embedded, blocks, feature = _compute_layers(
      model, params, towers.normalize(frames)
    )
    blocks = {f'block_{i}': tokens for i, tokens in enumerate(blocks)}
    return {'embed': embedded} | blocks | {'feature': feature}
  patches = towers.cut_tubelets(towers.normalize(frames), model.video.tubelet)
  visible = divide(mask)[0]
  seen = np.take_along_axis(np.asarray(patches), visible[:, :, None], axis=1)
  table = positions.sincos_table(mask.shape[1], model.video.width)[visible]
  encoded = model.video.apply({'params': params['video']}, seen, table)
  return {
    'encoded': encoded,
    'decoder_in': encoded @ params['encoder_to_decoder']['kernel'],
  }


@functools.partial(jax.jit, static_argnames='model')
def _compute_layers(model, params, frames):
  tower = model.video.bind({'params': params['video']})
  tokens = embedded = tower.embed(frames)
  blocks = []
  for i in range(tower.encoder.depth):
    tokens = tower.encoder(tokens, start=i, stop=i + 1)
    blocks.append(tokens)
  return embedded, blocks, tower.pool(tokens)


def save_innat(
  checkout: pathlib.Path, folder: pathlib.Path, kind: str, size: Size
) -> Iterator[Reference]:
  """innat's model in its two formats, by TensorFlow in its own process."""
  frames, mask = draw_clip(kind, size)
  inputs = {
    'clip': normalize(frames),
    'faint': draw_faint(size.width),
    'faint_decoder': draw_faint(size.decoder_width),
  }
  if mask is not None:
    inputs['mask'] = mask
  np.savez(folder / 'clip.npz', **inputs)
  model = {'img_size': size.size, 'patch_size': size.patch}
  prefix = 'encoder_' if mask is not None else ''
  for name in ('width', 'depth', 'num_heads'):
    name_there = {'width': 'embed_dim'}.get(name, name)
    model[prefix + name_there] = getattr(size, name)
  if mask is None:
    model |= {'num_classes': NUM_CLASSES, 'all_frames': size.frames}
  else:
    model |= {
      'decoder_num_classes': 2 * size.patch**2 * 3,
      'decoder_embed_dim': size.decoder_width,
      'decoder_depth': size.decoder_depth,
      'decoder_num_heads': size.decoder_heads,
    }
  python = os.environ.get('TENSORFLOW_PYTHON', sys.executable)
  program = pathlib.Path(__file__).with_name('videomae_tensorflow.py')
  result = subprocess.run(
    # -P: `ast` beside the program is not Python's.
    [python, '-P', program, checkout, folder, kind, json.dumps(model)],
    capture_output=True,
    text=True,
    check=False,
  )
  if result.returncode:
    raise errors.AvemoError(
      f'{python}: {result.stderr.strip().splitlines()[-1]}; name a Python '
      'with TensorFlow 2.12 in TENSORFLOW_PYTHON'
    )
  with np.load(folder / 'outputs.npz') as stored:
    outputs = {name: stored[name] for name in stored.files}
  norms = {k: outputs.pop(k) for k in NORMS if k in outputs}
  write_config(folder, size)
  write_config(folder / 'saved_model', size)
  for form, name in (('saved_model', 'saved_model'), ('h5', 'model.h5')):
    yield Reference(
      'innat/VideoMAE', form, folder / name, frames, mask, outputs, norms
    )


def write_config(folder: pathlib.Path, size: Size):
  """The number of heads, which is not in the file, of widths of our own."""
  config = {
    'num_attention_heads': size.num_heads,
    'decoder_num_attention_heads': size.decoder_heads,
  }
  (folder / 'config.json').write_text(json.dumps(config))


def draw_clip(kind: str, size: Size) -> tuple[np.ndarray, np.ndarray | None]:
  """Frames, uint8 [B, T, H, W, 3], and hidden tokens, bool [B, N], or None."""
  generator = np.random.default_rng(0)
  shape = (size.batch, size.frames, size.size, size.size, 3)
  frames = generator.integers(0, 256, shape).astype(np.uint8)
  if kind == 'finetuned':
    return frames, None
  num_tokens = size.frames // 2 * (size.size // size.patch) ** 2
  mask = np.zeros((size.batch, num_tokens), bool)
  for row in mask:
    row[generator.permutation(num_tokens)[: 3 * num_tokens // 4]] = True
  return frames, mask


def normalize(frames: np.ndarray) -> np.ndarray:
  """What the reference reads, float32 [B, T, H, W, 3]."""
  frames = frames.astype(np.float32) / 255
  return (frames - np.float32(towers.MEAN)) / np.float32(towers.STD)
