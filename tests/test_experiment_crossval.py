"""Every fold of a protocol on a small corpus: what is left, and resumed."""

import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import sklearn.metrics
import small_grid
import small_run

from avemo import cli
from avemo.evaluate import table
from avemo.experiment import collect

PROTOCOL = 'crema_d_hicmae_5fold'
# Those of the five that the small corpus has speakers in.
FOLDS = [0, 1, 2]


@pytest.fixture(scope='module')
def config(tmp_path_factory, tiny_crema_d_dataset):
  folder = tmp_path_factory.mktemp('config')
  return small_grid.write_config(folder, tiny_crema_d_dataset)


def make_words(config, workdir, *more, protocol=PROTOCOL):
  return [
    'cross-validate',
    f'--config={config}',
    f'--protocol={protocol}',
    f'--workdir={workdir}',
    *more,
  ]


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, config):
  """All folds: one as a job of its own, one seed, one condition."""
  workdir = tmp_path_factory.mktemp('runs') / 'cross'
  cli.main(make_words(config, workdir, '--fold=2', '--snr=-5'))
  assert not (workdir / 'summary.json').exists()
  assert [p.name for p in workdir.glob('fold_*')] == ['fold_2']
  before = (workdir / 'fold_2/result.json').stat().st_mtime_ns
  cli.main(make_words(config, workdir, '--snr=-5'))
  assert (workdir / 'fold_2/result.json').stat().st_mtime_ns == before
  return workdir


@pytest.fixture(scope='module')
def summary(workdir):
  return json.loads((workdir / 'summary.json').read_text())


def test_every_fold_has_a_workdir_and_a_row(workdir, summary):
  assert sorted(p.name for p in workdir.glob('fold_*')) == [
    f'fold_{n}' for n in FOLDS
  ]
  assert [row['fold'] for row in summary['folds']] == FOLDS
  clips = []
  for row in summary['folds']:
    folder = workdir / f'fold_{row["fold"]}'
    metrics = json.loads((folder / 'eval/test/metrics.json').read_text())
    assert metrics['fold'] == row['fold']
    assert metrics['uar'] == row['uar'] and metrics['split'] == 'test'
    assert row['checkpoint'] == metrics['checkpoint']
    # By validation, and not by the test clips.
    lines = [
      json.loads(line)
      for line in (folder / 'metrics.jsonl').read_text().splitlines()
    ]
    values = {r['step']: r['val/uar'] for r in lines if 'val/uar' in r}
    assert values[row['checkpoint']] == max(values.values())
    # Training keeps it in float32.
    assert row['val/uar'] == pytest.approx(max(values.values()))
    clips += table.read(folder / 'eval/test/predictions.csv').clip_id
  counts = [row['num_examples'] for row in summary['folds']]
  assert len(clips) == len(set(clips))
  assert sum(counts) == summary['pooled']['num_examples'] <= len(clips)
  assert summary['skipped'] == [3, 4] and summary['chosen_by'] == 'val/uar'


def test_means_and_pooled_scores_are_those_of_independent_sums(
  workdir, summary
):
  rows, uars = [], []
  for number in FOLDS:
    path = workdir / f'fold_{number}/eval/test/predictions.csv'
    with path.open() as file:
      own = list(csv.DictReader(file))
    rows += own
    uars.append(
      sklearn.metrics.balanced_accuracy_score(
        [r['label'] for r in own], [r['prediction'] for r in own]
      )
    )
  assert summary['mean']['uar'] == pytest.approx(np.mean(uars))
  assert summary['sd']['uar'] == pytest.approx(np.std(uars, ddof=1))
  assert summary['sd_of_seeds']['uar'] is None
  label, said = ([r[name] for r in rows] for name in ('label', 'prediction'))
  names = summary['confusion']['labels']
  assert summary['pooled']['uar'] == pytest.approx(
    sklearn.metrics.recall_score(
      label, said, labels=sorted(set(label)), average='macro', zero_division=0
    )
  )
  np.testing.assert_array_equal(
    summary['confusion']['pooled'],
    sklearn.metrics.confusion_matrix(label, said, labels=names),
  )
  averaged = np.array(summary['confusion']['averaged'], float)
  known = ~np.isnan(averaged).all(1)
  np.testing.assert_allclose(averaged[known].sum(1), 1)


def test_best_on_test_stands_beside_and_is_so_named(workdir, summary):
  for row in summary['folds']:
    folder = workdir / f'fold_{row["fold"]}/best_on_test'
    lines = [
      json.loads(line)
      for line in (folder / 'curve.jsonl').read_text().splitlines()
    ]
    assert [line['step'] for line in lines] == [1, 2]
    best = max(line['test/uar'] for line in lines)
    assert row['best_on_test/uar'] == pytest.approx(best)
    assert row['uar'] <= best + 1e-9
    # The curve is of the clips and the parameters that evaluation scores.
    (own,) = [x for x in lines if x['step'] == row['checkpoint']]
    assert own['test/uar'] == pytest.approx(row['uar'])
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert metrics['chosen_by'] == 'test/uar'
    assert 'too high' in metrics['warnings'][0]
    assert len(list(folder.glob('step_*.csv'))) == 1
  assert summary['mean']['best_on_test/uar'] >= summary['mean']['uar']
  assert 'best_on_test/uar' in summary['pooled']
  page = (workdir / 'report.html').read_text()
  assert 'not an estimate' in page


def test_conditions_and_costs_are_told(workdir, summary):
  (row,) = summary['conditions']
  assert row['condition'] == 'snr-minus-5db' and row['snr'] == -5
  assert row['num_examples'] == summary['pooled']['num_examples']
  folder = workdir / 'fold_0/eval/test-snr-minus-5db'
  metrics = json.loads((folder / 'metrics.json').read_text())
  assert metrics['condition'] == {'snr': -5, 'noise': 'white'}
  assert any('not on the clips as they are' in w for w in metrics['warnings'])
  cost = summary['cost']
  seconds = [row['seconds'] for row in summary['folds']]
  assert cost['training_seconds'] == pytest.approx(sum(seconds))
  assert min(seconds) > 0 and cost['gmacs'] > 0 and cost['parameters'] > 50
  assert cost['peak_memory'] > 50e6 and cost['inference_seconds'] > 0


def test_another_seed_stands_beside(workdir, config, tmp_path, capsys):
  shutil.copytree(workdir, tmp_path / 'cross')
  cli.main(make_words(config, tmp_path / 'cross', '--fold=1', '--seeds=0,7'))
  assert 'fold_0_seed_7' in capsys.readouterr().out
  assert (tmp_path / 'cross/fold_1_seed_7/result.json').is_file()
  note = json.loads((tmp_path / 'cross/cross_validation.json').read_text())
  assert note['seeds'] == [0, 7]
  run = json.loads((tmp_path / 'cross/fold_1_seed_7/config.json').read_text())
  assert run['seed'] == 7 and run['data']['fold'] == 1


def test_what_a_fold_has_seen_before_is_told_of_all(workdir, config, tmp_path):
  shutil.copytree(workdir, tmp_path / 'cross')
  path = tmp_path / 'cross/fold_1/eval/test/metrics.json'
  metrics = json.loads(path.read_text())
  path.write_text(json.dumps(metrics | {'overlap': ['a tower was there']}))
  cli.main(make_words(config, tmp_path / 'cross'))
  summary = json.loads((tmp_path / 'cross/summary.json').read_text())
  assert 'fold_1: a tower was there' in summary['warnings']
  page = (tmp_path / 'cross/report.html').read_text()
  assert 'fold_1: a tower was there' in page


def test_a_fold_that_was_scored_otherwise_is_scored_again(
  workdir, config, tmp_path
):
  shutil.copytree(workdir, tmp_path / 'cross')
  folder = tmp_path / 'cross/fold_2'
  expected = (folder / 'result.json').read_text()
  trained = (folder / 'metrics.jsonl').read_bytes()
  made = json.loads(expected)
  # As if by another setting of then; that of the training is no other.
  made['config']['evaluate'] = {'smooth': 'median:1'}
  made['scores']['test']['uar'] = 2.0
  (folder / 'result.json').write_text(json.dumps(made))
  (tmp_path / 'cross/summary.json').unlink()
  cli.main(make_words(config, tmp_path / 'cross', '--fold=2'))
  again = json.loads((folder / 'result.json').read_text())
  assert again['scores'] == json.loads(expected)['scores']
  assert again['config'] == json.loads(expected)['config']
  assert again['best_on_test'] == json.loads(expected)['best_on_test']
  assert (folder / 'metrics.jsonl').read_bytes() == trained


@pytest.mark.parametrize(
  'more, words',
  [
    (['--fold=9'], ['no fold 9', 'it has 0, 1, 2']),
    (['--config.optim.lr=0.5'], ['another cross-validation', 'optim.lr']),
    (['--snr=500'], ['decibels']),
    (['--without=sound'], ["'sound'", 'video, audio']),
    (['--seeds=a'], ['--seeds']),
  ],
)
def test_wrong_calls_get_one_line_and_change_nothing(
  workdir, config, capsys, more, words
):
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob('*')}
  with pytest.raises(SystemExit) as stop:
    cli.main(make_words(config, workdir, *more))
  assert stop.value.code == 1
  (line,) = capsys.readouterr().err.splitlines()
  for word in words:
    assert word in line
  assert {p: p.stat().st_mtime_ns for p in workdir.rglob('*')} == before


def test_unknown_protocols_and_other_folders_are_refused(
  config, tmp_path, capsys
):
  cases = {
    'crema_d_hicme_5fold': 'crema_d_hicmae_5fold',
    'ravdess_hicmae_6fold': 'divides ravdess',
    PROTOCOL: 'something else',
  }
  (tmp_path / 'file').write_text('mine')
  for protocol, word in cases.items():
    with pytest.raises(SystemExit):
      cli.main(make_words(config, tmp_path, protocol=protocol))
    assert word in capsys.readouterr().err


def test_a_published_protocol_says_what_it_is(config, tmp_path, capsys):
  words = make_words(config, tmp_path, protocol=f'{PROTOCOL}_published')
  cli.main([*words, '--fold=0'])
  assert 'too high' in capsys.readouterr().out
  # Its test clips choose anyway: there is nothing to watch beside.
  assert not (tmp_path / 'fold_0/best_on_test').exists()


def test_cross_validations_are_collected_by_their_pooled_scores(
  workdir, summary, capsys
):
  with pytest.raises(SystemExit):
    cli.main(['collect', str(workdir)])
  assert 'name the folder that holds several' in capsys.readouterr().err
  (row,) = collect.collect(workdir.parent)
  assert row['system'] == 'cross' and row['seeds'] == 1
  for name in ('uar', 'war', 'f1_macro'):
    assert row[name] == summary['pooled'][name]
  assert row['chosen_by_validation'] == 'val/uar'
  noisy = summary['conditions'][0]['uar']
  assert row['uar snr-minus-5db'] == pytest.approx(noisy)
  assert row['gmacs'] == summary['cost']['gmacs']


def test_trainings_by_hand_are_collected(workdir, tmp_path, capsys):
  for name in ('fold_0', 'fold_1'):
    for part in ('config.json', 'result.json', 'eval'):
      source, place = workdir / name / part, tmp_path / name / part
      place.parent.mkdir(exist_ok=True)
      (shutil.copytree if source.is_dir() else shutil.copy)(source, place)
  (tmp_path / 'fold_1/result.json').unlink()
  rows = collect.collect(tmp_path)
  assert [row['system'] for row in rows] == ['fold_0', 'fold_1']
  for row in rows:
    metrics = json.loads(
      (tmp_path / row['system'] / 'eval/test/metrics.json').read_text()
    )
    assert row['uar'] == metrics['uar']
    assert row['parameters'] == metrics['cost']['parameters']
    assert row['uar snr-minus-5db'] is not None
    assert row['chosen_by_validation'] == ''
  assert 'no system is chosen' in capsys.readouterr().out


@pytest.mark.slow
def test_killed_in_a_fold_it_goes_on_to_the_same_summary(
  workdir, summary, config, tmp_path
):
  words = make_words(config, tmp_path / 'cross', '--snr=-5')
  environment = small_run.make_environment()
  process = subprocess.Popen(
    [sys.executable, '-m', 'avemo', *words],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  deadline = time.monotonic() + 280
  half = tmp_path / 'cross/fold_1/checkpoints'
  while not (half.is_dir() and list(half.glob('[0-9]*'))):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
  os.kill(process.pid, signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  process.stdout.close()
  whole = tmp_path / 'cross/fold_0/result.json'
  before = whole.stat().st_mtime_ns
  assert not (tmp_path / 'cross/fold_1/result.json').exists()
  cli.main(words)
  assert whole.stat().st_mtime_ns == before
  found = json.loads((tmp_path / 'cross/summary.json').read_text())
  for name in ('mean', 'sd', 'confusion', 'conditions'):
    assert found[name] == summary[name], name


def test_the_folder_of_tests_is_no_part_of_it(workdir):
  assert not list(pathlib.Path(workdir).rglob('*.partial'))
