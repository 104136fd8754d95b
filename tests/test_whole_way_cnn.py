"""The two systems of CNNs from raw files to scores and a labelled film."""

import csv
import json
import pathlib

import numpy as np
import pytest

from avemo import cli
from avemo.data import schema
from avemo.evaluate import table
from avemo.media import decode
from avemo.simulate import corpus
from datasets_tfds import prepare

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
SMALL = [
  '--config.steps=2',
  '--config.optim.warmup=0',
  '--config.control.evaluate_every=2',
  '--config.data.batch_size=8',
  '--config.data.frames=2',
  '--config.data.size=24',
  '--config.model.video.widths=(4,)',
  '--config.model.audio.widths=(4,)',
]


def train(name, form, workdir, data_dir, *options):
  cli.main(
    [
      'train',
      f'--config={CONFIGS / name}.py:{form}',
      f'--workdir={workdir}',
      f'--config.data_dir={data_dir}',
      *SMALL,
      *options,
    ]
  )
  cli.main(['evaluate', f'--workdir={workdir}'])
  found = table.read(workdir / 'eval/test/predictions.csv')
  return json.loads((workdir / 'eval/test/metrics.json').read_text()), found


def predict(film, workdir, out, *options):
  cli.main(
    ['predict', str(film), f'--workdir={workdir}', f'--out={out}',
     '--every=1.0', *options]
  )  # fmt: skip
  with (out / f'{film.stem}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def ravdess(tmp_path_factory):
  """Raw files of three actors in three folds, and their dataset."""
  folder = tmp_path_factory.mktemp('ravdess')
  corpus.simulate(
    'ravdess', folder / 'raw', speakers=3, clips_per_speaker=2, progress=False
  )
  prepare.prepare(
    'ravdess', folder / 'raw', data_dir=folder, workers=0, progress=False
  )
  return folder


def test_mfcc_and_films_of_ravdess(ravdess, tmp_path):
  workdir = tmp_path / 'run'
  metrics, found = train('mfcc_cnn_ravdess', 'size=tiny', workdir, ravdess)
  assert metrics['num_examples'] == len(found.clip_id) == 2
  assert np.sum(metrics['confusion']) == 2
  kept = json.loads((workdir / 'config.json').read_text())['model']
  assert len(kept['features']['mean']) == 40
  # A film without sound, and its sound in a file of its own.
  film = next((ravdess / 'raw').rglob('02-01-*.mp4'))
  (sound,) = (ravdess / 'raw').rglob(f'03{film.stem[2:]}.wav')
  assert not decode.probe(film).has_audio
  rows = predict(film, workdir, tmp_path / 'out', f'--audio={sound}')
  assert {row['sound'] for row in rows} == {'own'}
  assert {row['face'] for row in rows} == {'1'}
  classes = schema.open_dataset('ravdess_av', ravdess).emotions
  for row in rows:
    total = sum(float(row[f'p_{name}']) for name in classes)
    assert total == pytest.approx(1, abs=1e-3) and row['emotion'] in classes
  drawn = tmp_path / f'out/{film.stem}.mp4'
  assert decode.probe(drawn).has_audio
  # The frames carry a box and a label.
  before, after = (
    next(iter(decode.read_frames(path))).image.astype(int)
    for path in (film, drawn)
  )
  x, y, w, _ = (round(float(rows[0][name])) for name in ('x', 'y', 'w', 'h'))
  edge = np.abs(after - before)[y - 2 : y + 3, x : x + w].max(2)
  assert np.median(edge.max(0)) > 30


@pytest.mark.parametrize('tiny_corpus', ['msp_improv'], indirect=True)
def test_model_level_fusion_of_msp_improv(tiny_corpus, tmp_path):
  _, _, data_dir = tiny_corpus
  index = schema.open_dataset('msp_improv_av', data_dir).index
  for target, form in (
    ('emotion', 'fold=1'),
    ('activation', 'fold=1,target=activation,system=audio'),
  ):
    workdir = tmp_path / target
    name = 'cnn_fusion_msp_improv'
    metrics, found = train(name, f'size=tiny,{form}', workdir, data_dir)
    about = json.loads((workdir / 'labels.json').read_text())
    assert metrics['labels'] == about['labels'] == list(found.classes)
    assert np.sum(metrics['confusion']) == metrics['num_examples'] > 0
    rated = dict(zip(index['clip_id'], index['raw_activation'], strict=True))
    told = dict(zip(index['clip_id'], index['emotion'], strict=True))
    for clip_id, label in zip(found.clip_id, found.label, strict=True):
      if target == 'emotion':
        assert label == told[clip_id]
        continue
      # As the file has it, 1 is very active.
      activation = 6 - rated[clip_id]
      known = 'low' if activation < 2.5 else 'high'
      assert label == ('middle' if 2.5 <= activation <= 3.5 else known)
    kept = json.loads((workdir / 'config.json').read_text())
    assert len(kept['model']['features']['mean']) == 40
    assert ('mean' in kept['model']['pictures']) == (target == 'emotion')
  assert metrics['classes_from']['dimension'] == 'activation'
  assert set(metrics['labels']) == {'low', 'middle', 'high'}
