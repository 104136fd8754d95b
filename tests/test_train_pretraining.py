"""Pretraining through the loop: no labels, val/loss, resumed to the bit."""

import contextlib

import jax
import numpy as np
import pytest
import small_dataset
import small_run

from avemo import cli, errors
from avemo.data import pipeline
from avemo.evaluate import predictions, restore
from avemo.runtime import checkpoint, writers
from avemo.train import loop
from avemo.train import run as run_lib

STEPS = 6


class Killed(Exception):
  pass


@pytest.fixture(scope='module')
def dataset():
  """Thirty clips; one in three has no label."""
  made = small_run.make_dataset(frames=4)
  made.index['emotion'][::3] = ''
  return made


def train(workdir, dataset, kill_at=None, steps=STEPS, **sections):
  def after_step(step):
    if step == kill_at:
      raise Killed

  config = small_run.make_pretraining_config(steps=steps, **sections)
  with contextlib.suppress(Killed):
    return loop.train(config, workdir, dataset=dataset, after_step=after_step)


def read(workdir, dataset):
  """The last state and all metrics, down to the bit."""
  config = small_run.make_pretraining_config(steps=STEPS)
  run = run_lib.make_run(config, dataset)
  store = checkpoint.Checkpoints(workdir / 'checkpoints', read_only=True)
  state = loop.start_state(run, store, store.latest_step())
  lines = writers.read_lines(workdir / 'metrics.jsonl')
  for line in lines:
    del line['time']
  return jax.device_get(state), lines, store.steps()


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, dataset):
  workdir = tmp_path_factory.mktemp('unbroken')
  summary = train(workdir, dataset)
  assert summary['stopped'] == 'end' and summary['metric'] == 'val/loss'
  return workdir, summary, read(workdir, dataset)


def test_the_run_has_its_own_loss_and_no_accuracy(unbroken):
  _, summary, (state, lines, _) = unbroken
  losses = [x['train/loss'] for x in lines if 'train/loss' in x]
  assert len(losses) == STEPS and all(0.3 < x < 3 for x in losses)
  assert not any('train/accuracy' in line for line in lines)
  found = {x['step']: x['val/loss'] for x in lines if 'val/loss' in x}
  assert list(found) == [2, 4, 6]
  assert summary['best'] == pytest.approx(min(found.values()))
  assert found[summary['best_step']] == min(found.values())
  assert not any('val/uar' in line for line in lines)
  leaves = [jax.tree.leaves(tree) for tree in (state.params, state.ema)]
  assert any((a != b).any() for a, b in zip(*leaves, strict=True))


def test_resumed_run_matches_unbroken_run(tmp_path, dataset, unbroken):
  for step in (1, 4):
    assert train(tmp_path, dataset, kill_at=step) is None
  assert train(tmp_path, dataset)['stopped'] == 'end'
  found, expected = read(tmp_path, dataset), unbroken[2]
  jax.tree.map(np.testing.assert_array_equal, found[0], expected[0])
  assert found[1:] == expected[1:]


def test_masks_follow_from_seed_and_step(dataset):
  config = small_run.make_pretraining_config(steps=STEPS)
  run = run_lib.make_run(config, dataset)
  state = run.init()
  batches = run.feed.train_batches(0)
  batch = loop.mesh_lib.shard_batch(next(batches), run.mesh)
  batches.close()
  losses = []
  for step in (0, 0, 1):
    changed = vars(run.init()) | {'step': state.step + step}
    _, metrics = run.train_step(type(state)(**changed), batch)
    losses.append(float(metrics['loss']))
  # Nothing but the masks is drawn in this config.
  assert losses[0] == losses[1] != losses[2]


def test_clips_without_a_label_are_trained_on(dataset):
  config = small_run.make_pretraining_config()
  run = run_lib.make_run(config, dataset)
  batches = run.feed.train_batches(0)
  seen = np.concatenate([next(batches)['record'] for _ in range(3)])
  batches.close()
  unlabelled = np.flatnonzero(dataset.index['emotion'] == '')
  assert set(run.feed.train) == set(seen)
  assert len(set(seen) & set(unlabelled)) >= 4
  # And a classifier leaves them out.
  labelled = pipeline.train_batches(
    dataset,
    run.feed.train,
    run.feed.labels,
    options=run.feed.options,
    batch_size=16,
    seed=0,
  )
  seen = np.concatenate([next(labelled)['record'] for _ in range(3)])
  labelled.close()
  assert not set(seen) & set(unlabelled)


def test_what_has_no_picture_weighs_nothing(dataset):
  made = [small_dataset.Clip(frames=4 * (i != 1)) for i in range(5)]
  dataset = small_dataset.make_dataset(made)
  run = run_lib.make_run(small_run.make_pretraining_config(), dataset)
  state = run.init()
  variables = {'params': state.params, 'batch_stats': {}}

  def measure(records, batch_size=16):
    return predictions.measure_loss(
      run.predict_step,
      variables,
      dataset,
      records,
      run.feed.labels,
      options=run.feed.options,
      batch_size=batch_size,
      mesh=run.mesh,
    )

  alone = [measure([record]) for record in (0, 2, 3)]
  assert np.isnan(measure([1])) and len(set(alone)) == 3
  # What is hidden in a record does not depend on its place in a batch.
  found = measure([3, 1, 0, 2])
  np.testing.assert_allclose(found, np.mean(alone), rtol=1e-6)
  np.testing.assert_allclose(measure([0, 1, 2, 3], 8), found, rtol=1e-6)


def test_no_classes_no_predictions(unbroken, capsys):
  workdir = unbroken[0]
  with pytest.raises(errors.AvemoError, match='config.init.video='):
    restore.restore(workdir)
  with pytest.raises(SystemExit):
    cli.main(['evaluate', '--workdir', str(workdir)])
  assert 'videomae_pretraining knows no classes' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('section', 'message'),
  [
    ({'loss': {'label_smoothing': 0.1}}, 'no use for loss.label_smoothing'),
    ({'data': {'balanced': True}}, 'no use for data.balanced'),
    ({'control': {'metric': 'val/uar'}}, "control.metric='val/loss'"),
    ({'control': {'mode': 'max'}}, "control.mode='min'"),
    ({'data': {'unlabelled': True}}, "unknown key 'data.unlabelled'"),
    ({'model': {'num_classes': 3}}, 'unknown model option'),
  ],
)
def test_options_without_use_are_refused(dataset, section, message):
  config = small_run.make_pretraining_config(**section)
  with pytest.raises(errors.AvemoError, match=message):
    run_lib.make_run(config, dataset)
