"""Emotion, valence and arousal from files to new films, by the command line."""

import csv
import json
import pathlib

import pytest

from avemo import cli
from avemo.simulate import affect, cues
from datasets_tfds import prepare

CONFIG = pathlib.Path(__file__).parent.parent / 'configs/multitask.py'
# Sound alone, for seconds.
SMALL = (
  '--config.steps=3',
  '--config.data.batch_size=8',
  '--config.control.evaluate_every=3',
  '--config.optim.warmup=0',
  "--config.model.use=('audio',)",
  '--config.model.audio.depth=1',
  '--config.model.audio.width=12',
  '--config.augment={}',
)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory, tiny_crema_d):
  folder = tmp_path_factory.mktemp('affect')
  table = affect.write(folder, cues.load(tiny_crema_d))
  report = prepare.prepare(
    'crema_d',
    tiny_crema_d,
    data_dir=folder,
    labels=table,
    workers=0,
    progress=False,
  )
  assert report.used + report.repaired >= 15 and not report.rows
  return folder


def run(data_dir, workdir, task):
  cli.main(
    [
      'train',
      f'--config={CONFIG}:size=tiny,task={task}',
      f'--workdir={workdir}',
      f'--config.data_dir={data_dir}',
      *SMALL,
    ]
  )
  cli.main(['evaluate', f'--workdir={workdir}'])
  return json.loads((workdir / 'eval/test/metrics.json').read_text())


def test_both_tasks_are_learned_scored_and_read(
  data_dir, tiny_crema_d, tmp_path
):
  metrics = run(data_dir, tmp_path / 'run', 'multitask')
  for name in ('uar', 'ccc_valence', 'ccc_arousal', 'ccc_mean'):
    assert -1 <= metrics[name] <= 1
  film = tiny_crema_d / 'VideoFlash/1006_ITS_DIS_XX.flv'
  out = tmp_path / 'read'
  cli.main(
    ['predict', str(film), f'--workdir={tmp_path / "run"}', f'--out={out}']
  )
  with (out / f'{film.stem}.csv').open() as file:
    row = next(csv.DictReader(file))
  assert row['emotion'] and abs(float(row['valence'])) < 1
  assert abs(float(row['arousal'])) < 1


@pytest.mark.slow
@pytest.mark.parametrize(
  ('task', 'there', 'absent'),
  [
    ('regression', 'ccc_mean', 'uar'),
    ('classification', 'uar', 'ccc_mean'),
  ],
)
def test_each_task_alone(data_dir, tmp_path, task, there, absent):
  metrics = run(data_dir, tmp_path, task)
  assert there in metrics and absent not in metrics
