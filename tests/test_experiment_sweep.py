"""A small grid, run, broken, resumed and collected."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import small_grid
import small_run

from avemo import cli, errors
from avemo.evaluate import table
from avemo.experiment import collect, folders, grid, sweep, systems, trial

# The second fails when its model is made.
GRID = "[{'seed': 0}, {'seed': 0, 'model.audio.name': 'vggis'}]"
GOOD, BAD = 'seed=0', 'audio.name=vggis_seed=0'


def make_words(config, workdir):
  return ['sweep', f'--config={config}', f'--workdir={workdir}']


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, tiny_crema_d_dataset):
  folder = tmp_path_factory.mktemp('sweep')
  config = small_grid.write_config(folder, tiny_crema_d_dataset, GRID)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('PYTHONPATH', small_run.make_environment()['PYTHONPATH'])
    with pytest.raises(SystemExit) as stop:
      cli.main([*make_words(config, folder / 'runs'), '--parallel=2'])
  assert stop.value.code == 1
  return folder / 'runs'


def test_a_trial_that_fails_stops_no_other(workdir):
  result = json.loads((workdir / GOOD / 'result.json').read_text())
  assert result['metric'] == 'val/uar' and result['stopped'] == 'end'
  for split in ('val', 'test'):
    metrics = json.loads(
      (workdir / GOOD / f'eval/{split}/metrics.json').read_text()
    )
    assert metrics['uar'] == result['scores'][split]['uar']
    assert metrics['checkpoint'] == result['best_step']
  assert result['cost']['training_seconds'] > 0
  failed = json.loads((workdir / BAD / 'failed.json').read_text())
  assert 'vggis' in failed['error'] and 'vggish' in failed['error']
  assert not (workdir / BAD / 'result.json').exists()
  assert 'avemo: ' in (workdir / BAD / 'log.txt').read_text()


def test_collect_lists_what_failed(workdir, capsys):
  cli.main(['collect', str(workdir)])
  out = capsys.readouterr().out
  assert f'failed: {BAD}' in out and 'chosen by validation' in out
  with (workdir / 'table.csv').open() as file:
    good, bad = csv.DictReader(file)
  assert good['seeds'] == '1' and float(good['parameters']) > 50
  assert good['chosen_by_validation'] == 'val/uar'
  assert float(good['gmacs']) > 0 and float(good['inference_seconds']) > 0
  assert bad['seeds'] == '0' and 'vggis' in bad['failed']
  assert bad['model.audio.name'] == 'vggis' and bad['uar'] == ''
  page = (workdir / 'report.html').read_text()
  assert BAD in page and 'chosen by validation' in page


def test_whole_trials_are_left_and_other_sweeps_refused(workdir, capsys):
  config = workdir.parent / 'small.py'
  before = (workdir / GOOD / 'result.json').stat().st_mtime_ns
  text = config.read_text()
  config.write_text(text[: text.index('def get_sweep')]
                    + f'def get_sweep():\n  return {GRID}[:1]\n')  # fmt: skip
  cli.main(make_words(config, workdir))
  assert '1 whole already' in capsys.readouterr().out
  with pytest.raises(SystemExit):
    cli.main([*make_words(config, workdir), '--config.optim.lr=0.5'])
  assert 'another sweep' in capsys.readouterr().err
  (workdir.parent / 'mine').mkdir()
  (workdir.parent / 'mine/file').write_text('mine')
  with pytest.raises(SystemExit):
    cli.main(make_words(config, workdir.parent / 'mine'))
  assert 'something else than a sweep' in capsys.readouterr().err
  assert (workdir / GOOD / 'result.json').stat().st_mtime_ns == before
  config.write_text(text)


def test_a_trial_that_never_saved_may_begin_anew(tmp_path):
  def claim(lr):
    one = grid.Trial('seed=0', {'seed': 0}, {'optim': {'lr': lr}})
    sweep.open_sweep(tmp_path, ['--config=grid.py'], [one])

  claim(0.1)
  claim(0.2)
  (tmp_path / 'seed=0/checkpoints').mkdir(parents=True)
  claim(0.2)
  with pytest.raises(errors.AvemoError, match='optim.lr was 0.2, is 0.1'):
    claim(0.1)


def test_a_trial_that_another_process_runs_is_left_to_it(tmp_path, monkeypatch):
  monkeypatch.setattr(sweep, 'PATIENCE', 0.1)
  config = {'data': {}}
  chosen = grid.Trial('seed=0', {'seed': 0}, config)
  folder = tmp_path / chosen.name
  folder.mkdir()
  (folder / 'log.txt').write_text('avemo: another process is at work there\n')
  with folders.lock(folder, name=sweep.LOCK_FILE):
    with pytest.raises(errors.AvemoError, match='another process'):
      sweep.run_one(tmp_path, chosen)
    assert 'another process' in sweep.note_failure(folder, 1)
  assert not (folder / sweep.FAILED_FILE).exists()
  # Nobody is there, and it fails by itself: it has no seed.
  with pytest.raises(errors.AvemoError, match='seed'):
    sweep.run_one(tmp_path, chosen)
  assert 'seed' in (folder / sweep.FAILED_FILE).read_text()


@pytest.mark.slow
def test_killed_it_goes_on_where_it_stood(tmp_path, tiny_crema_d_dataset):
  config = small_grid.write_config(
    tmp_path, tiny_crema_d_dataset, "[{'seed': s} for s in (0, 1)]"
  )
  words = make_words(config, tmp_path / 'runs')
  environment = small_run.make_environment()
  command = [sys.executable, '-m', 'avemo', *words]
  process = subprocess.Popen(command, env=environment)
  half = tmp_path / 'runs/seed=1/config.json'
  deadline = time.monotonic() + 250
  while not half.is_file():
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  whole = tmp_path / 'runs/seed=0/result.json'
  before = whole.stat().st_mtime_ns
  # At once: what the killed one had started ends by itself, and is waited for.
  done = subprocess.run(command, env=environment, check=False)
  assert done.returncode == 0
  assert whole.stat().st_mtime_ns == before
  rows = collect.collect(tmp_path / 'runs')
  assert [row['seeds'] for row in rows] == [2]


# ------------------------------------------------------- tables made by hand


def write_run(folder, seed, right, val, speakers=12, overrides=None):
  """A trial as a sweep leaves it, right on a share of its clips."""
  rng = np.random.default_rng([seed, round(100 * right)])
  truth = np.tile(np.arange(3), speakers * 4)
  said = np.where(rng.random(len(truth)) < right, truth, (truth + 1) % 3)
  names = ('anger', 'fear', 'joy')
  size = len(truth)
  found = table.Predictions(
    classes=names,
    clip_id=[f'c{n}' for n in range(size)],
    segment=np.zeros(size, int),
    speaker=[f's{n // 12}' for n in range(size)],
    label=[names[n] for n in truth],
    probabilities=np.eye(3)[said],
  )
  path = table.write(folder / 'eval/test/predictions.csv', found)
  uar = float(np.mean([(said == truth)[truth == c].mean() for c in range(3)]))
  config = {'seed': seed, 'steps': 5}
  noisy = {'snr': 5.0, 'noise': 'white', 'uar': uar / 2}
  result = {
    'config': config,
    'metric': 'val/uar',
    'best': val,
    'scores': {'test': {'uar': uar, 'war': uar, 'num_examples': size}},
    'conditions': {'snr-5db': noisy},
    'tables': {'test': {'folder': 'test', 'sha256': trial.hash_file(path)}},
    'cost': {'training_seconds': 10.0 + seed, 'parameters': 7, 'gmacs': 0.5},
  }
  (folder / 'result.json').write_text(json.dumps(result))
  (folder / 'eval/test/metrics.json').write_text('{"cost": {}}')
  return {'overrides': (overrides or {}) | {'seed': seed}, 'config': config}


def test_a_table_of_a_later_evaluation_is_refused(made):
  folder = made / 'fusion.kind=a_seed=0'
  write_run(folder.parent / 'other', 3, 0.9, 0.9)
  path = folder / 'eval/test/predictions.csv'
  path.write_bytes(
    (folder.parent / 'other/eval/test/predictions.csv').read_bytes()
  )
  with pytest.raises(errors.AvemoError, match='not what the trial has scored'):
    systems.read_trial(folder)


def test_systems_whose_names_are_alike_have_a_row_each(tmp_path):
  trials = {}
  for number, tower in enumerate(('video', 'audio')):
    for seed in (0, 1):
      trials[f'trial-{number}-{seed}'] = write_run(
        tmp_path / f'trial-{number}-{seed}', seed, 0.5 + 0.2 * number, 0.5,
        overrides={f'model.{tower}.position.kind': 'a'},
      )  # fmt: skip
  (tmp_path / 'sweep.json').write_text(json.dumps({'trials': trials}))
  one, other = systems.find_systems(tmp_path)
  assert one.name == 'position.kind=a' and other.name.startswith(one.name)
  assert one.name != other.name and one.overrides != other.overrides
  assert [len(system.runs) for system in (one, other)] == [2, 2]


@pytest.fixture
def made(tmp_path):
  """Three systems with two seeds each, and a seed that is missing."""
  trials = {}
  for kind, right, val in (('a', 0.5, 0.9), ('b', 0.8, 0.6), ('c', 0.52, 0.5)):
    for seed in (0, 1):
      name = f'fusion.kind={kind}_seed={seed}'
      trials[name] = write_run(
        tmp_path / name, seed, right, val,
        overrides={'model.fusion.kind': kind},
      )  # fmt: skip
  trials['fusion.kind=c_seed=2'] = {
    'overrides': {'model.fusion.kind': 'c', 'seed': 2},
    'config': {'seed': 2, 'steps': 5},
  }
  (tmp_path / 'sweep.json').write_text(json.dumps({'trials': trials}))
  return tmp_path


def test_the_table_says_who_is_better_by_how_much(made, capsys):
  rows = {row['system'][-1]: row for row in collect.collect(made)}
  # Chosen on validation clips, although others are better on the test.
  assert rows['a']['chosen_by_validation'] == 'val/uar'
  assert not rows['b']['chosen_by_validation']
  for kind, row in rows.items():
    scores = [
      json.loads(
        (made / f'fusion.kind={kind}_seed={seed}/result.json').read_text()
      )['scores']['test']['uar']
      for seed in (0, 1)
    ]
    assert row['uar'] == pytest.approx(np.mean(scores))
    assert row['uar_sd'] == pytest.approx(np.std(scores, ddof=1))
    assert row['uar snr-5db'] == pytest.approx(row['uar'] / 2)
    assert row['training_seconds'] == 10.5
  assert rows['b']['difference'] == pytest.approx(
    rows['b']['uar'] - rows['a']['uar']
  )
  assert rows['b']['difference_low'] > 0.1
  assert rows['b']['p_holm'] == pytest.approx(2 * rows['b']['p'])
  assert rows['b']['p_holm'] < 0.05
  assert rows['c']['difference_low'] < 0 < rows['c']['difference_high']
  assert rows['a']['difference'] is None
  assert rows['c']['missing'] == 'fusion.kind=c_seed=2'
  out = capsys.readouterr().out
  assert 'missing: fusion.kind=c_seed=2' in out and '±' in out
  page = (made / 'report.html').read_text()
  for word in ('worse conditions', 'Holm', 'model.fusion.kind'):
    assert word in page


def test_a_baseline_and_a_metric_may_be_named(made, capsys):
  rows = collect.collect(made, baseline='fusion.kind=b', metric='war')
  assert [row['difference'] is None for row in rows] == [False, True, False]
  for option, value, near in (
    ('baseline', 'fusion.kind=bb', 'fusion.kind=b'),
    ('metric', 'wra', 'war'),
  ):
    with pytest.raises(SystemExit):
      cli.main(['collect', str(made), f'--{option}={value}'])
    assert f'did you mean {near!r}' in capsys.readouterr().err


def test_tasks_have_a_table_each(made, capsys):
  for seed in (0, 1):
    path = made / f'fusion.kind=c_seed={seed}/result.json'
    result = json.loads(path.read_text())
    films = {'ccc_mean': 0.5, 'ccc_mean_unsmoothed': 0.4, 'num_examples': 144}
    adaptive = {'adaptive': 0.01, 'ccc_mean': 0.45, 'looked_at': 0.25}
    result |= {'scores': {'test': films}, 'metric': 'val/ccc_mean'}
    result['conditions'] = {'adaptive-0.01': adaptive}
    path.write_text(json.dumps(result))
  rows = {row['system'][-1]: row for row in collect.collect(made)}
  assert rows['b']['difference'] is not None
  assert rows['c']['chosen_by_validation'] == 'val/ccc_mean'
  assert rows['c']['ccc_mean_unsmoothed'] == pytest.approx(0.4)
  assert rows['c']['ccc_mean adaptive-0.01'] == pytest.approx(0.45)
  assert rows['c']['looked_at adaptive-0.01'] == pytest.approx(0.25)
  assert 'uar' not in rows['c'] and 'ccc_mean' not in rows['a']
  out = capsys.readouterr().out
  assert 'faces looked at adaptive-0.01' in out and 'ccc_mean unsmoothed' in out
  assert out.count('seeds') == 2


def test_other_heads_stand_in_one_table(made, capsys):
  for seed in (0, 1):
    path = made / f'fusion.kind=c_seed={seed}/result.json'
    result = json.loads(path.read_text())
    result['scores']['test']['ccc_mean'] = 0.5
    path.write_text(json.dumps(result))
    path = made / f'fusion.kind=a_seed={seed}/result.json'
    result = json.loads(path.read_text())
    result['conditions']['snr-5db']['war'] = 0.25
    path.write_text(json.dumps(result))
  rows = {row['system'][-1]: row for row in collect.collect(made)}
  assert all(rows[kind]['difference'] is not None for kind in 'bc')
  assert rows['c']['ccc_mean'] == 0.5 and 'ccc_mean' not in rows['a']
  assert rows['a']['war snr-5db'] == 0.25
  assert capsys.readouterr().out.count('seeds') == 1
  # Those who lack what is asked for are compared by what they have.
  collect.collect(made, metric='ccc_mean', baseline='fusion.kind=a')
  out = capsys.readouterr().out
  assert out.count('--metric=ccc_mean is not known') == 1
  assert out.count('--baseline=fusion.kind=a shares no score') == 1


def test_it_compares_by_what_checkpoints_were_chosen_by(made, capsys):
  for path in made.glob('*/result.json'):
    result = json.loads(path.read_text())
    noisy = result['conditions']['snr-5db'] | {'war': 0.125}
    result |= {'metric': 'val/war', 'conditions': {'snr-5db': noisy}}
    path.write_text(json.dumps(result))
  collect.collect(made)
  assert 'war difference' in capsys.readouterr().out
  assert 'war under worse conditions' in (made / 'report.html').read_text()


def test_a_condition_of_one_seed_is_no_mean(made):
  path = made / 'fusion.kind=a_seed=1/result.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | {'conditions': {}}))
  row = collect.collect(made)[0]
  assert row['uar snr-5db'] is None and row['uar'] is not None


def test_whoever_has_seen_the_test_clips_is_marked(made, capsys):
  path = made / 'fusion.kind=b_seed=1/eval/test/metrics.json'
  path.write_text(json.dumps({'overlap': ['X has seen 3 speakers']}))
  rows = collect.collect(made)
  assert [row['overlap'] for row in rows] == ['', 'X has seen 3 speakers', '']
  out = capsys.readouterr().out
  assert 'fusion.kind=b !' in out and '! fusion.kind=b is no score' in out
  assert 'X has seen' in (made / 'table.csv').read_text()


def test_other_clips_are_not_compared(made):
  write_run(made / 'fusion.kind=b_seed=0', 0, 0.8, 0.6, speakers=13)
  rows = collect.collect(made)
  assert rows[1]['difference'] is None and rows[2]['difference'] is not None


def test_a_folder_without_anything_is_refused(tmp_path, capsys):
  for folder in (tmp_path, tmp_path / 'none'):
    with pytest.raises(SystemExit):
      cli.main(['collect', str(folder)])
    assert str(folder) in capsys.readouterr().err
