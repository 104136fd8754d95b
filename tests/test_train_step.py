"""The step on one device and on eight, whole and in parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from avemo import errors
from avemo.evaluate import restore
from avemo.runtime import mesh as mesh_lib
from avemo.train import control, losses, optim
from avemo.train import step as step_lib
from avemo.train.state import TrainState

NUM_CLASSES = 3


class Small(nn.Module):
  """Two dense layers on pictures and speech, with dropout on request."""

  dropout: float = 0.0
  tasks: tuple[str, ...] = ('emotion',)

  @nn.compact
  def __call__(self, batch, train=False):
    x = jnp.concatenate(
      [
        batch['frames'].astype(jnp.float32).mean((1, 2, 3)) / 255,
        batch['speech'].astype(jnp.float32) / 32768,
      ],
      axis=-1,
    )
    x = nn.relu(nn.Dense(64, name='first')(x))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    sizes = {'valence_arousal': 2, 'action_units': 12}
    outputs = {'emotion': nn.Dense(NUM_CLASSES, name='second')(x)}
    return outputs | {t: nn.Dense(sizes[t])(x) for t in self.tasks[1:]}


def make_batch(size=16, seed=0):
  rng = np.random.default_rng(seed)
  emotion = rng.integers(0, NUM_CLASSES, size)
  mask = np.ones((size, NUM_CLASSES), bool)
  mask[::4, (emotion[0] + 1) % NUM_CLASSES] = emotion[::4] != emotion[0] - 1
  mask[np.arange(size), emotion] = True
  target = np.eye(NUM_CLASSES, dtype=np.float32)[emotion]
  target[3] = 0
  yes = np.ones(size, bool)
  return {
    'frames': rng.integers(0, 256, (size, 2, 8, 8, 3), np.uint8),
    'speech': rng.integers(-9999, 9999, (size, 64)).astype(np.int16),
    'speech_length': np.full(size, 64, np.int32),
    'has_video': yes,
    'has_audio': yes,
    'emotion': emotion.astype(np.int32),
    'target': target,
    'class_mask': mask,
    'mask': np.arange(size) != 5,
    'record': np.arange(size, dtype=np.int32),
    'view': np.zeros(size, np.int32),
    'valence_arousal': rng.uniform(-1, 1, (size, 2)).astype(np.float32),
    'valence_arousal_mask': rng.random((size, 2)) < 0.7,
    'action_units': rng.integers(0, 2, (size, 12)).astype(np.float32),
    'action_units_mask': rng.random((size, 12)) < 0.7,
  }


@functools.cache
def compile_parts(
  mesh,
  *,
  dropout=0.0,
  augment=(),
  ema=0.9,
  accumulate=1,
  seed=0,
  tasks=('emotion',),
  continuous='ccc',
):
  """Jitted: the state before the first step, and the step."""
  model = Small(dropout, tasks)
  example = {k: v[:1] for k, v in make_batch().items()}
  rate = optim.make_schedule(steps=10, lr=0.05, warmup=2)
  params = jax.eval_shape(
    lambda: model.init(jax.random.key(0), example)['params']
  )
  tx = optim.make_optimizer(params, rate, weight_decay=0.1, clip=1.0)

  def init():
    params = model.init(jax.random.key(0), example)['params']
    return TrainState(
      step=jnp.int32(0),
      params=params,
      batch_stats={},
      opt_state=tx.init(params),
      ema=params if ema else {},
      control=control.start(),
    )

  shapes = jax.eval_shape(init)
  placement = mesh_lib.place_params(shapes.params, mesh, smallest=0)
  shardings = mesh_lib.place_like(shapes, shapes.params, placement)
  step = step_lib.make_train_step(
    model,
    tx,
    rate,
    shardings,
    seed=seed,
    augment={name: {} for name in augment},
    class_weights=np.float32([1.0, 2.0, 0.5]),
    label_smoothing=0.1,
    accumulate=accumulate,
    ema=ema,
    tasks=tasks,
    continuous=continuous,
    unit_weights=np.linspace(0.5, 2, 12, dtype=np.float32),
    task_weights={'valence_arousal': 0.5},
  )
  return jax.jit(init, out_shardings=shardings), step, shardings


def prepare(mesh, **options):
  """A state before the first step, and the step."""
  init, step, shardings = compile_parts(mesh, **options)
  return init(), step, shardings


def run(mesh, steps=3, **options):
  state, step, _ = prepare(mesh, **options)
  history = []
  for number in range(steps):
    batch = mesh_lib.shard_batch(make_batch(seed=number), mesh)
    state, metrics = step(state, batch)
    history.append(jax.device_get(metrics))
  return jax.device_get(state), history


@pytest.fixture(scope='module')
def alone():
  return mesh_lib.make_mesh(devices=jax.devices()[:1])


@pytest.fixture(scope='module')
def expected(alone):
  return run(alone)


@pytest.mark.parametrize('shape', [(8, 1), (1, 8), (4, 2)])
def test_eight_devices_do_what_one_does(shape, expected):
  mesh = mesh_lib.make_mesh(*shape)
  state, history = run(mesh)
  for one, other in zip(expected[1], history, strict=True):
    for name in one:
      np.testing.assert_allclose(other[name], one[name], rtol=1e-5, atol=1e-5)
  for part in ('params', 'ema'):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      getattr(state, part),
      getattr(expected[0], part),
    )


def test_the_loss_is_that_of_numpy(alone, expected):
  state, _, _ = prepare(alone)
  batch = make_batch()
  logits = Small().apply({'params': state.params}, batch)['emotion']
  each = losses.cross_entropy(
    logits, batch['target'], batch['class_mask'], label_smoothing=0.1
  )
  weights = batch['target'] @ np.float32([1.0, 2.0, 0.5]) * batch['mask']
  assert weights[3] == weights[5] == 0
  loss = (np.asarray(each) * weights).sum() / weights.sum()
  np.testing.assert_allclose(expected[1][0]['loss'], loss, rtol=1e-5)


def test_metrics_are_those_of_the_step(expected):
  history = expected[1]
  rates = [metrics['learning_rate'] for metrics in history]
  np.testing.assert_allclose(rates, [0.025, 0.05, 0.05], rtol=1e-6)
  assert all(metrics['finite'] for metrics in history)
  assert expected[0].step == 3
  assert all(0 <= metrics['accuracy'] <= 1 for metrics in history)
  assert history[0]['param_norm'] != history[1]['param_norm']


def test_parts_of_a_batch_sum_to_the_whole(expected):
  mesh = mesh_lib.make_mesh(2, 2, devices=jax.devices()[:4])
  _, history = run(mesh, accumulate=4)
  for one, other in zip(expected[1], history, strict=True):
    for name in one:
      np.testing.assert_allclose(other[name], one[name], rtol=1e-5, atol=1e-6)
  with pytest.raises(errors.AvemoError, match='multiple of 24'):
    run(mesh_lib.make_mesh(), accumulate=3)
  # A partner may lie in another part.
  with pytest.raises(errors.AvemoError, match='feature_mixup'):
    run(mesh, accumulate=4, augment=('feature_mixup',))


TASKS = ('emotion', 'valence_arousal', 'action_units')


def test_several_tasks_on_eight_devices_and_in_parts(alone):
  _, expected = run(alone, tasks=TASKS)
  first = expected[0]
  np.testing.assert_allclose(
    first['loss'],
    first['loss_emotion']
    + 0.5 * first['loss_valence_arousal']
    + first['loss_action_units'],
    rtol=1e-5,
  )
  # Concordance is that of the whole batch, wherever its rows lie.
  _, spread = run(mesh_lib.make_mesh(), tasks=TASKS)
  for one, other in zip(expected, spread, strict=True):
    for name in one:
      np.testing.assert_allclose(
        other[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name
      )
  # Squares and cross entropies sum over parts; concordance is each part's.
  _, whole = run(alone, tasks=TASKS, continuous='mse', steps=1)
  _, parts = run(alone, tasks=TASKS, continuous='mse', steps=1, accumulate=4)
  for name in whole[0]:
    np.testing.assert_allclose(
      parts[0][name], whole[0][name], rtol=1e-4, atol=1e-5, err_msg=name
    )


def test_shardings_stay_and_the_state_is_donated():
  mesh = mesh_lib.make_mesh(4, 2)
  state, step, shardings = prepare(mesh)
  kernel = state.params['first']['kernel']
  new, _ = step(state, mesh_lib.shard_batch(make_batch(), mesh))
  assert kernel.is_deleted()
  assert jax.tree.map(lambda x: x.sharding, new) == shardings
  assert not new.params['first']['kernel'].sharding.is_fully_replicated
  adam = new.opt_state[1]
  assert adam.mu['first']['kernel'].sharding == kernel.sharding


def test_draws_follow_from_seed_and_step(alone):
  options = {'dropout': 0.5, 'augment': ('flip', 'gain')}
  first, again = run(alone, **options), run(alone, **options)
  assert first[1] == again[1]
  other = run(alone, steps=1, seed=1, **options)
  assert first[1][0]['loss'] != other[1][0]['loss']
  # The step's number alone moves the draws on.
  batch = mesh_lib.shard_batch(make_batch(), alone)
  found = set()
  for number in (0, 7):
    state, step, _ = prepare(alone, **options)
    state = TrainState(**vars(state) | {'step': jnp.int32(number)})
    found.add(float(step(state, batch)[1]['loss']))
  assert len(found) == 2


def test_what_is_not_finite_changes_nothing(alone):
  state, step, _ = prepare(alone)
  before = jax.device_get(state)
  batch = make_batch()
  batch['target'][0] = np.inf
  new, metrics = step(state, mesh_lib.shard_batch(batch, alone))
  assert not metrics['finite']
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(new), before)


def test_the_plateau_scales_the_learning_rate(alone):
  found = []
  for scale in (1.0, 0.25):
    state, step, _ = prepare(alone)
    changed = state.control | {'scale': jnp.float32(scale)}
    state = TrainState(**vars(state) | {'control': changed})
    batch = mesh_lib.shard_batch(make_batch(), alone)
    found.append(jax.device_get(step(state, batch)[1]))
  for name in ('learning_rate', 'update_norm'):
    np.testing.assert_allclose(found[1][name], found[0][name] / 4, rtol=1e-6)


def test_frozen_towers_run_as_in_evaluation():
  section = {
    'use': ('audio',),
    'audio': {'name': 'cnn', 'widths': (4,)},
    'features': {'num_mels': 8},
  }
  batch = make_batch()
  batch['speech'] = np.tile(batch['speech'], (1, 20))
  batch['speech_length'] = np.full(16, 1280, np.int32)
  found = {}
  for frozen in ((), ('audio',)):
    model = restore.make_model(section, num_classes=3, frozen=frozen)
    variables = jax.jit(model.init)(jax.random.key(0), batch)
    apply = jax.jit(model.apply, static_argnames=('train', 'mutable'))
    outputs, updated = apply(
      variables, batch, train=True, mutable=('batch_stats',)
    )
    still = apply(variables, batch, train=False)
    found[frozen] = (
      np.allclose(outputs['emotion'], still['emotion'], atol=1e-6),
      jax.tree.all(
        jax.tree.map(
          np.array_equal, updated['batch_stats'], variables['batch_stats']
        )
      ),
    )
  assert found[()] == (False, False)
  assert found['audio',] == (True, True)
