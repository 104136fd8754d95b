"""Gradients of losses and heads: right, and zero where nothing is known.

Against finite differences in float64, in which both agree to seven digits.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from avemo.metrics import regression
from avemo.models import heads
from avemo.train import losses

TASKS = ('emotion', 'valence_arousal')
CLASSES, WIDTH = 4, 5
FORMS = {
  'plain': {},
  'hidden': {'hidden': 3},
  'layers': {'layers': (6, 3)},
  'batch_norm': {'layers': (6, 3), 'batch_norm': True},
}


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


def make_batch(size=7, seed=0, unlabelled=(), padding=()):
  """Features, and labels of both tasks; rows without any, rows of padding."""
  rng = np.random.default_rng(seed)
  known = ~np.isin(np.arange(size), unlabelled)
  values = rng.uniform(-1, 1, (size, 2))
  mask = np.tile(known[:, None], (1, 2))
  # Of one clip the arousal alone is known.
  mask[0, 0] = False
  target = np.eye(CLASSES)[rng.integers(CLASSES, size=size)]
  batch = {
    'mask': ~np.isin(np.arange(size), padding),
    'target': np.where(known[:, None], target, 0.0),
    'class_mask': np.ones((size, CLASSES), bool),
    'valence_arousal': np.where(mask, values, 0.0),
    'valence_arousal_mask': mask,
  }
  weights = losses.weigh_examples(batch, np.ones(CLASSES))
  batch['share'] = np.asarray(weights / np.maximum(weights.sum(), 1e-9))
  batch['valence_arousal_share'] = np.asarray(
    losses.share_values(batch, 'valence_arousal'), np.float64
  )
  return rng.normal(size=(size, WIDTH)), batch


def make_loss(batch, form, **options):
  """From parameters and features to the losses by task; and parameters."""
  model = heads.Heads(CLASSES, TASKS, **FORMS[form])
  size = len(batch['mask'])
  features = {'x': jnp.zeros((size, WIDTH))}
  variables = jax.jit(model.init)(jax.random.key(0), features)
  variables = jax.tree.map(lambda x: np.asarray(x, np.float64), variables)
  stats = variables.get('batch_stats', {})

  def compute(params, features):
    outputs, _ = model.apply(
      {'params': params, 'batch_stats': stats},
      {'x': features},
      {'x': batch['mask']},
      train=True,
      mutable=['batch_stats'],
    )
    return losses.measure(outputs['x'], batch, TASKS, **options)

  # A fresh head is near 0, where much of what could be wrong is small.
  params = jax.tree.map(lambda x: 5 * x, variables['params'])
  return jax.jit(compute), params


@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize('kind', losses.KINDS)
def test_continuous_losses_have_the_gradient_of_their_differences(kind):
  _, batch = make_batch(padding=(3,))
  prediction = np.random.default_rng(1).uniform(-1, 1, (7, 2))
  compute = jax.jit(
    functools.partial(
      losses.continuous_loss,
      kind,
      truth=batch['valence_arousal'],
      share=batch['valence_arousal_share'],
    )
  )
  assert compute(prediction).dtype == np.float64
  check_grads(compute, (prediction,), order=2, modes=['rev'], rtol=1e-6)


@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize('form', FORMS)
def test_heads_have_the_gradient_of_their_differences(form):
  features, batch = make_batch(unlabelled=(2,), padding=(3,))
  compute, params = make_loss(batch, form, label_smoothing=0.1)

  def total(params, features):
    found = compute(params, features)
    return found['emotion'] + 0.5 * found['valence_arousal']

  assert total(params, features).dtype == np.float64
  check_grads(
    total, (params, features), order=1, modes=['rev'], rtol=1e-6, eps=1e-6
  )


@pytest.mark.parametrize('form', FORMS)
def test_a_task_without_a_label_moves_no_parameter_and_no_input(form):
  features, batch = make_batch()
  batch['valence_arousal_mask'] &= False
  batch['valence_arousal_share'] = losses.share_values(batch, 'valence_arousal')
  compute, params = make_loss(batch, form)
  for task, moved in (('valence_arousal', False), ('emotion', True)):
    grads = jax.jit(
      jax.grad(lambda *given, task=task: compute(*given)[task], (0, 1))
    )(params, features)
    assert np.any(grads[1]) == moved
    head = grads[0]['x']
    assert np.any(head['emotion']['kernel']) == moved
    assert not any(map(np.any, jax.tree.leaves(head['valence_arousal'])))
    if not moved:
      assert not any(map(np.any, jax.tree.leaves(grads)))


@pytest.mark.parametrize('form', FORMS)
def test_masked_labels_move_no_input(form):
  features, batch = make_batch(unlabelled=(2, 5), padding=(3,))
  compute, params = make_loss(batch, form)
  total = lambda *given: sum(compute(*given).values())
  grads = np.asarray(jax.jit(jax.grad(total, 1))(params, features))
  assert np.isfinite(grads).all() and grads[[0, 1, 4, 6]].any()
  assert not grads[3].any()
  # Batch statistics are those of all clips, labelled or not.
  assert grads[[2, 5]].any() == (form == 'batch_norm')
  # One value of a clip without a label: through that output no gradient.
  values = jax.grad(
    lambda value: losses.continuous_loss(
      'ccc', value, batch['valence_arousal'], batch['valence_arousal_share']
    )
  )(np.random.default_rng(2).uniform(-1, 1, (7, 2)))
  assert not values[0, 0] and values[0, 1]


def test_padding_and_missing_clips_stay_out_of_the_statistics():
  features, _ = make_batch()
  counts = np.array([1, 1, 0, 1, 0, 1, 1], bool)
  model = heads.Heads(CLASSES, TASKS, layers=(3,), batch_norm=True)
  variables = model.init(jax.random.key(0), {'x': features})

  def run(features):
    outputs, updated = model.apply(
      variables,
      {'x': features},
      {'x': counts},
      train=True,
      mutable=['batch_stats'],
    )
    return outputs['x']['emotion'][counts], updated

  strange = np.where(counts[:, None], features, 1e3)
  jax.tree.map(np.testing.assert_array_equal, run(features), run(strange))
  mean = run(features)[1]['batch_stats']['x']['layer_0_norm']['mean']
  kernel = variables['params']['x']['layer_0']['kernel']
  expected = 0.1 * (features[counts] @ kernel).mean(0)
  np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ('form', 'size'), [(form, 1) for form in FORMS] + [('batch_norm', 2)]
)
def test_a_batch_of_one_and_constant_targets_stay_finite(form, size):
  features, batch = make_batch(size)
  batch['valence_arousal'][:] = 0.3
  compute, params = make_loss(batch, form)

  def total(params, features):
    return sum(compute(params, features).values())

  differentiate = jax.jit(jax.value_and_grad(total, (0, 1)))
  for given_features in (features, np.zeros_like(features)):
    loss, grads = differentiate(params, given_features)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


differentiate_ccc = jax.jit(
  jax.value_and_grad(functools.partial(losses.continuous_loss, 'ccc'))
)
numbers = st.floats(-1, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.sampled_from([1, 2, 5]))
def test_ccc_loss_is_one_minus_the_metric_whatever_the_labels(data, size):
  draw = lambda kind: np.float32(
    data.draw(st.lists(kind, min_size=2 * size, max_size=2 * size))
  ).reshape(size, 2)
  # Constants, in truth, in prediction or in both, are as likely as not.
  truth = draw(data.draw(st.sampled_from([numbers, st.just(0.3)])))
  prediction = draw(data.draw(st.sampled_from([numbers, st.just(-0.7)])))
  known = draw(st.booleans()).astype(bool)
  batch = {'x_mask': known, 'mask': np.ones(size, bool)}
  share = losses.share_values(batch, 'x')
  loss, grads = differentiate_ccc(prediction, np.where(known, truth, 0), share)
  assert np.isfinite(grads).all() and not np.asarray(grads)[~known].any()
  columns = [k for k in range(2) if known[:, k].any()]
  expected = [
    1 - regression.ccc(truth[known[:, k], k], prediction[known[:, k], k])
    for k in columns
  ]
  # Truths that differ by less than 1e-6 count as constant in float32.
  spread = [np.std(truth[known[:, k], k]) for k in columns]
  if all(s == 0 or s > 1e-3 for s in spread):
    np.testing.assert_allclose(loss, np.mean(expected or [0]), atol=2e-3)
