"""Wav2Vec2's table against outputs of transformers, stored by golden/."""

import functools
import itertools
import json
import pathlib
import re
import zlib

import jax
import numpy as np
import pytest
from flax import linen as nn
from safetensors import numpy as safetensors_numpy

from avemo import errors
from avemo.audio import waveform
from avemo.convert import readers, rules, wav2vec2, wav2vec2_heads
from avemo.models import emotion, layers, operations
from avemo.models import wav2vec2 as towers

GOLDEN = np.load(pathlib.Path(__file__).parent / 'golden' / 'wav2vec2.npz')
LENGTHS = np.array([2_400, 1_700])
STYLES = ('base', 'robust')


def draw(name, shape):
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  drawn = 0.2 * generator.standard_normal(shape)
  if 'norm.weight' in name or name.endswith('original0'):
    drawn += 1
  return drawn.astype(np.float32)


def make_source(key, config=None, attributes=None):
  shapes = json.loads(str(GOLDEN[f'{key}_shapes']))
  tensors = {name: draw(name, shape) for name, shape in shapes.items()}
  if config is None:
    config = json.loads(str(GOLDEN[f'{key}_config']))
  path = pathlib.Path('model.safetensors')
  return readers.Source(
    tensors, 'safetensors', config, attributes or {}, path, ''
  )


def make_batch():
  return {
    'speech': draw('speech', (2, LENGTHS.max())),
    'speech_length': LENGTHS,
    'has_audio': np.ones(2, bool),
    'mask': np.ones(2, bool),
  }


@functools.cache
def make_model(num_classes, options):
  """The model of a plan and the shapes of its parameters."""
  model = emotion.Emotion(num_classes or 1, **json.loads(options))
  shapes = jax.eval_shape(model.init, jax.random.key(0), make_batch())
  shapes = rules.flatten(shapes['params'])
  return model, {path: x.shape for path, x in shapes.items()}


def load(source):
  """The model of a file, and its parameters."""
  plan = wav2vec2.plan(source)
  model, shapes = make_model(plan.num_classes, json.dumps(plan.model))
  shapes = {k: s for k, s in shapes.items() if not k.startswith(plan.fresh)}
  return model, rules.nest(rules.convert(plan.tensors, plan.rules, shapes))


def compute(model, has_head):
  """What the tower and, in turn, the head make of two clips."""
  x = waveform.standardize(make_batch()['speech'], LENGTHS)
  tokens = model.audio(x, LENGTHS)
  feature = model.audio.pool(tokens, LENGTHS)
  return tokens, model.head({'audio': feature})['audio'] if has_head else {}


@functools.cache
def make_run(model, has_head=True):
  """From parameters to tokens and outputs."""
  return jax.jit(
    lambda params: model.apply({'params': params}, has_head, method=compute)
  )


def measure(tokens, key):
  """The greatest difference from the reference, as a share of its scale."""
  shares = []
  for row in range(2):
    expected = GOLDEN[f'{key}_tokens_{row}']
    found = np.asarray(tokens)[row, : len(expected)]
    shares.append(np.abs(found - expected).max() / np.abs(expected).max())
  return max(shares)


@pytest.mark.parametrize('style', STYLES)
def test_tokens_and_dimensions_equal_transformers(style):
  model, params = load(make_source(style))
  tokens, outputs = make_run(model)(params)
  assert measure(tokens, style) < 1e-5
  expected = np.stack([GOLDEN[f'{style}_dimensions_{row}'] for row in range(2)])
  arousal, dominance, valence = expected.T
  found = outputs['valence_arousal']
  np.testing.assert_allclose(found[:, 0], valence, atol=1e-5)
  np.testing.assert_allclose(found[:, 1], arousal, atol=1e-5)
  np.testing.assert_allclose(outputs['dominance'][:, 0], dominance, atol=1e-5)


def test_a_file_on_disk_is_the_same_model(tmp_path):
  source = make_source('robust')
  path = tmp_path / 'model.safetensors'
  safetensors_numpy.save_file(dict(source.tensors), path)
  (tmp_path / 'config.json').write_text(json.dumps(source.config))
  _, params = load(readers.read(path))
  jax.tree.map(np.testing.assert_array_equal, params, load(source)[1])


@pytest.mark.parametrize('style', STYLES)
def test_classes_equal_transformers(style):
  source = make_source(f'{style}_classes')
  model, params = load(source)
  _, outputs = make_run(model)(params)
  expected = [GOLDEN[f'{style}_classes_logits_{row}'] for row in range(2)]
  np.testing.assert_allclose(outputs['emotion'], expected, atol=1e-5)
  plan = wav2vec2.plan(source)
  assert plan.classes == ('neutral', 'happy', 'angry', 'sad')
  assert plan.num_classes == 4


@pytest.mark.parametrize('style', STYLES)
def test_any_two_tensors_of_a_block_swapped_are_noticed(style):
  source = make_source(style)
  model, _ = load(source)
  run = make_run(model)
  prefix = 'wav2vec2.encoder.layers.1.'
  names = [name for name in source.tensors if name.startswith(prefix)]
  pairs = [
    pair
    for pair in itertools.combinations(names, 2)
    if source.tensors[pair[0]].shape == source.tensors[pair[1]].shape
  ]
  # Nine vectors and four square matrices.
  assert len(pairs) == 36 + 6
  for first, second in pairs:
    tensors = dict(source.tensors)
    tensors[first], tensors[second] = tensors[second], tensors[first]
    _, params = load(source._replace(tensors=tensors))
    tokens, _ = run(params)
    assert measure(tokens, style) > 1e-4, (first, second)


@pytest.mark.parametrize('style', STYLES)
def test_what_shapes_do_not_tell_is_noticed(style, monkeypatch):
  source = make_source(style)
  config = source.config
  for change in (
    {'num_attention_heads': 8},
    {'do_stable_layer_norm': style == 'base'},
  ):
    model, params = load(source._replace(config=config | change))
    tokens, _ = make_run(model)(params)
    assert measure(tokens, style) > 1e-3, change
  model, params = load(source)
  monkeypatch.setattr(operations, 'gelu', nn.gelu)
  tokens, _ = make_run.__wrapped__(model)(params)
  assert measure(tokens, style) > 1e-4


@pytest.mark.parametrize('style', STYLES)
def test_quiet_inputs_show_the_epsilon_of_norms(style):
  model, params = load(make_source(style))
  quiet = draw('quiet', (1, 6, 32)) / 20
  norm = jax.tree.map(
    lambda x: x[0], params['audio']['encoder']['blocks']['norm1']
  )
  block = layers.LayerNorm(model.audio.epsilon)
  expected = GOLDEN[f'{style}_quiet']
  found = block.apply({'params': norm}, quiet)[0]
  np.testing.assert_allclose(found, expected, atol=1e-5)
  wrong = layers.LayerNorm(1e-6).apply({'params': norm}, quiet)[0]
  assert np.abs(wrong - expected).max() > 1e-2
  norm = params['audio']['extractor_0']['norm']
  quiet, epsilon = quiet[:, :, :12], model.audio.epsilon
  if style == 'base':
    found = towers.TimeNorm(epsilon).apply(
      {'params': norm}, quiet, np.array([6])
    )
  else:
    found = layers.LayerNorm(epsilon).apply({'params': norm}, quiet)
  np.testing.assert_allclose(found[0], GOLDEN[f'{style}_quiet_conv'], atol=1e-5)


def name_as_fairseq(name, style):
  norm = '2.' if style == 'base' else '2.1.'
  for pattern, to in (
    (r'^wav2vec2\.', ''),
    (r'(conv_layers\.\d)\.conv\.', r'\1.0.'),
    (r'(conv_layers\.\d)\.layer_norm\.', r'\1.' + norm),
    (r'^feature_projection\.projection\.', 'post_extract_proj.'),
    (r'^feature_projection\.layer_norm\.', 'layer_norm.'),
    (r'^masked_spec_embed$', 'mask_emb'),
    (r'pos_conv_embed\.conv\.', 'pos_conv.0.'),
    (r'parametrizations\.weight\.original0', 'weight_g'),
    (r'parametrizations\.weight\.original1', 'weight_v'),
    (r'(layers\.\d)\.attention\.', r'\1.self_attn.'),
    (r'(layers\.\d)\.layer_norm\.', r'\1.self_attn_layer_norm.'),
    (r'feed_forward\.intermediate_dense\.', 'fc1.'),
    (r'feed_forward\.output_dense\.', 'fc2.'),
  ):
    name = re.sub(pattern, to, name)
  return name


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('prefix', ['', 'w2v_encoder.w2v_model.'])
def test_fairseq_files_are_the_same_model(style, prefix):
  source = make_source(style)
  _, expected = load(source)
  tensors = {
    prefix + name_as_fairseq(name, style): x
    for name, x in source.tensors.items()
    if not name.startswith('classifier')
  }
  unused = ('quantizer.vars', 'project_q.bias', 'w2v_encoder.proj.weight')
  tensors |= {name: np.ones(3, np.float32) for name in unused}
  attributes = {
    'args.encoder_attention_heads': 4,
    'args.layer_norm_first': style == 'robust',
    'args.activation_fn': 'gelu',
  }
  source = readers.Source(
    tensors, 'pth', {}, attributes, pathlib.Path('wav2vec.pt'), ''
  )
  model, params = load(source)
  jax.tree.map(
    np.testing.assert_array_equal, params['audio'], expected['audio']
  )
  assert 'head' not in params
  assert wav2vec2.plan(source).fresh == ('head',)
  assert measure(make_run(model, False)(params)[0], style) < 1e-5


def test_without_config_the_tensors_decide():
  shapes = {
    'feature_extractor.conv_layers.0.conv.weight': (512, 1, 10),
    'feature_extractor.conv_layers.0.layer_norm.weight': (512,),
    'feature_projection.projection.weight': (768, 512),
    'encoder.pos_conv_embed.conv.weight_v': (768, 48, 128),
  }
  tensors = {k: np.zeros(s, np.float32) for k, s in shapes.items()}
  for number in range(12):
    name = f'encoder.layers.{number}.attention.q_proj.weight'
    tensors[name] = np.zeros(())
  audio = wav2vec2.read_geometry(tensors, {}, 'file')
  options = {k: v for k, v in audio.items() if k not in ('name', 'variant')}
  tower = towers.Wav2Vec2(**options)
  for name, value in towers.VARIANTS['base']._asdict().items():
    assert getattr(tower, name) == value
  assert tower.position_taps == 128
  assert tower.position_groups == 16
  assert audio['variant'] == 'base'
  norm = 'feature_extractor.conv_layers.{}.layer_norm.weight'
  tensors |= {norm.format(i): np.zeros(512) for i in range(7)}
  audio = wav2vec2.read_geometry(tensors, {}, 'file')
  assert (audio['norm'], audio['post_norm']) == ('layer', False)


def test_weight_norm_is_folded_tap_by_tap():
  length = np.array([2.0, 3.0], np.float32).reshape(1, 1, 2)
  direction = np.arange(1, 13, dtype=np.float32).reshape(3, 2, 2)
  kernel = wav2vec2.fold_weight_norm(length, direction)
  assert kernel.shape == (2, 2, 3)
  np.testing.assert_allclose(np.linalg.norm(kernel[0]), 2, rtol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(kernel[1]), 3, rtol=1e-6)
  np.testing.assert_allclose(
    kernel[1, 0, 2],
    3 * 10 / np.sqrt((direction[:, :, 1] ** 2).sum()),
    rtol=1e-6,
  )


def test_labels_decide_the_order_of_dimensions():
  source = make_source('robust')
  _, params = load(source)
  labels = {'0': 'valence', '1': 'arousal', '2': 'dominance'}
  config = source.config | {'id2label': labels}
  _, other = load(source._replace(config=config))
  head, other = params['head']['audio'], other['head']['audio']
  # Rows are arousal, dominance, valence in the first, as labelled in other.
  rows = np.concatenate(
    [
      head['valence_arousal']['bias'][1:],
      head['dominance']['bias'],
      head['valence_arousal']['bias'][:1],
    ]
  )
  np.testing.assert_array_equal(other['valence_arousal']['bias'], rows[:2])
  np.testing.assert_array_equal(other['dominance']['bias'], rows[2:])
  plan = wav2vec2.plan(source)
  assert plan.clip['range'] == (0, 1)
  assert plan.model['head'] == {'hidden': 32, 'squash': False}


def test_three_classes_that_are_no_dimensions_are_classes():
  source = make_source('robust')
  labels = {'0': 'sad', '1': 'neutral', '2': 'happy'}
  config = source.config | {'id2label': labels}
  plan = wav2vec2.plan(source._replace(config=config))
  assert plan.model['heads'] == ('emotion',)
  assert plan.classes == ('sad', 'neutral', 'happy')


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'hidden_act': 'relu'}, "hidden_act='relu'"),
    ({'conv_stride': [5, 2, 2, 2, 2, 2, 1]}, 'conv_stride'),
    ({'layer_norm_eps': 1e-6}, 'layer_norm_eps=1e-06.* 1e-05'),
    ({'use_weighted_layer_sum': True}, 'use_weighted_layer_sum=True'),
  ],
)
def test_configs_that_the_tower_does_not_follow_are_refused(change, message):
  source = make_source('robust')
  with pytest.raises(errors.AvemoError, match=message):
    wav2vec2.plan(source._replace(config=source.config | change))


def test_other_and_unknown_tensors_are_refused():
  source = make_source('robust')
  with pytest.raises(errors.AvemoError, match='not a Wav2Vec2 file'):
    wav2vec2.plan(source._replace(tensors={'head.weight': np.zeros(3)}))
  tensors = source.tensors | {'wav2vec2.adapter.proj.weight': np.zeros((3, 3))}
  with pytest.raises(errors.AvemoError, match='adapter.proj.weight'):
    load(source._replace(tensors=tensors))


def test_published_figures_are_checked_by_name():
  published = {
    'valence_arousal': np.array([[0.40431657, 0.5460754]]),
    'dominance': np.array([[0.6062266]]),
  }
  batches = []

  def answer(outputs):
    return lambda batch: batches.append(batch) or outputs

  checks = wav2vec2.verify(answer(published))
  assert [check[0].split()[0] for check in checks] == list(
    wav2vec2_heads.DIMENSIONS
  )
  assert all(ok for *_, ok in checks)
  assert batches[0]['speech'].shape == (1, 16_000)
  swapped = published | {'valence_arousal': np.array([[0.5460754, 0.40431657]])}
  checks = wav2vec2.verify(answer(swapped))
  assert [ok for *_, ok in checks] == [False, True, False]
  assert wav2vec2.verify(answer({'emotion': np.zeros((1, 4))})) == []


def test_figures_can_be_computed_by_a_converted_model():
  model, params = load(make_source('robust'))
  run = jax.jit(model.apply)
  checks = wav2vec2.verify(lambda batch: run({'params': params}, batch))
  assert len(checks) == 3
  assert not any(ok for *_, ok in checks)
