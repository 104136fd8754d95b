"""Names of the weights in innat/VideoMAE's .h5 files."""

import re
from typing import Any

from avemo import errors
from avemo.convert import readers, refusal

# Weights of one block in the order in which Keras made them.
BLOCK = (
  'norm1/gamma',
  'norm1/beta',
  'attn/qkv/kernel',
  'attn/proj/kernel',
  'attn/proj/bias',
  'attn/q_bias',
  'attn/v_bias',
  'norm2/gamma',
  'norm2/beta',
  'mlp/fc1/kernel',
  'mlp/fc1/bias',
  'mlp/fc2/kernel',
  'mlp/fc2/bias',
)
ENCODER = 'TFPretrainVisionTransformerEncoder'
DECODER = 'TFPretrainVisionTransformerDecoder'


def name_weights(source: readers.Source) -> dict[str, Any]:
  """The weights of an .h5 by the names that they have in a SavedModel.

  Their own names count all layers that the program had made before, so the
  order within a layer's group tells them apart; what each is called last,
  and which of them share a layer, must agree with that order.
  """
  groups = {}
  for name, tensor in source.tensors.items():
    group, _, own = name.partition('/')
    groups.setdefault(group, []).append((own, tensor))
  named = {}
  for group, weights in groups.items():
    names = _list_names(group, len(weights))
    layers = {}
    for (own, tensor), name in zip(weights, names, strict=True):
      layer, _, last = name.rpartition('/')
      own_layer, _, own_last = own.rpartition('/')
      own_last = re.sub(r'_id\d+$', '', own_last)
      if own_last != last or layers.setdefault(layer, own_layer) != own_layer:
        own = refusal.shorten(f'{group}/{own}', 200)
        raise errors.AvemoError(
          f'{source.path}: {own} stands where {name or "nothing"} '
          'should; this is not an .h5 of innat/VideoMAE as known: convert its '
          'SavedModel'
        )
      named[name] = tensor
  return named


def _list_names(group: str, count: int) -> list[str]:
  """Names of the weights of a group, in their order; empty where unknown."""
  patch = ['patch_embed/proj/kernel', 'patch_embed/proj/bias']
  norm = ['norm/gamma', 'norm/beta']
  head = ['head/kernel', 'head/bias']
  block = re.fullmatch(r'TFBlock(\d+)', group)
  if block:
    names = [f'blocks/{int(block[1]) - 1}/{name}' for name in BLOCK]
  elif group == ENCODER:
    names = [*patch, *_list_blocks(count - 4), *norm]
  elif group == DECODER:
    names = [*_list_blocks(count - 4), *norm, *head]
    names = [f'decoder/{name}' for name in names]
  else:
    names = {
      'patch_embed': patch,
      'fc_norm': [f'fc_{name}' for name in norm],
      'head': head,
      'encoder_to_decoder': ['encoder_to_decoder/kernel'],
      'top_level_model_weights': ['mask_token_pretrained'],
    }.get(group, [])
  return (names + [''] * count)[:count]


def _list_blocks(count: int) -> list[str]:
  return [
    f'blocks/{i}/{name}' for i in range(count // len(BLOCK)) for name in BLOCK
  ]
