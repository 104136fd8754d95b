import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from avemo import errors
from avemo.models import cnn, positions

SMALL = {'widths': (4, 6)}


def draw(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape, np.float32)


def both(tower, spectrogram, num_frames=None, mask=None, train=False):
  tokens = tower(spectrogram, num_frames, mask, train=train)
  return tokens, tower.pool(tokens, num_frames)


def init(tower, *inputs):
  shapes = jax.eval_shape(
    lambda *x: tower.init(jax.random.key(0), *x, method=both), *inputs
  )
  leaves, structure = jax.tree.flatten(shapes)
  leaves = [0.5 + 0.3 * draw(*x.shape, seed=i) for i, x in enumerate(leaves)]
  variables = jax.tree.unflatten(structure, leaves)
  variables['batch_stats'] = jax.tree.map(
    np.abs, variables.get('batch_stats', {})
  )
  return variables


def evaluate(tower, variables, *inputs):
  def call(variables, *x):
    return tower.apply(variables, *x, method=both)

  return jax.device_get(jax.jit(call)(variables, *inputs))


def train(tower, variables, *inputs):
  def call(variables, *x):
    return tower.apply(
      variables, *x, method=both, train=True, mutable=['batch_stats']
    )

  return jax.device_get(jax.jit(call)(variables, *inputs))


def reference_block(x, p, statistics, *, train):
  """float64 [B, F, M, C], every frame valid."""
  batch_size, length, mels, _ = x.shape
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  y = np.zeros((batch_size, length, mels, p['conv']['kernel'].shape[-1]))
  for f in range(length):
    for m in range(mels):
      window = padded[:, f : f + 3, m : m + 3, :, None]
      y[:, f, m] = (window * p['conv']['kernel']).sum((1, 2, 3))
  mean, variance = statistics['mean'], statistics['var']
  if train:
    mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
  y = (y - mean) / np.sqrt(variance + 1e-5)
  y = np.maximum(y * p['norm']['scale'] + p['norm']['bias'], 0)
  pooled = np.zeros((batch_size, -(-length // 2), -(-mels // 2), y.shape[-1]))
  for f in range(length):
    for m in range(mels):
      cell = pooled[:, f // 2, m // 2]
      pooled[:, f // 2, m // 2] = np.maximum(cell, y[:, f, m])
  return pooled, mean, variance


@pytest.mark.parametrize('training', [False, True])
def test_tower_equals_numpy(training):
  tower = cnn.CNN(**SMALL)
  spectrogram = draw(3, 9, 6)
  variables = init(tower, spectrogram)
  x = spectrogram[..., None].astype(np.float64)
  expected = {}
  for name in ('blocks_0', 'blocks_1'):
    statistics = variables['batch_stats'][name]['norm']
    x, mean, variance = reference_block(
      x, variables['params'][name], statistics, train=training
    )
    expected[name] = {
      'mean': 0.9 * statistics['mean'] + 0.1 * mean,
      'var': 0.9 * statistics['var'] + 0.1 * variance,
    }
  if training:
    (tokens, feature), changed = train(tower, variables, spectrogram)
    for name in expected:
      for key in ('mean', 'var'):
        np.testing.assert_allclose(
          changed['batch_stats'][name]['norm'][key],
          expected[name][key],
          rtol=1e-4,
          atol=1e-5,
        )
  else:
    tokens, feature = evaluate(tower, variables, spectrogram)
  assert tokens.shape == (3, 3, 6)
  np.testing.assert_allclose(tokens, x.mean(2), atol=1e-4)
  np.testing.assert_allclose(feature, x.mean((1, 2)), atol=1e-4)


@pytest.mark.parametrize('pooling', cnn.POOLINGS)
@pytest.mark.parametrize('training', [False, True])
def test_padded_rows_and_frames_do_not_matter(pooling, training):
  tower = cnn.CNN(**SMALL, pooling=pooling)
  spectrogram, lengths = draw(3, 9, 6), np.array([9, 4, 7])
  variables = init(tower, spectrogram)
  padded = 100 * draw(5, 14, 6, seed=1)
  for row, length in enumerate(lengths):
    padded[row, :length] = spectrogram[row, :length]
  inputs = [
    (spectrogram, lengths, np.ones(3, bool)),
    (padded, np.append(lengths, [14, 3]), np.arange(5) < 3),
  ]
  if training:
    plain, more = (train(tower, variables, *x) for x in inputs)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
      plain[1],
      more[1],
    )
    plain, more = plain[0], more[0]
  else:
    plain, more = (evaluate(tower, variables, *x) for x in inputs)
  np.testing.assert_allclose(more[1][:3], plain[1], rtol=1e-4, atol=1e-5)
  for row, length in enumerate(-(-lengths // 4)):
    np.testing.assert_allclose(
      more[0][row, :length], plain[0][row, :length], rtol=1e-4, atol=1e-5
    )


def test_batch_without_one_counted_position_leaves_the_averages():
  tower = cnn.CNN(**SMALL)
  spectrogram = draw(2, 9, 6)
  variables = init(tower, spectrogram)
  (_, feature), changed = train(
    tower, variables, spectrogram, np.array([9, 9]), np.zeros(2, bool)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
    changed['batch_stats'],
    variables['batch_stats'],
  )
  expected = evaluate(tower, variables, spectrogram)[1]
  np.testing.assert_allclose(feature, expected, rtol=1e-5)


def test_clip_without_a_frame_gives_finite_features_and_gradients():
  spectrogram, lengths = draw(2, 9, 6), np.array([0, 9])
  for pooling in cnn.POOLINGS:
    tower = cnn.CNN(**SMALL, pooling=pooling)
    variables = init(tower, spectrogram)

    def loss(params, tower=tower, variables=variables):
      (_, feature), _ = tower.apply(
        variables | {'params': params},
        spectrogram,
        lengths,
        train=True,
        method=both,
        mutable=['batch_stats'],
      )
      return jnp.square(feature).sum()

    grads = jax.device_get(jax.jit(jax.grad(loss))(variables['params']))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_frozen_blocks_keep_their_averages_and_get_no_gradient():
  tower = cnn.CNN(**SMALL, frozen_blocks=1)
  spectrogram = draw(3, 9, 6)
  variables = init(tower, spectrogram)

  def loss(params):
    (_, feature), changed = tower.apply(
      variables | {'params': params},
      spectrogram,
      train=True,
      method=both,
      mutable=['batch_stats'],
    )
    return jnp.square(feature).sum(), changed

  grads, changed = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
  for leaf in jax.tree.leaves(grads['blocks_0']):
    assert (np.asarray(leaf) == 0).all()
  assert np.abs(grads['blocks_1']['conv']['kernel']).max() > 0
  averages = variables['batch_stats']
  moved = changed['batch_stats']
  np.testing.assert_array_equal(
    moved['blocks_0']['norm']['mean'], averages['blocks_0']['norm']['mean']
  )
  assert not np.allclose(
    moved['blocks_1']['norm']['mean'], averages['blocks_1']['norm']['mean']
  )


@pytest.mark.parametrize('shape', [(2, 8, 6, 3), (2, 7, 5, 3)])
def test_max_pool_equals_flax_with_the_same_gradient(shape):
  x = np.abs(draw(*shape))
  odd = [(0, size % 2) for size in shape[1:3]]

  def flax_pool(x):
    x = jnp.pad(x, ((0, 0), *odd, (0, 0)))
    return nn.max_pool(x, (2, 2), (2, 2))

  np.testing.assert_array_equal(cnn.max_pool(x), flax_pool(x))
  weight = draw(*flax_pool(x).shape, seed=1)
  ours, flaxs = (
    jax.grad(lambda x, pool=pool: (pool(x) * weight).sum())(x)
    for pool in (cnn.max_pool, flax_pool)
  )
  np.testing.assert_allclose(ours, flaxs)


def test_tokens_for_a_join_carry_their_place_in_time():
  tower = cnn.CNN(**SMALL)
  spectrogram = draw(2, 9, 6)
  variables = init(tower, spectrogram)
  tokens, _ = evaluate(tower, variables, spectrogram)
  placed = jax.jit(lambda v, x: tower.apply(v, x, stop=0, method='begin'))(
    variables, spectrogram
  )
  table = positions.sincos_table(3, 6)
  np.testing.assert_allclose(placed - tokens, [table] * 2, atol=1e-5)


@pytest.mark.parametrize('training', [False, True])
def test_bands_that_are_kept_average_to_those_that_are_not(training):
  spectrogram, lengths = draw(3, 9, 6), np.array([9, 4, 7])
  plain, kept = cnn.CNN(**SMALL), cnn.CNN(**SMALL, keep_bands=True)
  variables = init(plain, spectrogram)
  look = train if training else evaluate
  found = [look(t, variables, spectrogram, lengths) for t in (plain, kept)]
  if training:
    found = [pair[0] for pair in found]
  (tokens, feature), (own_tokens, own_feature) = found
  # Two bands are left of six.
  assert own_tokens.shape == (3, 3, 12) and own_feature.shape == (3, 12)
  for mean, own in ((tokens, own_tokens), (feature, own_feature)):
    halves = own.reshape(*mean.shape[:-1], 2, 6)
    np.testing.assert_allclose(halves.mean(-2), mean, atol=1e-5)


@pytest.mark.parametrize('variant', cnn.VARIANTS)
def test_every_variant_has_its_width(variant):
  tower = cnn.CNN(variant, pooling='statistics')
  tokens, feature = jax.eval_shape(
    lambda x: tower.init_with_output(jax.random.key(0), x, method=both)[0],
    jnp.zeros((2, 64, 64)),
  )
  width = cnn.VARIANTS[variant][-1]
  assert tokens.shape == (2, 64 >> len(cnn.VARIANTS[variant]), width)
  assert feature.shape == (2, 2 * width)


def test_unknown_names_are_refused_with_the_nearest():
  x = draw(1, 8, 8)
  with pytest.raises(errors.AvemoError, match="'smal': did you mean 'small'"):
    init(cnn.CNN('smal'), x)
  with pytest.raises(errors.AvemoError, match="did you mean 'attention'"):
    init(cnn.CNN(pooling='attend'), x)
  with pytest.raises(errors.AvemoError, match='frozen_blocks=3.*2'):
    init(cnn.CNN(**SMALL, frozen_blocks=3), x)
