"""AST's files, of transformers and of its authors, become the same models."""

import json
import pathlib

import jax
import numpy as np
import pytest
import spectrogram_goldens as goldens
from safetensors import numpy as safetensors_numpy

from avemo import errors
from avemo.audio import features
from avemo.convert import ast, readers, rules
from avemo.models import positions
from benchmarks.parity import spectrograms

TRANSFORMERS, ORIGINAL = 0, 1
SIX_HEADS = {'num_attention_heads': 6}
BLOCKS = {
  TRANSFORMERS: 'audio_spectrogram_transformer.encoder.layer.0.',
  ORIGINAL: 'module.v.blocks.0.',
}
both = pytest.mark.parametrize(
  'number', [TRANSFORMERS, ORIGINAL], ids=['transformers', 'original']
)


@both
def test_logits_and_norms_are_those_of_the_origin(number):
  source, reference = goldens.load('ast', number)
  model, params = spectrograms.build(ast.plan(source))
  row = spectrograms.compare_params(model, params, reference, 1e-5)
  assert row['ok'], row


@both
def test_no_two_tensors_of_a_block_can_be_swapped_unseen(number):
  source, reference = goldens.load('ast', number)
  assert goldens.agrees(ast.plan(source), reference)
  swaps = goldens.list_swaps(source, BLOCKS[number])
  assert len(swaps) > 14
  for names in swaps:
    plan = ast.plan(goldens.swap(source, *names))
    assert not goldens.agrees(plan, reference), names


def test_a_wrong_number_of_heads_is_seen():
  source, reference = goldens.load('ast', TRANSFORMERS)
  plan = ast.plan(source._replace(config={**source.config, **SIX_HEADS}))
  assert not goldens.agrees(plan, reference)


def test_a_query_bias_in_the_place_of_a_value_bias_is_seen():
  source, reference = goldens.load('ast', ORIGINAL)
  name = f'{BLOCKS[ORIGINAL]}attn.qkv.bias'
  query, key, value = np.split(source.tensors[name], 3)
  biases = {name: np.concatenate([value, key, query])}
  plan = ast.plan(source._replace(tensors=source.tensors | biases))
  assert not goldens.agrees(plan, reference)


def test_the_gelu_of_tanh_is_seen(monkeypatch):
  source, reference = goldens.load('ast', TRANSFORMERS)
  goldens.use_tanh(monkeypatch)
  assert not goldens.agrees_anew(ast.plan(source), reference)


@both
@pytest.mark.parametrize('field', ['epsilon', 'fc_epsilon'])
@pytest.mark.parametrize('epsilon', [1e-12, 1e-6, 1e-5])
def test_a_wrong_epsilon_is_seen(number, field, epsilon):
  source, reference = goldens.load('ast', number)
  plan = ast.plan(source)
  right = plan.model['audio'][field] == epsilon
  plan = goldens.change_tower(plan, **{field: epsilon})
  model, params = spectrograms.build(plan)
  for path, expected in reference.norms.items():
    if spectrograms.NORMS[path] == field:
      norm = spectrograms.run_norm(model, params, path)
      assert spectrograms.measure(norm, expected, 1e-5)['ok'] == right, path


def test_a_converted_model_reads_speech_as_its_section_says():
  source, _ = goldens.load('ast', ORIGINAL)
  plan = ast.plan(source)
  assert plan.model['features']['num_frames'] == 128
  model, params = spectrograms.build(plan)
  generator = np.random.default_rng(0)
  speech = generator.integers(-9_000, 9_000, (2, 24_000)).astype(np.int16)
  batch = {
    'speech': speech,
    'speech_length': np.array([24_000, 9_000], np.int32),
    'has_audio': np.ones(2, bool),
  }
  logits = jax.jit(model.apply)({'params': params}, batch)['emotion']
  spectrogram = features.features(
    speech, batch['speech_length'], plan.model['features']
  )
  assert spectrogram.shape == (2, 128, 128)
  expected = spectrograms.run(model, params, spectrogram)
  np.testing.assert_allclose(logits, expected, atol=1e-4)
  assert np.abs(logits[0] - logits[1]).max() > 0.01


def make_original(num_patches, width=768, num_classes=527):
  """An authors' file by its shapes alone, without blocks."""
  shapes = {
    'module.v.pos_embed': (1, 2 + num_patches, width),
    'module.mlp_head.1.weight': (num_classes, width),
  }
  tensors = {k: np.broadcast_to(np.float32(0), s) for k, s in shapes.items()}
  return readers.Source(tensors, 'pth', {}, {}, pathlib.Path('ast.pth'), '')


@pytest.mark.parametrize(
  ('num_patches', 'stride', 'num_frames', 'mean', 'std'),
  [
    (1212, 10, 1024, -4.2677393, 4.5689974),
    (850, 12, 1024, -4.2677393, 4.5689974),
    (657, 14, 1024, -4.2677393, 4.5689974),
    (512, 16, 1024, -4.2677393, 4.5689974),
    (600, 10, 512, -6.6268077, 5.358466),
    (144, 10, 128, -6.845978, 5.5654526),
  ],
)
def test_published_inputs_follow_from_the_positions(
  num_patches, stride, num_frames, mean, std
):
  plan = ast.plan(make_original(num_patches))
  assert plan.model['features'] == {
    'front_end': 'filterbank',
    'num_frames': num_frames,
    'mean': mean,
    'std': std,
  }
  assert plan.model['audio']['stride'] == (stride, stride)
  assert plan.model['audio']['num_heads'] == 12
  assert plan.clip == {'seconds': num_frames / 100}
  assert plan.num_classes == 527


def test_positions_of_nothing_that_was_published_are_refused():
  with pytest.raises(errors.AvemoError, match='ast.pth: 1213 positions'):
    ast.plan(make_original(1213))
  with pytest.raises(errors.AvemoError, match='number of heads is not known'):
    ast.plan(make_original(1212, width=100))


def test_heads_of_deit_are_dropped_and_nothing_else():
  source, reference = goldens.load('ast', ORIGINAL)
  assert 'module.v.head_dist.weight' in source.tensors
  without = {k: x for k, x in source.tensors.items() if '.head' not in k}
  assert len(without) == len(source.tensors) - 4
  plan = ast.plan(source._replace(tensors=without))
  assert goldens.agrees(plan, reference)
  more = without | {'module.v.blocks.0.attn.gate': np.zeros(3, np.float32)}
  with pytest.raises(errors.AvemoError, match="attn.gate' is not expected"):
    spectrograms.build(ast.plan(source._replace(tensors=more)))


def save(folder, **config):
  """transformers' files: weights, config and extractor."""
  source, reference = goldens.load('ast', TRANSFORMERS)
  safetensors_numpy.save_file(
    dict(source.tensors), folder / 'model.safetensors'
  )
  (folder / 'config.json').write_text(json.dumps(source.config | config))
  return reference


def test_files_beside_the_weights_say_what_is_read(tmp_path):
  labels = {str(i): name for i, name in enumerate('abcdefg')}
  reference = save(tmp_path, id2label=labels)
  extractor = {'mean': -1.5, 'std': 2.5, 'sampling_rate': 16_000}
  path = tmp_path / 'preprocessor_config.json'
  path.write_text(json.dumps(extractor))
  plan = ast.plan(readers.read(tmp_path / 'model.safetensors'))
  assert plan.classes == tuple('abcdefg')
  assert plan.model['features'] == {
    'front_end': 'filterbank',
    'num_frames': 57,
    'mean': -1.5,
    'std': 2.5,
    'num_mels': 36,
  }
  assert goldens.agrees(plan, reference)
  path.write_text(json.dumps(extractor | {'do_normalize': False}))
  features = ast.plan(readers.read(tmp_path)).model['features']
  assert (features['mean'], 2 * features['std']) == (0, 1)
  path.write_text(json.dumps(extractor | {'sampling_rate': 8_000}))
  with pytest.raises(errors.AvemoError, match='sampling_rate=8000'):
    ast.plan(readers.read(tmp_path))


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    ({'hidden_act': 'gelu_new'}, "hidden_act='gelu_new'"),
    ({'intermediate_size': 96}, 'widen 2.0 times'),
  ],
)
def test_what_the_tower_cannot_do_is_refused(tmp_path, config, message):
  save(tmp_path, **config)
  with pytest.raises(errors.AvemoError, match=message):
    ast.plan(readers.read(tmp_path))


def test_a_file_without_a_head_gives_the_tower():
  source, _ = goldens.load('ast', TRANSFORMERS)
  prefix = 'audio_spectrogram_transformer.'
  tensors = {
    k.removeprefix(prefix): x
    for k, x in source.tensors.items()
    if k.startswith(prefix)
  }
  plan = ast.plan(source._replace(tensors=tensors))
  assert plan.num_classes == 0
  assert plan.fresh == ('audio/fc_norm', 'head')
  _, params = spectrograms.build(plan)
  whole = spectrograms.build(ast.plan(source))[1]
  flat, expected = rules.flatten(params), rules.flatten(whole)
  assert set(expected) - set(flat) == {
    'audio/fc_norm/scale',
    'audio/fc_norm/bias',
    'head/audio/emotion/kernel',
    'head/audio/emotion/bias',
  }
  for path, array in flat.items():
    np.testing.assert_array_equal(array, expected[path])


@pytest.mark.parametrize('size', [(4, 16), (9, 7), (6, 11)])
def test_positions_are_interpolated_as_torch_does(size):
  with np.load(goldens.GOLDEN / 'ast.npz') as stored:
    expected = stored[f'resized_{size[0]}_{size[1]}']
  summary = spectrograms.draw('summary', (1, 2, 6))
  table = np.concatenate([summary, spectrograms.draw('table', (1, 28, 6))], 1)
  resized = positions.resize_band_major(table, (4, 7), size)
  np.testing.assert_array_equal(resized[:, :2], summary)
  np.testing.assert_allclose(
    resized[0, 2:].reshape(*size, 6), expected, atol=1e-6
  )


def test_positions_are_cut_from_the_middle():
  grid = np.arange(12 * 101, dtype=np.float32).reshape(12, 101)
  table = np.concatenate([[-2, -1], grid.ravel()])[None, :, None]
  table = table.astype(np.float32)
  resized = positions.resize_band_major(table, (12, 101), (5, 12))[0, :, 0]
  np.testing.assert_array_equal(resized[:2], [-2, -1])
  # 6 - 5 // 2 and 50 - 12 // 2.
  np.testing.assert_array_equal(resized[2:].reshape(5, 12), grid[4:9, 44:56])
  same = positions.resize_band_major(table, (12, 101), (12, 101))
  np.testing.assert_array_equal(same, table)
  with pytest.raises(errors.AvemoError, match='1214 positions is not one of'):
    positions.resize_band_major(table, (12, 100), (12, 50))
