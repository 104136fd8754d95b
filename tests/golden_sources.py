"""Files of weights as the converters see them, drawn from tensors' names."""

import pathlib
import zlib
from collections.abc import Mapping

import jax
import numpy as np

from avemo.convert import readers, rules

GOLDEN = pathlib.Path(__file__).parent / 'golden'
STATISTICS = 'batch_stats:'


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """What the programs in `golden` draw for the name of an input."""
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return generator.standard_normal(shape).astype(np.float32)


def draw_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """What they draw for the name of a tensor."""
  values = draw(name, shape)
  if len(shape) > 1:
    return values * np.float32(2 / np.prod(shape[1:])) ** 0.5
  if name.endswith('running_var'):
    return 0.9 + 0.3 * np.abs(values)
  return 0.2 * values + np.float32(name.endswith('weight'))


def read_listing(names: np.ndarray, shapes: np.ndarray) -> dict:
  """Shapes by name, out of two arrays of text."""
  return {
    str(name): tuple(int(size) for size in str(shape).split(',') if size)
    for name, shape in zip(names, shapes, strict=True)
  }


def make_source(tensors: Mapping, **fields) -> readers.Source:
  """A file that was read; fields stand in for what it says beside them."""
  values = {
    'format': 'pth',
    'config': {},
    'attributes': {},
    'path': pathlib.Path('weights.pt'),
    'sha256': '',
  }
  return readers.Source(tensors=tensors, **values | fields)


def find_shapes(model, batch: Mapping) -> dict[str, tuple[int, ...]]:
  """The shape of every target path of a model."""
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  shapes = {}
  for prefix, kind in (('', 'params'), (STATISTICS, 'batch_stats')):
    flat = rules.flatten(variables.get(kind, {}), prefix)
    shapes |= {path: leaf.shape for path, leaf in flat.items()}
  return shapes


def fill(plan, shapes: Mapping) -> dict:
  """The variables of a model by a plan, without what the file leaves fresh."""
  shapes = {
    path: shape
    for path, shape in shapes.items()
    if not path.startswith(tuple(plan.fresh))
  }
  flat = rules.convert(plan.tensors, plan.rules, shapes)
  trees = {'params': {}, 'batch_stats': {}}
  for path, array in flat.items():
    kind = 'batch_stats' if path.startswith(STATISTICS) else 'params'
    trees[kind][path.removeprefix(STATISTICS)] = array
  return {kind: rules.nest(tree) for kind, tree in trees.items()}
