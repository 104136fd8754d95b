"""What comparing spectrogram transformers with their origins has in common.

Needs no torch: the tests compare with stored outputs by the same functions.
"""

import functools
import math
import pathlib
import types
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from avemo.convert import plans, readers, rules
from avemo.models import emotion, layers

# Of the largest output.
TOLERANCE = types.MappingProxyType({'tiny': 1e-5, 'small': 1e-5, 'base': 1e-4})

# Layer norms by their path below the tower, and the field of their epsilon. On
# the tokens of clips no epsilon makes a difference that shows.
NORMS = types.MappingProxyType(
  {
    'encoder/blocks/norm1': 'epsilon',
    'encoder/blocks/norm2': 'epsilon',
    'norm': 'epsilon',
    'fc_norm': 'fc_epsilon',
  }
)


class Reference(NamedTuple):
  """A saved file and what the code that saved it computes.

  Attributes:
    source: whose code it is.
    path: of the file.
    spectrogram: float32 [B, F, M], as the tower reads it.
    outputs: by layer: 'embed', 'block_0', …, 'feature', and 'logits' where
      there is a head.
    norms: of some layer norms, by path, what they give for `draw_faint`.
  """

  source: str
  path: pathlib.Path
  spectrogram: np.ndarray
  outputs: dict[str, np.ndarray]
  norms: dict[str, np.ndarray]


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """A tensor that its name decides, float32.

  All are different. Queries and keys are large enough for attention far from
  uniform, or the number of heads would hardly matter.
  """
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  x = generator.standard_normal(shape)
  if len(shape) in (2, 4):
    x *= 1.4 / math.sqrt(math.prod(shape[1:]))
  else:
    x *= 0.2
  if len(shape) == 1 and name.endswith('weight'):
    x += 1
  return x.astype(np.float32)


def draw_spectrogram(
  num_frames: int, num_mels: int = 128, batch_size: int = 2
) -> np.ndarray:
  """float32 [B, F, M], as wide as a normalised one."""
  return 2.5 * draw('spectrogram', (batch_size, num_frames, num_mels))


def draw_faint(width: int) -> np.ndarray:
  """Tokens, float32 [4, width], of so small a variance that epsilon shows."""
  return 0.05 * draw('faint', (4, 1, width))[:, 0]


def build(plan: plans.Plan) -> tuple[emotion.Emotion, dict[str, Any]]:
  """Our model by a plan, and its parameters but the fresh ones."""
  # Without classes there is no head to compare, but the model has one.
  model = emotion.Emotion(num_classes=plan.num_classes or 1, **plan.model)
  shapes = {
    path: shape
    for path, shape in find_shapes(model).items()
    if not path.startswith(plan.fresh)
  }
  flat = rules.convert(plan.tensors, plan.rules, shapes)
  return model, rules.nest(flat)


@functools.cache
def find_shapes(model: emotion.Emotion) -> dict[str, tuple[int, ...]]:
  """The shapes of all parameters, by path."""
  batch = emotion.example_batch(samples=8_000)
  init = functools.partial(model.init, jax.random.key(0))
  tree = jax.eval_shape(init, batch)['params']
  return {path: leaf.shape for path, leaf in rules.flatten(tree).items()}


@functools.partial(jax.jit, static_argnums=0)
def run(model: emotion.Emotion, params: Any, spectrogram: Any) -> jax.Array:
  """Logits or, of a model without a head, features."""
  tower = model.audio.bind({'params': params['audio']})
  feature = tower.pool(tower(spectrogram))
  if 'head' not in params:
    return feature
  head = model.bind({'params': params}).head
  return head({'audio': feature})['audio']['emotion']


def compare(
  make_plan: Callable[[readers.Source], plans.Plan],
  reference: Reference,
  tolerance: float,
) -> dict[str, Any]:
  """How far our model is from a reference, and from which layer on.

  Args:
    make_plan: the family's `plan`.
    reference: to convert and to compare with.
    tolerance: of the largest output.

  Returns:
    `source`, `format`, and see `compare_params`.
  """
  source = readers.read(reference.path)
  model, params = build(make_plan(source))
  row = compare_params(model, params, reference, tolerance)
  return {'source': reference.source, 'format': source.format} | row


def compare_params(
  model: emotion.Emotion,
  params: Any,
  reference: Reference,
  tolerance: float,
) -> dict[str, Any]:
  """As `compare`, for a model that is built.

  Returns:
    `max_abs_delta`, `scale` (the largest output), `ok`; `layer`, the first
    that differs, where one does.
  """
  output = run(model, params, reference.spectrogram)
  row = measure(output, list(reference.outputs.values())[-1], tolerance)
  if not row['ok']:
    row['layer'] = find_first(model, params, reference, tolerance)
  for path, expected in reference.norms.items():
    norm = run_norm(model, params, path)
    if row['ok'] and not measure(norm, expected, tolerance)['ok']:
      row |= {'ok': False, 'layer': f'{path}, its epsilon'}
  return row


def measure(
  output: Any, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
  """The largest difference, the scale, and whether that is near enough."""
  if output.shape != expected.shape:
    return {'max_abs_delta': math.inf, 'scale': 0.0, 'ok': False}
  delta = float(np.abs(np.asarray(output) - expected).max())
  scale = float(np.abs(expected).max())
  return {
    'max_abs_delta': delta,
    'scale': scale,
    'ok': bool(delta <= tolerance * scale),
  }


def find_first(
  model: emotion.Emotion, params: Any, reference: Reference, tolerance: float
) -> str:
  """The first layer whose output differs."""
  tower = model.audio.bind({'params': params['audio']})
  tokens = tower.embedding(reference.spectrogram)
  outputs = {'embed': tokens}
  for i in range(tower.encoder.depth):
    tokens = tower.encoder(tokens, start=i, stop=i + 1)
    outputs[f'block_{i}'] = tokens
  tokens = tower.norm(tokens) if 'tokens' in tower.norms else tokens
  outputs['feature'] = tower.pool(tokens)
  for name, expected in reference.outputs.items():
    if name in outputs:
      if not measure(outputs[name], expected, tolerance)['ok']:
        return name
  return 'logits'


def run_norm(model: emotion.Emotion, params: Any, path: str) -> jax.Array:
  """The (first) layer norm at a path, on inputs that show its epsilon."""
  flat = rules.flatten(params['audio'])
  weights = {name: flat[f'{path}/{name}'] for name in ('scale', 'bias')}
  if '/blocks/' in path:
    weights = {name: weight[0] for name, weight in weights.items()}
  norm = layers.LayerNorm(getattr(model.audio, NORMS[path]))
  return norm.apply({'params': weights}, draw_faint(weights['bias'].size))
