"""HiCMAE by its authors, pre-trained or fine-tuned.

Sun et al., "HiCMAE: Hierarchical Contrastive Masked Autoencoder for
Self-Supervised Audio-Visual Emotion Recognition", Information Fusion 2024.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo import errors
from avemo.convert import plans, readers, rules

FAMILY = 'hicmae'
LICENCE = 'MIT'
ORIGIN = 'https://github.com/sunlicai/HiCMAE, arXiv:2401.05698'

# Every published model has heads of 64, which no tensor tells.
HEAD_WIDTH = 64
EPSILON = 1e-6

# Of pre-training, whose decoders recognise no emotion.
UNUSED = ('decoder.*', 'decoder_audio.*', 'encoder_to_decoder*', 'mask_token*')
ENCODERS = {'video': 'encoder', 'audio': 'encoder_audio'}
BLOCKS = {'video': 'blocks', 'audio': 'blocks_audio'}


def plan(source: readers.Source) -> plans.Plan:
  """How the tensors of a file become the model `hicmae`.

  Positions are computed and not stored. A file of pre-training gives the
  encoders and the fusion; what weighs their blocks, the last norm and the
  head start fresh.

  Args:
    source: names of the authors' model for fine-tuning or pre-training.

  Raises:
    AvemoError: the file is not one of HiCMAE.
  """
  tensors = rules.rename(source.tensors, ((r'^module\.', ''),))
  model = read_geometry(tensors, source.path)
  tuned = 'fc_norm.weight' in tensors
  heads = make_head_rules() if 'head.weight' in tensors else ()
  num_classes = len(tensors['head.weight']) if heads else 0
  fresh = ('fc_norm', 'video/layer_scores', 'audio/layer_scores')
  num_heads = model['num_heads']
  return plans.Plan(
    tensors=tensors,
    rules=(
      *(rules.Rule(name, None) for name in UNUSED),
      *make_tower_rules('video', num_heads),
      *make_tower_rules('audio', num_heads),
      *make_fusion_rules(num_heads),
      *(make_tuned_rules() if tuned else ()),
      *heads,
    ),
    model=model,
    num_classes=num_classes,
    classes=tuple(f'class_{number}' for number in range(num_classes)),
    clip={'frames': 16, 'every': 4, 'size': 160, 'seconds': 2.56},
    fresh=(() if tuned else fresh) + (() if heads else ('head',)),
  )


def read_geometry(tensors: Mapping[str, Any], path: Any) -> dict[str, Any]:
  """The section of the model, from the tensors."""
  first = 'encoder.patch_embed.proj.weight'
  last = 'encoder_fusion.norm_audio.weight'
  missing = [name for name in (first, last) if name not in tensors]
  if missing:
    raise errors.AvemoError(
      f'{path}: no tensor {missing[0]!r}: this is not a HiCMAE file of both '
      'modalities; choose another family'
    )
  width = np.shape(tensors[first])[0]
  depths = [
    count(tensors, f'{name}.blocks.')
    for name in ('encoder', 'encoder_audio', 'encoder_fusion')
  ]
  if depths[0] != depths[1] or width % HEAD_WIDTH:
    raise errors.AvemoError(
      f'{path}: {depths[0]} video and {depths[1]} audio blocks of width '
      f'{width}; published models have as many of both, in heads of '
      f'{HEAD_WIDTH}'
    )
  return {
    'name': 'hicmae',
    'width': width,
    'depth': depths[0],
    'num_heads': width // HEAD_WIDTH,
    'fusion_depth': depths[2],
    'epsilon': EPSILON,
    'heads': ('emotion',),
    'features': {'front_end': 'filterbank', 'num_frames': 256},
  }


def count(tensors: Mapping[str, Any], prefix: str) -> int:
  """How many numbers follow a prefix among the names."""
  rest = [name[len(prefix) :] for name in tensors if name.startswith(prefix)]
  return len({name.split('.')[0] for name in rest})


def make_tower_rules(name: str, num_heads: int) -> tuple[rules.Rule, ...]:
  """Rules for the encoder of a modality."""
  encoder = ENCODERS[name]
  patch = f'{encoder}.patch_embed.proj'
  return (
    rules.Rule(f'{patch}.weight', f'{name}/patch_embed/kernel', rules.conv),
    rules.Rule(f'{patch}.bias', f'{name}/patch_embed/bias'),
    *make_norm_rules(f'{encoder}.norm', f'{name}/norm'),
    *make_block_rules(
      f'{encoder}.blocks.{{i}}.', f'{name}/encoder/blocks/', num_heads
    ),
  )


def make_fusion_rules(num_heads: int) -> tuple[rules.Rule, ...]:
  """Rules for the blocks that attend across the modalities."""
  made = []
  for name, blocks in BLOCKS.items():
    block = f'encoder_fusion.{blocks}.{{i}}.'
    target = f'fusion/blocks/{name}/'
    made += make_block_rules(block, f'{target}block/', num_heads)
    for norm in ('cross_norm1', 'cross_norm2'):
      made += make_norm_rules(block + norm, target + norm)
    source, target = f'{block}cross_attn.', f'{target}cross_attn/'
    made += make_attention_rules(source, target, num_heads)
    made += (
      rules.Rule(
        f'{source}q.weight',
        f'{target}query/kernel',
        rules.split_heads(num_heads),
      ),
      rules.Rule(
        f'{source}kv.weight',
        (f'{target}key/kernel', f'{target}value/kernel'),
        split_key_value(num_heads),
      ),
    )
  made += make_norm_rules('encoder_fusion.norm', 'fusion/video_norm')
  made += make_norm_rules('encoder_fusion.norm_audio', 'fusion/audio_norm')
  return tuple(made)


def make_tuned_rules() -> tuple[rules.Rule, ...]:
  """Rules for what fine-tuning adds before the head."""
  return (
    *make_norm_rules('fc_norm', 'fc_norm'),
    rules.Rule('video_layer_weights', 'video/layer_scores'),
    rules.Rule('audio_layer_weights', 'audio/layer_scores'),
  )


def make_head_rules() -> tuple[rules.Rule, ...]:
  """Rules for the classifier."""
  target = 'head/joint/emotion'
  return (
    rules.Rule('head.weight', f'{target}/kernel', rules.transpose),
    rules.Rule('head.bias', f'{target}/bias'),
  )


def make_block_rules(
  source: str, target: str, num_heads: int
) -> tuple[rules.Rule, ...]:
  """Rules for one stack of transformer blocks."""
  attention = f'{target}attn/'
  made = [
    rules.Rule(
      f'{source}attn.qkv.weight',
      tuple(f'{attention}{n}/kernel' for n in ('query', 'key', 'value')),
      rules.split_qkv(num_heads),
    ),
    *make_attention_rules(f'{source}attn.', attention, num_heads),
    *make_norm_rules(f'{source}norm1', f'{target}norm1'),
    *make_norm_rules(f'{source}norm2', f'{target}norm2'),
  ]
  for name in ('fc1', 'fc2'):
    dense = f'{source}mlp.{name}'
    made.append(
      rules.Rule(f'{dense}.weight', f'{target}{name}/kernel', rules.transpose)
    )
    made.append(rules.Rule(f'{dense}.bias', f'{target}{name}/bias'))
  return tuple(made)


def make_attention_rules(
  source: str, target: str, num_heads: int
) -> tuple[rules.Rule, ...]:
  """Rules for the biases, which keys lack, and the output of an attention."""
  bias, out = rules.bias_heads(num_heads), rules.out_heads(num_heads)
  return (
    rules.Rule(f'{source}q_bias', f'{target}query/bias', bias),
    rules.Rule(f'{source}v_bias', f'{target}value/bias', bias),
    rules.Rule(f'{source}proj.weight', f'{target}out/kernel', out),
    rules.Rule(f'{source}proj.bias', f'{target}out/bias'),
  )


def make_norm_rules(source: str, target: str) -> tuple[rules.Rule, ...]:
  """Rules for a layer norm."""
  return (
    rules.Rule(f'{source}.weight', f'{target}/scale'),
    rules.Rule(f'{source}.bias', f'{target}/bias'),
  )


def split_key_value(num_heads: int):
  """From the fused kernel (2 D, D) to those of keys and values (D, K, d)."""
  split = rules.split_heads(num_heads)

  def transform(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    key, value = np.split(np.asarray(kernel), 2)
    return split(key), split(value)

  return transform
