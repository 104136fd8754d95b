"""Wav2Vec2 through the converter against transformers, every tensor drawn.

fairseq's files are transformers' tensors under fairseq's names, which its code
at commit 015b8f4 gives.
"""

import pathlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import torch
import transformers
from transformers.models.wav2vec2 import modeling_wav2vec2

from avemo.audio import waveform
from avemo.convert import wav2vec2 as family
from avemo.convert import wav2vec2_heads
from avemo.models import layers, wav2vec2
from benchmarks.parity import converted

# The size of a run: widths, depths and heads, and its tolerance.
SIZES = {
  'small': (((32, 2, 4), 1e-5), ((384, 4, 6), 1e-5)),
  'real': (((768, 12, 12), 1e-4),),
}
STYLES = {
  'base': {
    'feat_extract_norm': 'group',
    'conv_bias': False,
    'do_stable_layer_norm': False,
  },
  'robust': {
    'feat_extract_norm': 'layer',
    'conv_bias': True,
    'do_stable_layer_norm': True,
  },
}
# Samples of the clips of a batch: the second ends inside a frame.
LENGTHS = (9_000, 5_555)

# From transformers' names to fairseq's, with a group norm and with layer norm.
TO_FAIRSEQ = (
  (r'(conv_layers\.\d+)\.conv\.', r'\1.0.'),
  (r'(conv_layers\.\d+)\.layer_norm\.', r'\1.2.{norm}'),
  (r'^feature_projection\.projection\.', 'post_extract_proj.'),
  (r'^feature_projection\.layer_norm\.', 'layer_norm.'),
  (r'^masked_spec_embed$', 'mask_emb'),
  (r'pos_conv_embed\.conv\.', 'pos_conv.0.'),
  (r'(layers\.\d+)\.attention\.', r'\1.self_attn.'),
  (r'(layers\.\d+)\.layer_norm\.', r'\1.self_attn_layer_norm.'),
  (r'feed_forward\.intermediate_dense\.', 'fc1.'),
  (r'feed_forward\.output_dense\.', 'fc2.'),
)


class EmotionModel(modeling_wav2vec2.Wav2Vec2PreTrainedModel):
  """audeering's head as their instructions describe it."""

  def __init__(self, config: transformers.Wav2Vec2Config):
    super().__init__(config)
    width = config.hidden_size
    self.wav2vec2 = transformers.Wav2Vec2Model(config)
    self.classifier = torch.nn.Module()
    self.classifier.dense = torch.nn.Linear(width, width)
    self.classifier.out_proj = torch.nn.Linear(width, config.num_labels)
    self.init_weights()

  def head(self, feature: torch.Tensor) -> torch.Tensor:
    hidden = torch.tanh(self.classifier.dense(feature))
    return self.classifier.out_proj(hidden)


def run(
  references: pathlib.Path, sizes: Sequence[str] = ('small',)
) -> list[dict[str, Any]]:
  """Compares tokens and heads of every format.

  Args:
    references: not used: transformers is a package.
    sizes: out of `SIZES`.

  Returns:
    Rows a size, style of norm, format and output.
  """
  del references
  rows = []
  for size in sizes:
    for geometry, tolerance in SIZES[size]:
      for style in STYLES:
        # One file of the real size shows what there is to show.
        if size == 'real' and style != 'base':
          continue
        rows += run_style(geometry, style, tolerance, every=size != 'real')
  return rows


def run_style(
  geometry: tuple[int, int, int], style: str, tolerance: float, *, every: bool
) -> list[dict[str, Any]]:
  """Rows of one size and style; with `every`, of all formats and heads."""
  torch.manual_seed(0)
  dimensions = EmotionModel(make_config(geometry, style, ()))
  labels = ('neutral', 'happy', 'angry', 'sad')
  classes = transformers.Wav2Vec2ForSequenceClassification(
    make_config(geometry, style, labels)
  )
  for model in (dimensions, classes) if every else (dimensions,):
    randomize(model)
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    cases = [(dimensions, 'safetensors', save_pretrained)]
    if every:
      cases.append((dimensions, 'pth', save_weight_norm))
      cases.append((classes, 'safetensors', save_pretrained))
    # fairseq has no config beside it: heads are 64 wide, as all published.
    if every and geometry[0] == 64 * geometry[2]:
      cases.append((dimensions.wav2vec2, 'fairseq', save_fairseq))
    for number, (model, form, save) in enumerate(cases):
      target = folder / str(number)
      target.mkdir()
      for row in compare(model, save(model, target), tolerance):
        source = f'transformers {transformers.__version__}'
        if form == 'fairseq':
          source = 'fairseq, by its names'
        rows.append(
          {
            'family': 'wav2vec2',
            'source': f'{source}, {style}, {row.pop("output")}',
            'format': 'pth' if form == 'fairseq' else form,
            'size': f'D{geometry[0]} L{geometry[1]}',
            **row,
          }
        )
  return rows


def make_config(
  geometry: tuple[int, int, int], style: str, labels: Sequence[str]
) -> transformers.Wav2Vec2Config:
  """The config of a model; without labels, of three dimensions."""
  width, depth, num_heads = geometry
  labels = labels or wav2vec2_heads.DIMENSIONS
  channels = 512 if width >= 768 else 48
  return transformers.Wav2Vec2Config(
    hidden_size=width,
    num_hidden_layers=depth,
    num_attention_heads=num_heads,
    intermediate_size=4 * width,
    conv_dim=(channels,) * 7,
    classifier_proj_size=24,
    id2label=dict(enumerate(labels)),
    label2id={name: number for number, name in enumerate(labels)},
    attn_implementation='eager',
    **STYLES[style],
  )


def randomize(model: torch.nn.Module) -> None:
  """Draws every tensor, of a size that makes attention far from even."""
  model.eval()
  with torch.no_grad():
    for name, tensor in model.named_parameters():
      draw = torch.randn(tensor.shape)
      if 'norm.weight' in name or name.endswith('original0'):
        tensor.copy_(1 + 0.2 * draw)
      elif tensor.ndim == 1:
        tensor.copy_(0.2 * draw)
      else:
        sharp = 2.0 if 'q_proj' in name or 'k_proj' in name else 1.0
        tensor.copy_(draw * sharp / np.sqrt(tensor[0].numel()))


def save_pretrained(
  model: transformers.PreTrainedModel, folder: pathlib.Path
) -> pathlib.Path:
  """A file and its config by transformers' own hand."""
  model.save_pretrained(folder)
  return folder / 'model.safetensors'


def save_weight_norm(
  model: transformers.PreTrainedModel, folder: pathlib.Path
) -> pathlib.Path:
  """The .bin of an older torch, whose weight norm had other names."""
  model.config.save_pretrained(folder)
  tensors = {
    name.replace('parametrizations.weight.original0', 'weight_g').replace(
      'parametrizations.weight.original1', 'weight_v'
    ): tensor
    for name, tensor in model.state_dict().items()
  }
  torch.save(tensors, folder / 'pytorch_model.bin')
  return folder / 'pytorch_model.bin'


def save_fairseq(
  model: transformers.PreTrainedModel, folder: pathlib.Path
) -> pathlib.Path:
  """A checkpoint with fairseq's names, and a quantizer besides."""
  norm = '' if model.config.feat_extract_norm == 'group' else '1.'
  tensors = {}
  for name, tensor in model.state_dict().items():
    for pattern, to in TO_FAIRSEQ:
      name = re.sub(pattern, to.replace('{norm}', norm), name)
    name = name.replace('parametrizations.weight.original0', 'weight_g')
    name = name.replace('parametrizations.weight.original1', 'weight_v')
    tensors[name] = tensor
  for name, shape in (
    ('quantizer.vars', (1, 8, 4)),
    ('quantizer.weight_proj.weight', (8, 4)),
    ('quantizer.weight_proj.bias', (8,)),
    ('project_q.weight', (4, 4)),
    ('project_q.bias', (4,)),
    ('final_proj.weight', (4, 4)),
    ('final_proj.bias', (4,)),
  ):
    tensors[name] = torch.randn(shape)
  torch.save({'args': None, 'model': tensors}, folder / 'checkpoint.pt')
  return folder / 'checkpoint.pt'


def draw_batch() -> dict[str, np.ndarray]:
  """Two clips, of which the second is padded by what must not matter."""
  speech = np.random.default_rng(1).normal(0.01, 0.1, (2, max(LENGTHS)))
  return {
    'speech': speech.astype(np.float32),
    'speech_length': np.int32(LENGTHS),
    'has_audio': np.ones(2, bool),
    'mask': np.ones(2, bool),
  }


def compare(
  model: transformers.PreTrainedModel, path: pathlib.Path, tolerance: float
) -> list[dict[str, Any]]:
  """Rows of a file's tokens and of its head; the reference hears each alone.

  The robust model hears both together as well, under its attention mask. The
  base one would have statistics over the padding.
  """
  batch = draw_batch()
  ours, variables = converted.load(path, family, batch)
  params = variables['params']
  tower = {'params': params['audio']}
  samples = waveform.standardize(batch['speech'], batch['speech_length'])
  tokens = jax.jit(ours.audio.apply)(tower, samples, batch['speech_length'])
  heads = jax.jit(ours.apply)(variables, batch) if 'head' in params else {}
  rows, found = [], {'tokens': [], 'head': [], 'tokens of a batch': []}
  expected = {name: [] for name in found}
  for row, length in enumerate(LENGTHS):
    theirs = ask_reference(model, batch['speech'][row, :length])
    expected['tokens'].append(theirs['tokens'])
    found['tokens'].append(np.asarray(tokens)[row, : len(theirs['tokens'])])
    if heads:
      expected['head'].append(theirs['head'])
      found['head'].append(join_heads(heads, row))
  if model.config.do_stable_layer_norm:
    together = ask_together(model, batch)
    for theirs, own in zip(together, found['tokens'], strict=True):
      expected['tokens of a batch'].append(theirs[: len(own)])
      found['tokens of a batch'].append(own)
  for output in found:
    if expected[output]:
      compared = converted.compare(
        np.concatenate(expected[output]),
        np.concatenate(found[output]),
        tolerance,
      )
      if not compared['ok']:
        speech = batch['speech'][0, : LENGTHS[0]]
        compared['first_difference'] = find_first_difference(
          model, ours.audio, params['audio'], speech, tolerance
        )
      rows.append({'output': output, **compared})
  return rows


def ask_reference(
  model: transformers.PreTrainedModel, speech: np.ndarray
) -> dict[str, np.ndarray]:
  """Tokens [N, D] and the head's values of one clip alone."""
  extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
  inputs = extractor(speech, sampling_rate=16_000, return_tensors='pt')
  with torch.no_grad():
    tower = getattr(model, 'wav2vec2', model)
    tokens = tower(inputs.input_values).last_hidden_state
    head = np.zeros(0)
    if isinstance(model, EmotionModel):
      head = model.head(tokens.mean(1))[0].numpy()
    elif hasattr(model, 'classifier'):
      head = model(inputs.input_values).logits[0].numpy()
  return {'tokens': tokens[0].numpy(), 'head': head}


def ask_together(
  model: transformers.PreTrainedModel, batch: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Tokens [B, N, D] of a padded batch under the reference's mask."""
  extractor = transformers.Wav2Vec2FeatureExtractor(
    do_normalize=True, return_attention_mask=True
  )
  inputs = extractor(
    [batch['speech'][row, :length] for row, length in enumerate(LENGTHS)],
    sampling_rate=16_000,
    padding=True,
    return_tensors='pt',
  )
  with torch.no_grad():
    tower = getattr(model, 'wav2vec2', model)
    return tower(**inputs).last_hidden_state.numpy()


def join_heads(outputs: Mapping[str, Any], row: int) -> np.ndarray:
  """Our outputs of one clip in the order of the reference's."""
  if 'emotion' in outputs:
    return np.asarray(outputs['emotion'])[row]
  valence, arousal = np.asarray(outputs['valence_arousal'])[row]
  return np.array([arousal, outputs['dominance'][row, 0], valence])


def find_first_difference(
  model: transformers.PreTrainedModel,
  ours: wav2vec2.Wav2Vec2,
  params: dict[str, Any],
  speech: np.ndarray,
  tolerance: float,
) -> str:
  """transformers' name of the first layer whose output differs."""
  tower = getattr(model, 'wav2vec2', model)
  made = {}
  for name, module in tower.named_modules():
    if re.fullmatch(
      r'.*conv_layers\.\d+|.*\.projection|.*pos_conv_embed|.*layers\.\d+', name
    ):
      module.register_forward_hook(
        lambda module, inputs, output, name=name: made.update(
          {name: (inputs, output)}
        )
      )
  ask_reference(model, speech)
  samples = waveform.standardize(speech[None], np.array([len(speech)]))
  _, state = ours.apply(
    {'params': params},
    samples,
    capture_intermediates=True,
    mutable=['intermediates'],
  )
  own = {
    name: value['__call__'][0]
    for name, value in state['intermediates'].items()
    if '__call__' in value
  }
  pairs = []
  for name, (_, output) in made.items():
    if 'conv_layers' in name:
      number = name.rsplit('.', 1)[1]
      pairs.append((name, own[f'extractor_{number}'], output.mT))
    elif name.endswith('.projection'):
      pairs.append((name, own['projection'], output))
    elif name.endswith('pos_conv_embed'):
      pairs.append((name, own['positions'], output))
  # The blocks are one scan: they are fed what the reference's first one is.
  blocks = [name for name in made if re.fullmatch(r'.*\.layers\.\d+', name)]
  first = made[blocks[0]][0][0].numpy()
  encoder = layers.Encoder(
    first.shape[-1],
    len(blocks),
    ours.num_heads,
    epsilon=ours.epsilon,
    post_norm=ours.post_norm,
  )
  every = encoder.apply({'params': params['encoder']}, first, collect=True)
  pairs += [
    (name, mine, made[name][1][0])
    for name, mine in zip(blocks, every, strict=True)
  ]
  for name, mine, theirs in pairs:
    theirs = theirs.detach().numpy()
    if not converted.compare(theirs, mine, 10 * tolerance)['ok']:
      return name
  return 'the last norm or the head'
