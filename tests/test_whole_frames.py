"""Films labelled by frame, the whole way: the challenge scores them alike."""

import csv
import json
import pathlib

import numpy as np
import pytest

from avemo import cli
from avemo.evaluate import abaw
from avemo.simulate import corpus
from datasets_tfds import prepare

CONFIG = """
from configs import mixture

def get_config(arg=''):
  config = mixture.get_config('system=audio,corpora=aff_wild2')
  config.data.mixture.aff_wild2.protocol = 'aff_wild2_official_va'
  config.data.every = 0.5
  config.data.seconds = 1.0
  config.data.batch_size = 8
  config.steps = 4
  config.optim.warmup = 0
  config.control.evaluate_every = 4
  config.control.metric = 'val/ccc_mean'
  config.model.heads = ('emotion', 'valence_arousal')
  config.loss.action_unit_weights = None
  config.model.audio = {'name': 'cnn', 'widths': (4,)}
  return config
"""


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """The raw tree, and the workdir of a run that is trained and scored."""
  root = tmp_path_factory.mktemp('films')
  raw, data_dir = root / 'raw', root / 'data'
  corpus.simulate('aff_wild2', raw, videos=8, progress=False)
  prepare.prepare(
    'aff_wild2', raw, data_dir=data_dir, workers=0, progress=False
  )
  config = root / 'configs' / 'small.py'
  config.parent.mkdir()
  config.write_text(CONFIG)
  workdir = root / 'run'
  cli.main(
    [
      'train',
      f'--config={config}',
      f'--workdir={workdir}',
      f'--config.data_dir={data_dir}',
    ]
  )
  cli.main(['evaluate', f'--workdir={workdir}', '--views=2'])
  return raw, workdir


def read_rows(workdir):
  """What was said of the frames of each film, by number."""
  films = {}
  with (workdir / 'eval/test/predictions.csv').open() as file:
    for row in csv.DictReader(file):
      films.setdefault(row['clip_id'], {})[int(row['frame'])] = row
  return films


def test_the_challenge_gives_the_score_that_the_run_has(made, tmp_path):
  raw, workdir = made
  metrics = json.loads((workdir / 'eval/test/metrics.json').read_text())
  films = read_rows(workdir)
  (annotations,) = raw.glob('*ABAW*/VA_*/Validation_Set')
  assert {path.stem for path in annotations.iterdir()} == set(films)
  for path in annotations.iterdir():
    lines = path.read_text().splitlines()
    rows = films[path.stem]
    # A frame beyond the last that the film has is said what that was.
    said = [rows[min(n, max(rows))] for n in range(len(lines) - 1)]
    text = [f'{row["valence"]},{row["arousal"]}' for row in said]
    (tmp_path / path.name).write_text('\n'.join([lines[0], *text]) + '\n')
  assert abaw.check('va', annotations, tmp_path) == {}
  found = abaw.score('va', annotations, tmp_path)
  for name in ('ccc_valence', 'ccc_arousal'):
    assert metrics[name] == pytest.approx(found[name], abs=1e-6)
  assert metrics['ccc_mean'] == pytest.approx(found['score'], abs=1e-6)
  assert np.isfinite(found['score'])


def test_the_films_stand_for_their_speakers(made):
  _, workdir = made
  metrics = json.loads((workdir / 'eval/test/metrics.json').read_text())
  assert {row['film'] for row in metrics['speakers']} <= set(read_rows(workdir))
  assert metrics['num_frames'] == metrics['num_examples'] > 100
  page = pathlib.Path(workdir / 'eval/test/report.html').read_text()
  assert 'ccc_mean' in page
  assert any('read once' in line for line in metrics['warnings'])
