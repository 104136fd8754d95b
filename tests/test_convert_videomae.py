"""VideoMAE's files against what their own codes compute, and sabotaged."""

import itertools
import json
import pathlib
import re

import jax
import numpy as np
import pytest

from avemo import errors
from avemo.convert import readers, rules
from avemo.convert import videomae as family
from avemo.models import operations
from benchmarks.parity import videomae as parity

GOLDEN = pathlib.Path(__file__).parent / 'golden'
FORMATS = ('pth', 'safetensors', 'saved_model', 'h5')
TOLERANCE = 1e-5


def unpack(form, kind, folder):
  """A stored reference, its file written into the folder."""
  with np.load(GOLDEN / f'videomae_{form}_{kind}.npz') as stored:
    stored = dict(stored)
  found = {'file': {}, 'output': {}, 'norm': {}}
  for key in stored:
    group, _, name = key.partition(':')
    if group in found:
      found[group][name] = stored[key]
  for name, data in found['file'].items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.tobytes())
  names = {'pth': 'checkpoint-99.pth', 'h5': 'model.h5'}
  return parity.Reference(
    form,
    form,
    folder / names.get(form, '.'),
    stored['frames'],
    stored.get('mask'),
    found['output'],
    found['norm'],
  ), stored


@pytest.mark.parametrize('kind', parity.KINDS)
@pytest.mark.parametrize('form', FORMATS)
def test_converted_model_equals_its_reference(form, kind, tmp_path):
  reference, _ = unpack(form, kind, tmp_path)
  row = parity.compare(reference, TOLERANCE)
  assert row['ok'], row
  assert row['scale'] > 0.1


def test_layers_agree_one_by_one_and_at_another_size_of_clips(tmp_path):
  reference, stored = unpack('pth', 'finetuned', tmp_path)
  model, params = parity.load(reference.path)
  outputs = parity.compute_layers(model, params, reference.frames, None)
  assert [*outputs, 'logits'] == list(reference.outputs)
  for name, output in outputs.items():
    expected = reference.outputs[name]
    assert parity.measure(output, expected, TOLERANCE)['ok'], name
  logits = parity.compute(model, params, stored['other_frames'], None)
  assert parity.measure(logits, stored['other_logits'], TOLERANCE)['ok']
  assert stored['other_frames'].shape[1:4] != reference.frames.shape[1:4]


class Bench:
  """A stored reference whose tensors can be changed before they are used."""

  def __init__(self, form, folder):
    self.reference, _ = unpack(form, 'finetuned', folder)
    self.source = readers.read(self.reference.path)
    self.model, params = parity.load(self.reference.path)
    self.shapes = {k: v.shape for k, v in rules.flatten(params).items()}

  def convert(self, tensors):
    plan = family.plan(self.source._replace(tensors=tensors))
    return rules.nest(rules.convert(plan.tensors, plan.rules, self.shapes))

  def agrees(self, params):
    expected = self.reference.outputs['logits']
    logits = parity.compute(self.model, params, self.reference.frames, None)
    return parity.measure(logits, expected, TOLERANCE)['ok']


@pytest.mark.parametrize(
  ('form', 'block', 'pairs'),
  [
    # Of a block's 13 tensors, eight are as wide as it is.
    ('pth', r'blocks\.1\.', 28),
    # Its four square kernels are exchangeable too.
    ('safetensors', r'videomae\.encoder\.layer\.1\.', 34),
    ('saved_model', r'blocks/1/', 28),
  ],
)
def test_any_two_exchanged_tensors_of_a_block_show(
  form, block, pairs, tmp_path
):
  bench = Bench(form, tmp_path)
  tensors = dict(bench.source.tensors)
  assert bench.agrees(bench.convert(tensors))
  names = [name for name in tensors if re.match(block, name)]
  alike = [
    (a, b)
    for a, b in itertools.combinations(names, 2)
    if tensors[a].shape == tensors[b].shape
  ]
  assert len(names) == (15 if form == 'safetensors' else 13)
  assert len(alike) == pairs
  for a, b in alike:
    swapped = tensors | {a: tensors[b], b: tensors[a]}
    assert not bench.agrees(bench.convert(swapped)), (a, b)


def test_an_exchange_names_the_first_layer_that_differs(tmp_path):
  bench = Bench('pth', tmp_path)
  tensors = dict(bench.source.tensors)
  a, b = 'blocks.1.attn.q_bias', 'blocks.1.attn.v_bias'
  params = bench.convert(tensors | {a: tensors[b], b: tensors[a]})
  row = parity.compare_params(bench.model, params, bench.reference, TOLERANCE)
  assert not row['ok'] and row['layer'] == 'block_1'
  a, b = 'blocks.0.norm2.bias', 'blocks.1.norm2.bias'
  params = bench.convert(tensors | {a: tensors[b], b: tensors[a]})
  row = parity.compare_params(bench.model, params, bench.reference, TOLERANCE)
  assert not row['ok'] and row['layer'] == 'block_0'


def test_a_wrong_number_of_heads_shows(tmp_path):
  reference, _ = unpack('pth', 'finetuned', tmp_path)
  config = tmp_path / 'config.json'
  assert json.loads(config.read_text())['num_attention_heads'] == 2
  config.write_text(json.dumps({'num_attention_heads': 4}))
  row = parity.compare(reference, TOLERANCE)
  assert not row['ok'] and row['layer'] == 'block_0'


def test_the_other_gelu_shows(tmp_path, monkeypatch):
  reference, _ = unpack('pth', 'finetuned', tmp_path)
  monkeypatch.setattr(operations, 'gelu', jax.nn.gelu)
  jax.clear_caches()
  row = parity.compare(reference, TOLERANCE)
  jax.clear_caches()
  assert not row['ok'] and row['layer'] == 'block_0'


@pytest.mark.parametrize('form', FORMATS)
def test_the_other_epsilon_shows_on_faint_inputs(form, tmp_path):
  reference, _ = unpack(form, 'finetuned', tmp_path)
  model, params = parity.load(reference.path)
  here = (model.video.epsilon, model.video.fc_epsilon)
  transformers = (1e-12, 1e-5)
  assert here == (transformers if form == 'safetensors' else (1e-6, 1e-6))
  assert set(reference.norms) == {'video/encoder/blocks/norm1', 'video/fc_norm'}
  for path in reference.norms:
    _, field = parity.NORMS[path]
    norm = parity.compute_norm(model, params, path)
    assert parity.measure(norm, reference.norms[path], TOLERANCE)['ok']
    for epsilon in {1e-12, 1e-6, 1e-5} - {getattr(model.video, field)}:
      other = model.clone(video=model.video.clone(**{field: epsilon}))
      norm = parity.compute_norm(other, params, path)
      assert not parity.measure(norm, reference.norms[path], 1e-4)['ok']


def make_source(tensors, form='pth', config=None):
  shapes = {
    name: np.broadcast_to(np.float32(0), shape)
    for name, shape in tensors.items()
  }
  path = pathlib.Path('weights')
  return readers.Source(shapes, form, config or {}, {}, path, '')


def test_published_widths_have_their_own_heads_whatever_the_config_says():
  for width, depth, num_heads, variant in (
    (384, 12, 6, 'small'),
    (768, 12, 12, 'base'),
    (1024, 24, 16, 'large'),
    (1280, 32, 16, 'huge'),
  ):
    shapes = {
      'patch_embed.proj.weight': (width, 3, 2, 16, 16),
      'head.weight': (400, width),
      'head.bias': (400,),
      'fc_norm.weight': (width,),
    }
    shapes |= {f'blocks.{i}.norm1.weight': (width,) for i in range(depth)}
    plan = family.plan(make_source(shapes, config={'num_attention_heads': 16}))
    video = plan.model['video']
    assert video['num_heads'] == num_heads
    assert (video['width'], video['depth']) == (width, depth)
    assert (video['variant'], video['tubelet']) == (variant, (2, 16, 16))
    assert plan.num_classes == 400
    assert plan.clip == {'frames': 16, 'size': 224}


def rename_all(source, *replacements):
  return source._replace(tensors=rules.rename(source.tensors, replacements))


def convert(source, shapes):
  plan = family.plan(source)
  shapes = {k: v for k, v in shapes.items() if not k.startswith(plan.fresh)}
  return rules.convert(plan.tensors, plan.rules, shapes)


def assert_same(found, expected):
  assert set(found) == set(expected)
  for name, tensor in found.items():
    np.testing.assert_array_equal(tensor, expected[name])


def test_prefixes_and_both_names_of_biases_are_known(tmp_path):
  for form, replacements in (
    ('pth', [('^', 'module.')]),
    ('pth', [('^', 'backbone.')]),
    ('pth', [('^(blocks|patch_embed)', r'encoder.\1')]),
    (
      'safetensors',
      [(r'\.q_bias$', '.query.bias'), (r'\.v_bias$', '.value.bias')],
    ),
  ):
    bench = Bench(form, tmp_path / form)
    expected = convert(bench.source, bench.shapes)
    source = rename_all(bench.source, *replacements)
    assert list(source.tensors) != list(bench.source.tensors)
    assert_same(convert(source, bench.shapes), expected)


def test_an_encoder_alone_becomes_a_tower_with_a_fresh_head(tmp_path):
  reference, _ = unpack('pth', 'pretraining', tmp_path)
  source = readers.read(reference.path)
  whole = family.plan(source)
  assert whole.model['name'] == 'videomae_pretraining'
  # As the published ViT-H: without a decoder.
  tensors = {
    name: tensor
    for name, tensor in source.tensors.items()
    if name.startswith('encoder.')
  }
  plan = family.plan(source._replace(tensors=tensors))
  assert plan.fresh == ('video/fc_norm', 'head') and plan.num_classes == 0
  model, params = parity.load(reference.path)
  shapes = rules.flatten(params['video'])
  shapes = {
    f'video/{k}': v.shape for k, v in shapes.items() if 'norm/' not in k
  }
  shapes |= {'video/fc_norm/scale': (16,), 'head/video/emotion/bias': (5,)}
  found = convert(source._replace(tensors=tensors), shapes)
  expected = rules.flatten({'video': params['video']})
  assert_same(found, {name: expected[name] for name in found})


def test_the_bare_encoder_of_transformers_is_known(tmp_path):
  bench = Bench('safetensors', tmp_path)
  expected = convert(bench.source, bench.shapes)
  for left_out, fresh in (
    ('classifier|fc_norm', ('video/fc_norm', 'head')),
    ('classifier', ('head',)),
  ):
    tensors = {
      name.removeprefix('videomae.'): tensor
      for name, tensor in bench.source.tensors.items()
      if not re.match(left_out, name)
    }
    source = bench.source._replace(tensors=tensors)
    assert family.plan(source).fresh == fresh
    found = convert(source, bench.shapes)
    assert_same(
      found, {k: v for k, v in expected.items() if not k.startswith(fresh)}
    )


def test_names_of_classes_come_from_the_config(tmp_path):
  reference, _ = unpack('safetensors', 'finetuned', tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  names = ['anger', 'fear', 'joy', 'calm', 'none']
  config['id2label'] = {str(i): name for i, name in enumerate(names)}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  plan = family.plan(readers.read(reference.path))
  assert plan.classes == tuple(names)
  assert plan.clip == {'frames': 16, 'size': 16}


def get_message(source, shapes=None):
  with pytest.raises(errors.AvemoError) as caught:
    plan = family.plan(source)
    rules.convert(plan.tensors, plan.rules, shapes or {})
  assert '\n' not in str(caught.value)
  return str(caught.value)


def test_refusals_say_what_is_wrong(tmp_path):
  reference, _ = unpack('pth', 'finetuned', tmp_path)
  source = readers.read(reference.path)
  bench = Bench('pth', tmp_path)
  tensors = dict(source.tensors)
  hidden = readers.read(unpack('safetensors', 'finetuned', tmp_path)[0].path)
  config = hidden.config | {'hidden_act': 'gelu_new'}
  assert 'activation' in get_message(hidden._replace(config=config))
  assert 'not a VideoMAE file' in get_message(make_source({'x': (3,)}))
  assert 'num_attention_heads' in get_message(source._replace(config={}))
  kept = {k: v for k, v in tensors.items() if 'fc_norm' not in k}
  assert 'first token' in get_message(source._replace(tensors=kept))
  scalar = {'mask_token': np.float32(0), 'norm.weight': np.zeros(16)}
  kept = {k: v for k, v in tensors.items() if 'head' not in k}
  message = get_message(source._replace(tensors=kept | scalar))
  assert 'mask_token' in message
  for config in ({'num_frames': '16'}, {'image_size': -1}, {'id2label': []}):
    message = get_message(source._replace(config=source.config | config))
    assert next(iter(config)) in message
  gamma = tensors | {'blocks.0.gamma_1': tensors['fc_norm.bias']}
  message = get_message(source._replace(tensors=gamma), bench.shapes)
  assert 'blocks.0.gamma_1' in message
  kept = {k: v for k, v in tensors.items() if k != 'blocks.1.attn.v_bias'}
  message = get_message(source._replace(tensors=kept), bench.shapes)
  assert 'attn' in message


def test_an_h5_in_another_order_is_refused(tmp_path):
  reference, _ = unpack('h5', 'finetuned', tmp_path)
  source = readers.read(reference.path)
  names = list(source.tensors)
  first = next(i for i, name in enumerate(names) if name.endswith('/gamma'))
  for i, j in ((first, first + 1), (first + 1, first + 2)):
    order = list(names)
    order[i], order[j] = order[j], order[i]
    tensors = {name: source.tensors[name] for name in order}
    message = get_message(source._replace(tensors=tensors))
    assert 'stands where' in message
