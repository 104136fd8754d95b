"""HiCMAE's table against outputs of its authors' code, stored by golden/."""

import functools
import itertools
import json
import pathlib
import zlib

import jax
import numpy as np
import pytest
from flax import linen as nn

from avemo import errors
from avemo.convert import hicmae, readers, rules
from avemo.models import emotion, layers, operations
from avemo.models import hicmae as models

GOLDEN = np.load(pathlib.Path(__file__).parent / 'golden' / 'hicmae.npz')


def draw(name, shape):
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  drawn = 0.1 * generator.standard_normal(shape)
  if 'norm' in name and name.endswith('weight'):
    drawn += 1
  return drawn.astype(np.float32)


@functools.cache
def draw_tensors():
  shapes = json.loads(str(GOLDEN['shapes']))
  return {name: draw(name, shape) for name, shape in shapes.items()}


def make_source(tensors):
  path = pathlib.Path('checkpoint.pth')
  return readers.Source(tensors, 'pth', {}, {}, path, '')


@functools.cache
def make_model(num_classes, options):
  """The model of a plan and the shapes of its parameters."""
  options = json.loads(options)
  assert options.pop('name') == 'hicmae'
  model = models.HiCMAE(num_classes or 1, **options)
  batch = emotion.example_batch(frames=4, size=32, samples=8_000)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  return model, {path: x.shape for path, x in rules.flatten(shapes).items()}


def load(tensors, **changes):
  """The model of a file, and its parameters."""
  plan = hicmae.plan(make_source(tensors))
  options = json.dumps(plan.model | changes)
  model, shapes = make_model(plan.num_classes, options)
  fresh = plan.fresh or ('-',)
  shapes = {k: s for k, s in shapes.items() if not k.startswith(fresh)}
  table = plan.rules
  if 'num_heads' in changes:
    table = [
      *hicmae.make_tower_rules('video', changes['num_heads']),
      *hicmae.make_tower_rules('audio', changes['num_heads']),
      *hicmae.make_fusion_rules(changes['num_heads']),
      *hicmae.make_tuned_rules(),
      *hicmae.make_head_rules(),
    ]
  return model, rules.nest(rules.convert(plan.tensors, table, shapes))


def compute(model, clip, sound):
  feature = model.extract(clip, sound)
  return feature, model.head({'joint': feature})['joint']['emotion']


@functools.cache
def make_run(model):
  """From parameters to feature and logits."""
  clip = 10 * draw('clip', (2, 4, 32, 32, 3))
  sound = 10 * draw('sound', (2, 32, 48))
  return jax.jit(
    lambda params: model.apply({'params': params}, clip, sound, method=compute)
  )


def measure(feature):
  """The greatest difference from the reference, as a share of its scale."""
  difference = np.abs(feature - GOLDEN['feature']).max()
  return difference / np.abs(GOLDEN['feature']).max()


def test_feature_and_logits_equal_the_authors():
  model, params = load(draw_tensors())
  feature, logits = make_run(model)(params)
  assert measure(feature) < 1e-5
  np.testing.assert_allclose(logits, GOLDEN['logits'], atol=1e-5)


@pytest.mark.parametrize(
  ('prefix', 'count'),
  [
    # Eight vectors and one square matrix; with cross-attention, seven vectors
    # and two square matrices more.
    ('encoder.blocks.1.', 28),
    ('encoder_audio.blocks.0.', 28),
    ('encoder_fusion.blocks_audio.0.', 105 + 3),
  ],
)
def test_any_two_tensors_of_a_block_swapped_are_noticed(prefix, count):
  tensors = draw_tensors()
  run = make_run(load(tensors)[0])
  names = [name for name in tensors if name.startswith(prefix)]
  pairs = [
    (first, second)
    for first, second in itertools.combinations(names, 2)
    if tensors[first].shape == tensors[second].shape
  ]
  assert len(pairs) == count
  for first, second in pairs:
    swapped = {first: tensors[second], second: tensors[first]}
    feature, _ = run(load(tensors | swapped)[1])
    assert measure(feature) > 1e-4, (first, second)


def test_modalities_swapped_are_noticed():
  tensors = draw_tensors()
  run = make_run(load(tensors)[0])
  for first, second in (
    ('video_layer_weights', 'audio_layer_weights'),
    ('encoder.norm.bias', 'encoder_audio.norm.bias'),
    ('encoder_fusion.norm.weight', 'encoder_fusion.norm_audio.weight'),
    (
      'encoder_fusion.blocks.1.cross_attn.kv.weight',
      'encoder_fusion.blocks_audio.1.cross_attn.kv.weight',
    ),
  ):
    swapped = {first: tensors[second], second: tensors[first]}
    feature, _ = run(load(tensors | swapped)[1])
    assert measure(feature) > 1e-4, (first, second)


def test_what_shapes_do_not_tell_is_noticed(monkeypatch):
  tensors = draw_tensors()
  model, params = load(tensors, num_heads=4)
  assert measure(make_run(model)(params)[0]) > 1e-3
  model, params = load(tensors)
  monkeypatch.setattr(operations, 'gelu', nn.gelu)
  feature, _ = make_run.__wrapped__(model)(params)
  assert measure(feature) > 3e-5


def test_quiet_inputs_show_the_epsilon_of_norms():
  model, params = load(draw_tensors())
  norm = jax.tree.map(
    lambda x: x[0], params['video']['encoder']['blocks']['norm1']
  )
  quiet = draw('quiet', (6, 128)) / 100
  found = layers.LayerNorm(model.epsilon).apply({'params': norm}, quiet)
  np.testing.assert_allclose(found, GOLDEN['quiet'], atol=1e-5)
  wrong = layers.LayerNorm(1e-5).apply({'params': norm}, quiet)
  assert np.abs(wrong - GOLDEN['quiet']).max() > 0.1


def test_pretraining_leaves_its_decoders_and_starts_the_rest_fresh():
  tuned = ('fc_norm', 'head', 'video_layer_weights', 'audio_layer_weights')
  tensors = {
    f'module.{name}': x
    for name, x in draw_tensors().items()
    if not name.startswith(tuned)
  }
  for name in (
    'mask_token',
    'mask_token_audio',
    'encoder_to_decoder.weight',
    'encoder_to_decoder_audio.weight',
    'decoder.blocks.0.norm1.weight',
    'decoder_audio.head.bias',
  ):
    tensors[f'module.{name}'] = np.ones((2, 2), np.float32)
  _, params = load(tensors)
  _, expected = load(draw_tensors())
  assert set(params) == {'video', 'audio', 'fusion'}
  for name in ('video', 'audio'):
    expected[name].pop('layer_scores')
  jax.tree.map(
    np.testing.assert_array_equal, params, {k: expected[k] for k in params}
  )
  plan = hicmae.plan(make_source(tensors))
  assert set(plan.fresh) == {
    'fc_norm',
    'head',
    'video/layer_scores',
    'audio/layer_scores',
  }


def test_the_plan_tells_geometry_and_clips():
  plan = hicmae.plan(make_source(draw_tensors()))
  assert plan.model['width'] == 128
  assert (plan.model['depth'], plan.model['fusion_depth']) == (2, 2)
  assert plan.model['num_heads'] == 2
  assert plan.num_classes == len(plan.classes) == 6
  assert plan.clip['size'] == 160


def test_other_and_unknown_tensors_are_refused():
  tensors = draw_tensors()
  with pytest.raises(errors.AvemoError, match='not a HiCMAE file'):
    hicmae.plan(make_source({'head.weight': np.zeros((2, 3))}))
  alone = {k: x for k, x in tensors.items() if 'fusion' not in k}
  with pytest.raises(errors.AvemoError, match='both modalities'):
    hicmae.plan(make_source(alone))
  shorter = {k: x for k, x in tensors.items() if 'audio.blocks.1' not in k}
  with pytest.raises(errors.AvemoError, match='2 video and 1 audio'):
    hicmae.plan(make_source(shorter))
  extra = {'encoder.blocks.0.gamma_1': np.ones(128, np.float32)}
  with pytest.raises(errors.AvemoError, match='gamma_1'):
    load(tensors | extra)
