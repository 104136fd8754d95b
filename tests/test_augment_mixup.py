"""Mixup and cutmix: who mixes with whom, and by one share for all arrays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.augment import mixup

B, C, S = 12, 12, 400
KEY = jax.random.key(1)


def make_batch():
  """Example i is the constant i / 16 everywhere, and of class i."""
  values = np.arange(B, dtype=np.float32) / 16
  shape = (B, 2, 16, 16, 3)
  lengths = np.arange(200, 200 + B, dtype=np.int32)
  speech = np.broadcast_to(values[:, None], (B, S)).copy()
  speech[np.arange(S) >= lengths[:, None]] = 0
  return {
    'frames': np.broadcast_to(values[:, None, None, None, None], shape).copy(),
    'speech': speech,
    'speech_length': lengths,
    'target': np.eye(B, C, dtype=np.float32),
    'class_mask': np.ones((B, C), bool),
    'mask': np.ones(B, bool),
    'has_video': np.ones(B, bool),
    'has_audio': np.ones(B, bool),
    'emotion': np.arange(B, dtype=np.int32),
  }


@functools.cache
def jit(function, **options):
  return jax.jit(functools.partial(function, **options))


def apply(function, batch, key=KEY, **options):
  out = jit(function, **options)(key, batch)
  return {name: np.asarray(value) for name, value in out.items()}


def find_mixed(out, batch):
  return (out['target'] != batch['target']).any(-1)


@pytest.mark.parametrize('function', (mixup.mixup, mixup.cutmix))
def test_only_alike_and_real_examples_mix(function):
  batch = make_batch()
  batch['class_mask'][:4, 0] = False  # Two corpora: 0-3 and the others.
  batch['mask'][10:] = False
  batch['has_video'][8] = False  # Alone in lacking its video.
  batch['target'][9] = 0  # Without a label.
  group = np.array([0] * 4 + [1] * 4 + [2, 3, 4, 5])
  mixed = np.zeros(B, bool)
  for seed in range(4):
    out = apply(function, batch, jax.random.key(seed), alpha=1.0)
    mixed |= find_mixed(out, batch)
    for i, row in enumerate(out['target']):
      assert all(group[j] == group[i] for j in row.nonzero()[0])
    for name in ('frames', 'speech', 'speech_length', 'target'):
      np.testing.assert_array_equal(out[name][8:], batch[name][8:])
    for name in ('emotion', 'class_mask', 'mask', 'has_video'):
      np.testing.assert_array_equal(out[name], batch[name])
  assert mixed[:8].all()


def test_mixup_blends_everything_by_the_same_share():
  batch = make_batch()
  out = apply(mixup.mixup, batch, alpha=1.0)
  assert find_mixed(out, batch).mean() > 0.8
  np.testing.assert_allclose(out['target'].sum(-1), 1, atol=1e-6)
  # The mean of the values by the target is what every array must show.
  expected = out['target'] @ (np.arange(B) / 16)
  np.testing.assert_allclose(
    out['frames'], expected[:, None, None, None, None] + 0 * out['frames'], 1e-5
  )
  np.testing.assert_allclose(
    out['speech'][:, :200], expected[:, None] + np.zeros((B, 200)), 1e-5
  )
  for i in range(B):
    longest = batch['speech_length'][out['target'][i].nonzero()[0]].max()
    assert out['speech_length'][i] == longest
    assert (out['speech'][i, longest:] == 0).all()


def test_mixup_keeps_types_and_draws_the_shares_from_beta():
  batch = make_batch()
  batch['frames'] = (batch['frames'] * 255).astype(np.uint8)
  batch['speech'] = (batch['speech'] * 32_768).astype(np.int16)
  out = apply(mixup.mixup, batch)
  assert out['frames'].dtype == np.uint8 and out['speech'].dtype == np.int16
  share = (out['target'] * np.eye(B, C)).sum(-1)
  assert 0 <= share.min() < 0.4 and 0.6 < share.max() <= 1
  unmixed = apply(mixup.mixup, batch, probability=0.0)
  for name, value in batch.items():
    np.testing.assert_array_equal(unmixed[name], value)


def test_cutmix_shares_are_those_of_the_pixels_and_samples():
  batch = make_batch()
  out = apply(mixup.cutmix, batch)
  assert find_mixed(out, batch).mean() > 0.8
  for i in range(B):
    share = out['target'][i, i]
    own = (out['frames'][i] == i / 16).all(-1)
    np.testing.assert_allclose(own.mean(), share, atol=1e-6)
    assert (own == own[:1]).all(), 'not a tube'
    length = out['speech_length'][i]
    partner = [j for j in out['target'][i].nonzero()[0] if j != i]
    longest = max(batch['speech_length'][[i, *partner]])
    assert length == longest
    # Where the two lengths differ the cut may hold either's silence.
    kept = (out['speech'][i, :200] == i / 16).sum()
    assert abs(kept - share * length) <= 212 - 200 + 1


def test_cutmix_of_speech_alone_is_exact():
  batch = make_batch()
  del batch['frames'], batch['has_video']
  batch['speech_length'][:] = 300
  batch['speech'][:] = np.arange(B)[:, None] / 16 * (np.arange(S) < 300)
  out = apply(mixup.cutmix, batch)
  for i in range(B):
    kept = (out['speech'][i, :300] == i / 16).mean()
    np.testing.assert_allclose(kept, out['target'][i, i], atol=1e-6)
    changes = np.abs(np.diff(out['speech'][i, :300])) > 0
    assert changes.sum() <= 2


def test_both_asked_means_one_of_the_two_an_example():
  batch = make_batch()

  def both(key, batch):
    options = {'mixup': {'alpha': 5.0}, 'cutmix': {'alpha': 5.0}}
    return mixup.mix(key, batch, options)

  out = apply(both, batch)
  pure = np.array(
    [np.isin(row * 16, np.arange(B)).all() for row in out['frames']]
  )
  blended = ~pure & find_mixed(out, batch)
  assert blended.any() and (pure & find_mixed(out, batch)).any()
  for i in blended.nonzero()[0]:
    expected = out['target'][i] @ (np.arange(B) / 16)
    np.testing.assert_allclose(out['frames'][i], expected, atol=1e-5)


@pytest.mark.parametrize('alpha', (0.2, 1.0, 3.0))
def test_shares_follow_the_beta_distribution(alpha):
  def draw(key):
    partner = jnp.roll(jnp.arange(5_000), 1)
    return mixup._draw_share(key, partner, alpha, 1.0)

  share = np.asarray(jax.jit(draw)(KEY))
  np.testing.assert_allclose(share.mean(), 0.5, atol=0.03)
  variance = 1 / (4 * (2 * alpha + 1))
  np.testing.assert_allclose(share.var(), variance, rtol=0.1)


def test_partners_are_drawn_evenly():
  batch = {'target': jnp.eye(4)}
  draw = jax.jit(jax.vmap(lambda key: mixup.find_partners(key, batch)))
  partners = np.asarray(draw(jax.random.split(KEY, 2_000)))
  for i in range(4):
    counts = np.bincount(partners[:, i], minlength=4) / 2_000
    expected = np.full(4, 1 / 3)
    expected[i] = 0
    np.testing.assert_allclose(counts, expected, atol=0.05)


def test_features_are_blended_as_their_targets():
  batch = make_batch()
  batch['mask'][3] = False
  out = apply(mixup.feature_mixup, batch, alpha=1.0)
  for name in ('frames', 'speech', 'speech_length'):
    np.testing.assert_array_equal(out[name], batch[name])
  # The target's features are the target itself.
  blended = np.asarray(mixup.blend(out, batch['target']))
  np.testing.assert_array_equal(blended, out['target'])
  assert find_mixed(out, batch).sum() > B // 2
  np.testing.assert_array_equal(blended[3], batch['target'][3])
  assert mixup.blend(batch, batch['target']) is batch['target']


def test_features_and_inputs_are_not_both_mixed():
  with pytest.raises(errors.AvemoError, match='neither mixup nor cutmix'):
    mixup.mix(KEY, make_batch(), {'feature_mixup': {}, 'mixup': {}})


@pytest.mark.parametrize(
  'function', (mixup.mixup, mixup.cutmix, mixup.feature_mixup)
)
def test_values_are_mixed_by_the_share_of_the_target(function):
  batch = make_batch()
  batch['x'] = np.arange(B, dtype=np.float32)[:, None] / 16
  batch['x_mask'] = np.arange(B)[:, None] % 4 != 0
  batch['x'][~batch['x_mask']] = 0
  batch['target'][11] = 0  # A value, and no emotion to mix.
  out = apply(function, batch)
  mixed = find_mixed(out, batch)
  assert mixed[:11].any() and not mixed[11]
  known = out['x_mask'][:, 0]
  # Known where both are; and then the mean is the target's mean.
  assert not (known & ~batch['x_mask'][:, 0]).any()
  expected = (out['target'] * np.arange(C)).sum(-1) / 16
  rows = known & (np.arange(B) != 11)
  np.testing.assert_allclose(out['x'][rows, 0], expected[rows], atol=1e-5)
  assert not out['x'][~known].any()
  parts = (out['target'] > 0) | np.eye(B, dtype=bool)
  unknown = ~batch['x_mask'][:, 0]
  np.testing.assert_array_equal(known[:11], ~(parts[:11] & unknown[:C]).any(-1))


def test_values_alone_are_labels_enough_to_mix():
  batch = make_batch()
  batch['target'][:] = 0
  batch['x'] = np.arange(B, dtype=np.float32)[:, None] / 16
  batch['x_mask'] = np.ones((B, 1), bool)
  out = apply(mixup.mixup, batch)
  np.testing.assert_allclose(
    out['x'][:, 0], out['frames'].mean((1, 2, 3, 4)), atol=1e-5
  )
  assert (out['x'] != batch['x']).any() and not out['target'].any()
