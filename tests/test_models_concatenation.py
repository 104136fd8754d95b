"""Features joined at the level of models: equal shares, missing modalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.models import emotion, fusion, sections

BOTH = {'video': jnp.array([True, True]), 'audio': jnp.array([True, True])}


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def make(seed=0, scale=1.0):
  return {
    'video': scale * draw(2, 12, seed=seed),
    'audio': draw(2, 5, seed=seed + 1),
  }


def test_each_modality_contributes_as_many_values_of_one_scale():
  join = fusion.Concatenation(width=16, hidden=())
  features = make()
  variables = jax.jit(join.init)(jax.random.key(0), features, BOTH)
  apply = jax.jit(join.apply)
  joined = apply(variables, features, BOTH)
  assert joined.shape == (2, 32)
  halves = np.split(np.asarray(joined), 2, axis=1)
  # Of values of mean 0 and variance 1, what a ReLU leaves.
  for half in halves:
    assert np.square(half).mean() == pytest.approx(0.5, abs=0.25)
  louder = apply(variables, make(scale=1000.0), BOTH)
  np.testing.assert_allclose(louder, joined, atol=1e-3)


def test_equals_numpy_with_two_dense_layers():
  join = fusion.Concatenation(width=6, hidden=(5, 4))
  features = make()
  variables = jax.jit(join.init)(jax.random.key(0), features, BOTH)
  p = jax.tree.map(np.float64, variables['params'])
  parts = []
  for name, x in features.items():
    x = x @ p[f'{name}_projection']['kernel'] + p[f'{name}_projection']['bias']
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
      x.var(-1, keepdims=True) + 1e-6
    )
    parts.append(np.maximum(x, 0))
  x = np.concatenate(parts, axis=1)
  for number in range(2):
    dense = p[f'dense_{number}']
    x = np.maximum(x @ dense['kernel'] + dense['bias'], 0)
  found = jax.jit(lambda v: join.apply(v, features, BOTH))(variables)
  np.testing.assert_allclose(found, x, atol=1e-5)
  count = sum(leaf.size for leaf in jax.tree.leaves(p))
  # Projections and their biases, norms, missing ones, two dense layers.
  assert count == (12 + 5 + 2) * 6 + 4 * 6 + 2 * 6 + 13 * 5 + 6 * 4


def test_missing_modality_is_not_looked_at_and_its_stand_in_learns():
  join = fusion.Concatenation(width=6)
  features = make()
  present = BOTH | {'video': jnp.array([True, False])}
  variables = jax.jit(join.init)(jax.random.key(0), features, present)

  @jax.jit
  def apply(params, features):
    return join.apply({'params': params}, features, present)

  found = apply(variables['params'], features)
  spoilt = features | {'video': features['video'].copy()}
  spoilt['video'][1] = 1e6
  np.testing.assert_array_equal(apply(variables['params'], spoilt), found)
  spoilt['video'][0] += draw(12, seed=7)
  assert np.abs(apply(variables['params'], spoilt)[0] - found[0]).max() > 1e-3
  grads = jax.jit(jax.grad(lambda p: jnp.square(apply(p, features)).sum()))(
    variables['params']
  )
  assert np.any(grads['video_missing']) and not np.any(grads['audio_missing'])


def test_model_of_two_cnns_trains_all_of_it():
  model = emotion.Emotion(
    num_classes=3,
    video={'name': 'cnn3d', 'widths': (4,), 'span': 1},
    audio={'name': 'cnn', 'widths': (4,), 'keep_bands': True},
    features={'num_mels': 8, 'n_fft': 128, 'window_length': 128, 'hop': 64},
    pictures={'grey': True, 'mean': [0.5], 'std': [0.2]},
    fusion={'kind': 'concatenation', 'concatenation': {'width': 8}},
  )
  batch = emotion.example_batch(batch_size=2, frames=2, size=8, samples=800)
  rng = np.random.default_rng(0)
  batch['frames'] = rng.integers(0, 256, batch['frames'].shape, np.uint8)
  batch['speech'] = rng.integers(-999, 999, batch['speech'].shape, np.int16)
  batch['has_video'] = np.array([True, False])
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  assert set(variables['params']) == {'video', 'audio', 'fusion', 'head'}
  # One channel in; the audio's tokens hold 4 bands of 4 channels.
  kernels = variables['params']['video']['blocks_0']['kernel']
  assert kernels.shape == (1, 3, 3, 1, 4)
  projection = variables['params']['fusion']['audio_projection']['kernel']
  assert projection.shape == (16, 8)

  def loss(params):
    outputs, _ = model.apply(
      variables | {'params': params}, batch, train=True,
      mutable=['batch_stats'], rngs={'dropout': jax.random.key(1)},
    )  # fmt: skip
    return jnp.square(outputs['emotion'] - 1).sum()

  grads = jax.jit(jax.grad(loss))(variables['params'])
  silent = [
    jax.tree_util.keystr(path)
    for path, leaf in jax.tree_util.tree_flatten_with_path(grads)[0]
    if not np.any(leaf)
  ]
  assert silent == ["['fusion']['audio_missing']"]


def test_wrong_options_name_the_nearest():
  with pytest.raises(errors.AvemoError, match="'concatenation'"):
    sections.read_fusion({'kind': 'concatenate'})
  with pytest.raises(errors.AvemoError, match="'width'"):
    sections.read_fusion({'kind': 'late', 'concatenation': {'widht': 8}})
  with pytest.raises(errors.AvemoError, match='picture option.*grey'):
    emotion.Emotion(num_classes=2, pictures={'gray': True})
