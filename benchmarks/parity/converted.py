"""A file through its converter and into the model that it becomes."""

import pathlib
import types
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from avemo import models
from avemo.convert import readers, rules

STATISTICS = 'batch_stats:'


def load(
  path: pathlib.Path, family: types.ModuleType, batch: dict[str, np.ndarray]
) -> tuple[nn.Module, dict[str, Any]]:
  """The model that a file describes, with the file's tensors.

  Args:
    path: of the file.
    family: a module of `avemo.convert`.
    batch: with the shapes that the model is made for.

  Returns:
    The model, and its variables without what the file leaves fresh.
  """
  plan = family.plan(readers.read(path))
  options = dict(plan.model)
  make = models.MODELS[options.pop('name', 'emotion')]
  model = make(plan.num_classes or 1, **options)
  shapes = find_shapes(model, batch)
  shapes = {k: v for k, v in shapes.items() if not k.startswith(plan.fresh)}
  flat = rules.convert(plan.tensors, plan.rules, shapes)
  params = {k: v for k, v in flat.items() if not k.startswith(STATISTICS)}
  statistics = {
    k.removeprefix(STATISTICS): v for k, v in flat.items() if k not in params
  }
  return model, {
    'params': rules.nest(params),
    'batch_stats': rules.nest(statistics),
  }


def find_shapes(
  model: nn.Module, batch: dict[str, np.ndarray]
) -> dict[str, tuple[int, ...]]:
  """The shape of every target path of a model."""
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  shapes = {}
  for prefix, kind in (('', 'params'), (STATISTICS, 'batch_stats')):
    leaves = jax.tree_util.tree_leaves_with_path(variables.get(kind, {}))
    for path, leaf in leaves:
      name = jax.tree_util.keystr(path, simple=True, separator='/')
      shapes[prefix + name] = leaf.shape
  return shapes


def compare(
  expected: np.ndarray, found: np.ndarray, tolerance: float
) -> dict[str, Any]:
  """The columns of a row that say how far two outputs lie apart.

  Args:
    expected: of the reference.
    found: of the converted model.
    tolerance: that passes, as a share of the expected output's scale.
  """
  expected, found = np.asarray(expected), np.asarray(found)
  delta = float(np.abs(expected - found).max())
  scale = float(np.abs(expected).max())
  return {
    'max_abs_delta': delta,
    'scale': scale,
    'ok': found.shape == expected.shape and delta <= tolerance * scale,
  }
