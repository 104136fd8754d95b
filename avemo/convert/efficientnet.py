"""EfficientNet B0 and B2: timm's `tf_` models and the faces trained on them.

Published face weights are whole pickled modules; their state dicts and timm's
safetensors have the same names. Batch norm's epsilon and the padding are not
in the tensors, so every sign of another model is refused.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from avemo import errors
from avemo.convert import plans, readers, rules

FAMILY = 'efficientnet'
LICENCE = 'Apache-2.0'
ORIGIN = (
  'https://github.com/av-savchenko/face-emotion-recognition: Savchenko, '
  '"Facial expression and attributes recognition based on multi-task learning '
  'of lightweight neural networks", SISY 2021; architecture: Tan and Le, '
  '"EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", '
  'ICML 2019'
)

EPSILON = 1e-3

# By the number of outputs. AffectNet's classes in alphabetical order.
CLASSES_8 = (
  'anger',
  'contempt',
  'disgust',
  'fear',
  'happiness',
  'neutral',
  'sadness',
  'surprise',
)
CLASSES_7 = tuple(name for name in CLASSES_8 if name != 'contempt')
# Eight classes, then valence and arousal.
NUM_MULTITASK = 10


class Shape(NamedTuple):
  """What tells a variant, and the side of its pictures in pixels."""

  width: int
  num_blocks: int
  size: int


VARIANTS = {
  'tiny': Shape(320, 5, 32),
  'b0': Shape(1280, 16, 224),
  'b2': Shape(1408, 23, 260),
}


def plan(source: readers.Source) -> plans.Plan:
  """How a file becomes a video tower and, with one, its head.

  Args:
    source: a pickled module, a state dict or safetensors.

  Raises:
    AvemoError: another architecture, another pooling, or a classifier of
      classes whose names are not known.
  """
  tensors = rules.rename(source.tensors, [(r'^(module|model)\.', '')])
  check_attributes(source)
  variant = find_variant(tensors, source.path)
  head_rules, heads, classes = plan_head(tensors, source.path)
  size = VARIANTS[variant].size
  model = {
    'use': ('video',),
    'video': {'name': 'efficientnet', 'variant': variant, 'epsilon': EPSILON},
  }
  if heads:
    model['heads'] = heads
  if 'valence_arousal' in heads:
    model['head'] = {'squash': False}
  return plans.Plan(
    tensors=tensors,
    rules=(*BACKBONE, *head_rules),
    model=model,
    num_classes=len(classes),
    classes=classes,
    # Faces were cut at the detector's box. Frames are read one by one, so
    # that any number of them serves.
    clip={'frames': 16, 'size': size, 'margin': 1.0},
    fresh=() if heads else ('head',),
  )


def check_attributes(source: readers.Source) -> None:
  """Raises an AvemoError where a module or config is of another model."""
  pool = source.attributes.get('global_pool.pool_type', 'avg')
  if pool != 'avg':
    raise errors.AvemoError(
      f'{source.path}: global_pool.pool_type is {pool!r}, not the mean; use a '
      "file whose pooling is 'avg'"
    )
  epsilon = source.attributes.get('bn1.eps', EPSILON)
  architecture = source.config.get('architecture', 'tf_efficientnet')
  if epsilon != EPSILON or not architecture.startswith('tf_efficientnet'):
    raise errors.AvemoError(
      f'{source.path}: architecture {architecture!r} with epsilon {epsilon} is '
      "not one of timm's tf_efficientnet models, which alone pad and normalise "
      'as this tower does; use tf_efficientnet_b0 or tf_efficientnet_b2'
    )


def find_variant(tensors: Mapping[str, Any], path: Any) -> str:
  """The variant with the file's head width and number of blocks.

  Raises:
    AvemoError: no variant has them.
  """
  if 'conv_head.weight' not in tensors:
    raise errors.AvemoError(
      f'{path}: no conv_head.weight; give an EfficientNet of timm with its head'
    )
  width = tensors['conv_head.weight'].shape[0]
  blocks = {
    found.group()
    for name in tensors
    if (found := re.match(r'blocks\.\d+\.\d+\.', name))
  }
  for name, shape in VARIANTS.items():
    if (width, len(blocks)) == shape[:2]:
      return name
  raise errors.AvemoError(
    f'{path}: {len(blocks)} blocks and {width} features are neither '
    "EfficientNet B0's (16 and 1280) nor B2's (23 and 1408)"
  )


def plan_head(
  tensors: Mapping[str, Any], path: Any
) -> tuple[tuple[rules.Rule, ...], tuple[str, ...], tuple[str, ...]]:
  """Rules of the classifier, the outputs it fills and its classes.

  A classifier of ImageNet's 1000 classes is dropped.

  Raises:
    AvemoError: another number of outputs.
  """
  name = 'classifier.0' if 'classifier.0.weight' in tensors else 'classifier'
  if f'{name}.weight' not in tensors:
    return (), (), ()
  count = tensors[f'{name}.weight'].shape[0]
  emotion, values = 'head/video/emotion', 'head/video/valence_arousal'
  if count == NUM_MULTITASK:
    return (
      (
        rules.Rule(
          f'{name}.weight',
          (f'{emotion}/kernel', f'{values}/kernel'),
          split_kernel,
        ),
        rules.Rule(
          f'{name}.bias', (f'{emotion}/bias', f'{values}/bias'), split_bias
        ),
      ),
      ('emotion', 'valence_arousal'),
      CLASSES_8,
    )
  if count == 1000:
    dropped = (
      rules.Rule(f'{name}.weight', None),
      rules.Rule(f'{name}.bias', None),
    )
    return dropped, (), ()
  known = {len(names): names for names in (CLASSES_7, CLASSES_8)}
  if count not in known:
    raise errors.AvemoError(
      f'{path}: a classifier of {count} outputs; known are 7 and 8 emotions, '
      '8 emotions with valence and arousal, and the 1000 classes of ImageNet'
    )
  return (
    (
      rules.Rule(f'{name}.weight', f'{emotion}/kernel', rules.transpose),
      rules.Rule(f'{name}.bias', f'{emotion}/bias'),
    ),
    ('emotion',),
    known[count],
  )


def split_kernel(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Weight [10, D] to kernels [D, 8] and [D, 2]."""
  return weight[:8].T, weight[8:].T


def split_bias(bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Bias [10] to [8] and [2]."""
  return bias[:8], bias[8:]


def to_dense(weight: np.ndarray) -> np.ndarray:
  """A 1x1 convolution's weight [O, I, 1, 1] to a kernel [I, O]."""
  return weight[:, :, 0, 0].T


def norm_rules(source: str, target: str) -> tuple[rules.Rule, ...]:
  """Scale, bias and running statistics; the count of batches is dropped."""
  return (
    rules.Rule(f'{source}.weight', f'{target}/scale'),
    rules.Rule(f'{source}.bias', f'{target}/bias'),
    rules.Rule(f'{source}.running_mean', f'batch_stats:{target}/mean'),
    rules.Rule(f'{source}.running_var', f'batch_stats:{target}/var'),
    rules.Rule(f'{source}.num_batches_tracked', None, optional=True),
  )


def conv_rules(conv: str, norm: str, target: str) -> tuple[rules.Rule, ...]:
  """A convolution and the batch norm after it."""
  return (
    rules.Rule(f'{conv}.weight', f'{target}/conv/kernel', rules.conv),
    *norm_rules(norm, f'{target}/norm'),
  )


def block_rules(source: str, target: str, *, expands: bool) -> tuple:
  """A block; one that does not expand has other names for the same parts."""
  if expands:
    parts = (('conv_pw', 'bn1', 'expand'), ('conv_dw', 'bn2', 'depthwise'))
    last = ('conv_pwl', 'bn3', 'project')
  else:
    parts = (('conv_dw', 'bn1', 'depthwise'),)
    last = ('conv_pw', 'bn2', 'project')
  found = []
  for conv, norm, name in (*parts, last):
    found += conv_rules(
      f'{source}.{conv}', f'{source}.{norm}', f'{target}/{name}'
    )
  for name in ('reduce', 'expand'):
    found += (
      rules.Rule(
        f'{source}.se.conv_{name}.weight',
        f'{target}/squeeze/{name}/kernel',
        to_dense,
      ),
      rules.Rule(
        f'{source}.se.conv_{name}.bias', f'{target}/squeeze/{name}/bias'
      ),
    )
  return tuple(found)


BACKBONE = (
  *conv_rules('conv_stem', 'bn1', 'video/stem'),
  *block_rules('blocks.0.{j}', 'video/blocks_0_{j}', expands=False),
  *block_rules('blocks.{s}.{j}', 'video/blocks_{s}_{j}', expands=True),
  *conv_rules('conv_head', 'bn2', 'video/head'),
)
