"""AST: Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021.

Two kinds of files hold it: the authors' state dicts, in timm's names of a
distilled DeiT under DataParallel's prefix; and those that transformers saves.
Their norms differ in epsilon.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from avemo import errors
from avemo.convert import plans, readers, rules, spectrograms

FAMILY = 'ast'
LICENCE = 'BSD-3-Clause'
ORIGIN = (
  'github.com/YuanGongND/ast; Gong et al., "AST: Audio Spectrogram '
  'Transformer", Interspeech 2021'
)

# Between patches, of the authors' models for AudioSet.
STRIDES = (10, 12, 14, 16)

# Of the blocks and the norm after them, and of the head's own norm.
ORIGINAL_EPSILONS = (1e-6, 1e-5)
TRANSFORMERS_EPSILON = 1e-12


def plan(source: readers.Source) -> plans.Plan:
  """The plan of a file of AST.

  Args:
    source: the authors' file, or one of transformers with its config.json
      beside it.

  Returns:
    An audio classifier; its tower and fresh rest for a file without a head.

  Raises:
    AvemoError: the file is not of this family, or describes what the tower
      cannot do.
  """
  if any('.attention.attention.' in name for name in source.tensors):
    return _plan_transformers(source)
  return _plan_original(source)


# ---------------------------------------------------------- the authors' files


def _plan_original(source: readers.Source) -> plans.Plan:
  tensors = rules.rename(source.tensors, [(r'^module\.', '')])
  table = spectrograms.find(tensors, 'v.pos_embed', source.path)
  head = spectrograms.find(tensors, 'mlp_head.1.weight', source.path)
  width = table.shape[-1]
  num_heads = spectrograms.find_heads(width, source.path)
  read = spectrograms.find_input(table.shape[1] - 2, STRIDES, source.path)
  depth = spectrograms.count_blocks(tensors, 'v.blocks.')
  epsilon, fc_epsilon = ORIGINAL_EPSILONS
  return plans.Plan(
    tensors=tensors,
    rules=_make_original_rules(num_heads),
    model={
      'use': ('audio',),
      'audio': {
        **spectrograms.describe_tower(read, width, depth, num_heads),
        'epsilon': epsilon,
        'fc_epsilon': fc_epsilon,
      },
      'features': spectrograms.describe_features(read),
    },
    num_classes=head.shape[0],
    classes=(),
    clip=spectrograms.describe_clip(read),
  )


def _make_original_rules(num_heads: int) -> tuple[rules.Rule, ...]:
  return (
    rules.Rule('v.cls_token', 'audio/embedding/cls'),
    rules.Rule('v.dist_token', 'audio/embedding/distillation'),
    rules.Rule('v.pos_embed', 'audio/embedding/positions'),
    *spectrograms.make_patch_rules('v.patch_embed.proj', rules.conv),
    *spectrograms.make_block_rules('v.blocks.', num_heads),
    *spectrograms.make_norm_rules('v.norm', 'audio/norm'),
    *spectrograms.make_norm_rules('mlp_head.0', 'audio/fc_norm'),
    *spectrograms.make_dense_rules('mlp_head.1', spectrograms.HEAD),
    # DeiT's own heads, which AST never runs.
    rules.Rule('v.head.*', None),
    rules.Rule('v.head_dist.*', None),
  )


# ---------------------------------------------------------- transformers' files


def _plan_transformers(source: readers.Source) -> plans.Plan:
  tensors = rules.rename(
    source.tensors, [(r'^audio_spectrogram_transformer\.', '')]
  )
  config = source.config
  _check_config(config, source.path)
  table = spectrograms.find(
    tensors, 'embeddings.position_embeddings', source.path
  )
  width = table.shape[-1]
  num_heads = config.get('num_attention_heads') or spectrograms.find_heads(
    width, source.path
  )
  read = _read_input(source, table.shape[1] - 2)
  depth = spectrograms.count_blocks(tensors, 'encoder.layer.')
  epsilon = config.get('layer_norm_eps', TRANSFORMERS_EPSILON)
  head = tensors.get('classifier.dense.weight')
  return plans.Plan(
    tensors=tensors,
    rules=_make_transformers_rules(num_heads, head is not None),
    model={
      'use': ('audio',),
      'audio': {
        **spectrograms.describe_tower(read, width, depth, num_heads),
        'epsilon': epsilon,
        'fc_epsilon': epsilon,
      },
      'features': spectrograms.describe_features(read),
    },
    num_classes=0 if head is None else head.shape[0],
    classes=() if head is None else _read_classes(config, head.shape[0]),
    clip=spectrograms.describe_clip(read),
    fresh=('audio/fc_norm', 'head') if head is None else (),
  )


def _check_config(config: Mapping[str, Any], path: pathlib.Path) -> None:
  activation = config.get('hidden_act', 'gelu')
  if activation != 'gelu':
    raise errors.AvemoError(
      f"{path}: config.json says hidden_act={activation!r}; the tower's is the "
      "exact 'gelu'"
    )
  ratio = config.get('intermediate_size', 4) / config.get('hidden_size', 1)
  if ratio != 4:
    raise errors.AvemoError(
      f'{path}: config.json says that blocks widen {ratio} times; the '
      "tower's widen 4 times"
    )


def _read_input(source: readers.Source, num_patches: int) -> spectrograms.Input:
  """From the files beside the weights or, without them, the positions."""
  config = source.config
  extractor = _read_json(source.path, 'preprocessor_config.json')
  if 'max_length' in config:
    mean, std = spectrograms.STATISTICS.get(
      config['max_length'], spectrograms.STATISTICS[1024]
    )
    patch = config.get('patch_size', spectrograms.PATCH)
    read = spectrograms.Input(
      config['max_length'],
      config.get('num_mel_bins', spectrograms.NUM_MELS),
      (patch, patch),
      (config.get('frequency_stride', 10), config.get('time_stride', 10)),
      mean,
      std,
    )
  else:
    read = spectrograms.find_input(num_patches, STRIDES, source.path)
  rate = extractor.get('sampling_rate', 16_000)
  if rate != 16_000:
    raise errors.AvemoError(
      f'{source.path}: preprocessor_config.json says sampling_rate={rate}; '
      'speech is read at 16000'
    )
  if not extractor.get('do_normalize', True):
    return read._replace(mean=0.0, std=0.5)
  return read._replace(
    mean=extractor.get('mean', read.mean), std=extractor.get('std', read.std)
  )


def _read_json(path: pathlib.Path, name: str) -> dict[str, Any]:
  """The JSON object of that name beside the file, or in the folder; or {}."""
  path = (path if path.is_dir() else path.parent) / name
  if not path.exists():
    return {}
  try:
    return dict(json.loads(path.read_text(encoding='utf-8')))
  except (ValueError, TypeError) as error:
    raise errors.AvemoError(f'{path}: is not a JSON object: {error}') from error


def _read_classes(
  config: Mapping[str, Any], num_classes: int
) -> tuple[str, ...]:
  """Names by number, as transformers keep them; () where some are missing."""
  names = {int(k): str(v) for k, v in config.get('id2label', {}).items()}
  if sorted(names) != list(range(num_classes)):
    return ()
  return tuple(names[i] for i in range(num_classes))


def _make_transformers_rules(
  num_heads: int, has_head: bool
) -> tuple[rules.Rule, ...]:
  layer = 'encoder.layer.{i}'
  blocks = spectrograms.BLOCKS
  parts = []
  for part in ('query', 'key', 'value'):
    name = f'{layer}.attention.attention.{part}'
    path = f'{blocks}/attn/{part}'
    parts += [
      rules.Rule(
        f'{name}.weight', f'{path}/kernel', rules.split_heads(num_heads)
      ),
      rules.Rule(f'{name}.bias', f'{path}/bias', rules.bias_heads(num_heads)),
    ]
  head = (
    *spectrograms.make_norm_rules('classifier.layernorm', 'audio/fc_norm'),
    *spectrograms.make_dense_rules('classifier.dense', spectrograms.HEAD),
  )
  out = f'{layer}.attention.output.dense'
  return (
    rules.Rule('embeddings.cls_token', 'audio/embedding/cls'),
    rules.Rule('embeddings.distillation_token', 'audio/embedding/distillation'),
    rules.Rule('embeddings.position_embeddings', 'audio/embedding/positions'),
    *spectrograms.make_patch_rules(
      'embeddings.patch_embeddings.projection', rules.conv
    ),
    *parts,
    rules.Rule(
      f'{out}.weight', f'{blocks}/attn/out/kernel', rules.out_heads(num_heads)
    ),
    rules.Rule(f'{out}.bias', f'{blocks}/attn/out/bias'),
    *spectrograms.make_norm_rules(
      f'{layer}.layernorm_before', f'{blocks}/norm1'
    ),
    *spectrograms.make_norm_rules(
      f'{layer}.layernorm_after', f'{blocks}/norm2'
    ),
    *spectrograms.make_dense_rules(
      f'{layer}.intermediate.dense', f'{blocks}/fc1'
    ),
    *spectrograms.make_dense_rules(f'{layer}.output.dense', f'{blocks}/fc2'),
    *spectrograms.make_norm_rules('layernorm', 'audio/norm'),
    *(head if has_head else ()),
  )
