"""Towers that start from weights trained before: what is taken, whereto."""

import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run

from avemo import errors
from avemo.runtime import checkpoint, writers
from avemo.runtime import mesh as mesh_lib
from avemo.train import about, init, loop, sources
from avemo.train import run as run_lib
from avemo.train import state as state_lib

TOWER = {'variant': 'tiny', 'width': 16, 'depth': 2, 'num_heads': 2}
PARAMS = {
  'video': {
    'patch_embed': {'kernel': (8, 16), 'bias': (16,)},
    'encoder': {'blocks': {'fc1': {'kernel': (2, 16, 64), 'bias': (2, 64)}}},
    'fc_norm': {'scale': (16,), 'bias': (16,)},
  },
  'head': {'kernel': (16, 3)},
}


def fill(shapes, seed):
  draw = np.random.default_rng(seed)
  return jax.tree.map(
    lambda shape: draw.standard_normal(shape, np.float32),
    shapes,
    is_leaf=lambda x: isinstance(x, tuple),
  )


def make_params():
  """Fresh ones, split over eight devices where they can be."""
  params = fill(PARAMS, seed=0)
  mesh = mesh_lib.make_mesh(2, 4)
  placement = mesh_lib.place_params(params, mesh, smallest=0)
  return mesh_lib.put(params, placement.shardings)


def make_given():
  """Of a pretraining: another norm, a decoder."""
  given = fill(PARAMS, seed=1)
  given['video']['norm'] = given['video'].pop('fc_norm')
  given['decoder'] = given.pop('head')
  return given


@pytest.mark.parametrize('kind', ['arrays', 'folder', 'mapped'])
def test_a_tower_is_taken_and_the_rest_is_left(tmp_path, kind):
  params, given = make_params(), make_given()
  before = jax.device_get(params)
  source = given
  if kind == 'folder':
    store = checkpoint.Checkpoints(tmp_path)
    store.save(1, {'params': given})
    store.close()
    source = sources.of_folder(tmp_path / '1' / 'params')
  elif kind == 'mapped':
    np.save(tmp_path / 'x.npy', given['video']['patch_embed']['kernel'])
    mapped = np.load(tmp_path / 'x.npy', mmap_mode='r')
    source['video']['patch_embed']['kernel'] = mapped
  new, account = init.load(params, source, 'video')
  assert set(account.loaded) == {
    'video/patch_embed/kernel',
    'video/patch_embed/bias',
    'video/encoder/blocks/fc1/kernel',
    'video/encoder/blocks/fc1/bias',
  }
  assert set(account.fresh) == {'video/fc_norm/scale', 'video/fc_norm/bias'}
  assert set(account.ignored) == {'video/norm/scale', 'video/norm/bias'}
  assert not account.resized
  for name in ('patch_embed', 'encoder'):
    jax.tree.map(
      np.testing.assert_array_equal,
      jax.device_get(new['video'][name]),
      given['video'][name],
    )
  for tree, old in (
    (new['head'], before['head']),
    (new['video']['fc_norm'], before['video']['fc_norm']),
  ):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(tree), old)


def test_leaves_arrive_where_the_old_ones_lay_which_are_gone():
  params = make_params()
  before = jax.tree.map(lambda x: x.sharding, params)
  old = params['video']['encoder']['blocks']['fc1']['kernel']
  kept = params['head']['kernel']
  assert not old.sharding.is_fully_replicated
  new, _ = init.load(params, make_given(), 'video')
  assert jax.tree.map(lambda x: x.sharding, new) == before
  assert old.is_deleted() and not kept.is_deleted()


def test_other_shapes_are_refused_unless_skipped():
  given = make_given()
  given['video']['patch_embed']['kernel'] = np.zeros((9, 16), np.float32)
  with pytest.raises(errors.AvemoError) as caught:
    init.load(make_params(), given, 'video')
  for word in ('video/patch_embed/kernel', r'(9, 16)', r'(8, 16)', 'init.skip'):
    assert word in str(caught.value)
  new, account = init.load(
    make_params(), given, 'video', skip=(r'video/patch_embed/.*',)
  )
  assert {'video/patch_embed/kernel', 'video/patch_embed/bias'} <= {
    *account.fresh
  }
  np.testing.assert_array_equal(
    new['video']['patch_embed']['kernel'],
    make_params()['video']['patch_embed']['kernel'],
  )


def test_a_matrix_must_be_there_and_a_bias_need_not():
  given = make_given()
  del given['video']['encoder']['blocks']['fc1']['bias']
  _, account = init.load(make_params(), given, 'video')
  assert 'video/encoder/blocks/fc1/bias' in account.fresh
  del given['video']['encoder']['blocks']['fc1']['kernel']
  message = r'has no video/encoder/blocks/fc1/kernel \(2, 16, 64\)'
  with pytest.raises(errors.AvemoError, match=message):
    init.load(make_params(), given, 'video')
  given['video'].clear()
  with pytest.raises(errors.AvemoError, match='nothing of such a tower'):
    init.load(make_params(), given, 'video')


def test_a_rule_resizes_what_it_is_for():
  given = make_given()
  table = np.arange(64, dtype=np.float32).reshape(4, 16)
  given['video']['patch_embed']['kernel'] = table
  rule = {r'video/patch_embed/kernel': lambda x, shape: np.resize(x, shape)}
  params = make_params()
  sharding = params['video']['patch_embed']['kernel'].sharding
  new, account = init.load(params, given, 'video', resizes=rule)
  assert account.resized == ('video/patch_embed/kernel',)
  found = new['video']['patch_embed']['kernel']
  np.testing.assert_array_equal(found, np.concatenate([table, table]))
  assert found.sharding == sharding


# ---------------------------------------------------------------- whole runs


@pytest.fixture(scope='module')
def dataset():
  return small_run.make_dataset(frames=4)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory, dataset):
  workdir = tmp_path_factory.mktemp('pretrained')
  config = small_run.make_pretraining_config()
  run = run_lib.make_run(config, dataset)
  # What training would leave, without its minute of compilation.
  about.write(workdir, config, run)
  store = checkpoint.Checkpoints(workdir / 'checkpoints', **run.keep)
  state = run.init()
  for step, loss in ((1, 0.5), (2, 0.7)):
    ema = jax.tree.map(lambda x, s=step: np.asarray(x) + s, state.ema)
    items = state_lib.to_items(state) | {'ema': ema}
    store.save(step, items, {'val/loss': loss})
  store.close()
  return workdir


def make_config(steps=3, **sections):
  """A classifier by picture, with an average."""
  config = small_run.make_config(steps=steps, data={'frames': 2, 'size': 32})
  config['augment'] = {}
  config['model'] = {'use': ('video',), 'video': TOWER | {'remat': False}}
  return small_run.merge(config, sections)


def test_a_classifier_starts_from_a_pretraining(
  tmp_path, dataset, pretrained, capsys
):
  source = tmp_path / 'source'
  shutil.copytree(pretrained, source)
  config = make_config(init={'video': str(source), 'audio': None, 'skip': ()})
  run = run_lib.make_run(config, dataset)
  state = loop.start_state(run, None, 0)
  text = re.sub(r'\s+', ' ', capsys.readouterr().out)
  assert 'parameters in 17 leaves from' in text
  assert 'fresh: video/fc_norm/bias, video/fc_norm/scale;' in text
  assert 'ignored: video/norm/bias, video/norm/scale' in text
  # The best by a loss is the first; it kept an average.
  names = sources.of_folder(source / 'checkpoints' / '1' / 'ema')
  everywhere = mesh_lib.replicated(run.mesh)
  expected = names.read(
    {
      name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=everywhere)
      for name, shape in names.shapes.items()
    }
  )
  params, ema = checkpoint.flatten(state.params), checkpoint.flatten(state.ema)
  fresh = checkpoint.flatten(run.init().params)
  for name in params:
    is_taken = name.startswith('video/') and 'fc_norm' not in name
    want = expected[name] if is_taken else fresh[name]
    np.testing.assert_array_equal(params[name], want, err_msg=name)
    np.testing.assert_array_equal(ema[name], want, err_msg=name)
  assert jax.tree.map(lambda x: x.sharding, state) == run.shardings
  # It trains, and is resumed without what it started from.
  workdir = tmp_path / 'tuned'
  loop.train(config, workdir, dataset=dataset)
  shutil.rmtree(source)
  summary = loop.train(config | {'steps': 4}, workdir, dataset=dataset)
  assert summary['step'] == 4
  lines = writers.read_lines(workdir / 'metrics.jsonl')
  assert all(np.isfinite(x['train/loss']) for x in lines if 'train/loss' in x)
  with pytest.raises(errors.AvemoError, match='init.video was'):
    loop.train(make_config(), workdir, dataset=dataset)


def test_running_statistics_come_with_their_tower(tmp_path):
  dataset = small_run.make_dataset()
  loop.train(small_run.make_config(steps=3), tmp_path, dataset=dataset)
  run = run_lib.make_run(
    small_run.make_config(init={'audio': str(tmp_path), 'checkpoint': 'last'}),
    dataset,
  )
  state, (line,) = run.fill(run.init())
  stats = sources.of_folder(tmp_path / 'checkpoints' / '3' / 'batch_stats')
  everywhere = mesh_lib.replicated(run.mesh)
  like = {
    name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=everywhere)
    for name, shape in stats.shapes.items()
  }
  found = checkpoint.flatten(state.batch_stats)
  assert like.keys() == found.keys() and line.startswith('init.audio: ')
  for name, value in stats.read(like).items():
    np.testing.assert_array_equal(found[name], value)
    assert (value != checkpoint.flatten(run.init().batch_stats)[name]).any()


def test_a_source_says_by_which_rules_it_is_resized(dataset, pretrained):
  config = make_config()
  config['model']['video'] = config['model']['video'] | {'tubelet': (2, 8, 8)}
  run = run_lib.make_run(config, dataset)
  asked = []

  def find_resizes(part, about):
    asked.append((part, about['model']['name']))
    return {r'video/patch_embed/kernel': lambda x, shape: x[:, ::2, ::2]}

  state, lines = init.initialize(
    run.init(), config['model'], find_resizes, video=str(pretrained)
  )
  assert asked == [('video', 'videomae_pretraining')]
  found = state.params['video']['patch_embed']['kernel']
  np.testing.assert_array_equal(
    found, state.ema['video']['patch_embed']['kernel']
  )
  assert found.shape == (2, 8, 8, 3, 16)
  assert 'resized: video/patch_embed/kernel;' in lines[0]
  assert lines[1].endswith('tubelet is [2, 16, 16] there and [2, 8, 8] here')
  assert len(lines) == 2


def test_what_gives_weights_another_meaning_is_told():
  there = {
    'video': {'epsilon': 1e-12, 'drop_path': 0.1},
    'audio': {'name': 'cnn', 'widths': [4]},
    'features': {'hop': 160},
  }
  here = {
    'video': {'name': 'videomae', 'remat': False},
    'audio': {'name': 'cnn', 'widths': (4,)},
    'features': {},
  }
  (line,) = init.find_differences('video', there, here)
  assert line.endswith('epsilon is 1e-12 there and 1e-06 here')
  (line,) = init.find_differences('audio', there, here)
  assert line.endswith("features is {'hop': 160} there and {} here")
  assert not init.find_differences('audio', there, there)


@pytest.mark.parametrize(
  ('section', 'message'),
  [
    ({'vido': 'x'}, "did you mean 'video'"),
    ({'video': '/nowhere'}, '/nowhere: no such folder'),
    ({'video': '/usr'}, 'neither the workdir of a training run nor'),
    ({'video': '{}', 'checkpoint': '77'}, "no checkpoint '77'"),
    ({'video': '{}', 'skip': ('video/patch',)}, "'video/patch' matches no"),
    ({'audio': '{}'}, 'the model has no audio tower; it has head, video'),
  ],
)
def test_what_cannot_be_loaded_is_named(dataset, pretrained, section, message):
  section = {k: str(pretrained) if v == '{}' else v for k, v in section.items()}
  with pytest.raises(errors.AvemoError, match=message):
    run = run_lib.make_run(make_config(init=section), dataset)
    run.fill(run.init())


def test_a_tower_of_other_sizes_is_refused(dataset, pretrained):
  config = make_config(init={'video': str(pretrained)})
  config['model']['video'] = config['model']['video'] | {'depth': 3}
  run = run_lib.make_run(config, dataset)
  with pytest.raises(errors.AvemoError, match=r'\(2, .* there and \(3, '):
    run.fill(run.init())


def test_damaged_weights_are_told_in_one_line(tmp_path, dataset, pretrained):
  shutil.copytree(pretrained, tmp_path / 'broken')
  for path in (tmp_path / 'broken' / 'checkpoints').glob('*/ema'):
    shutil.rmtree(path)
    path.mkdir()
  config = make_config(init={'video': str(tmp_path / 'broken')})
  run = run_lib.make_run(config, dataset)
  with pytest.raises(errors.AvemoError, match='no arrays can be read there'):
    run.fill(run.init())
