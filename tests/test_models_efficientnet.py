import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.models import efficientnet, emotion, heads


def draw(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape, np.float32)


def init(tower, frames):
  shapes = jax.eval_shape(lambda x: tower.init(jax.random.key(0), x), frames)
  leaves, structure = jax.tree.flatten(shapes)
  leaves = [0.6 + 0.3 * draw(*x.shape, seed=i) for i, x in enumerate(leaves)]
  variables = jax.tree.unflatten(structure, leaves)
  return variables | {
    'batch_stats': jax.tree.map(np.abs, variables['batch_stats'])
  }


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  ('variant', 'expected', 'tensors'),
  [('b0', 5_288_548, 360), ('b2', 9_109_994, 508)],
)
def test_variants_have_the_published_number_of_parameters(
  variant, expected, tensors
):
  tower = efficientnet.EfficientNet(variant)
  size = efficientnet.VARIANTS[variant].size
  tokens, variables = jax.eval_shape(
    lambda x: tower.init_with_output(jax.random.key(0), x),
    jnp.zeros((1, 2, size, size, 3)),
  )
  head = jax.eval_shape(
    heads.Head(1000).init, jax.random.key(0), jnp.zeros((1, tokens.shape[-1]))
  )
  assert tokens.shape == (1, 2, {'b0': 1280, 'b2': 1408}[variant])
  assert count(variables['params']) + count(head) == expected
  # timm counts batches in a tensor beside each pair of running statistics.
  num_norms = len(jax.tree.leaves(variables['batch_stats'])) // 2
  assert len(jax.tree.leaves([variables, head])) + num_norms == tensors


def test_widths_are_rounded_to_eight_but_not_far_down():
  assert [efficientnet.round_width(w, 1.1) for w in (16, 24, 40, 1280)] == [
    16,
    24,
    48,
    1408,
  ]
  assert efficientnet.round_width(40, 0.25) == 16
  assert efficientnet.round_width(16, 0.25) == 8


@pytest.fixture(scope='module')
def trained():
  """A training step of a model with two frozen blocks, and its variables."""
  video = {'name': 'efficientnet', 'variant': 'tiny', 'frozen_blocks': 2}
  model = emotion.Emotion(4, use=('video',), video=video)
  frames = np.random.default_rng(0).integers(0, 256, (3, 2, 16, 16, 3))
  batch = {
    'frames': frames.astype(np.uint8),
    # The second row is padding, the third has no picture.
    'has_video': np.array([True, True, False]),
    'mask': np.array([True, False, True]),
  }
  variables = init(model, batch)

  def loss(params, batch):
    outputs, changed = model.apply(
      variables | {'params': params}, batch, True, mutable=['batch_stats']
    )
    return jnp.square(outputs['emotion']).sum(), changed['batch_stats']['video']

  step = jax.jit(jax.grad(loss, has_aux=True))
  return (
    variables,
    batch,
    lambda x: jax.device_get(step(variables['params'], x)),
  )


def test_only_rows_with_a_picture_reach_the_statistics(trained):
  _, batch, step = trained
  _, before = step(batch)
  frames = batch['frames'].copy()
  frames[1:] = 255 - frames[1:]
  _, after = step(batch | {'frames': frames})
  check = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
  jax.tree.map(check, after, before)
  frames[0] = 255 - frames[0]
  _, other = step(batch | {'frames': frames})
  same = jax.tree.map(np.allclose, other['head'], before['head'])
  assert not all(jax.tree.leaves(same))


def test_frozen_blocks_keep_their_averages_and_the_others_learn(trained):
  variables, batch, step = trained
  grads, moved = step(batch)
  frozen = {'stem', 'blocks_0_0', 'blocks_1_0'}
  assert frozen < set(grads['video'])
  for name, tree in grads['video'].items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      assert np.isfinite(leaf).all(), (name, path)
      assert (np.abs(leaf).max() > 0) == (name not in frozen), (name, path)
  averages = variables['batch_stats']['video']
  for name, tree in moved.items():
    same = jax.tree.map(np.array_equal, tree, averages[name])
    assert set(jax.tree.leaves(same)) == {name in frozen}, name


def test_dropped_paths_leave_only_the_input_of_the_block():
  block = efficientnet.Block(3, 1, 6, 8, drop_path=0.5)
  x, mask = draw(16, 2, 2, 8), np.ones((16, 1, 1, 1), bool)
  shapes = jax.eval_shape(lambda x: block.init(jax.random.key(0), x, mask), x)
  leaves, structure = jax.tree.flatten(shapes)
  leaves = [0.6 + 0.3 * draw(*x.shape, seed=i) for i, x in enumerate(leaves)]
  variables = jax.tree.unflatten(structure, leaves)

  @jax.jit
  def run(key):
    rngs = {'dropout': key}
    return block.apply(
      variables, x, mask, train=True, mutable=['batch_stats'], rngs=rngs
    )[0]

  first, second = (np.asarray(run(jax.random.key(i))) for i in range(2))
  dropped, others = ((y == x).all((1, 2, 3)) for y in (first, second))
  assert 0 < dropped.sum() < 16
  assert not np.array_equal(dropped, others)
  both = ~dropped & ~others
  np.testing.assert_allclose(first[both], second[both], rtol=1e-5)
  # What stays is scaled up, so that its mean stays.
  plain = jax.jit(
    lambda x: block.clone(drop_path=0.0).apply(
      variables, x, mask, train=True, mutable=['batch_stats']
    )[0]
  )(x)
  np.testing.assert_allclose(
    first[~dropped] - x[~dropped],
    2 * (plain - x)[~dropped],
    rtol=1e-4,
    atol=1e-4,
  )


def test_wrong_options_are_refused():
  frames = draw(1, 1, 16, 16, 3)
  with pytest.raises(errors.AvemoError, match="'b1': did you mean 'b"):
    init(efficientnet.EfficientNet('b1'), frames)
  with pytest.raises(errors.AvemoError, match='frozen_blocks=6.*5 blocks'):
    init(efficientnet.EfficientNet('tiny', frozen_blocks=6), frames)
  with pytest.raises(errors.AvemoError, match='use fusion.kind=late'):
    emotion.Emotion(4, video={'name': 'efficientnet'}, fusion={'kind': 'early'})
