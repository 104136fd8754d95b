"""AudioMAE's files, fine-tuned and pretrained, become the same models."""

import pathlib

import jax
import numpy as np
import pytest
import spectrogram_goldens as goldens

from avemo import errors
from avemo.convert import audiomae, readers
from avemo.models import positions, spectrogram_vit
from benchmarks.parity import spectrograms

FINE_TUNED, PRETRAINED = 0, 1
BLOCK = 'blocks.0.'
both = pytest.mark.parametrize(
  'number', [FINE_TUNED, PRETRAINED], ids=['finetuned', 'pretrained']
)


@both
def test_outputs_and_norms_are_those_of_the_origin(number):
  source, reference = goldens.load('audiomae', number)
  model, params = spectrograms.build(audiomae.plan(source))
  row = spectrograms.compare_params(model, params, reference, 1e-5)
  assert row['ok'], row


@both
def test_no_two_tensors_of_a_block_can_be_swapped_unseen(number):
  source, reference = goldens.load('audiomae', number)
  assert goldens.agrees(audiomae.plan(source), reference)
  swaps = goldens.list_swaps(source, BLOCK)
  assert len(swaps) > 14
  for names in swaps:
    plan = audiomae.plan(goldens.swap(source, *names))
    assert not goldens.agrees(plan, reference), names


def test_a_wrong_number_of_heads_is_seen():
  source, reference = goldens.load('audiomae', FINE_TUNED)
  plan = goldens.change_tower(audiomae.plan(source), num_heads=4)
  plan = plan._replace(rules=audiomae._make_rules(4, fine_tuned=True))
  assert not goldens.agrees(plan, reference)


def test_a_query_bias_in_the_place_of_a_value_bias_is_seen():
  source, reference = goldens.load('audiomae', FINE_TUNED)
  name = f'{BLOCK}attn.qkv.bias'
  query, key, value = np.split(source.tensors[name], 3)
  biases = {name: np.concatenate([value, key, query])}
  plan = audiomae.plan(source._replace(tensors=source.tensors | biases))
  assert not goldens.agrees(plan, reference)


def test_the_gelu_of_tanh_is_seen(monkeypatch):
  source, reference = goldens.load('audiomae', FINE_TUNED)
  goldens.use_tanh(monkeypatch)
  assert not goldens.agrees_anew(audiomae.plan(source), reference)


@both
@pytest.mark.parametrize('epsilon', [1e-12, 1e-6, 1e-5])
def test_a_wrong_epsilon_is_seen(number, epsilon):
  source, reference = goldens.load('audiomae', number)
  plan = goldens.change_tower(
    audiomae.plan(source), epsilon=epsilon, fc_epsilon=epsilon
  )
  model, params = spectrograms.build(plan)
  for path, expected in reference.norms.items():
    norm = spectrograms.run_norm(model, params, path)
    same = spectrograms.measure(norm, expected, 1e-5)['ok']
    assert same == (epsilon == 1e-6), path


@pytest.mark.parametrize(
  'wrong',
  [{'order': 'band-major'}, {'pooling': 'summary'}],
  ids=['order', 'pooling'],
)
def test_tokens_in_another_order_and_another_pooling_are_seen(wrong):
  source, reference = goldens.load('audiomae', FINE_TUNED)
  plan = goldens.change_tower(audiomae.plan(source), **wrong)
  assert not goldens.agrees(plan, reference)


def test_the_decoder_is_dropped_by_name_and_a_head_starts_fresh():
  source, _ = goldens.load('audiomae', PRETRAINED)
  assert any(name.startswith('decoder_blocks.15.') for name in source.tensors)
  plan = audiomae.plan(source)
  assert plan.fresh == ('head',)
  assert plan.num_classes == 0
  more = source.tensors | {'encoder_gate': np.zeros(3, np.float32)}
  with pytest.raises(errors.AvemoError, match="'encoder_gate' is not expected"):
    spectrograms.build(audiomae.plan(source._replace(tensors=more)))


def make_file(num_patches, width=768):
  """A fine-tuned file by its shapes alone, without blocks."""
  shapes = {
    'pos_embed': (1, 1 + num_patches, width),
    'fc_norm.weight': (width,),
    'head.weight': (527, width),
  }
  tensors = {k: np.broadcast_to(np.float32(0), s) for k, s in shapes.items()}
  return readers.Source(tensors, 'pth', {}, {}, pathlib.Path('mae.pth'), '')


@pytest.mark.parametrize(
  ('num_patches', 'stride', 'num_frames', 'mean'),
  [
    (512, 16, 1024, -4.2677393),
    (256, 16, 512, -6.6268077),
    (64, 16, 128, -6.845978),
    (1212, 10, 1024, -4.2677393),
  ],
)
def test_published_inputs_follow_from_the_positions(
  num_patches, stride, num_frames, mean
):
  plan = audiomae.plan(make_file(num_patches))
  assert plan.model['audio']['stride'] == (stride, stride)
  assert plan.model['features']['num_frames'] == num_frames
  assert plan.model['features']['mean'] == mean


def test_the_section_that_the_tower_names_is_that_of_fine_tuned_files():
  audio = audiomae.plan(make_file(512)).model['audio']
  named = spectrogram_vit.AUDIO_MAE
  assert {name: audio[name] for name in named} == dict(named)


def test_other_files_are_refused():
  with pytest.raises(errors.AvemoError, match='mae.pth: 511 positions'):
    audiomae.plan(make_file(511))
  source = make_file(512)._replace(tensors={'v.pos_embed': np.zeros(3)})
  with pytest.raises(errors.AvemoError, match="no tensor 'pos_embed'"):
    audiomae.plan(source)


def test_positions_of_a_shorter_sound_are_the_first():
  table = np.arange(1 + 64, dtype=np.float32)[None, :, None]
  cut = positions.cut_time_major(table, (8, 8), (8, 3))
  np.testing.assert_array_equal(cut[0, :, 0], np.arange(1 + 24))
  with pytest.raises(errors.AvemoError, match='cannot serve 8x9'):
    positions.cut_time_major(table, (8, 8), (8, 9))


def test_summary_pooling_needs_summary_tokens():
  tower = spectrogram_vit.SpectrogramViT('tiny', summary=())
  with pytest.raises(errors.AvemoError, match='needs summary tokens'):
    jax.eval_shape(tower.init, jax.random.key(0), np.zeros((1, 16, 16)))
