"""Schedules, decay by layer, what decays, what is frozen, averages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from avemo import errors
from avemo.train import optim


def make_params():
  block = {
    'attn': {'query': {'kernel': (3, 4, 2, 2), 'bias': (3, 2, 2)}},
    'norm1': {'scale': (3, 4)},
  }
  shapes = {
    'video': {
      'patch_embed': {'kernel': (2, 2, 4), 'bias': (4,)},
      'encoder': {'blocks': block},
      'fc_norm': {'scale': (4,)},
    },
    'audio': {
      'embedding': {
        'cls': (1, 1, 4),
        'positions': (1, 5, 4),
        'patch_embed': {'kernel': (2, 2, 4)},
      },
      'encoder': {'blocks': {'fc1': {'kernel': (2, 4, 8)}}},
    },
    'head': {'emotion': {'kernel': (4, 3), 'bias': (3,)}},
  }
  leaves, tree = jax.tree.flatten(
    shapes, is_leaf=lambda x: isinstance(x, tuple)
  )
  keys = jax.random.split(jax.random.key(0), len(leaves))
  return jax.tree.unflatten(
    tree,
    [jax.random.normal(k, s) for k, s in zip(keys, leaves, strict=True)],
  )


PARAMS = make_params()


def make(rate=0.1, **options):
  return optim.make_optimizer(PARAMS, lambda count: rate, **options)


def update(tx, grads=None, params=PARAMS, times=1):
  state = tx.init(params)
  grads = jax.tree.map(jnp.ones_like, params) if grads is None else grads
  for _ in range(times):
    updates, state = tx.update(grads, state, params)
  return updates


def names(tree):
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {
    jax.tree_util.keystr(p, simple=True, separator='/'): v for p, v in paths
  }


def test_cosine_rises_then_falls_to_the_end():
  rate = optim.make_schedule(steps=110, lr=2.0, warmup=10, final=0.1)
  found = [float(rate(n)) for n in (0, 4, 9, 10, 60, 110, 500)]
  expected = [0.2, 1.0, 2.0, 2.0, 1.1, 0.2, 0.2]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_other_schedules():
  linear = optim.make_schedule(steps=10, lr=1.0, schedule='linear')
  np.testing.assert_allclose([linear(0), linear(5), linear(10)], [1, 0.5, 0])
  constant = optim.make_schedule(
    steps=10, lr=1.0, warmup=2, schedule='constant'
  )
  np.testing.assert_allclose(
    [constant(0), constant(1), constant(9)], [0.5, 1, 1]
  )
  with pytest.raises(errors.AvemoError, match='schedule'):
    optim.make_schedule(steps=10, lr=1.0, schedule='cosin')
  with pytest.raises(errors.AvemoError, match='warmup=11'):
    optim.make_schedule(steps=10, lr=1.0, warmup=11)


def test_layers_learn_slower_towards_the_input():
  found = optim.make_multipliers(PARAMS, 0.5)
  query = found['video/encoder/blocks/attn/query/kernel']
  assert query.shape == (3, 1, 1, 1)
  np.testing.assert_allclose(query.ravel(), [0.125, 0.25, 0.5])
  assert found['video/patch_embed/kernel'] == 0.5**4
  assert found['audio/embedding/cls'] == 0.5**3
  np.testing.assert_allclose(
    found['audio/encoder/blocks/fc1/kernel'].ravel(), [0.25, 0.5]
  )
  assert found['video/fc_norm/scale'] == found['head/emotion/bias'] == 1


def test_fused_towers_count_layers_together():
  found = optim.make_multipliers(PARAMS | {'fusion': {'w': jnp.ones(2)}}, 0.5)
  # Two audio blocks run beside the first two of three video blocks.
  np.testing.assert_allclose(
    found['audio/encoder/blocks/fc1/kernel'].ravel(), [0.125, 0.25]
  )
  assert found['audio/embedding/positions'] == 0.5**4
  assert found['fusion/w'] == 1


def test_multipliers_scale_the_updates():
  plain, scaled = names(update(make())), names(update(make(layer_decay=0.5)))
  factors = optim.make_multipliers(PARAMS, 0.5)
  for name, value in plain.items():
    np.testing.assert_allclose(scaled[name], value * factors[name], rtol=1e-6)


def test_only_matrices_decay():
  decayed = {
    name for name, yes in names(optim.find_decayed(PARAMS)).items() if yes
  }
  assert decayed == {
    'video/patch_embed/kernel',
    'video/encoder/blocks/attn/query/kernel',
    'audio/embedding/patch_embed/kernel',
    'audio/encoder/blocks/fc1/kernel',
    'head/emotion/kernel',
  }


def test_adamw_equals_optax():
  mask = optim.find_decayed(PARAMS)
  reference = optax.adamw(0.1, weight_decay=0.3, mask=mask)
  found = update(make(weight_decay=0.3), times=3)
  expected = update(reference, times=3)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected
  )


def test_sgd_is_nesterov():
  found = update(make(name='sgd', momentum=0.5), times=2)
  # Velocity 1, then 1.5; looked ahead: 1 + 0.5 * 1.5.
  np.testing.assert_allclose(
    names(found)['head/emotion/bias'], -0.175, rtol=1e-6
  )
  with pytest.raises(errors.AvemoError, match='adamw, sgd'):
    make(name='adam')


def test_frozen_leaves_stay_and_do_not_count_in_clipping():
  tx = make(name='sgd', momentum=0.0, clip=1.0, freeze=('video/.*',))
  grads = jax.tree.map(jnp.ones_like, PARAMS)
  grads['video'] = jax.tree.map(lambda g: 1e6 * g, grads['video'])
  updates = update(tx, grads)
  assert not any(np.any(u) for u in jax.tree.leaves(updates['video']))
  rest = optax.tree.norm({k: v for k, v in updates.items() if k != 'video'})
  np.testing.assert_allclose(rest, 0.1, rtol=1e-5)
  # Nothing is stored for what is not trained.
  stored = sum(
    x.size for x in jax.tree.leaves(make(freeze=('video/.*',)).init(PARAMS))
  )
  assert (
    stored < sum(x.size for x in jax.tree.leaves(make().init(PARAMS))) / 1.5
  )


def test_freezing_works_together_with_decay_by_layer():
  tx = make(freeze=('.*/patch_embed/.*',), layer_decay=0.5, weight_decay=0.1)
  updates = names(update(tx))
  assert not np.any(updates['video/patch_embed/kernel'])
  assert np.all(updates['head/emotion/kernel'])


def test_frozen_names_must_exist():
  with pytest.raises(errors.AvemoError, match="'vide/.*' matches no"):
    make(freeze=('video/.*', 'vide/.*'))
  with pytest.raises(errors.AvemoError, match='nothing is left'):
    make(freeze=('.*',))
  frozen = optim.find_frozen_towers(PARAMS, ('audio/.*', 'video/encoder/.*'))
  assert frozen == ('audio',)


def test_average_forgets_its_start():
  average = params = {'w': jnp.float32(1.0)}
  expected = 1.0
  for step in range(1, 40):
    params = {'w': jnp.float32(step)}
    average = optim.update_average(average, params, jnp.int32(step), 0.8)
    decay = min(0.8, (1 + step) / (10 + step))
    expected = decay * expected + (1 - decay) * step
  np.testing.assert_allclose(average['w'], expected, rtol=1e-5)
  # A constant is its own average, from the first step on.
  same = optim.update_average({'w': 2.0}, {'w': 2.0}, jnp.int32(1), 0.999)
  np.testing.assert_allclose(same['w'], 2.0)
