"""Several corpora and tasks at once: killed and resumed to the same bits."""

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import small_films
import small_mixture
import small_run

from avemo import errors
from avemo.data import labels
from avemo.evaluate import predictions, restore, scores, summary, table
from avemo.evaluate import run as evaluate
from avemo.runtime import checkpoint, writers
from avemo.train import loop
from avemo.train import run as run_lib

STEPS = 7
HERE = pathlib.Path(__file__).parent


class Killed(Exception):
  pass


def train(workdir, steps=STEPS, kill_at=None, **sections):
  def after_step(step):
    if step == kill_at:
      raise Killed

  config = small_mixture.make_config(steps=steps, **sections)
  with contextlib.suppress(Killed):
    return loop.train(
      config,
      workdir,
      dataset=small_mixture.make_dataset(),
      after_step=after_step,
    )


def read(workdir):
  config = small_mixture.make_config(steps=STEPS)
  run = run_lib.make_run(config, small_mixture.make_dataset())
  store = checkpoint.Checkpoints(workdir / 'checkpoints', read_only=True)
  state = loop.start_state(run, store, store.latest_step())
  lines = writers.read_lines(workdir / 'metrics.jsonl')
  for line in lines:
    del line['time']
  return jax.device_get(state), lines


def assert_same(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found[0], expected[0])
  assert found[1] == expected[1]


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('unbroken')
  assert train(workdir)['stopped'] == 'end'
  return workdir


def test_a_mixture_killed_and_resumed_ends_in_the_same_bits(tmp_path, unbroken):
  for step in (2, 5):
    assert train(tmp_path, kill_at=step) is None
  assert train(tmp_path)['stopped'] == 'end'
  assert_same(read(tmp_path), read(unbroken))


@pytest.mark.slow
def test_a_killed_process_with_workers_too(tmp_path, unbroken):
  command = [sys.executable, str(HERE / 'small_mixture.py'), str(tmp_path)]
  process = subprocess.Popen(
    [*command, str(STEPS)],
    stdout=subprocess.PIPE,
    text=True,
    env=small_run.make_environment(),
  )
  try:
    for line in process.stdout:
      if line.split() == ['step', '4']:
        process.send_signal(signal.SIGKILL)
        break
    assert process.wait() == -signal.SIGKILL
  finally:
    process.kill()
    process.stdout.close()
  train(tmp_path, data={'workers': 2})
  assert_same(read(tmp_path), read(unbroken))


def test_every_task_and_corpus_has_its_curves(unbroken):
  lines = writers.read_lines(unbroken / 'metrics.jsonl')
  first = lines[0]
  weighted = (
    first['train/loss_emotion']
    + 0.5 * first['train/loss_valence_arousal']
    + first['train/loss_action_units']
  )
  assert first['train/loss'] == pytest.approx(weighted, rel=1e-5)
  found = next(line for line in lines if 'val/uar' in line)
  names = scores.list_metrics(small_mixture.HEADS, ('clips', 'films'))
  assert {f'val/{name}' for name in names} <= found.keys()
  # Clips have an emotion and nothing else.
  assert not np.isfinite(found['val/clips/ccc_mean'] or np.nan)
  assert np.isfinite(found['val/films/ccc_mean'])


def test_what_was_learned_from_is_told(unbroken):
  about = json.loads((unbroken / 'labels.json').read_text())
  assert [part['key'] for part in about['parts']] == ['clips', 'films']
  assert about['labels'] == ['anger', 'happiness', 'neutral']
  assert 'derived' not in about
  restored = restore.restore(unbroken, checkpoint='last')
  assert restored.tasks == small_mixture.HEADS
  assert restored.parts[0]['emotions'] == ['anger', 'happiness']


def test_the_restored_model_scores_what_the_run_measured(unbroken):
  restored = restore.restore(unbroken, checkpoint='last')
  config = small_mixture.make_config()
  run = run_lib.make_run(config, small_mixture.make_dataset())
  found = predictions.predict_records(
    predictions.make_predict_step(restored.model, restored.mesh),
    restored.variables,
    run.feed.dataset,
    run.feed.val,
    restored.labels,
    tasks=restored.tasks,
    every=0.1,
    options=restored.options,
    batch_size=run.feed.batch_size,
    mesh=restored.mesh,
  )
  metrics = loop.score(found, run.feed)
  lines = writers.read_lines(unbroken / 'metrics.jsonl')
  line = [line for line in lines if 'val/uar' in line][-1]
  for name, value in metrics.items():
    if np.isfinite(value):
      assert line[f'val/{name}'] == pytest.approx(value, rel=1e-6), name


def test_every_frame_is_scored_and_the_table_says_it_all(unbroken, tmp_path):
  restored = restore.restore(unbroken, checkpoint='last')
  dataset = small_mixture.make_dataset()
  # Three clips and, of two films, segments in any order.
  records = np.array([0, 22, 1, 20, 2, 21, 23])
  found = evaluate.predict_rows(restored, dataset, records, views=1)
  found = evaluate.make_rows(
    found, dataset, restored.labels.names, restored.tasks
  )
  assert len(found.clip_id) == 3 + 4 * 20
  films = np.array(found.corpus) == 'films'
  assert (found.frame[~films] == -1).all()
  assert found.frame[films].tolist() == [
    *range(40, 60), *range(20), *range(20, 40), *range(20)
  ]  # fmt: skip
  assert found.answered.all()
  # A class that a corpus does not annotate is never said.
  assert not found.probabilities[~films, 2].any()
  np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
  metrics = summary.score(found)
  read = table.read(table.write(tmp_path / 'p.csv', found))
  assert read.corpus == found.corpus
  again = summary.score(read)
  for name in ('uar', 'num_examples', 'num_unlabelled', 'confusion'):
    assert again[name] == metrics[name]
  for name in ('ccc_valence', 'ccc_arousal', 'ccc_mean', 'f1_au'):
    assert again[name] == pytest.approx(metrics[name], rel=1e-6)
  # One frame of each segment is masked.
  assert metrics['num_unlabelled'] == 4
  clips, films = metrics['corpora']['clips'], metrics['corpora']['films']
  assert clips['labels'] == ['anger', 'happiness']
  assert 'ccc_mean' not in clips and 'f1_au' not in clips
  assert films['ccc_mean'] == metrics['ccc_mean']
  assert films['num_examples'] == 4 * 19
  header = (tmp_path / 'p.csv').read_text().split('\n')[0].split(',')
  assert header[2] == 'frame' and 'au_26' in header and header[-1] == 'corpus'


def make_run(**sections):
  config = small_mixture.make_config(**sections)
  return run_lib.make_run(config, small_mixture.make_dataset())


@pytest.mark.parametrize(
  ('sections', 'message'),
  [
    ({'data': {'name': 'small_av'}}, r'leave data\.name out'),
    ({'data': {'derive': 'x'}}, 'no such table'),
    ({'data': {'shuffle_labels': True}}, None),
    (
      {'control': {'metric': 'val/clips/ccc_mean'}},
      'no validation clip has a label of valence_arousal',
    ),
    ({'control': {'metric': 'val/ccc_means'}}, "did you mean 'val/ccc_mean'"),
    ({'control': {'metric': 'val/film/uar'}}, "did you mean 'val/films/uar'"),
    ({'data': {'label_map': {'angr': 'anger'}}}, "did you mean 'anger'"),
  ],
)
def test_wrong_configs_are_one_line(sections, message):
  config = small_mixture.make_config(**sections)
  # What small_run sets and a mixture replaces.
  config['data'] |= sections.get('data', {})
  if message is None:
    run = run_lib.make_run(config, small_mixture.make_dataset())
    with pytest.raises(errors.AvemoError, match='stand by frame'):
      run.feed.train_batches(0)
    return
  with pytest.raises(errors.AvemoError, match=message):
    run_lib.make_run(config, small_mixture.make_dataset())


def test_wrong_losses_are_one_line():
  for loss, message in (
    ({'continuous': 'mae'}, 'did you mean'),
    ({'task_weights': {'emotions': 1.0}}, "did you mean 'emotion'"),
    ({'task_weights': {'emotion': -1.0}}, 'at least 0'),
    ({'action_unit_weights': 'inverse'}, 'balanced'),
  ):
    config = small_mixture.make_config()
    config['loss'] |= loss
    with pytest.raises(errors.AvemoError, match=message):
      run_lib.make_run(config, small_mixture.make_dataset())


def test_weights_of_classes_want_classes():
  config = small_mixture.make_config()
  config['model']['heads'] = ('valence_arousal',)
  config['loss'] = {'class_weights': 'balanced'}
  config['control']['metric'] = 'val/ccc_mean'
  with pytest.raises(errors.AvemoError, match='add emotion to model.heads'):
    run_lib.make_run(config, small_mixture.make_dataset())


def test_a_head_without_labels_is_refused():
  config = small_mixture.make_config()
  config['model']['heads'] = ('emotion', 'dominance')
  config['loss'].pop('action_unit_weights')
  with pytest.raises(errors.AvemoError, match='label of dominance'):
    run_lib.make_run(config, small_mixture.make_dataset())


def test_class_and_unit_counts_follow_weights_and_frames():
  feed = make_run().feed
  counts = feed.count_classes()
  # Two corpora, of which the second counts twice.
  np.testing.assert_allclose(counts.sum(1), [1, 2])
  assert counts[0, 2] == 0 and (counts[1] > 0).all()
  known, present = feed.count_units()
  # 9 segments of 20 frames, of which one is masked.
  np.testing.assert_allclose(known, [9] * len(labels.UNITS))
  assert present[0] == pytest.approx(9 * 9 / 19) and present[2] == 0


def test_a_film_counts_no_more_than_a_clip_without_weights():
  feed = dataclasses.replace(make_run().feed, weights=None)
  sizes = np.bincount(feed.make_table().part[feed.train])
  np.testing.assert_allclose(feed.count_classes().sum(1), sizes)


@pytest.mark.slow
def test_values_alone_are_learned_from_films(tmp_path):
  dataset = small_films.make_dataset()
  for record in dataset.source:
    record['frame_expression'][:] = -1
  dataset = small_films.open_records(dataset.source)
  # A corpus without emotions has no classes.
  dataset.emotions = ()
  config = small_run.make_config(
    steps=80,
    data={'seconds': 0.2, 'every': 0.1},
    model={'heads': ('valence_arousal',), 'dropout': 0.0},
    control={'metric': 'val/ccc_mean', 'evaluate_every': 20},
  )
  config |= {'augment': {}, 'loss': {}}
  summary = loop.train(config, tmp_path, dataset=dataset)
  assert summary['metric'] == 'val/ccc_mean' and summary['best'] > 0.7
  restored = restore.restore(tmp_path)
  found = evaluate.predict(restored, dataset, np.arange(3), views=1)
  assert found.classes == () and summary_of(found)['ccc_mean'] > 0.7


def summary_of(found):
  metrics = summary.score(found)
  assert 'uar' not in metrics and 'confusion' not in metrics
  return metrics
