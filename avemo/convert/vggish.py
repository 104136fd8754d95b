"""VGGish: torchvggish's state dict and TensorFlow's checkpoint."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from avemo import errors
from avemo.convert import plans, readers, rules

FAMILY = 'vggish'
LICENCE = 'Apache-2.0'
ORIGIN = (
  'https://github.com/tensorflow/models/tree/master/research/audioset/vggish '
  'and https://github.com/harritaylor/torchvggish: Hershey et al., "CNN '
  'Architectures for Large-Scale Audio Classification", ICASSP 2017'
)

# By the width of the first convolution.
VARIANTS = {64: 'base', 4: 'tiny'}

# Our name: TensorFlow's, torchvggish's.
CONVOLUTIONS = {
  'conv1': ('conv1', 'features.0'),
  'conv2': ('conv2', 'features.3'),
  'conv3_1': ('conv3/conv3_1', 'features.6'),
  'conv3_2': ('conv3/conv3_2', 'features.8'),
  'conv4_1': ('conv4/conv4_1', 'features.11'),
  'conv4_2': ('conv4/conv4_2', 'features.13'),
}
DENSES = {
  'fc1_1': ('fc1/fc1_1', 'embeddings.0'),
  'fc1_2': ('fc1/fc1_2', 'embeddings.2'),
  'fc2': ('fc2', 'embeddings.4'),
}
PCA = ('pca_eigen_vectors', 'pca_means')

# A sine of 1 kHz over 3 s: mean and deviation of its embeddings, as published
# with the model, within a tenth.
GOLDEN = {'mean': 0.000657, 'std': 0.343}


def plan(source: readers.Source) -> plans.Plan:
  """How a file becomes an audio tower; it holds no emotion head.

  Args:
    source: torchvggish's file or TensorFlow's checkpoint.

  Raises:
    AvemoError: neither of them.
  """
  tensors = source.tensors
  if set(tensors) == set(PCA):
    raise errors.AvemoError(
      f'{source.path} holds the PCA of AudioSet embeddings alone; convert the '
      'weights, vggish_model.ckpt or vggish-10086976.pth'
    )
  is_tensorflow = 'vggish/conv1/weights' in tensors
  first = 'vggish/conv1/biases' if is_tensorflow else 'features.0.bias'
  if first not in tensors:
    raise errors.AvemoError(
      f"{source.path}: neither vggish/conv1/weights, of TensorFlow's VGGish, "
      "nor features.0.weight, of torchvggish's; it is another model"
    )
  width = tensors[first].shape[0]
  if width not in VARIANTS:
    raise errors.AvemoError(
      f"{source.path}: the first convolution is {width} wide, VGGish's 64"
    )
  return plans.Plan(
    tensors=tensors,
    rules=TENSORFLOW if is_tensorflow else TORCH,
    model={
      'use': ('audio',),
      'audio': {
        'name': 'vggish',
        'variant': VARIANTS[width],
        # torchvggish rectifies the embedding; the same weights without it
        # are TensorFlow's model.
        'final_relu': not is_tensorflow,
      },
    },
    num_classes=0,
    classes=(),
    clip={'seconds': 3.0},
    fresh=('head',),
  )


def read_pca(source: readers.Source) -> dict[str, np.ndarray]:
  """The arguments of `vggish.postprocess` out of `vggish_pca_params.npz`.

  Args:
    source: that file, or torchvggish's form of it.

  Returns:
    `eigen_vectors`, float32 [E, D], and `means`, float32 [D].

  Raises:
    AvemoError: another file, or arrays that do not fit each other.
  """
  if set(source.tensors) != set(PCA):
    raise errors.AvemoError(
      f'{source.path}: not a file of {" and ".join(PCA)}; give '
      'vggish_pca_params.npz'
    )
  vectors, means = (
    np.asarray(source.tensors[name], np.float32) for name in PCA
  )
  means = means.reshape(-1)
  if vectors.ndim != 2 or vectors.shape[1] != len(means):
    raise errors.AvemoError(
      f'{source.path}: pca_eigen_vectors {vectors.shape} do not fit '
      f'{len(means)} pca_means'
    )
  return {'eigen_vectors': vectors, 'means': means}


def verify(
  apply: Callable[..., Mapping[str, np.ndarray]],
) -> list[tuple[str, float, float, bool]]:
  """Compares the converted model with the published figures.

  Args:
    apply: runs the converted model's audio tower on a batch, `speech` [B, S]
      in [-1, 1] at 16 kHz and `speech_length` [B]; keywords stand in for
      options of the tower. Its answer holds `tokens` [B, N, D].

  Returns:
    Name, published figure, figure found and whether they agree.
  """
  time = np.arange(3 * 16_000) / 16_000
  sine = np.sin(2 * np.pi * 1_000 * time).astype(np.float32)[None]
  batch = {'speech': sine, 'speech_length': np.array([sine.shape[1]])}
  # The figures are those of embeddings that no ReLU follows.
  tokens = np.asarray(apply(batch, final_relu=False)['tokens'])
  found = {'mean': float(tokens.mean()), 'std': float(tokens.std())}
  return [
    (name, value, found[name], bool(abs(found[name] - value) <= 0.1 * value))
    for name, value in GOLDEN.items()
  ]


def make_rules(
  weight: str, bias: str, column: int, conv: Any, dense: Any
) -> tuple[rules.Rule, ...]:
  """Rules of one source.

  Args:
    weight: name of weights, with `{}` for the layer.
    bias: name of biases, likewise.
    column: of `CONVOLUTIONS` and `DENSES`.
    conv: transform of a convolution's weights.
    dense: transform of a dense layer's weights.
  """
  found = []
  for layers, transform in ((CONVOLUTIONS, conv), (DENSES, dense)):
    for target, names in layers.items():
      layer = names[column]
      found += (
        rules.Rule(weight.format(layer), f'audio/{target}/kernel', transform),
        rules.Rule(bias.format(layer), f'audio/{target}/bias'),
      )
  return tuple(found)


TENSORFLOW = make_rules(
  'vggish/{}/weights', 'vggish/{}/biases', 0, rules.identity, rules.identity
)
TORCH = (
  *make_rules('{}.weight', '{}.bias', 1, rules.conv, rules.transpose),
  # Of a module that whitens; it belongs to no layer.
  *(rules.Rule(f'pproc.{name}', None, optional=True) for name in PCA),
)
