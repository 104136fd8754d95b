"""The converter and the tower together, against outputs of timm."""

import functools
import itertools

import golden_sources
import jax
import numpy as np
import pytest

from avemo import errors
from avemo.convert import efficientnet as family
from avemo.models import efficientnet, emotion, videomae

GOLDEN = np.load(golden_sources.GOLDEN / 'efficientnet.npz')
# Of the scale of an output.
TOLERANCE = 1e-5


def list_shapes(variant, classifier='classifier.0', outputs=8):
  """Shapes by name of a published file with another classifier."""
  shapes = golden_sources.read_listing(
    GOLDEN[f'{variant}_names'], GOLDEN[f'{variant}_shapes']
  )
  width = shapes.pop('classifier.weight')[1]
  del shapes['classifier.bias']
  if outputs:
    shapes[f'{classifier}.weight'] = (outputs, width)
    shapes[f'{classifier}.bias'] = (outputs,)
  return shapes


def draw_file(*args, **options):
  shapes = list_shapes('tiny', *args, **options)
  return {
    name: golden_sources.draw_tensor(name, shape)
    for name, shape in shapes.items()
  }


def make_blank(variant, *args, **options):
  """A file without memory, for what depends on names and shapes alone."""
  shapes = list_shapes(variant, *args, **options)
  tensors = {k: np.broadcast_to(np.float32(0), v) for k, v in shapes.items()}
  return golden_sources.make_source(tensors)


def make_batch(size=32):
  """Two clips of two frames; timm saw the same frames, normalised."""
  frames = golden_sources.draw('frames', (4, 32, 32, 3))
  frames = frames * np.float32(videomae.STD) + np.float32(videomae.MEAN)
  if size != 32:
    frames = np.zeros((4, size, size, 3), np.float32)
  return {
    'frames': frames.reshape(2, 2, size, size, 3),
    'has_video': np.ones(2, bool),
  }


def make_model(plan, **video):
  model = plan.model | {'video': plan.model['video'] | video}
  return emotion.Emotion(max(1, plan.num_classes), **model)


@functools.cache
def compile_tiny():
  model = make_model(family.plan(golden_sources.make_source(draw_file())))
  shapes = golden_sources.find_shapes(model, make_batch())
  return jax.jit(functools.partial(run, model)), shapes


def run(model, variables):
  """A feature a frame [2, 2, D] and logits a clip [2, 8]."""
  batch = make_batch()
  frames = videomae.normalize(batch['frames'])
  features = model.apply(
    variables, frames, method=lambda module, x: module.video(x)
  )
  return features, model.apply(variables, batch)['emotion']


def compute(tensors):
  call, shapes = compile_tiny()
  plan = family.plan(golden_sources.make_source(tensors))
  return jax.device_get(call(golden_sources.fill(plan, shapes)))


def agrees(found, expected):
  limit = TOLERANCE * np.abs(expected).max()
  return bool(np.abs(found - expected).max() <= limit)


def is_golden(features, logits):
  # A linear head commutes with the mean over frames.
  expected = GOLDEN['logits'].reshape(2, 2, 8).mean(1)
  return agrees(features.reshape(4, -1), GOLDEN['features']) and agrees(
    logits, expected
  )


def test_converted_file_gives_the_features_and_logits_of_timm():
  assert is_golden(*compute(draw_file()))


def find_twins():
  """Pairs of tensors of one shape in one block or in what surrounds them."""
  groups = {}
  for name, shape in list_shapes('tiny').items():
    block = '.'.join(name.split('.')[:3]) if 'blocks' in name else ''
    groups.setdefault((block, shape), []).append(name)
  return [
    pair
    for (_, shape), names in groups.items()
    if shape
    for pair in itertools.combinations(names, 2)
  ]


def test_no_two_tensors_of_a_block_can_be_swapped_unseen():
  twins = find_twins()
  assert ('bn1.bias', 'bn1.running_mean') in twins
  assert len(twins) > 200
  for first, second in twins:
    tensors = draw_file()
    tensors[first], tensors[second] = tensors[second], tensors[first]
    assert not is_golden(*compute(tensors)), (first, second)


@pytest.mark.parametrize('fault', ['epsilon', 'padding'])
def test_faults_of_the_architecture_are_seen(fault, monkeypatch):
  plan = family.plan(golden_sources.make_source(draw_file()))
  model = make_model(plan)
  if fault == 'epsilon':
    model = make_model(plan, epsilon=1e-5)
  else:
    conv = efficientnet.nn.Conv

    def pad(width, kernel, stride, *, padding, **options):
      padding = [(kernel[0] // 2, kernel[0] // 2)] * 2
      return conv(width, kernel, stride, padding=padding, **options)

    monkeypatch.setattr(efficientnet.nn, 'Conv', pad)
  _, shapes = compile_tiny()
  variables = golden_sources.fill(plan, shapes)
  found = jax.jit(functools.partial(run, model))(variables)
  assert not is_golden(*jax.device_get(found))


@pytest.mark.parametrize('variant', ['b0', 'b2'])
def test_every_tensor_of_the_published_models_has_its_place(variant):
  plan = family.plan(make_blank(variant))
  assert plan.clip['size'] == {'b0': 224, 'b2': 260}[variant]
  assert plan.model['video']['variant'] == variant
  batch = make_batch(plan.clip['size'])
  model = make_model(plan)
  shapes = golden_sources.find_shapes(model, batch)
  variables = golden_sources.fill(plan, shapes)
  assert len(jax.tree.leaves(variables)) == len(shapes)


def test_classifiers_have_the_classes_that_were_published():
  seven = family.plan(make_blank('tiny', outputs=7))
  eight = family.plan(make_blank('tiny', outputs=8))
  assert seven.classes == (
    'anger',
    'disgust',
    'fear',
    'happiness',
    'neutral',
    'sadness',
    'surprise',
  )
  assert eight.classes[1] == 'contempt'
  assert eight.classes[:1] + eight.classes[2:] == seven.classes
  assert (seven.num_classes, eight.num_classes) == (7, 8)
  assert eight.fresh == ()


def test_ten_outputs_are_eight_classes_and_two_linear_values():
  tensors = draw_file('classifier', 10)
  # Beyond what tanh could give.
  tensors['classifier.bias'][8:] = (3, -2)
  plan = family.plan(golden_sources.make_source(tensors))
  assert plan.num_classes == 8
  model, batch = make_model(plan), make_batch()
  variables = golden_sources.fill(
    plan, golden_sources.find_shapes(model, batch)
  )
  outputs = jax.device_get(jax.jit(model.apply)(variables, batch))
  feature = GOLDEN['features'] @ tensors['classifier.weight'].T
  expected = (feature + tensors['classifier.bias']).reshape(2, 2, 10).mean(1)
  assert agrees(outputs['emotion'], expected[:, :8])
  assert agrees(outputs['valence_arousal'], expected[:, 8:])


@pytest.mark.parametrize('outputs', [0, 1000])
def test_a_file_without_emotions_leaves_the_head_fresh(outputs):
  plan = family.plan(make_blank('tiny', 'classifier', outputs))
  assert (plan.num_classes, plan.classes) == (0, ())
  shapes = golden_sources.find_shapes(make_model(plan), make_batch())
  variables = golden_sources.fill(plan, shapes)
  assert set(variables['params']) == {'video'}


def test_prefixes_of_wrappers_are_taken_off():
  tensors = {f'module.{k}': v for k, v in draw_file().items()}
  assert is_golden(*compute(tensors))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'attributes': {'global_pool.pool_type': 'catavgmax'}}, "'catavgmax'"),
    ({'attributes': {'bn1.eps': 1e-5}}, 'epsilon 1e-05'),
    ({'config': {'architecture': 'efficientnet_b0'}}, "'efficientnet_b0'"),
  ],
)
def test_signs_of_another_model_are_refused(fields, message):
  source = golden_sources.make_source(draw_file(), **fields)
  with pytest.raises(errors.AvemoError, match=f'weights.pt.*{message}'):
    family.plan(source)


def test_signs_of_this_model_are_accepted():
  fields = {
    'attributes': {'global_pool.pool_type': 'avg', 'bn1.eps': 1e-3},
    'config': {'architecture': 'tf_efficientnet_b0'},
  }
  assert family.plan(golden_sources.make_source(draw_file(), **fields)).classes


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda x: x.pop('conv_head.weight'), 'no conv_head.weight'),
    (
      lambda x: x.update({'conv_head.weight': np.zeros((1536, 8, 1, 1))}),
      '5 blocks and 1536 features',
    ),
    (
      lambda x: x.update({'classifier.0.weight': np.zeros((5, 320))}),
      'a classifier of 5 outputs',
    ),
  ],
)
def test_other_shapes_are_refused(change, message):
  tensors = draw_file()
  change(tensors)
  with pytest.raises(errors.AvemoError, match=message):
    family.plan(golden_sources.make_source(tensors))


def test_an_unknown_tensor_is_refused_by_name():
  tensors = draw_file() | {'blocks.0.0.attn.weight': np.zeros(3)}
  with pytest.raises(errors.AvemoError, match='blocks.0.0.attn.weight'):
    compute(tensors)


def test_another_pooling_over_frames_is_seen():
  tensors = draw_file()
  features, logits = compute(tensors)
  kernel = tensors['classifier.0.weight'].T
  for pool, same in ((np.mean, True), (np.max, False)):
    found = pool(features, axis=1) @ kernel + tensors['classifier.0.bias']
    assert is_golden(features, found) == same
  assert is_golden(features, logits)


def test_tokens_are_float32_in_half_precision():
  plan = family.plan(golden_sources.make_source(draw_file()))
  model = make_model(plan, dtype='bfloat16')
  shapes = jax.eval_shape(model.init, jax.random.key(0), make_batch())
  found = jax.eval_shape(functools.partial(run, model), shapes)
  dtypes = {leaf.dtype for leaf in jax.tree.leaves(found)}
  assert dtypes == {np.dtype('float32')}
