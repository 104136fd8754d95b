"""What is found on top of Wav2Vec2: dimensions of emotion, classes, nothing."""

import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from avemo.convert import rules

PARTS = ('weight', 'bias')
# In the order of audeering's outputs.
DIMENSIONS = ('arousal', 'dominance', 'valence')


class Head(NamedTuple):
  """What stands on the tower.

  Attributes:
    outputs: names of the model's heads.
    options: of the heads.
    table: rules for their tensors; none where they start fresh.
    classes: names of the classes, where there are.
    clip: what else the plan says of a clip.
  """

  outputs: tuple[str, ...] = ('emotion',)
  options: Mapping[str, Any] = types.MappingProxyType({})
  table: tuple[rules.Rule, ...] = ()
  classes: tuple[str, ...] = ()
  clip: Mapping[str, Any] = types.MappingProxyType({})


def read_head(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Head:
  """The head of a file, if it has one."""
  labels = config.get('id2label') or {}
  labels = tuple(labels[k] for k in sorted(labels, key=int))
  if 'classifier.dense.weight' in tensors:
    return read_deep_head(tensors, labels)
  if 'classifier.weight' in tensors:
    return read_linear_head(tensors, labels)
  return Head()


def read_deep_head(tensors: Mapping[str, Any], labels: tuple[str, ...]) -> Head:
  """A dense layer with tanh, then dimensions, as audeering's, or classes."""
  # Others who took up audeering's head call its last layer so.
  other = 'classifier.output'
  out = other if f'{other}.weight' in tensors else 'classifier.out_proj'
  size = np.shape(tensors.get(f'{out}.weight', ()))[:1]
  options = {
    'hidden': len(tensors['classifier.dense.weight']),
    'squash': False,
  }
  hidden = make_dense_rules('classifier.dense', 'hidden')
  if size == (3,) and set(labels or DIMENSIONS) == set(DIMENSIONS):
    return Head(
      ('valence_arousal', 'dominance'),
      options,
      hidden + make_dimension_rules(out, labels or DIMENSIONS),
      clip={'range': (0, 1)},
    )
  return Head(
    options=options,
    table=hidden + make_dense_rules(out, 'emotion'),
    classes=name_classes(labels, size),
  )


def read_linear_head(
  tensors: Mapping[str, Any], labels: tuple[str, ...]
) -> Head:
  """transformers' head for classes: two dense layers, a mean between them."""
  sources = [f'{n}.{x}' for n in ('projector', 'classifier') for x in PARTS]
  targets = [f'head/audio/emotion/{x}' for x in ('kernel', 'bias')]
  rule = rules.Rule(tuple(sources), tuple(targets), fold_projector)
  size = np.shape(tensors['classifier.weight'])[:1]
  return Head(table=(rule,), classes=name_classes(labels, size))


def name_classes(
  labels: tuple[str, ...], size: tuple[int, ...]
) -> tuple[str, ...]:
  """The labels, or numbers where the config has none for this head."""
  if size and len(labels) != size[0]:
    return tuple(f'class_{number}' for number in range(size[0]))
  return labels


def make_dense_rules(name: str, target: str) -> tuple[rules.Rule, ...]:
  """Rules for one dense layer of the head."""
  target = f'head/audio/{target}'
  return (
    rules.Rule(f'{name}.weight', f'{target}/kernel', rules.transpose),
    rules.Rule(f'{name}.bias', f'{target}/bias'),
  )


def make_dimension_rules(
  name: str, order: tuple[str, ...]
) -> tuple[rules.Rule, ...]:
  """Rules for one layer with the three dimensions in the order given."""
  rows = [order.index('valence'), order.index('arousal')]
  row = [order.index('dominance')]
  targets = 'head/audio/valence_arousal/', 'head/audio/dominance/'
  return (
    rules.Rule(
      f'{name}.weight',
      tuple(f'{target}kernel' for target in targets),
      lambda weight: (weight[rows].T, weight[row].T),
    ),
    rules.Rule(
      f'{name}.bias',
      tuple(f'{target}bias' for target in targets),
      lambda bias: (bias[rows], bias[row]),
    ),
  )


def fold_projector(
  inner: np.ndarray,
  inner_bias: np.ndarray,
  outer: np.ndarray,
  outer_bias: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Two dense layers with nothing but a mean between them, as one.

  Returns:
    The kernel [D, C] and the bias [C], float32.
  """
  inner, outer = np.asarray(inner, np.float64), np.asarray(outer, np.float64)
  bias = outer @ inner_bias + outer_bias
  return (outer @ inner).T.astype(np.float32), bias.astype(np.float32)
