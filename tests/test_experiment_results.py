"""When a trial is whole, and what it leaves on the way there."""

import json

import numpy as np
import pytest
import small_run

from avemo import errors
from avemo.data import mixture, parts
from avemo.evaluate import conditions, page, report, run, table
from avemo.experiment import (
  crossval,
  grid,
  pooling,
  results,
  sweep,
  systems,
  trial,
)
from avemo.train import loop

FACES = [{'name': 'face', 'modality': 'video', 'sha256': 'f', 'path': ''}]


def make_config(**sections):
  """As it is read from a file: without tuples."""
  return json.loads(json.dumps(small_run.make_config(**sections)))


def leave(folder, config, dataset_sha256, **more):
  """A whole trial, as `run_trial` leaves it."""
  folder.mkdir(parents=True, exist_ok=True)
  result = {'config': config, 'conditions': {}, 'left_out': []}
  page.write_text(folder / 'result.json', json.dumps(result | more))
  labels = {'dataset_sha256': dataset_sha256}
  page.write_text(folder / 'labels.json', json.dumps(labels))


def test_other_data_make_another_trial(tmp_path, monkeypatch):
  config = make_config()
  before, now = small_run.make_dataset(), small_run.make_dataset(frames=2)
  opened = []

  def open_parts(*_):
    if not opened:
      raise errors.AvemoError('gone')
    return opened[-1]

  monkeypatch.setattr(parts, 'open_parts', open_parts)
  sha256 = mixture.identify(before)
  leave(tmp_path, config, sha256, data={'dataset_sha256': sha256})
  # Nothing is there that could differ.
  assert results.is_whole(tmp_path, config)
  opened.append(before)
  assert results.is_whole(tmp_path, config)
  opened.append(now)
  assert not results.is_whole(tmp_path, config)
  # Of an earlier version: what the training has left tells as well.
  leave(tmp_path, config, sha256)
  assert not results.is_whole(tmp_path, config)
  assert results.is_whole(tmp_path, config, of_any_data=True)
  (tmp_path / 'labels.json').unlink()
  assert results.is_whole(tmp_path, config)


def test_other_towers_make_another_trial(tmp_path):
  tower = tmp_path / 'tower'
  (tower / 'checkpoints/5').mkdir(parents=True)
  (tower / 'checkpoints/5/weights').write_text('first')
  towers = {'face': {'path': str(tower)}, 'absent': {'path': None}}
  config = make_config(features={'towers': towers})
  files = results.describe_towers(config)
  assert files.keys() == {'face'}
  leave(tmp_path / 'run', config, None, data={'tower_files': files})
  assert results.is_whole(tmp_path / 'run', config)
  (tower / 'metrics.jsonl').write_text('no weights')
  assert results.is_whole(tmp_path / 'run', config)
  (tower / 'checkpoints/5/weights').write_text('second')
  assert not results.is_whole(tmp_path / 'run', config)


def test_a_condition_that_fails_costs_no_clean_score(tmp_path, monkeypatch):
  dataset = small_run.make_dataset()
  summary = {'stopped': 'end', 'step': 9, 'best_step': 9}
  summary |= {'metric': 'val/uar', 'best': 0.5}

  def train(config, workdir, **_):
    about = {'dataset_sha256': mixture.identify(dataset), 'towers': []}
    page.write_text(workdir / 'labels.json', json.dumps(about))
    return summary

  def evaluate(workdir, split='test', condition=None, **_):
    if condition:
      raise errors.AvemoError('no room')
    folder = workdir / 'eval' / split
    page.write_text(folder / 'predictions.csv', split)
    return {'folder': split, 'uar': 0.5, 'num_examples': 6}

  monkeypatch.setattr(loop, 'train', train)
  monkeypatch.setattr(run, 'evaluate', evaluate)
  monkeypatch.setattr(parts, 'open_parts', lambda *_: dataset)
  config = make_config()
  noise = conditions.Condition(snr=5)
  for split in ('val', 'test'):
    (tmp_path / 'eval' / split).mkdir(parents=True)
  with pytest.raises(errors.AvemoError, match='no room'):
    trial.run_trial(
      config, tmp_path, splits=('val', 'test'), conditions=[noise]
    )
  result = results.read(tmp_path, config)
  assert result['scores']['test']['uar'] == 0.5
  assert result['data']['dataset_sha256'] == mixture.identify(dataset)
  assert not results.is_whole(tmp_path, config, {noise.name})


def test_what_is_whole_may_have_failed_since(tmp_path):
  config = {'seed': 0, 'steps': 5}
  note = {'trials': {'one': {'overrides': {'seed': 0}, 'config': config}}}
  (tmp_path / 'sweep.json').write_text(json.dumps(note))
  leave(tmp_path / 'one', config, '', scores={}, metric=None, best=None)
  failed = tmp_path / 'one' / sweep.FAILED_FILE
  failed.write_text(json.dumps({'error': 'other clips'}))
  (system,) = systems.read_sweep(tmp_path)
  assert len(system.runs) == 1 and system.failed == {'one': 'other clips'}
  assert grid.find_system({'seed': 0}) == system.overrides


def test_what_reads_no_faces_has_no_adaptive_rate(capsys):
  adaptive = conditions.Condition(adaptive=0.01)
  config = {'model': {'name': 'sequence'}}
  assert trial.fits(config, adaptive, FACES)
  assert not trial.fits(config, adaptive, [FACES[0] | {'modality': 'audio'}])
  assert not trial.fits(config, conditions.Condition(snr=5), FACES)
  assert trial.fits({'model': {}}, conditions.Condition(snr=5))
  assert not trial.fits({'model': {}}, adaptive)
  assert 'features of faces' in capsys.readouterr().out


def test_the_share_looked_at_is_of_faces():
  rate = {'looked_at': 2, 'faces': 4, 'frames': 10}
  metrics = {'num_examples': 1, 'frame_rate': rate}
  assert trial.pick_scores(metrics)['looked_at'] == 0.5
  metrics |= {'split': 'test', 'num_speakers': 1, 'intervals': {}}
  metrics |= {'checkpoint': 1, 'chosen_by': 'nobody', 'warnings': []}
  assert 'faces looked at: 50.0 %' in report.summarize(metrics)


def test_a_condition_is_of_the_same_fold_and_checkpoint(tmp_path):
  about = {'dataset': 'a', 'protocol': 'p', 'fold': 0, 'checkpoint': 5}
  about |= {'num_examples': 6, 'overlap': ['seen']}

  def write(name, **changes):
    (tmp_path / 'eval' / name).mkdir(parents=True)
    text = json.dumps(about | changes)
    (tmp_path / 'eval' / name / 'metrics.json').write_text(text)

  page.write_text(tmp_path / 'config.json', '{}')
  write('test', uar=0.8)
  noise = conditions.Condition(snr=5).describe()
  write('test-snr-5db', uar=0.6, condition=noise)
  write('test-snr-5db-a-p-1', uar=0.1, fold=1, condition=noise)
  write('test-adaptive-0', uar=0.2, checkpoint=4, condition={'adaptive': 0.0})
  found = systems.read_training(tmp_path)
  assert found.conditions.keys() == {'snr-5db'}
  assert found.conditions['snr-5db']['uar'] == 0.6
  assert found.overlap == ('seen',)


def test_pooled_conditions_keep_what_they_are_and_the_rate(tmp_path):
  plan, made = [], []
  adaptive = conditions.Condition(adaptive=0.01)
  for fold, looked_at in enumerate((0.2, 0.4)):
    folder = tmp_path / f'fold_{fold}'
    found = table.Predictions(
      classes=('anger', 'joy'),
      clip_id=['a', 'b'],
      segment=np.zeros(2, int),
      speaker=['s', 't'],
      label=['anger', 'joy'],
      probabilities=np.eye(2),
    )
    path = table.write(folder / 'eval/test-adaptive/predictions.csv', found)
    about = {'folder': 'test-adaptive', 'sha256': trial.hash_file(path)}
    scores = {'uar': 1.0, 'uar_unsmoothed': 0.5, 'looked_at': looked_at}
    plan.append(pooling.Part(fold, 0, folder))
    made.append(
      {
        'conditions': {adaptive.name: adaptive.describe() | scores},
        'tables': {adaptive.name: about},
      }
    )
  (row,) = pooling.pool_conditions(plan, made)
  assert row['adaptive'] == 0.01 and row['uar'] == 1
  assert row['looked_at'] == pytest.approx(0.3)
  assert row['uar_unsmoothed'] == 0.5
  rows = [{'fold': n, 'seed': 0, 'looked_at': 0.2 * n} for n in (1, 2)]
  spread = pooling.find_spread(rows)
  assert spread['mean']['looked_at'] == pytest.approx(0.3)


def test_no_plain_score_stands_beside_smoothed_ones():
  assert not crossval.find_unwatched({'evaluate': {'smooth': 'none'}})
  assert 'median:1' in crossval.find_unwatched(
    {'evaluate': {'smooth': 'median:1'}}
  )
