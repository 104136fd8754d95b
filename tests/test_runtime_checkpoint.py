"""Checkpoints come back bit by bit, and say what is wrong with them."""

import gc
import pathlib
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.runtime import checkpoint, mesh

# Reads that Orbax abandons when one of them fails complain as they go.
abandons_reads = pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnraisableExceptionWarning'
)


@pytest.fixture(autouse=True)
def collect_within_the_test():
  yield
  gc.collect()


def make_items(seed=0):
  key = jax.random.key(seed)
  return {
    'params': {
      'a': jax.random.normal(key, (16, 8)),
      'b': {'c': jnp.array([np.nan, -0.0, np.inf, 1e-45], jnp.float32)},
    },
    'batch_stats': {},
    'training': {
      'step': jnp.int32(3),
      'half': jax.random.normal(key, (5,)).astype(jnp.bfloat16),
      'flag': jnp.array(True),
    },
  }


def to_abstract(items, sharding=None):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding or x.sharding
    ),
    items,
  )


def bits(tree):
  return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def save(directory, steps, scores=None, **options):
  store = checkpoint.Checkpoints(directory, metric='val/uar', **options)
  for number, step in enumerate(steps):
    metrics = scores and {'val/uar': scores[number]}
    store.save(step, make_items(step), metrics)
  store.close()


def test_everything_returns_bit_by_bit_on_another_mesh(tmp_path):
  items = make_items()
  store = checkpoint.Checkpoints(tmp_path / 'c')
  assert store.save(3, items)
  assert not store.save(3, items)
  store.close()
  store = checkpoint.Checkpoints(tmp_path / 'c', read_only=True)
  devices = mesh.make_mesh(2, 4)
  restored = store.restore(3, to_abstract(items, mesh.replicated(devices)))
  assert bits(restored) == bits(items)
  assert jax.tree.structure(restored) == jax.tree.structure(items)
  assert restored['params']['a'].sharding.mesh.shape == devices.shape


def test_a_save_may_be_followed_at_once_by_a_donating_step(tmp_path):
  store = checkpoint.Checkpoints(tmp_path / 'c')
  advance = jax.jit(lambda x: x * 0.5 + 1, donate_argnums=0)
  x = jax.random.normal(jax.random.key(0), (1 << 20,))
  expected = np.array(x)
  abstract = to_abstract({'params': {'x': x}})
  store.save(1, {'params': {'x': x}})
  for _ in range(5):
    x = advance(x)
  store.wait()
  restored = store.restore(1, abstract)['params']['x']
  np.testing.assert_array_equal(restored, expected)


def test_the_latest_the_best_and_regular_steps_are_kept(tmp_path):
  steps, scores = [1, 2, 3, 4, 5, 6, 7], [0.1, 0.5, 0.2, 0.5, 0.3, 0.3, 0.1]
  save(tmp_path / 'c', steps, scores, keep_every=3)
  store = checkpoint.Checkpoints(
    tmp_path / 'c', metric='val/uar', read_only=True
  )
  # Of the two best, at 2 and 4, the earlier stays.
  assert store.steps() == [2, 3, 6, 7]
  assert store.best_step() == store.find_step('best') == 2
  assert store.find_step('last') == 7
  assert store.find_step('6') == 6
  assert store.metrics(2)['val/uar'] == 0.5
  with pytest.raises(errors.AvemoError, match='there are: best, last, 2, 3'):
    store.find_step('5')


def test_the_smallest_is_best_on_request_and_unranked_ones_never(tmp_path):
  scores = [0.3, 0.1, float('nan'), 0.2]
  save(tmp_path / 'c', [1, 2, 3, 4], scores, mode='min')
  store = checkpoint.Checkpoints(tmp_path / 'c', metric='val/uar', mode='min')
  assert store.steps() == [2, 4]
  assert store.best_step() == 2


def test_without_a_metric_the_last_is_the_best(tmp_path):
  save(tmp_path / 'c', [1, 2])
  store = checkpoint.Checkpoints(tmp_path / 'c', read_only=True)
  assert store.steps() == [2]
  assert store.find_step('best') == 2


def test_half_written_and_missing_checkpoints(tmp_path):
  with pytest.raises(errors.AvemoError, match='no checkpoint'):
    checkpoint.Checkpoints(tmp_path / 'absent', read_only=True)
  save(tmp_path / 'c', [4])
  # What a kill in the middle of a save leaves behind.
  half = tmp_path / 'c' / '5.orbax-checkpoint-tmp'
  (half / 'params').mkdir(parents=True)
  store = checkpoint.Checkpoints(tmp_path / 'c')
  assert store.latest_step() == 4
  store.save(5, make_items(5))
  store.close()
  assert store.latest_step() == 5
  assert not half.exists()


def remove_item(folder: pathlib.Path):
  for path in sorted((folder / 'params').rglob('*'), reverse=True):
    path.unlink() if path.is_file() else path.rmdir()
  (folder / 'params').rmdir()


def truncate(folder: pathlib.Path):
  for path in (folder / 'params').rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(folder: pathlib.Path):
  for path in (folder / 'training').rglob('*'):
    if path.is_file():
      path.write_bytes(bytes(255 - b for b in path.read_bytes()))


@abandons_reads
@pytest.mark.parametrize('damage', [remove_item, truncate, scramble])
def test_damage_is_named_with_the_way_out(tmp_path, damage):
  save(tmp_path / 'c', [1, 2], keep_latest=2)
  damage(tmp_path / 'c' / '2')
  store = checkpoint.Checkpoints(tmp_path / 'c')
  with pytest.raises(errors.AvemoError) as caught:
    store.restore(2, to_abstract(make_items()))
  message = str(caught.value)
  assert f'{tmp_path}/c/2' in message
  assert 'remove that folder to go on from step 1' in message
  assert '\n' not in message
  assert bits(store.restore(1, to_abstract(make_items()))) == bits(
    make_items(1)
  )


def test_other_arrays_are_refused(tmp_path):
  save(tmp_path / 'c', [1])
  store = checkpoint.Checkpoints(tmp_path / 'c', read_only=True)
  wanted = to_abstract(make_items())
  wanted['params']['a'] = jax.ShapeDtypeStruct(
    (16, 9), jnp.float32, sharding=wanted['params']['a'].sharding
  )
  with pytest.raises(errors.AvemoError, match=r'a is \(16, 8\) in the check'):
    store.restore(1, wanted)
  wanted['params']['d'] = wanted['params'].pop('a')
  with pytest.raises(errors.AvemoError, match='absent in this run'):
    store.restore(1, wanted)


@abandons_reads
def test_a_disk_that_takes_no_more_is_told_in_a_line(tmp_path):
  store = checkpoint.Checkpoints(tmp_path / 'c')
  store.save(1, make_items())
  store.wait()
  large = {'params': {'x': jax.random.normal(jax.random.key(0), (1 << 18,))}}
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
  try:
    with pytest.raises(errors.AvemoError, match='(File too large).*goes on'):
      store.save(2, large)
      store.wait()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  # What was whole before is still there.
  again = checkpoint.Checkpoints(tmp_path / 'c', read_only=True)
  assert again.steps() == [1]
  restored = again.restore(1, to_abstract(make_items()))
  assert bits(restored) == bits(make_items())
