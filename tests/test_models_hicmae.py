"""HiCMAE's size, its inputs and its training; parity is test_convert's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors, models
from avemo.models import emotion, hicmae

# Of the authors' `avit_dim512_patch16_160_a256` with 10 + 10 blocks, 2 pairs
# and 6 classes.
BASE_COUNT = 80_792_602
SIZES = {'variant': 'tiny', 'width': 16, 'depth': 2, 'num_heads': 2}
SMALL = {'features': {'front_end': 'filterbank', 'num_frames': 32}}


def make_batch(seed=0):
  draw = np.random.default_rng(seed)
  return {
    'frames': draw.integers(0, 256, (4, 2, 32, 32, 3), np.uint8),
    'speech': draw.integers(-9999, 9999, (4, 6000), np.int16),
    'speech_length': np.array([6000, 6000, 6000, 3000], np.int32),
    # Both, no picture, no sound, both.
    'has_video': np.array([True, False, True, True]),
    'has_audio': np.array([True, True, False, True]),
    'mask': np.ones(4, bool),
  }


def make(**fields):
  """A model and parameters of which every leaf is random."""
  model = models.MODELS['hicmae'](num_classes=3, **SIZES | SMALL | fields)
  shapes = jax.eval_shape(model.init, jax.random.key(0), make_batch())
  leaves, structure = jax.tree.flatten(shapes)
  draw = np.random.default_rng(0)
  leaves = [0.3 * draw.standard_normal(x.shape, np.float32) for x in leaves]
  return model, jax.tree.unflatten(structure, leaves)


def test_base_has_the_published_number_of_parameters():
  model = hicmae.HiCMAE(num_classes=6)
  batch = emotion.example_batch(size=160)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == BASE_COUNT
  assert set(shapes) == {'video', 'audio', 'fusion', 'fc_norm', 'head'}
  query = shapes['fusion']['blocks']['video']['cross_attn']['query']
  assert query['kernel'].shape == (2, 512, 8, 64)


def test_what_is_missing_or_padded_is_not_seen():
  model, variables = make()
  run = jax.jit(model.apply)
  batch, other = make_batch(0), make_batch(1)
  before = run(variables, batch)['emotion']
  assert before.shape == (4, 3)
  pictures = run(variables, batch | {'frames': other['frames']})['emotion']
  sounds = run(variables, batch | {'speech': other['speech']})['emotion']
  later = batch['speech'].copy()
  later[3, 3000:] = 1234
  padding = run(variables, batch | {'speech': later})['emotion']
  for changed, seen in (
    (pictures, [0, 2, 3]),
    (sounds, [0, 1, 3]),
    (padding, []),
  ):
    same = [np.array_equal(changed[row], before[row]) for row in range(4)]
    assert same == [row not in seen for row in range(4)]


@pytest.mark.slow
def test_every_parameter_learns_and_paths_are_dropped():
  model, variables = make(
    drop_path=0.3, augment={'spec_augment': {}}, remat=False
  )
  batch = make_batch()

  def loss(variables, key):
    outputs = model.apply(variables, batch, train=True, rngs={'dropout': key})
    return jnp.square(outputs['emotion']).sum()

  compiled = jax.jit(jax.value_and_grad(loss))
  first, grads = compiled(variables, jax.random.key(0))
  second, _ = compiled(variables, jax.random.key(1))
  assert first != second
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    name = jax.tree_util.keystr(path)
    assert np.isfinite(leaf).all(), name
    assert np.abs(leaf).max() > 0, name


def test_layers_are_weighed_by_the_softmax_of_their_scores():
  tower = hicmae.Tower(8, 2, (4, 4, 1), 2)
  patches = np.random.default_rng(0).standard_normal((2, 5, 16), np.float32)
  variables = jax.jit(tower.init)(jax.random.key(0), patches)
  run = jax.jit(tower.apply)
  features = []
  for scores in ([50.0, 0.0], [0.0, 50.0], [0.0, 0.0]):
    params = variables['params'] | {'layer_scores': np.float32(scores)}
    tokens, feature = run({'params': params}, patches)
    features.append(feature)
  np.testing.assert_allclose(features[1], tokens.mean(1), atol=1e-5)
  np.testing.assert_allclose(
    features[2], (features[0] + features[1]) / 2, atol=1e-5
  )
  assert not np.allclose(features[0], features[1], atol=1e-2)


def test_wrong_options_are_named():
  for fields, match in (
    ({'use': ('video',)}, 'HiCMAE reads video and audio'),
    ({'heads': ('emotoin',)}, "did you mean 'emotion'"),
    ({'head': {'squish': 1}}, "did you mean 'squash'"),
    ({'features': {'front_end': 'filterbank', 'n_fft': 2}}, "option 'n_fft'"),
    ({'augment': {'flop': {}}}, "nearest is 'flip'"),
    ({'augment': {'tempo': {}}}, 'no use for augment.tempo'),
  ):
    with pytest.raises(errors.AvemoError, match=match):
      hicmae.HiCMAE(num_classes=2, **fields)


def test_inputs_that_cannot_be_cut_are_named():
  with pytest.raises(errors.AvemoError, match='33 frames and 128 mel.* 16x16'):
    hicmae.cut_patches(jnp.zeros((1, 33, 128)), (16, 16))
