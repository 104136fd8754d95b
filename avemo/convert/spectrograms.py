"""What published spectrogram transformers read: lengths, statistics, grids.

AST and AudioMAE were trained on the same three corpora; a file of either says
by the length of its position table on which, and how patches were cut.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from avemo import errors
from avemo.convert import rules

NUM_MELS = 128
PATCH = 16
# Heads are 64 wide in every published model.
HEAD_WIDTH = 64

# Time frames: mean and deviation of AudioSet's, ESC-50's and Speech Commands'
# filter banks, by which each model's input was normalised.
STATISTICS = {
  1024: (-4.2677393, 4.5689974),
  512: (-6.6268077, 5.358466),
  128: (-6.845978, 5.5654526),
}

BLOCKS = 'audio/encoder/blocks'
HEAD = 'head/audio/emotion'


class Input(NamedTuple):
  """A spectrogram and how it is cut.

  Attributes:
    num_frames: in time.
    num_mels: bands.
    patch: mel bands and time frames of one patch.
    stride: mel bands and time frames between patches.
    mean: subtracted from the spectrogram.
    std: by twice of which it is then divided.
  """

  num_frames: int
  num_mels: int
  patch: tuple[int, int]
  stride: tuple[int, int]
  mean: float
  std: float


def find_input(num_patches: int, strides: tuple[int, ...], path: Any) -> Input:
  """The input of a published model, from the number of its patches.

  Args:
    num_patches: positions without those of summary tokens.
    strides: between patches, that the family was published with; numbers of
      patches are different for each stride and length.
    path: of the file, for the error.

  Raises:
    AvemoError: no such model was published.
  """
  for stride in strides:
    for num_frames, (mean, std) in STATISTICS.items():
      if count_patches(num_frames, stride) == num_patches:
        return Input(
          num_frames, NUM_MELS, (PATCH, PATCH), (stride, stride), mean, std
        )
  raise errors.AvemoError(
    f'{path}: {num_patches} positions of patches are those of no spectrogram '
    f'of {", ".join(map(str, STATISTICS))} frames and {NUM_MELS} mel bands cut '
    f'every {" or ".join(map(str, strides))}: convert a published file'
  )


def count_patches(num_frames: int, stride: int) -> int:
  """Patches of a published spectrogram."""
  bands, times = (1 + (n - PATCH) // stride for n in (NUM_MELS, num_frames))
  return bands * times


def find_heads(width: int, path: Any) -> int:
  """The number of heads, which no tensor's shape tells.

  Raises:
    AvemoError: the width is not that of a published model.
  """
  if width % HEAD_WIDTH:
    raise errors.AvemoError(
      f'{path}: of width {width}, which is no multiple of {HEAD_WIDTH}, the '
      'number of heads is not known: give the config.json saved with it'
    )
  return width // HEAD_WIDTH


def find(tensors: Mapping[str, Any], name: str, path: Any) -> Any:
  """The tensor of that name, or an AvemoError."""
  if name not in tensors:
    raise errors.AvemoError(
      f'{path}: has no tensor {name!r}: it is not a file of this family'
    )
  return tensors[name]


def count_blocks(tensors: Mapping[str, Any], prefix: str) -> int:
  """How many numbers follow the prefix in the names; gaps are found later."""
  numbers = {
    name[len(prefix) :].split('.')[0]
    for name in tensors
    if name.startswith(prefix)
  }
  return len(numbers)


def make_norm_rules(source: str, target: str) -> tuple[rules.Rule, ...]:
  """Rules of a layer norm: names and paths without their last part."""
  return (
    rules.Rule(f'{source}.weight', f'{target}/scale'),
    rules.Rule(f'{source}.bias', f'{target}/bias'),
  )


def make_dense_rules(source: str, target: str) -> tuple[rules.Rule, ...]:
  """Rules of a dense layer, likewise."""
  return (
    rules.Rule(f'{source}.weight', f'{target}/kernel', rules.transpose),
    rules.Rule(f'{source}.bias', f'{target}/bias'),
  )


def make_patch_rules(source: str, turn: Callable) -> tuple[rules.Rule, ...]:
  """Rules of the patch embedding, likewise, and how to turn its kernel."""
  target = 'audio/embedding/patch_embed'
  return (
    rules.Rule(f'{source}.weight', f'{target}/kernel', turn),
    rules.Rule(f'{source}.bias', f'{target}/bias'),
  )


def make_block_rules(prefix: str, num_heads: int) -> tuple[rules.Rule, ...]:
  """Rules of blocks in timm's names.

  Args:
    prefix: of the names, up to the number of the block.
    num_heads: K.
  """
  block = f'{prefix}{{i}}'
  attn = f'{BLOCKS}/attn'
  parts = ('query', 'key', 'value')
  return (
    *make_norm_rules(f'{block}.norm1', f'{BLOCKS}/norm1'),
    rules.Rule(
      f'{block}.attn.qkv.weight',
      tuple(f'{attn}/{part}/kernel' for part in parts),
      rules.split_qkv(num_heads),
    ),
    rules.Rule(
      f'{block}.attn.qkv.bias',
      tuple(f'{attn}/{part}/bias' for part in parts),
      rules.split_qkv_bias(num_heads),
    ),
    rules.Rule(
      f'{block}.attn.proj.weight',
      f'{attn}/out/kernel',
      rules.out_heads(num_heads),
    ),
    rules.Rule(f'{block}.attn.proj.bias', f'{attn}/out/bias'),
    *make_norm_rules(f'{block}.norm2', f'{BLOCKS}/norm2'),
    *make_dense_rules(f'{block}.mlp.fc1', f'{BLOCKS}/fc1'),
    *make_dense_rules(f'{block}.mlp.fc2', f'{BLOCKS}/fc2'),
  )


def describe_tower(
  read: Input, width: int, depth: int, num_heads: int
) -> dict[str, Any]:
  """The config section `audio`, where the families do not differ."""
  return {
    'name': 'spectrogram_vit',
    'width': width,
    'depth': depth,
    'num_heads': num_heads,
    'patch': read.patch,
    'stride': read.stride,
  }


def describe_features(read: Input) -> dict[str, Any]:
  """The config section `features` that makes the input of speech."""
  section = {
    'front_end': 'filterbank',
    'num_frames': read.num_frames,
    'mean': read.mean,
    'std': read.std,
  }
  return section | (
    {} if read.num_mels == NUM_MELS else {'num_mels': read.num_mels}
  )


def describe_clip(read: Input) -> dict[str, Any]:
  """What a clip must be: frames come every 10 ms."""
  return {'seconds': read.num_frames / 100}
