"""VideoMAE: fine-tuned and pretraining weights, from four kinds of files.

The original `.pth` (github.com/MCG-NJU/VideoMAE), transformers' safetensors,
and the SavedModel and `.h5` of github.com/innat/VideoMAE. All are first given
the original's names, with `encoder.` left out, so that one table maps them;
Keras' kernels are still called so, since they lie the other way round.
"""

import functools
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from avemo import errors
from avemo.convert import plans, readers, rules, videomae_keras

FAMILY = 'videomae'
LICENCE = (
  'CC BY-NC 4.0 (original weights and those converted from them); code of '
  'innat/VideoMAE: Apache-2.0'
)
ORIGIN = (
  'github.com/MCG-NJU/VideoMAE; Tong et al., "VideoMAE: Masked Autoencoders '
  'are Data-Efficient Learners for Self-Supervised Video Pre-Training", '
  'NeurIPS 2022'
)

# No file holds the number of heads but transformers' config.json, which says
# 16 for the width 384: that loads, and is wrong.
ENCODER_HEADS = types.MappingProxyType({384: 6, 768: 12, 1024: 16, 1280: 16})
DECODER_HEADS = types.MappingProxyType({192: 3, 384: 6, 512: 8, 640: 8})

VARIANTS = types.MappingProxyType(
  {
    (384, 12): 'small',
    (768, 12): 'base',
    (1024, 24): 'large',
    (1280, 32): 'huge',
  }
)

FRAMES, SIZE = 16, 224

# Transformers' names; `encoder.layer` stands in files of the bare encoder too.
FROM_TRANSFORMERS = (
  (r'^videomae\.', ''),
  (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.proj.'),
  (r'^encoder\.layer\.(\d+)\.', r'blocks.\1.'),
  (r'^decoder\.decoder_layers\.(\d+)\.', r'decoder.blocks.\1.'),
  (r'\.attention\.attention\.(query|value)\.bias$', r'.attn.\1_bias'),
  (r'\.attention\.attention\.', '.attn.'),
  (r'\.attn\.query_bias$', '.attn.q_bias'),
  (r'\.attn\.value_bias$', '.attn.v_bias'),
  (r'\.attention\.output\.dense\.', '.attn.proj.'),
  (r'\.layernorm_before\.', '.norm1.'),
  (r'\.layernorm_after\.', '.norm2.'),
  (r'\.intermediate\.dense\.', '.mlp.fc1.'),
  (r'\.output\.dense\.', '.mlp.fc2.'),
  (r'^layernorm\.', 'norm.'),
  (r'^classifier\.', 'head.'),
)

FROM_ORIGINAL = (
  (r'^module\.', ''),
  (r'^backbone\.', ''),
  (r'^encoder\.', ''),
)

FROM_KERAS = (
  (r'/', '.'),
  (r'^encoder\.', ''),
  (r'\.gamma$', '.weight'),
  (r'\.beta$', '.bias'),
  (r'^mask_token_pretrained$', 'mask_token'),
)


class Dialect(NamedTuple):
  """What differs between the sources of the same weights.

  Attributes:
    epsilon: of the blocks' layer norms.
    fc_epsilon: of the norm after pooling, and of the decoder's.
    kernel: last part of the name of a dense kernel.
    fused: query, key and value are one kernel.
  """

  epsilon: float = 1e-6
  fc_epsilon: float = 1e-6
  kernel: str = 'weight'
  fused: bool = True

  def read(self, transform: Callable) -> Callable:
    """The transform of a kernel that was written for torch's layout."""
    if self.kernel == 'weight':
      return transform
    return lambda kernel: transform(kernel.T)


def plan(source: readers.Source) -> plans.Plan:
  """What becomes of a VideoMAE file.

  Args:
    source: as read. A `config.json` beside the file gives the names of the
      classes and the size of clips, transformers' epsilon, and the number of
      heads of a width that no published model has.

  Returns:
    A fine-tuned file: `emotion.Emotion` with its head. A pretraining file:
    the model `videomae_pretraining`. An encoder alone, or one whose
    pretraining left out the norm after it: the tower, with a fresh norm and
    head.

  Raises:
    AvemoError: it is not a VideoMAE file, or of a kind that is not read.
  """
  tensors, dialect = _name(source)
  shape = _find_shape(source, tensors, 'patch_embed.proj')
  if dialect.kernel == 'weight':
    shape = (*shape[2:], shape[1], shape[0])
  width, tubelet = shape[-1], tuple(int(x) for x in shape[:3])
  video = {
    'name': 'videomae',
    'variant': VARIANTS.get((width, _count(tensors, 'blocks.')), 'base'),
    'width': width,
    'depth': _count(tensors, 'blocks.'),
    'num_heads': _choose_heads(source, width, ENCODER_HEADS, ''),
    'tubelet': tubelet,
    'epsilon': dialect.epsilon,
    'fc_epsilon': dialect.fc_epsilon,
  }
  table = [
    rules.Rule(
      f'patch_embed.proj.{dialect.kernel}',
      'video/patch_embed/kernel',
      rules.conv if dialect.kernel == 'weight' else rules.identity,
    ),
    rules.Rule('patch_embed.proj.bias', 'video/patch_embed/bias'),
    *list_block_rules('', 'video/encoder', video['num_heads'], dialect),
  ]
  clip = {
    'frames': source.config.get('num_frames', FRAMES),
    'size': source.config.get('image_size', SIZE),
  }
  finish = functools.partial(plans.Plan, tensors=tensors, clip=clip)
  if f'head.{dialect.kernel}' in tensors:
    return _plan_head(source, finish, table, video, dialect)
  if 'mask_token' in tensors and 'norm.weight' in tensors:
    return _plan_pretraining(source, finish, table, video, dialect)
  dropped = ('norm.*', 'mask_token', 'encoder_to_decoder.*', 'decoder.*')
  table += [rules.Rule(name, None) for name in dropped]
  return finish(
    rules=tuple(table),
    model={'use': ('video',), 'video': video},
    num_classes=0,
    classes=(),
    fresh=('video/fc_norm', 'head'),
  )


def list_block_rules(
  source: str, target: str, num_heads: int, dialect: Dialect
) -> list[rules.Rule]:
  """Rules of a stack of blocks.

  Args:
    source: what stands before `blocks.` in the file.
    target: path of the encoder.
    num_heads: K.
    dialect: of the file.
  """
  kernel, read = dialect.kernel, dialect.read
  block, path = f'{source}blocks.{{i}}', f'{target}/blocks'
  bias = rules.bias_heads(num_heads)
  parts = ('query', 'key', 'value')
  table = [
    rules.Rule(f'{block}.attn.q_bias', f'{path}/attn/query/bias', bias),
    rules.Rule(f'{block}.attn.v_bias', f'{path}/attn/value/bias', bias),
    rules.Rule(
      f'{block}.attn.proj.{kernel}',
      f'{path}/attn/out/kernel',
      read(rules.out_heads(num_heads)),
    ),
    rules.Rule(f'{block}.attn.proj.bias', f'{path}/attn/out/bias'),
  ]
  if dialect.fused:
    table.append(
      rules.Rule(
        f'{block}.attn.qkv.{kernel}',
        tuple(f'{path}/attn/{part}/kernel' for part in parts),
        read(rules.split_qkv(num_heads)),
      )
    )
  else:
    table += [
      rules.Rule(
        f'{block}.attn.{part}.{kernel}',
        f'{path}/attn/{part}/kernel',
        read(rules.split_heads(num_heads)),
      )
      for part in parts
    ]
  for norm in ('norm1', 'norm2'):
    table += list_norm_rules(f'{block}.{norm}', f'{path}/{norm}')
  for dense in ('fc1', 'fc2'):
    table += list_dense_rules(
      f'{block}.mlp.{dense}', f'{path}/{dense}', dialect
    )
  return table


def list_norm_rules(source: str, target: str) -> list[rules.Rule]:
  """Rules of a layer norm."""
  return [
    rules.Rule(f'{source}.weight', f'{target}/scale'),
    rules.Rule(f'{source}.bias', f'{target}/bias'),
  ]


def list_dense_rules(
  source: str, target: str, dialect: Dialect
) -> list[rules.Rule]:
  """Rules of a dense layer."""
  return [
    rules.Rule(
      f'{source}.{dialect.kernel}',
      f'{target}/kernel',
      dialect.read(rules.transpose),
    ),
    rules.Rule(f'{source}.bias', f'{target}/bias'),
  ]


def _plan_head(
  source: readers.Source,
  finish: Callable[..., plans.Plan],
  table: list[rules.Rule],
  video: dict[str, Any],
  dialect: Dialect,
) -> plans.Plan:
  if 'fc_norm.weight' not in finish.keywords['tensors']:
    raise errors.AvemoError(
      f'{source.path}: its head reads the first token and not the mean of all '
      '(it has no fc_norm), which no published VideoMAE does; fine-tune from '
      'the pretraining weights instead'
    )
  table += list_norm_rules('fc_norm', 'video/fc_norm')
  table += list_dense_rules('head', 'head/video/emotion', dialect)
  tensors = finish.keywords['tensors']
  num_classes = int(tensors['head.bias'].shape[0])
  names = source.config.get('id2label') or {}
  return finish(
    rules=tuple(table),
    model={'use': ('video',), 'video': video},
    num_classes=num_classes,
    classes=tuple(
      str(names.get(str(i), f'class_{i}')) for i in range(num_classes)
    ),
  )


def _plan_pretraining(
  source: readers.Source,
  finish: Callable[..., plans.Plan],
  table: list[rules.Rule],
  video: dict[str, Any],
  dialect: Dialect,
) -> plans.Plan:
  tensors = finish.keywords['tensors']
  width = int(tensors['mask_token'].shape[-1])
  decoder = {
    'width': width,
    'depth': _count(tensors, 'decoder.blocks.'),
    'num_heads': _choose_heads(source, width, DECODER_HEADS, 'decoder_'),
    'epsilon': dialect.epsilon,
    'norm_epsilon': dialect.fc_epsilon,
  }
  table += [
    *list_norm_rules('norm', 'video/norm'),
    *list_block_rules('decoder.', 'decoder', decoder['num_heads'], dialect),
    *list_norm_rules('decoder.norm', 'decoder/norm'),
    *list_dense_rules('decoder.head', 'decoder/head', dialect),
    rules.Rule(
      f'encoder_to_decoder.{dialect.kernel}',
      'encoder_to_decoder/kernel',
      dialect.read(rules.transpose),
    ),
    rules.Rule('mask_token', 'mask_token'),
  ]
  return finish(
    rules=tuple(table),
    model={
      'name': 'videomae_pretraining',
      'use': ('video',),
      'video': video,
      'decoder': decoder,
    },
    num_classes=0,
    classes=(),
  )


def _name(source: readers.Source) -> tuple[dict[str, Any], Dialect]:
  """The tensors by the original's names, and whose they were."""
  tensors = source.tensors
  if source.format in ('saved_model', 'tf_checkpoint', 'h5'):
    if source.format == 'h5':
      tensors = videomae_keras.name_weights(source)
    tensors = {
      name: tensor
      for name, tensor in tensors.items()
      # What training left behind.
      if not re.match('optimizer/|.*OPTIMIZER_SLOT|save_counter', name)
    }
    return rules.rename(tensors, FROM_KERAS), Dialect(kernel='kernel')
  if any('.attention.attention.' in name for name in tensors):
    epsilon = source.config.get('layer_norm_eps', 1e-12)
    dialect = Dialect(epsilon, fc_epsilon=1e-5, fused=False)
    return rules.rename(tensors, FROM_TRANSFORMERS), dialect
  return rules.rename(tensors, FROM_ORIGINAL), Dialect()


def _find_shape(
  source: readers.Source, tensors: Mapping[str, Any], layer: str
) -> tuple[int, ...]:
  """The shape of the kernel of tubelets, by which VideoMAE is known."""
  for name in (f'{layer}.weight', f'{layer}.kernel'):
    if name in tensors and len(tensors[name].shape) == 5:
      return tuple(tensors[name].shape)
  raise errors.AvemoError(
    f'{source.path}: not a VideoMAE file, since it has no {layer} over time, '
    f'rows and columns; it holds {", ".join(list(source.tensors)[:3])}, …'
  )


def _count(tensors: Mapping[str, Any], prefix: str) -> int:
  """The number of blocks whose names begin so."""
  pattern = re.compile(re.escape(prefix) + r'(\d+)\.')
  found = {m[1] for name in tensors if (m := pattern.match(name))}
  return len(found)


def _choose_heads(
  source: readers.Source, width: int, table: Mapping[int, int], kind: str
) -> int:
  """The number of heads of a width; `kind` begins its name in config.json."""
  if width in table:
    return table[width]
  key = f'{kind}num_attention_heads'
  num_heads = source.config.get(key)
  if isinstance(num_heads, int) and num_heads > 0 and width % num_heads == 0:
    return num_heads
  raise errors.AvemoError(
    f'{source.path}: no published VideoMAE has the width {width}, so its '
    f'number of heads is not known; put {{"{key}": …}}, a divisor of the '
    'width, into a config.json beside it'
  )
