"""The tower over films: shapes, padding, statistics, counts, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.models import cnn3d, pictures, sections

SMALL = {'widths': (4, 6), 'cells': 2}


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def both(tower, frames, mask=None, *, train=False):
  tokens = tower(frames, mask, train=train)
  return tokens, tower.pool(tokens)


def init(tower, frames):
  # A small call of its own for every operation would take longer to compile.
  return jax.jit(lambda x: tower.init(jax.random.key(1), x, method=both))(
    frames
  )


def run(tower, variables, frames, mask=None, *, train=True):
  apply = functools.partial(
    tower.apply, train=train, method=both, mutable=['batch_stats']
  )
  return jax.jit(apply)(variables, frames, mask)


def convolve(x, kernel):
  """Cross-correlation [T, H, W, C] of equal size, zeros outside, in NumPy."""
  span, height, width = kernel.shape[:3]
  sides = [(n // 2, n // 2) for n in (span, height, width)]
  padded = np.pad(x, [*sides, (0, 0)])
  return sum(
    padded[
      t : t + x.shape[0], h : h + x.shape[1], w : w + x.shape[2]
    ] @ kernel[t, h, w]
    for t in range(span) for h in range(height) for w in range(width)
  )  # fmt: skip


@pytest.mark.parametrize('span, size', [(3, (5, 8, 8)), (1, (3, 8, 4))])
def test_tower_equals_numpy(span, size):
  tower = cnn3d.CNN3D(widths=(4, 6), span=span)
  frames = draw(2, *size, 3)
  variables = init(tower, frames)
  (tokens, feature), _ = run(tower, variables, frames, train=False)
  for row, film in enumerate(frames):
    x = np.float64(film)
    for number in range(2):
      p = variables['params'][f'blocks_{number}']
      x = convolve(x, np.float64(p['kernel'])) / np.sqrt(1 + 1e-5)
      x = np.maximum(x, 0)
      axes = (0, 1, 2) if number and span > 1 else (1, 2)
      for axis in axes:
        x = np.pad(x, [(0, x.shape[a] % 2 * (a == axis)) for a in range(4)])
        even, odd = (
          np.take(x, range(s, x.shape[axis], 2), axis) for s in (0, 1)
        )
        x = np.maximum(even, odd)
    np.testing.assert_allclose(tokens[row], x.mean((1, 2)), atol=1e-4)
    np.testing.assert_allclose(feature[row], x.mean((0, 1, 2)), atol=1e-4)


def test_padded_rows_reach_neither_statistics_nor_features():
  tower = cnn3d.CNN3D(**SMALL)
  frames = draw(2, 4, 8, 8, 3)
  variables = init(tower, frames)
  more = np.concatenate([frames, 100 * draw(2, 4, 8, 8, 3, seed=1)])
  plain = run(tower, variables, frames)
  padded = run(tower, variables, more, np.array([True, True, False, False]))
  np.testing.assert_allclose(
    padded[0][1][:2], plain[0][1], rtol=1e-4, atol=1e-5
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    padded[1],
    plain[1],
  )
  # Without the mask they would.
  other = run(tower, variables, more)[1]['batch_stats']['blocks_0']['norm']
  own = plain[1]['batch_stats']['blocks_0']['norm']
  assert np.abs(other['var'] - own['var']).max() > 1


def test_cells_keep_where_something_is():
  left, right = np.zeros((2, 1, 2, 8, 8, 1), np.float32)
  left[..., 1:3, 1:3, :] = 1
  right[..., 1:3, 5:7, :] = 1
  for cells, differs in ((1, False), (2, True)):
    tower = cnn3d.CNN3D(widths=(4,), cells=cells)
    variables = init(tower, left)
    one, other = (
      run(tower, variables, x, train=False)[0][1] for x in (left, right)
    )
    assert one.shape == (1, 4 * cells**2)
    assert (np.abs(one - other).max() > 1e-3) == differs


def test_film_is_read_in_its_order_unless_picture_by_picture():
  frames = draw(1, 4, 8, 8, 3)
  for span, differs in ((3, True), (1, False)):
    tower = cnn3d.CNN3D(widths=(4, 6), span=span)
    variables = init(tower, frames)
    one, other = (
      run(tower, variables, x, train=False)[0][1]
      for x in (frames, frames[:, [2, 0, 3, 1]])
    )
    assert (np.abs(one - other).max() > 1e-4) == differs


def test_gradient_reaches_every_parameter_but_frozen_ones():
  frames = draw(2, 4, 8, 8, 3)
  tower = cnn3d.CNN3D(**SMALL, frozen_blocks=1)
  variables = init(tower, frames)

  def loss(params):
    (_, feature), changed = run(tower, variables | {'params': params}, frames)
    return jnp.square(feature).sum(), changed

  grads, changed = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads['blocks_0']))
  assert all(np.any(leaf) for leaf in jax.tree.leaves(grads['blocks_1']))
  np.testing.assert_array_equal(
    changed['batch_stats']['blocks_0']['norm']['mean'],
    variables['batch_stats']['blocks_0']['norm']['mean'],
  )


# Parameters on frames of three channels.
COUNTS = {'tiny': 18_040, 'small': 292_080, 'base': 2_934_752}


@pytest.mark.parametrize('variant', cnn3d.VARIANTS)
def test_every_variant_has_its_parameters(variant):
  tower = cnn3d.CNN3D(variant)
  shapes = jax.eval_shape(lambda: init(tower, jnp.zeros((1, 20, 112, 112, 3))))
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes['params']))
  widths = (3, *cnn3d.VARIANTS[variant])
  by_hand = sum(
    27 * a * b + 2 * b for a, b in zip(widths, widths[1:], strict=False)
  )
  assert count == by_hand == COUNTS[variant]


def test_published_size_gives_tokens_of_half_time_by_block():
  tower = cnn3d.CNN3D('base', cells=2)
  tokens, feature = jax.eval_shape(
    lambda x: tower.init_with_output(jax.random.key(0), x, method=both)[0],
    jnp.zeros((2, 20, 112, 112, 3)),
  )
  assert tokens.shape == (2, 2, 1024) and feature.shape == (2, 1024)


def test_wrong_options_are_told():
  frames = draw(1, 4, 8, 8, 3)
  with pytest.raises(errors.AvemoError, match='cells=3.*2x2'):
    init(cnn3d.CNN3D(widths=(4, 6), cells=3), frames)
  with pytest.raises(errors.AvemoError, match='span=2: an odd'):
    init(cnn3d.CNN3D(span=2), frames)
  with pytest.raises(errors.AvemoError, match='frozen_blocks=4'):
    init(cnn3d.CNN3D('tiny', frozen_blocks=4), frames)
  assert sections.VIDEO_TOWERS['cnn3d'] is cnn3d.CNN3D


def test_pictures_are_normalised_as_asked():
  frames = np.random.default_rng(0).integers(0, 256, (2, 1, 4, 4, 3), np.uint8)
  grey = frames @ np.array([0.299, 0.587, 0.114]) / 255
  made = pictures.normalize(frames, grey=True, mean=0.4, std=0.2)
  assert made.shape == (2, 1, 4, 4, 1)
  np.testing.assert_allclose(made[..., 0], (grey - 0.4) / 0.2, atol=1e-5)
  usual = pictures.normalize(frames)
  expected = (frames / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  np.testing.assert_allclose(usual, expected, atol=1e-5)
