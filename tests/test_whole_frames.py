"""Films labelled by frame, the whole way: the challenge scores them alike."""

import csv
import json
import pathlib

import numpy as np
import pytest
import small_towers

from avemo import cli
from avemo.evaluate import abaw
from avemo.experiment import configs
from avemo.simulate import corpus
from avemo.train import loop
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


# --------------------------------------------- a model over features of frames

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='module')
def sequence(made):
  """The workdir of a model over a face's and a sound's features."""
  raw, _ = made
  root = raw.parent
  face = small_towers.write(root / 'towers', 'face')
  sound = small_towers.write(root / 'towers', 'cnn')
  config = configs.load(
    [
      f'--config={ROOT / "configs/frames_aff_wild2.py"}:task=va,size=tiny',
      f'--config.data_dir={root / "data"}',
      f'--config.features.cache={root / "cache"}',
      f'--config.features.towers.face.path={face}',
      f'--config.features.towers.vggish.path={sound}',
      "--config.model.heads=('emotion', 'valence_arousal')",
      '--config.loss.class_weights=balanced',
      '--config.model.width=16',
      '--config.model.depth=1',
      '--config.steps=6',
      '--config.optim.warmup=0',
    ]
  )
  workdir = root / 'sequence'
  loop.train(config, workdir)
  return workdir


def write_submission(folder, annotations, films, columns):
  """A file for every annotated film, in the form of its annotation."""
  folder.mkdir()
  for path in annotations.iterdir():
    lines = path.read_text().splitlines()
    rows = films[path.stem]
    # A frame beyond the last that the film has is said what that was.
    said = [rows[min(n, max(rows))] for n in range(len(lines) - 1)]
    text = [','.join(str(columns(row))[1:-1].split(', ')) for row in said]
    (folder / path.name).write_text('\n'.join([lines[0], *text]) + '\n')


def test_every_frame_is_answered_and_the_challenge_agrees(
  made, sequence, tmp_path
):
  raw, _ = made
  cli.main(['evaluate', f'--workdir={sequence}', '--smooth=median:0.3'])
  metrics = json.loads((sequence / 'eval/test/metrics.json').read_text())
  films = read_rows(sequence)
  for rows in films.values():
    assert sorted(rows) == list(range(len(rows)))
    # The simulated films lack two faces each.
    assert all(row['valence'] and row['p_anger'] for row in rows.values())
  (annotations,) = raw.glob('*ABAW*/VA_*/Validation_Set')
  write_submission(
    tmp_path / 'va',
    annotations,
    films,
    lambda row: [float(row['valence']), float(row['arousal'])],
  )
  assert abaw.check('va', annotations, tmp_path / 'va') == {}
  found = abaw.score('va', annotations, tmp_path / 'va')
  assert metrics['ccc_mean'] == pytest.approx(found['score'], abs=1e-6)
  assert metrics['smoothing']['ways']['valence_arousal'] == 'median:0.3'
  assert metrics['smoothing']['unsmoothed']['ccc_mean'] != metrics['ccc_mean']


def test_half_the_faces_are_looked_at_at_most(sequence):
  cli.main(['evaluate', f'--workdir={sequence}', '--adaptive=0'])
  # Beside the clean score, in a folder that says so.
  path = sequence / 'eval/test-adaptive-0/metrics.json'
  metrics = json.loads(path.read_text())
  rate = metrics['frame_rate']
  assert 0.3 * rate['frames'] < rate['looked_at'] <= 0.5 * rate['frames']
  # The config has the window chosen by films that were held out.
  assert metrics['smoothing']['chosen_on'] == 'val'
  assert metrics['smoothing']['ways'].keys() == {'emotion', 'valence_arousal'}


def test_new_films_are_read_by_the_towers(made, sequence, tmp_path):
  raw, _ = made
  film = sorted(raw.glob('batch1/*.mp4'))[0]
  cli.main(
    ['predict', str(film), f'--workdir={sequence}', f'--out={tmp_path}']
    + ['--every=1']
  )
  with (tmp_path / f'{film.stem}.csv').open() as file:
    rows = list(csv.DictReader(file))
  said = [row for row in rows if row['valence']]
  assert said
  for row in said:
    shares = [float(v) for k, v in row.items() if k.startswith('p_')]
    assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_new_films_are_read_at_an_adaptive_rate(made, sequence, tmp_path):
  raw, _ = made
  film = sorted(raw.glob('batch1/*.mp4'))[0]
  cli.main(
    ['predict', str(film), f'--workdir={sequence}', f'--out={tmp_path}']
    + ['--every=1', '--adaptive=0']
  )
  about = json.loads((tmp_path / f'{film.stem}.json').read_text())
  assert about['settings']['adaptive'] == 0
  (line,) = [one for one in about['states'] if 'adaptive' in one]
  faces, half = [int(word) for word in line.split() if word.isdigit()]
  assert 0.4 * faces < half <= 0.6 * faces
