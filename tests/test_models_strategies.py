"""The pixels of all six strategies against loops over single pictures."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as draws

from avemo import errors
from avemo.models import strategies


def shrink_slowly(picture, height, width):
  """One picture of other sides, each pixel the mean over its area."""
  old_height, old_width, _ = picture.shape
  fine = np.repeat(np.repeat(picture, height, 0), width, 1).astype(np.float64)
  made = np.empty((height, width, 3))
  for y in range(height):
    for x in range(width):
      rows = slice(y * old_height, (y + 1) * old_height)
      columns = slice(x * old_width, (x + 1) * old_width)
      made[y, x] = fine[rows, columns].mean((0, 1))
  return np.round(made).astype(np.uint8)


def choose_slowly(clip, count, size):
  """`count` pictures from the middles of as many shares of a clip."""
  middles = [int((n + 0.5) * len(clip) / count) for n in range(count)]
  return [shrink_slowly(clip[place], size, size) for place in middles]


def join_slowly(strategy, clip, sound, count, size, run, saturate, order):
  each = count if strategy in ('cfas', 'sfas') else count // 2
  faces = choose_slowly(clip, each, size)
  sounds = choose_slowly(sound, each, size)
  if strategy == 'fslf':
    return sounds + faces
  if strategy == 'ffls':
    return faces + sounds
  pairs = zip(faces, sounds, strict=True)
  if strategy == 'cfas':
    return [shrink_slowly(np.vstack(pair), size, size) for pair in pairs]
  if strategy == 'sfas':
    sums = [face.astype(int) + heard for face, heard in pairs]
    ends = [np.minimum(x, 255) if saturate else x % 256 for x in sums]
    return [x.astype(np.uint8) for x in ends]
  turns = []
  for start in range(0, each, run):
    turns.append(faces[start : start + run])
    turns.append(sounds[start : start + run])
  if strategy == 'rfas':
    turns = [turns[number] for number in order]
  return [picture for turn in turns for picture in turn]


def make_options(strategy, run, saturate, orders):
  options = {'run': run} if strategy in strategies.TAKING_TURNS else {}
  options |= {'saturate': saturate} if strategy == 'sfas' else {}
  return options | ({'orders': orders} if strategy == 'rfas' else {})


def compare(strategy, seed, frames, sounds, side, count, size, run, saturate):
  draw = np.random.default_rng(seed)
  pixels = lambda n, h, w: draw.integers(0, 256, (2, n, h, w, 3), np.uint8)
  clips = pixels(frames, side, 2 * side)
  pictures = pixels(sounds, size, size)
  orders = np.stack([draw.permutation(count // run) for _ in range(2)])
  options = make_options(strategy, run, saturate, orders)
  found = strategies.STRATEGIES[strategy](
    clips, pictures, count=count, size=size, **options
  )
  assert found.dtype == np.uint8 and found.shape == (2, count, size, size, 3)
  for row in range(2):
    expected = join_slowly(
      strategy, clips[row], pictures[row], count, size, run, saturate,
      orders[row],
    )  # fmt: skip
    np.testing.assert_array_equal(found[row], expected)


@pytest.mark.parametrize('run', [1, 2])
@pytest.mark.parametrize('saturate', [True, False])
@pytest.mark.parametrize('strategy', strategies.STRATEGIES)
def test_pixels_equal_the_reference(strategy, saturate, run):
  compare(strategy, 0, 8, 4, 16, 8, 8, run, saturate)


@settings(max_examples=6, deadline=None)
@given(
  strategy=draws.sampled_from(list(strategies.STRATEGIES)),
  seed=draws.integers(0, 2**31),
  frames=draws.integers(1, 9),
  sounds=draws.integers(1, 9),
  side=draws.sampled_from([4, 8, 16]),
  runs=draws.integers(1, 3),
  run=draws.integers(1, 3),
  saturate=draws.booleans(),
)
def test_any_counts_and_sides(
  strategy, seed, frames, sounds, side, runs, run, saturate
):
  count = 2 * run * runs
  compare(strategy, seed, frames, sounds, side, count, 8, run, saturate)


def test_published_size_is_reached_from_any_other():
  draw = np.random.default_rng(0)
  clips = draw.integers(0, 256, (1, 20, 30, 40, 3), np.uint8)
  pictures = draw.integers(0, 256, (1, 16, 224, 224, 3), np.uint8)
  for strategy, join in strategies.STRATEGIES.items():
    options = {'orders': np.arange(8)[None]} if strategy == 'rfas' else {}
    join = functools.partial(join, **options)
    made = jax.eval_shape(join, clips, pictures)
    assert made.shape == (1, 16, 224, 224, 3)
    assert made.dtype == np.uint8
  # Edges of pixels that fall between others leave no more than a rounding.
  (found,) = strategies.fit(clips[:, :1], 1, 12)
  expected = shrink_slowly(clips[0, 0], 12, 12)
  assert np.abs(np.asarray(found[0], int) - expected).max() <= 1


def test_sums_wrap_only_as_published():
  bright = np.full((1, 16, 4, 4, 3), 200, np.uint8)
  for saturate, value in ((True, 255), (False, 144)):
    made = strategies.sfas(bright, bright, size=4, saturate=saturate)
    assert (made == value).all()


def test_orders_are_permutations_that_follow_their_key():
  keys = jax.random.split(jax.random.key(1), 5)
  orders = np.asarray(strategies.draw_orders(keys, 8))
  assert (np.sort(orders, 1) == np.arange(8)).all()
  assert len({tuple(row) for row in orders}) == 5
  np.testing.assert_array_equal(strategies.draw_orders(keys[:2], 8), orders[:2])


@pytest.mark.parametrize(
  ('strategy', 'count', 'run'),
  [('ofos', 10, 2), ('fslf', 7, 2), ('rfas', 4, 0)],
)
def test_counts_that_cannot_be_divided_are_refused(strategy, count, run):
  with pytest.raises(errors.AvemoError, match='use a multiple of'):
    strategies.check(strategy, count, run)
