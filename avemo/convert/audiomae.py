"""AudioMAE: Huang et al., "Masked Autoencoders that Listen", NeurIPS 2022.

The authors' files, pretrained and fine-tuned, in timm's names of a ViT. Time
is the first axis of their pictures: kernels are turned, and tokens count the
bands of a time before the next time. The table of positions is stored, and
must be read: it was computed for the other order.
"""

import numpy as np

from avemo.convert import plans, readers, rules, spectrograms

FAMILY = 'audiomae'
LICENCE = 'CC-BY-NC-4.0'
ORIGIN = (
  'github.com/facebookresearch/AudioMAE; Huang et al., "Masked Autoencoders '
  'that Listen", NeurIPS 2022'
)

# Between patches: apart, or overlapping as AST's.
STRIDES = (16, 10)
EPSILON = 1e-6

# What pretraining alone has.
DECODER = (
  'mask_token',
  'decoder_pos_embed',
  'decoder_embed.*',
  'decoder_blocks.*',
  'decoder_norm.*',
  'decoder_pred.*',
)


def plan(source: readers.Source) -> plans.Plan:
  """The plan of a file of AudioMAE.

  Args:
    source: a fine-tuned file, which has a head and norms the mean of the
      patches; or a pretrained one, which norms every token: its decoder is
      dropped, and a head starts fresh on the mean of its patches.

  Returns:
    An audio classifier.

  Raises:
    AvemoError: the file is not of this family.
  """
  tensors = source.tensors
  table = spectrograms.find(tensors, 'pos_embed', source.path)
  width = table.shape[-1]
  num_heads = spectrograms.find_heads(width, source.path)
  read = spectrograms.find_input(table.shape[1] - 1, STRIDES, source.path)
  depth = spectrograms.count_blocks(tensors, 'blocks.')
  fine_tuned = 'fc_norm.weight' in tensors
  head = (
    spectrograms.find(tensors, 'head.weight', source.path)
    if fine_tuned
    else None
  )
  return plans.Plan(
    tensors=tensors,
    rules=_make_rules(num_heads, fine_tuned),
    model={
      'use': ('audio',),
      'audio': {
        **spectrograms.describe_tower(read, width, depth, num_heads),
        'order': 'time-major',
        'summary': ('cls',),
        'pooling': 'patches',
        'norms': ('pooled',) if fine_tuned else ('tokens',),
        'epsilon': EPSILON,
        'fc_epsilon': EPSILON,
      },
      'features': spectrograms.describe_features(read),
    },
    num_classes=0 if head is None else head.shape[0],
    classes=(),
    clip=spectrograms.describe_clip(read),
    fresh=() if fine_tuned else ('head',),
  )


def _make_rules(num_heads: int, fine_tuned: bool) -> tuple[rules.Rule, ...]:
  if fine_tuned:
    end = (
      *spectrograms.make_norm_rules('fc_norm', 'audio/fc_norm'),
      *spectrograms.make_dense_rules('head', spectrograms.HEAD),
    )
  else:
    end = (
      *spectrograms.make_norm_rules('norm', 'audio/norm'),
      *(rules.Rule(name, None) for name in DECODER),
    )
  return (
    rules.Rule('cls_token', 'audio/embedding/cls'),
    rules.Rule('pos_embed', 'audio/embedding/positions'),
    *spectrograms.make_patch_rules('patch_embed.proj', turn_kernel),
    *spectrograms.make_block_rules('blocks.', num_heads),
    *end,
  )


def turn_kernel(x: np.ndarray) -> np.ndarray:
  """Convolution kernel `[D, 1, time, band]` → `[band, time, 1, D]`."""
  if x.ndim != 4:
    raise ValueError(f'a kernel of patches has 4 axes, not {x.ndim}')
  return x.transpose(3, 2, 1, 0)
