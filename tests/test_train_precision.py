"""The step of a whole model: 16-bit compute, donated state, no transfers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo.models import emotion
from avemo.runtime import mesh as mesh_lib
from avemo.train import control, optim
from avemo.train import step as step_lib
from avemo.train.state import TrainState

TOWER = {'name': 'videomae', 'width': 16, 'depth': 2, 'num_heads': 2}
NUM_CLASSES = 3


def make_batch(size=4):
  draw = np.random.default_rng(0)
  batch = emotion.example_batch(
    batch_size=size, frames=4, size=32, samples=1600
  )
  batch['frames'] = draw.integers(0, 256, batch['frames'].shape, np.uint8)
  target = np.arange(size) % NUM_CLASSES
  return batch | {
    'emotion': target.astype(np.int32),
    'target': np.eye(NUM_CLASSES, dtype=np.float32)[target],
    'class_mask': np.ones((size, NUM_CLASSES), bool),
  }


@functools.cache
def prepare(dtype):
  """Jitted: the first state, and the step."""
  model = emotion.Emotion(NUM_CLASSES, ('video',), video=TOWER, dtype=dtype)
  mesh = mesh_lib.make_mesh(devices=jax.devices()[:1])
  rate = optim.make_schedule(steps=10, lr=1e-3)
  init_params = lambda: model.init(jax.random.key(0), make_batch(1))['params']
  tx = optim.make_optimizer(jax.eval_shape(init_params), rate, clip=1.0)

  def init():
    params = init_params()
    return TrainState(
      step=jnp.int32(0),
      params=params,
      batch_stats={},
      opt_state=tx.init(params),
      ema={},
      control=control.start(),
    )

  shapes = jax.eval_shape(init)
  placement = mesh_lib.place_params(shapes.params, mesh)
  shardings = mesh_lib.place_like(shapes, shapes.params, placement)
  step = step_lib.make_train_step(
    model,
    tx,
    rate,
    shardings,
    seed=0,
    class_weights=np.ones(NUM_CLASSES, np.float32),
  )
  batch = mesh_lib.shard_batch(make_batch(), mesh)
  start = jax.jit(init, out_shardings=shardings)
  return start, step.lower(shapes, batch).compile(), step, batch


@functools.cache
def train(dtype, steps=5):
  start, step, _, batch = prepare(dtype)
  state, history = start(), []
  for _ in range(steps):
    state, metrics = step(state, batch)
    history.append(jax.device_get(metrics))
  return jax.device_get(state), history


@pytest.mark.slow
def test_bfloat16_learns_as_float32_does_and_keeps_float32():
  state, history = train('bfloat16')
  _, expected = train('float32')
  assert all(metrics['finite'] for metrics in history)
  for half, full in zip(history, expected, strict=True):
    np.testing.assert_allclose(half['loss'], full['loss'], rtol=0.02)
    np.testing.assert_allclose(half['grad_norm'], full['grad_norm'], rtol=0.1)
  assert history[-1]['loss'] < 0.95 * history[0]['loss']
  kept = (state.params, state.opt_state)
  kinds = {leaf.dtype.name for leaf in jax.tree.leaves(kept)}
  assert kinds == {'float32', 'int32'}


def test_bfloat16_multiplies_16_bits():
  # XLA on a CPU may widen them again: what is asked for counts.
  text = (
    prepare('bfloat16')[2]
    .lower(jax.eval_shape(prepare('bfloat16')[0]), prepare('bfloat16')[3])
    .as_text()
  )
  products = [line for line in text.splitlines() if 'dot_general' in line]
  half = [line for line in products if 'bf16' in line]
  # Pooling and head are float32.
  assert len(half) > 0.7 * len(products)


def test_step_writes_its_state_over_the_one_before():
  start, step, _, batch = prepare('float32')
  state = start()
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  assert step.memory_analysis().alias_size_in_bytes == size
  places = [
    leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.params)
  ]
  new, _ = step(state, batch)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
  assert [
    leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(new.params)
  ] == places


def test_step_takes_nothing_from_the_host():
  start, _, step, batch = prepare('float32')
  state = start()
  with jax.transfer_guard('disallow'):
    state, metrics = step(state, batch)
    with pytest.raises(Exception, match='Disallowed host-to-device'):
      step(state, {k: np.asarray(v) for k, v in make_batch().items()})
  assert jax.device_get(metrics)['finite']
