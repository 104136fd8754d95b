"""The tower over functionals: its standardisation, and its place in Emotion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.audio import functionals as audio_functionals
from avemo.models import emotion
from avemo.models import functionals as lib

SAMPLES = 4_000
AUDIO = {'name': 'functionals', 'width': 16}


# ----------------------------------------------------------- standardisation


def start():
  norm = lib.Standardize(momentum=0.75)
  return norm, norm.init(jax.random.key(0), jnp.zeros((1, 3)), np.ones(1, bool))


def move(norm, variables, x, mask):
  out, moved = norm.apply(
    variables, x, mask, train=True, mutable=['batch_stats']
  )
  return np.asarray(out), moved


def test_first_statistics_are_those_of_all_rows_so_far():
  norm, variables = start()
  draw = np.random.default_rng(0)
  batches = draw.normal(5, 2, (4, 50, 3)).astype(np.float32)
  for i, batch in enumerate(batches):
    out, variables = move(norm, variables, batch + i, np.ones(50, bool))
  seen = np.concatenate([batch + i for i, batch in enumerate(batches)])
  stats = variables['batch_stats']
  np.testing.assert_allclose(stats['mean'], seen.mean(0), rtol=1e-5)
  np.testing.assert_allclose(stats['var'], seen.var(0), rtol=1e-5)
  expected = (batches[3] + 3 - seen.mean(0)) / seen.std(0)
  np.testing.assert_allclose(out, expected, atol=1e-4)
  same = norm.apply(variables, batches[3] + 3, np.ones(50, bool))
  np.testing.assert_allclose(same, expected, atol=1e-4)


def test_later_statistics_forget():
  norm, variables = start()
  ones = np.ones(8, bool)
  for _ in range(4):
    _, variables = move(norm, variables, np.zeros((8, 3)), ones)
  x = np.tile([[1.0], [3.0]], (4, 3))
  _, variables = move(norm, variables, x, ones)
  stats = variables['batch_stats']
  # A quarter of the new: mean 2, variance 1.
  np.testing.assert_allclose(stats['mean'], 0.5)
  np.testing.assert_allclose(stats['var'], 0.25 * (1 + 4) - 0.5**2)


def test_rows_that_do_not_count_move_nothing():
  norm, variables = start()
  x = np.random.default_rng(1).normal(3, 2, (6, 3)).astype(np.float32)
  mask = np.array([True, True, False, True, False, True])
  wild = np.where(mask[:, None], x, 1e6).astype(np.float32)
  out, moved = move(norm, variables, wild, mask)
  expected, alone = move(norm, variables, x[mask], np.ones(4, bool))
  np.testing.assert_allclose(out[mask], expected, rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved, alone
  )
  _, still = move(norm, moved, wild, np.zeros(6, bool))
  jax.tree.map(np.testing.assert_array_equal, still, moved)


# --------------------------------------------------------------- the model


def make(use=('audio',), **fields):
  return emotion.Emotion(num_classes=4, use=use, **({'audio': AUDIO} | fields))


def make_batch():
  draw = np.random.default_rng(0)
  speech = draw.integers(-9_999, 9_999, (4, SAMPLES)).astype(np.int16)
  return {
    'speech': speech,
    'speech_length': np.array([4_000, 3_000, 2_000, 0], np.int32),
    'has_audio': np.array([True, True, True, False]),
    'mask': np.array([True, True, False, True]),
  }


@functools.cache
def compile_once(model, train):
  def call(variables, batch, key):
    return model.apply(
      variables,
      batch,
      train=train,
      rngs={'dropout': key},
      mutable=['batch_stats'],
    )

  return jax.jit(call)


def run(model, variables, batch, *, train=False, seed=0):
  key = jax.random.key(seed)
  return jax.device_get(compile_once(model, train)(variables, batch, key))


def init(model, batch):
  return jax.jit(model.init)(jax.random.key(0), batch)


def test_training_moves_statistics_by_the_rows_that_count():
  model, batch = make(), make_batch()
  variables = init(model, batch)
  _, moved = run(model, variables, batch, train=True)
  found = moved['batch_stats']['audio']['norm']
  values = jax.jit(audio_functionals.compute_functionals)(
    batch['speech'], batch['speech_length']
  )
  # The third is padding, the fourth has no sound.
  values = np.asarray(values, np.float64)[:2]
  np.testing.assert_allclose(
    found['mean'], values.mean(0), rtol=1e-3, atol=1e-3
  )
  np.testing.assert_allclose(found['var'], values.var(0), rtol=1e-2, atol=1e-3)
  _, still = run(model, variables, batch)
  jax.tree.map(
    np.testing.assert_array_equal,
    still['batch_stats'],
    jax.device_get(variables['batch_stats']),
  )


def test_evaluation_is_one_hidden_layer_over_clipped_functionals():
  model, batch = make(), make_batch()
  variables = init(model, batch)
  _, moved = run(model, variables, batch, train=True)
  variables = {'params': variables['params']} | moved
  found, _ = run(model, variables, batch)
  params = jax.device_get(variables['params'])
  stats = jax.device_get(moved['batch_stats']['audio']['norm'])
  values = np.asarray(
    audio_functionals.compute_functionals(
      batch['speech'], batch['speech_length']
    )
  )
  x = np.clip((values - stats['mean']) / np.sqrt(stats['var'] + 1e-8), -4, 4)
  hidden, head = params['audio']['hidden'], params['head']['audio']['emotion']
  x = np.maximum(x @ hidden['kernel'] + hidden['bias'], 0)
  expected = x @ head['kernel'] + head['bias']
  np.testing.assert_allclose(
    found['emotion'][:3], expected[:3], rtol=2e-2, atol=2e-2
  )
  assert (found['emotion'][3] == 0).all()


def test_augmentation_acts_in_training_alone():
  options = {'vocal_tract': {}, 'tempo': {}, 'equalizer': {}}
  quiet = {'audio': AUDIO | {'input_dropout': 0.0, 'dropout': 0.0}}
  plain, changed = make(**quiet), make(augment=options, **quiet)
  batch = make_batch()
  variables = init(plain, batch)
  before, _ = run(plain, variables, batch)
  after, _ = run(changed, variables, batch)
  np.testing.assert_array_equal(before['emotion'], after['emotion'])
  still, _ = run(plain, variables, batch, train=True)
  first, _ = run(changed, variables, batch, train=True)
  other, _ = run(changed, variables, batch, train=True, seed=1)
  assert abs(first['emotion'] - still['emotion'])[:2].min(1).max() > 1e-4
  assert abs(first['emotion'] - other['emotion'])[:2].min(1).max() > 1e-4


def test_late_fusion_takes_it_and_early_refuses():
  video = {'variant': 'tiny', 'width': 16, 'depth': 1, 'num_heads': 2}
  use = ('video', 'audio')
  model = make(use, video=video, fusion={'kind': 'late'})
  batch = emotion.example_batch(frames=4, size=32, samples=SAMPLES)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
  assert set(shapes['params']) == {'video', 'audio', 'head'}
  with pytest.raises(errors.AvemoError, match="'functionals'.*kind=late"):
    make(use, video=video, fusion={'kind': 'early'})


@pytest.mark.parametrize(
  ('fields', 'named'),
  [
    ({'augment': {'spec_augment': {}}}, 'augment.spec_augment'),
    ({'features': {'num_mels': 32}}, 'features.num_mels'),
    (
      {'audio': {'name': 'cnn'}, 'augment': {'vocal_tract': {}}},
      'augment.vocal_tract',
    ),
  ],
)
def test_options_without_use_are_refused(fields, named):
  with pytest.raises(errors.AvemoError, match=named):
    make(**fields)


def test_functionals_are_blended_as_the_targets_were():
  quiet = {'audio': AUDIO | {'input_dropout': 0.0, 'dropout': 0.0}}
  model, batch = make(**quiet), make_batch()
  variables = init(model, batch)
  _, moved = run(model, variables, batch, train=True)
  variables = {'params': variables['params']} | moved
  mixed = batch | {
    'mix_with': np.array([1, 0, 2, 3], np.int32),
    'mix_share': np.float32([0, 0, 1, 1]),
  }
  # Shares of 0 exchange the two clips.
  plain, _ = run(model, variables, batch)
  found, _ = run(model, variables, mixed)
  np.testing.assert_allclose(
    found['emotion'], plain['emotion'][[1, 0, 2, 3]], rtol=1e-5, atol=1e-6
  )
