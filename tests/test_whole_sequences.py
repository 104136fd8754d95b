"""Picture sequences and shared tokens, from raw files to a labelled film."""

import csv
import json
import pathlib

import pytest

from avemo import cli
from avemo.evaluate import table

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = f'--config={ROOT}/configs/sequences.py'
SMALL = [
  '--config.steps=2',
  '--config.optim.warmup=0',
  '--config.data.batch_size=8',
  '--config.data.frames=4',
  '--config.data.size=32',
  '--config.model.fusion.sequence.size=32',
  '--config.model.fusion.sequence.count=4',
  '--config.control.evaluate_every=2',
  '--config.model.video.depth=2',
  '--config.model.audio.depth=2',
]


def train(data_dir, workdir, form, *flags):
  words = [f'{CONFIG}:size=tiny,{form}', f'--workdir={workdir}']
  cli.main(['train', *words, f'--config.data_dir={data_dir}', *SMALL, *flags])


def read(folder, film):
  with (folder / f'{film.stem}.csv').open() as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def fslf(tmp_path_factory, tiny_crema_d_dataset):
  workdir = tmp_path_factory.mktemp('fslf')
  train(tiny_crema_d_dataset, workdir, 'strategy=fslf')
  return workdir


@pytest.mark.slow
@pytest.mark.parametrize(
  'form', ['strategy=audio,probe', 'strategy=bottleneck']
)
def test_other_ways_start_from_its_tower(
  form, fslf, tiny_crema_d, tiny_crema_d_dataset, tmp_path, capsys
):
  flags = [f'--config.init.video={fslf}']
  if 'probe' in form:
    flags.append('--config.model.video.frozen_blocks=2')
  train(tiny_crema_d_dataset, tmp_path / 'run', form, *flags)
  assert 'fresh: none; ignored: none' in capsys.readouterr().out
  cli.main(['evaluate', f'--workdir={tmp_path}/run'])
  film = sorted((tiny_crema_d / 'VideoFlash').glob('10*_IEO_*.flv'))[0]
  cli.main([
    'predict', str(film), f'--workdir={tmp_path}/run', f'--out={tmp_path}',
  ])  # fmt: skip
  assert read(tmp_path, film)


def test_a_sequence_is_scored_and_reads_a_film(fslf, tiny_crema_d, tmp_path):
  cli.main(['evaluate', f'--workdir={fslf}', '--views=2'])
  metrics = json.loads((fslf / 'eval/test/metrics.json').read_text())
  found = table.read(fslf / 'eval/test/predictions.csv')
  assert metrics['num_examples'] == len(found.clip_id) > 0
  film = sorted((tiny_crema_d / 'VideoFlash').glob('10*_IEO_*.flv'))[0]
  cli.main(['predict', str(film), f'--workdir={fslf}', f'--out={tmp_path}'])
  rows = read(tmp_path, film)
  assert rows and all(
    sum(float(row[n]) for n in row if n.startswith('p_'))
    == pytest.approx(1, abs=1e-3)
    for row in rows
  )
