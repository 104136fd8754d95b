"""Wav2Vec2 by transformers and fairseq, and audeering's emotional dimensions.

Baevski et al., "wav2vec 2.0", NeurIPS 2020; Wagner et al., "Dawn of the
Transformer Era in Speech Emotion Recognition", TPAMI 2023.
"""

import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from avemo import errors
from avemo.convert import plans, readers, rules, wav2vec2_heads

FAMILY = 'wav2vec2'
LICENCE = (
  'Wav2Vec2 by Meta: MIT (fairseq) or Apache-2.0 (transformers); '
  "audeering's w2v2-how-to model: CC BY-NC-SA 4.0"
)
ORIGIN = (
  'https://github.com/facebookresearch/fairseq, arXiv:2006.11477; '
  'https://github.com/audeering/w2v2-how-to, arXiv:2203.07378'
)

# Width and depth of the published models.
VARIANTS = types.MappingProxyType(
  {(768, 12): 'base', (1024, 24): 'large', (1024, 12): 'robust12'}
)
# Heads are 64 wide, but for the largest models of XLS-R.
WIDE_HEADS = types.MappingProxyType({1280: 16, 1920: 16})

EPSILON = 1e-5

# What a config may say, and what this tower computes.
FIXED = types.MappingProxyType(
  {
    'conv_kernel': [10, 3, 3, 3, 3, 2, 2],
    'conv_stride': [5, 2, 2, 2, 2, 2, 2],
    'feat_extract_activation': 'gelu',
    'hidden_act': 'gelu',
    'layer_norm_eps': EPSILON,
    'use_weighted_layer_sum': False,
    'pooling_mode': 'mean',
  }
)

# fairseq's arguments that no tensor tells.
ARGUMENTS = types.MappingProxyType(
  {
    'num_attention_heads': 'encoder_attention_heads',
    'do_stable_layer_norm': 'layer_norm_first',
    'hidden_act': 'activation_fn',
  }
)

# fairseq's names, older torch's weight norm, and prefixes; in this order.
RENAMES = (
  (r'^(w2v_encoder\.)?w2v_model\.', ''),
  (r'^wav2vec2\.', ''),
  (r'^(feature_extractor\.conv_layers\.\d+)\.0\.(weight|bias)$', r'\1.conv.\2'),
  (
    r'^(feature_extractor\.conv_layers\.\d+)\.2(\.1)?\.(weight|bias)$',
    r'\1.layer_norm.\3',
  ),
  (r'^post_extract_proj\.', 'feature_projection.projection.'),
  (r'^layer_norm\.', 'feature_projection.layer_norm.'),
  (r'^mask_emb$', 'masked_spec_embed'),
  (r'^encoder\.pos_conv\.0\.', 'encoder.pos_conv_embed.conv.'),
  (r'^(encoder\.layers\.\d+)\.self_attn\.', r'\1.attention.'),
  (r'^(encoder\.layers\.\d+)\.self_attn_layer_norm\.', r'\1.layer_norm.'),
  (r'^(encoder\.layers\.\d+)\.fc1\.', r'\1.feed_forward.intermediate_dense.'),
  (r'^(encoder\.layers\.\d+)\.fc2\.', r'\1.feed_forward.output_dense.'),
  (r'\.parametrizations\.weight\.original0$', '.weight_g'),
  (r'\.parametrizations\.weight\.original1$', '.weight_v'),
)

# Of pre-training and of transcription, which recognise no emotion.
UNUSED = (
  'masked_spec_embed',
  'quantizer.*',
  'project_hid.*',
  'project_q.*',
  'final_proj.*',
  'lm_head.*',
  'w2v_encoder.proj.*',
)


def plan(source: readers.Source) -> plans.Plan:
  """How the tensors of a file become the audio tower, and a head with it.

  The numbers of a head stay those of its authors: audeering's are arousal,
  dominance and valence in about 0 to 1, see `clip['range']`.

  Args:
    source: names of transformers or fairseq; a config.json beside the file is
      believed, as are fairseq's arguments in it; without, the tensors decide.

  Raises:
    AvemoError: the file is not one of Wav2Vec2, or its config asks for what
      the tower does not compute.
  """
  tensors = rules.rename(source.tensors, RENAMES)
  config = read_config(source)
  audio = read_geometry(tensors, config, source.path)
  head = wav2vec2_heads.read_head(tensors, config)
  num_heads = audio['num_heads']
  model = {
    'use': ('audio',),
    'audio': audio,
    'heads': head.outputs,
    'head': dict(head.options),
  }
  return plans.Plan(
    tensors=tensors,
    rules=(
      *(rules.Rule(name, None) for name in UNUSED),
      *make_extractor_rules(audio),
      *make_block_rules(num_heads),
      *head.table,
    ),
    model=model,
    num_classes=len(head.classes),
    classes=head.classes,
    clip={'sample_rate': 16_000, **head.clip},
    fresh=() if head.table else ('head',),
  )


def read_config(source: readers.Source) -> dict[str, Any]:
  """The config beside the file, or what fairseq's arguments in it say.

  Raises:
    AvemoError: it asks for what the tower does not compute.
  """
  config = {
    name: source.attributes[f'args.{argument}']
    for name, argument in ARGUMENTS.items()
    if f'args.{argument}' in source.attributes
  } | source.config
  for name, value in FIXED.items():
    if config.get(name, value) != value:
      raise errors.AvemoError(
        f'{source.path}: its config has {name}={config[name]!r}; this tower '
        f'computes with {value!r} alone'
      )
  return config


def read_geometry(
  tensors: Mapping[str, Any], config: Mapping[str, Any], path: Any
) -> dict[str, Any]:
  """The section `audio` of the model, from tensors and config.

  Nothing but the config tells whether the transformer norms after its sums;
  without one, the published models do so where a group norm stands in the
  extractor.
  """
  projection = 'feature_projection.projection.weight'
  kernel = 'encoder.pos_conv_embed.conv.weight_v'
  missing = [name for name in (projection, kernel) if name not in tensors]
  if missing:
    raise errors.AvemoError(
      f'{path}: no tensor {missing[0]!r}: this is not a Wav2Vec2 file; '
      'choose another family'
    )
  width, channels = np.shape(tensors[projection])
  extractor = 'feature_extractor.conv_layers.'
  norms = [n for n in tensors if n.startswith(extractor) and 'norm.w' in n]
  norm = 'group' if len(norms) == 1 else 'layer'
  layers = [n for n in tensors if n.endswith('.attention.q_proj.weight')]
  _, inside, taps = np.shape(tensors[kernel])
  num_heads = config.get('num_attention_heads') or WIDE_HEADS.get(width)
  stable = config.get('do_stable_layer_norm', norm == 'layer')
  return {
    'name': 'wav2vec2',
    'variant': VARIANTS.get((width, len(layers)), 'base'),
    'width': width,
    'depth': len(layers),
    'num_heads': num_heads or max(1, width // 64),
    'channels': channels,
    'norm': norm,
    'conv_bias': f'{extractor}0.conv.bias' in tensors,
    'post_norm': not stable,
    'position_taps': taps,
    'position_groups': width // inside,
    'epsilon': EPSILON,
  }


def make_extractor_rules(audio: Mapping[str, Any]) -> tuple[rules.Rule, ...]:
  """Rules for what is before the transformer's blocks, and its own norm."""
  conv = 'feature_extractor.conv_layers.{i}.conv.'
  norm = 'feature_extractor.conv_layers.{i}.layer_norm.'
  position = 'encoder.pos_conv_embed.conv.'
  made = [
    rules.Rule(conv + 'weight', 'audio/extractor_{i}/conv/kernel', rules.conv),
    rules.Rule(norm + 'weight', 'audio/extractor_{i}/norm/scale'),
    rules.Rule(norm + 'bias', 'audio/extractor_{i}/norm/bias'),
    rules.Rule(
      'feature_projection.projection.weight',
      'audio/projection/kernel',
      rules.transpose,
    ),
    rules.Rule('feature_projection.projection.bias', 'audio/projection/bias'),
    rules.Rule(
      (position + 'weight_g', position + 'weight_v'),
      'audio/positions/conv/kernel',
      fold_weight_norm,
    ),
    rules.Rule(position + 'bias', 'audio/positions/conv/bias'),
  ]
  if audio['conv_bias']:
    made.append(rules.Rule(conv + 'bias', 'audio/extractor_{i}/conv/bias'))
  for name, target in (
    ('feature_projection.layer_norm', 'projection_norm'),
    ('encoder.layer_norm', 'encoder_norm'),
  ):
    made.append(rules.Rule(f'{name}.weight', f'audio/{target}/scale'))
    made.append(rules.Rule(f'{name}.bias', f'audio/{target}/bias'))
  return tuple(made)


def make_block_rules(num_heads: int) -> tuple[rules.Rule, ...]:
  """Rules for the transformer's blocks."""
  layer, block = 'encoder.layers.{i}.', 'audio/encoder/blocks/'
  kernel, bias = rules.split_heads(num_heads), rules.bias_heads(num_heads)
  made = []
  for short in ('query', 'key', 'value'):
    name = f'{layer}attention.{short[0]}_proj'
    target = f'{block}attn/{short}'
    made.append(rules.Rule(f'{name}.weight', f'{target}/kernel', kernel))
    made.append(rules.Rule(f'{name}.bias', f'{target}/bias', bias))
  name, target = f'{layer}attention.out_proj', f'{block}attn/out'
  out = rules.out_heads(num_heads)
  made.append(rules.Rule(f'{name}.weight', f'{target}/kernel', out))
  made.append(rules.Rule(f'{name}.bias', f'{target}/bias'))
  for name, target in (('layer_norm', 'norm1'), ('final_layer_norm', 'norm2')):
    made.append(rules.Rule(f'{layer}{name}.weight', f'{block}{target}/scale'))
    made.append(rules.Rule(f'{layer}{name}.bias', f'{block}{target}/bias'))
  for name, target in (('intermediate_dense', 'fc1'), ('output_dense', 'fc2')):
    name = f'{layer}feed_forward.{name}'
    made.append(
      rules.Rule(f'{name}.weight', f'{block}{target}/kernel', rules.transpose)
    )
    made.append(rules.Rule(f'{name}.bias', f'{block}{target}/bias'))
  return tuple(made)


def fold_weight_norm(length: np.ndarray, direction: np.ndarray) -> np.ndarray:
  """The kernel of a weight-normed convolution.

  Args:
    length: of each tap's weights, [1, 1, taps].
    direction: [D, D / groups, taps], of any length.

  Returns:
    [taps, D / groups, D], float32.
  """
  direction = np.asarray(direction, np.float64)
  norm = np.sqrt(np.square(direction).sum((0, 1), keepdims=True))
  kernel = np.asarray(length, np.float64) * direction / norm
  return rules.conv(kernel.astype(np.float32))


def verify(
  apply: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
) -> list[tuple[str, Any, Any, bool]]:
  """The published figures of audeering's model against the converted one.

  They hold for wav2vec2-large-robust-12-ft-emotion-msp-dim alone; there are
  none for a file without dimensions.

  Args:
    apply: maps a batch to outputs, as `Emotion` does.

  Returns:
    Name, figure expected, figure found and whether they agree, of each.
  """
  yes = np.ones(1, bool)
  outputs = apply(
    {
      'speech': np.zeros((1, 16_000), np.float32),
      'speech_length': np.full(1, 16_000, np.int32),
      'has_audio': yes,
      'mask': yes,
    }
  )
  if 'dominance' not in outputs:
    return []
  valence, arousal = np.asarray(outputs['valence_arousal'])[0].tolist()
  found = {
    'arousal': arousal,
    'dominance': float(np.asarray(outputs['dominance'])[0, 0]),
    'valence': valence,
  }
  expected = (0.5460754, 0.6062266, 0.40431657)
  return [
    (
      f'{name} of 1 s of silence',
      value,
      found[name],
      bool(abs(found[name] - value) <= 1e-4),
    )
    for name, value in zip(wav2vec2_heads.DIMENSIONS, expected, strict=True)
  ]
