"""Raw files to a labelled film through the command line, in small."""

import csv
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from avemo import cli
from avemo.evaluate import report, table
from avemo.media import decode

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = str(ROOT / 'configs/tiny_crema_d.py')
SMALL = [
  '--config.steps=2',
  '--config.optim.warmup=0',
  '--config.data.batch_size=8',
  '--config.data.frames=4',
  '--config.data.size=32',
  '--config.control.evaluate_every=2',
]


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, tiny_crema_d_dataset):
  folder = tmp_path_factory.mktemp('run')
  cli.main(
    [
      'train',
      f'--config={CONFIG}:system=early',
      f'--workdir={folder}',
      f'--config.data_dir={tiny_crema_d_dataset}',
      *SMALL,
    ]
  )
  return folder


def test_train_leaves_what_the_contract_says(workdir):
  names = {path.name for path in workdir.iterdir()}
  assert names >= {
    'config.json', 'environment.json', 'labels.json', 'metrics.jsonl',
    'checkpoints',
  }  # fmt: skip
  rows = [json.loads(x) for x in (workdir / 'metrics.jsonl').open()]
  assert all({'step', 'time'} <= set(row) for row in rows)
  assert any('val/uar' in row for row in rows)


def test_evaluate_scores_unseen_speakers(workdir, tiny_crema_d_dataset):
  cli.main(['evaluate', f'--workdir={workdir}', '--views=2'])
  directory = workdir / 'eval/test'
  names = {path.name for path in directory.iterdir()}
  assert names == {
    'metrics.json', 'predictions.csv', 'confusion.png', 'report.html',
  }  # fmt: skip
  metrics = json.loads((directory / 'metrics.json').read_text())
  found = table.read(directory / 'predictions.csv')
  assert metrics['num_examples'] == len(found.clip_id) > 0
  # The score follows from the table alone.
  right = np.array(found.label) == np.array(found.prediction)
  assert metrics['war'] == pytest.approx(right.mean())
  recalls = [
    right[np.array(found.label) == name].mean() for name in set(found.label)
  ]
  assert metrics['uar'] == pytest.approx(np.mean(recalls))
  assert np.sum(metrics['confusion']) == metrics['num_examples']
  np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
  # Fold 0 tests actors 1001 to 1018.
  assert {int(s) <= 1018 for s in found.speaker} == {True}
  assert metrics['intervals'] is None
  assert '8 are needed' in metrics['intervals_note']


def test_scoring_clips_of_another_fold_warns(workdir, capsys):
  cli.main(['evaluate', f'--workdir={workdir}', '--fold=1'])
  assert 'may have been trained on' in capsys.readouterr().out
  # The score of the run's own fold is kept.
  metrics = json.loads((workdir / 'eval/test/metrics.json').read_text())
  assert metrics['fold'] == 1
  (other,) = (workdir / 'eval').glob('test-*-0/metrics.json')
  assert json.loads(other.read_text())['fold'] == 0
  cli.main(['evaluate', f'--workdir={workdir}'])
  assert len(list((workdir / 'eval').iterdir())) == 2


def test_two_processes_score_as_one_does(workdir):
  cli.main(['evaluate', f'--workdir={workdir}'])
  alone = read_score(workdir)
  with pytest.raises(SystemExit) as ended:
    cli.main(['evaluate', f'--workdir={workdir}', '--processes=2'])
  assert ended.value.code == 0
  logs = [workdir / f'logs/evaluate_{n}.log' for n in range(2)]
  # One of them writes, and says so.
  assert ['report:' in log.read_text() for log in logs] == [True, False]
  together = read_score(workdir)
  assert together[0].clip_id == alone[0].clip_id
  np.testing.assert_allclose(
    together[0].probabilities, alone[0].probabilities, atol=1e-5
  )
  for name in ('uar', 'war', 'confusion', 'num_examples'):
    assert together[1][name] == alone[1][name]


def read_score(workdir):
  directory = workdir / 'eval/test'
  metrics = json.loads((directory / 'metrics.json').read_text())
  return table.read(directory / 'predictions.csv'), metrics


def test_a_cut_line_of_the_curves_is_left(workdir, tmp_path):
  lines = (workdir / 'metrics.jsonl').read_text()
  (tmp_path / 'metrics.jsonl').write_text(lines + '{"step": 3, "va')
  assert report.read_curves(tmp_path / 'metrics.jsonl') == report.read_curves(
    workdir / 'metrics.jsonl'
  )
  assert report.read_curves(tmp_path / 'none.jsonl') == {}


def test_damaged_notes_are_one_line(workdir, tmp_path, capsys):
  for content in ('{}', '[]', '{"labels": 3}'):
    shutil.copy(workdir / 'config.json', tmp_path / 'config.json')
    (tmp_path / 'labels.json').write_text(content)
    with pytest.raises(SystemExit):
      cli.main(['evaluate', f'--workdir={tmp_path}'])
    assert 'not that of a training run' in capsys.readouterr().err


def test_the_installed_program_runs_from_anywhere(tmp_path):
  program = pathlib.Path(sys.executable).parent / 'avemo'
  words = [
    'train', f'--config={CONFIG}', f'--workdir={tmp_path}/run',
    f'--config.data_dir={tmp_path}', '--config.data.refit',
  ]  # fmt: skip
  # Isolated, so that neither this folder nor PYTHONPATH helps.
  done = subprocess.run(
    [sys.executable, '-I', str(program), *words],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  # The config is read, and the data is what is missing.
  assert done.returncode == 1
  assert done.stderr.startswith('avemo: no dataset crema_d_av'), done.stderr


def test_workdir_of_another_config_is_refused(
  workdir, tiny_crema_d_dataset, capsys
):
  before = {p: p.stat().st_mtime for p in workdir.rglob('*') if p.is_file()}
  with pytest.raises(SystemExit) as stop:
    cli.main(
      [
        'train',
        f'--config={CONFIG}:system=early',
        f'--workdir={workdir}',
        f'--config.data_dir={tiny_crema_d_dataset}',
        '--config.optim.lr=0.5',
        *SMALL,
      ]
    )
  assert stop.value.code == 1
  assert 'optim.lr' in capsys.readouterr().err
  after = {p: p.stat().st_mtime for p in workdir.rglob('*') if p.is_file()}
  assert after == before


def test_predict_labels_a_film(workdir, tiny_crema_d, tmp_path):
  film = sorted((tiny_crema_d / 'VideoFlash').glob('10*_IEO_*.flv'))[0]
  out = tmp_path / 'out'
  cli.main([
    'predict', str(film), f'--workdir={workdir}', f'--out={out}', '--every=0.5',
  ])  # fmt: skip
  assert {p.suffix for p in out.iterdir()} == {'.mp4', '.csv', '.json', '.html'}
  info = decode.probe(out / f'{film.stem}.mp4')
  assert info.has_video and info.has_audio
  with (out / f'{film.stem}.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert rows
  for row in rows:
    assert row['emotion'] in ('anger', 'disgust', 'fear', 'happiness',
                              'neutral', 'sadness')  # fmt: skip
    total = sum(float(row[name]) for name in row if name.startswith('p_'))
    assert total == pytest.approx(1, abs=1e-3)
