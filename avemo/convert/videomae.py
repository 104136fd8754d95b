"""VideoMAE: fine-tuned and pretraining weights, from four kinds of files.

The original `.pth` (github.com/MCG-NJU/VideoMAE), transformers' safetensors,
and the SavedModel and `.h5` of github.com/innat/VideoMAE. All are first given
the original's names, with `encoder.` left out, so that one table maps them;
Keras' kernels are still called so, since they lie the other way round.
"""

import re
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from avemo import errors
from avemo.convert import plans, readers, refusal, rules, videomae_keras

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


class File(NamedTuple):
  """A file whose tensors have the original's names."""

  source: readers.Source
  tensors: dict[str, Any]
  dialect: Dialect


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
  file = _name(source)
  kernel = file.dialect.kernel
  if f'patch_embed.proj.{kernel}' not in file.tensors:
    held = refusal.shorten(', '.join(list(source.tensors)[:3]))
    raise errors.AvemoError(
      f'{source.path}: not a VideoMAE file, since it has no embedding of '
      f'tubelets; it holds {held}, …'
    )
  shape = _get_shape(file, f'patch_embed.proj.{kernel}', 5)
  if kernel == 'weight':
    shape = (*shape[2:], shape[1], shape[0])
  width, depth = shape[-1], _count(file.tensors, 'blocks.')
  video = {
    'name': 'videomae',
    'variant': VARIANTS.get((width, depth), 'base'),
    'width': width,
    'depth': depth,
    'num_heads': _choose_heads(source, width, ENCODER_HEADS, ''),
    'tubelet': shape[:3],
    'epsilon': file.dialect.epsilon,
    'fc_epsilon': file.dialect.fc_epsilon,
  }
  table = [
    rules.Rule(
      f'patch_embed.proj.{kernel}',
      'video/patch_embed/kernel',
      rules.conv if kernel == 'weight' else rules.identity,
    ),
    rules.Rule('patch_embed.proj.bias', 'video/patch_embed/bias'),
    *list_block_rules('', 'video/encoder', video['num_heads'], file.dialect),
  ]
  made = plans.Plan(
    tensors=file.tensors,
    rules=tuple(table),
    model={'use': ('video',), 'video': video},
    num_classes=0,
    classes=(),
    clip={
      'frames': _get_option(source, 'num_frames', FRAMES),
      'size': _get_option(source, 'image_size', SIZE),
    },
  )
  if f'head.{kernel}' in file.tensors:
    return _add_head(file, made)
  if 'mask_token' in file.tensors and 'norm.weight' in file.tensors:
    return _add_decoder(file, made)
  return _add_fresh(file, made)


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


def _add_head(file: File, made: plans.Plan) -> plans.Plan:
  if 'fc_norm.weight' not in file.tensors:
    raise errors.AvemoError(
      f'{file.source.path}: its head reads the first token and not the mean of '
      'all (it has no fc_norm), which no published VideoMAE does; fine-tune '
      'from the pretraining weights instead'
    )
  kernel = file.dialect.kernel
  shape = _get_shape(file, f'head.{kernel}', 2)
  num_classes = shape[0] if kernel == 'weight' else shape[1]
  names = _get_option(file.source, 'id2label', {})
  return made._replace(
    rules=(
      *made.rules,
      *list_norm_rules('fc_norm', 'video/fc_norm'),
      *list_dense_rules('head', 'head/video/emotion', file.dialect),
    ),
    num_classes=num_classes,
    classes=tuple(
      str(names.get(str(i), f'class_{i}')) for i in range(num_classes)
    ),
  )


def _add_decoder(file: File, made: plans.Plan) -> plans.Plan:
  dialect = file.dialect
  width = _get_shape(file, 'mask_token', 3)[-1]
  decoder = {
    'width': width,
    'depth': _count(file.tensors, 'decoder.blocks.'),
    'num_heads': _choose_heads(file.source, width, DECODER_HEADS, 'decoder_'),
    'epsilon': dialect.epsilon,
    'norm_epsilon': dialect.fc_epsilon,
  }
  return made._replace(
    rules=(
      *made.rules,
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
    ),
    model={
      'name': 'videomae_pretraining',
      **made.model,
      'decoder': decoder,
    },
  )


def _add_fresh(file: File, made: plans.Plan) -> plans.Plan:
  table, fresh = [], ('video/fc_norm', 'head')
  if 'fc_norm.weight' in file.tensors:
    table, fresh = list_norm_rules('fc_norm', 'video/fc_norm'), ('head',)
  dropped = ('norm.*', 'mask_token', 'encoder_to_decoder.*', 'decoder.*')
  table += [rules.Rule(name, None) for name in dropped]
  return made._replace(rules=(*made.rules, *table), fresh=fresh)


def _name(source: readers.Source) -> File:
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
    tensors = rules.rename(tensors, FROM_KERAS)
    return File(source, tensors, Dialect(kernel='kernel'))
  if any('.attention.attention.' in name for name in tensors):
    if _get_option(source, 'hidden_act', 'gelu') != 'gelu':
      raise errors.AvemoError(
        f'{source.path}: its config.json names another activation than gelu, '
        'the exact one, which alone is read'
      )
    epsilon = _get_option(source, 'layer_norm_eps', 1e-12)
    dialect = Dialect(epsilon, fc_epsilon=1e-5, fused=False)
    return File(source, rules.rename(tensors, FROM_TRANSFORMERS), dialect)
  return File(source, rules.rename(tensors, FROM_ORIGINAL), Dialect())


def _get_shape(file: File, name: str, rank: int) -> tuple[int, ...]:
  shape = tuple(int(size) for size in file.tensors[name].shape)
  if len(shape) != rank or not all(shape):
    raise errors.AvemoError(
      f'{file.source.path}: {name} has the shape {shape}, where VideoMAE has '
      f'{rank} axes; convert the file that was published, unchanged'
    )
  return shape


def _get_option(source: readers.Source, key: str, default: Any) -> Any:
  """What config.json says, of the type of the default and positive."""
  value = source.config.get(key, default)
  number = isinstance(default, int | float)
  if type(value) is not type(default) or (number and not 0 < value < 1e6):
    told = refusal.shorten(repr(value), 40)
    raise errors.AvemoError(
      f'{source.path}: its config.json says {key}={told}, which is no such '
      f'value as {default!r}; correct it or take it out'
    )
  return value


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
