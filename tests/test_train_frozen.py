"""Blocks that are not trained keep their bits, whatever else is learned."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_run

from avemo import errors
from avemo.models import emotion, sections
from avemo.runtime import mesh as mesh_lib
from avemo.train import optim
from avemo.train import run as run_lib

VIT = {'width': 8, 'depth': 2, 'num_heads': 2, 'remat': False}
# Of each tower with blocks: small, and its clips likewise.
TOWERS = {
  'videomae': {'variant': 'tiny', **VIT},
  'spectrogram_vit': {'patch': (4, 4), 'stride': (4, 4), **VIT},
  'cnn': {'widths': (4, 4)},
  'cnn3d': {'widths': (4, 4)},
  'efficientnet': {'variant': 'tiny'},
  'wav2vec2': {'variant': 'tiny', 'remat': False},
}
# What the stem and the first block keep of a batch.
HELD = ('stem', 'blocks_0', 'blocks_0_0')
STEPS = 3


def has_blocks(tower):
  return 'frozen_blocks' in tower.__dataclass_fields__


def test_every_tower_with_blocks_is_tried():
  towers = dict(sections.VIDEO_TOWERS) | dict(sections.AUDIO_TOWERS)
  assert set(TOWERS) == {k for k, v in towers.items() if has_blocks(v)}


def names(tree):
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {mesh_lib.name_of(path): leaf for path, leaf in paths}


def take_steps(model, variables, batch, frozen_blocks):
  """Some steps; the variables after them, and the first one's gradient."""
  params, statistics = variables['params'], variables['batch_stats']
  tx = optim.make_optimizer(
    params, lambda count: 0.1, weight_decay=0.5, layer_decay=0.9, clip=1.0
  )
  tx = optim.hold_blocks(tx, params, frozen_blocks)

  def compute_loss(params, statistics):
    outputs, updated = model.apply(
      {'params': params, 'batch_stats': statistics},
      batch,
      train=True,
      mutable=['batch_stats'],
      rngs={'dropout': jax.random.key(0)},
    )
    loss = jax.nn.logsumexp(outputs['emotion'] * 3, axis=-1).sum()
    return loss, updated.get('batch_stats', statistics)

  @jax.jit
  def step(params, statistics, state):
    grads, statistics = jax.grad(compute_loss, has_aux=True)(params, statistics)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), statistics, state, grads

  state, first = tx.init(params), None
  for _ in range(STEPS):
    params, statistics, state, grads = step(params, statistics, state)
    first = grads if first is None else first
  return jax.device_get((params, statistics, first))


@pytest.mark.parametrize('name', TOWERS)
def test_frozen_blocks_keep_their_bits_and_nothing_else_does(name):
  part = 'video' if name in sections.VIDEO_TOWERS else 'audio'
  section = {'name': name, 'frozen_blocks': 1, **TOWERS[name]}
  reads_mels = name in ('spectrogram_vit', 'cnn')
  features = {'num_mels': 8} if reads_mels else {}
  model = emotion.Emotion(3, use=(part,), features=features, **{part: section})
  batch = emotion.example_batch(batch_size=2, frames=2, size=32, samples=2000)
  draw = np.random.default_rng(0)
  for key in ('frames', 'speech'):
    batch[key] = draw.integers(0, 255, batch[key].shape, batch[key].dtype)
  batch = {key: jnp.asarray(value) for key, value in batch.items()}
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  variables = {'batch_stats': {}} | jax.device_get(variables)
  params, statistics, grads = take_steps(model, variables, batch, {part: 1})
  before, after, grads = names(variables['params']), names(params), names(grads)
  for leaf, trained in optim.find_trained(params, {part: 1}).items():
    # What is held is what has no gradient, by block.
    axes = tuple(range(1, grads[leaf].ndim)) if optim.is_stacked(leaf) else None
    reached = (grads[leaf] != 0).any(axis=axes)
    np.testing.assert_array_equal(reached, np.ravel(trained) > 0, leaf)
    moved = (after[leaf] != before[leaf]).any(axis=axes)
    np.testing.assert_array_equal(moved, reached, leaf)
  for leaf, value in names(variables['batch_stats']).items():
    kept = np.array_equal(names(statistics)[leaf], value)
    assert kept == (leaf.split('/')[1] in HELD), leaf


def test_a_run_holds_the_blocks_that_its_config_names():
  tower = {'name': 'cnn', 'widths': (4, 4), 'frozen_blocks': 1}
  config = small_run.make_config(model={'audio': tower})
  run = run_lib.make_run(config, small_run.make_dataset())
  state = run.init()
  before = jax.device_get(state.params)
  batches = run.feed.train_batches(0)
  for batch in itertools.islice(batches, STEPS):
    batch = mesh_lib.shard_batch(batch, run.mesh)
    state, metrics = run.train_step(state, batch)
    assert metrics['finite']
  batches.close()
  same = jax.tree.map(np.array_equal, before, jax.device_get(state.params))
  assert jax.tree.all(same['audio']['blocks_0'])
  assert not jax.tree.all(same['audio']['blocks_1'])
  assert not jax.tree.all(same['head'])


def test_blocks_count_in_the_order_of_their_numbers():
  params = {'video': {f'blocks_{n}': {'w': np.ones(1)} for n in range(12)}}
  params['video'] |= {'blocks_2_1': {'w': np.ones(1)}, 'head': np.ones(1)}
  trained = optim.find_trained(params, {'video': 4, 'audio': 1})
  held = {name for name, share in trained.items() if not share}
  assert held == {
    f'video/blocks_{number}/w' for number in ('0', '1', '2', '2_1')
  }


def test_frozen_blocks_must_not_cut_the_other_tower_off():
  sections = {
    'use': ('video', 'audio'),
    'video': {'frozen_blocks': 2, **TOWERS['videomae']},
    'audio': {'name': 'spectrogram_vit', **TOWERS['spectrogram_vit']},
  }
  fusion = {'kind': 'early', 'early': {'join_at': 1}}
  with pytest.raises(errors.AvemoError, match='freeze at most 1'):
    emotion.Emotion(3, **sections, fusion=fusion)
