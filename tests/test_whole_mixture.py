"""Several corpora through the command line: trained, scored, told apart."""

import csv
import json

import pytest

from avemo import cli
from avemo.evaluate import summary, table
from avemo.simulate import corpus
from datasets_tfds import prepare

# One corpus twice, on other terms: nothing else has to be made.
CONFIG = """
from configs import mixture

def get_config(arg=''):
  config = mixture.get_config('system=audio,derive,corpora=crema_d+ravdess')
  config.data.mixture = {
    'plain': {'name': 'crema_d_av', 'protocol': 'crema_d_hicmae_5fold',
              'fold': 0, 'weight': 2.0},
    'again': {'name': 'crema_d_av', 'protocol': 'crema_d_hicmae_5fold',
              'fold': 0, 'weight': 1.0},
  }
  return small(config)

def small(config):
  config.steps = 2
  config.optim.warmup = 0
  config.data.batch_size = 8
  config.control.evaluate_every = 2
  config.model.audio = {'name': 'cnn', 'widths': (4,)}
  return config
"""


def train(folder, data_dir, text=CONFIG):
  path = folder / 'configs' / 'small.py'
  path.parent.mkdir(parents=True)
  path.write_text(text)
  workdir = folder / 'run'
  cli.main(
    [
      'train',
      f'--config={path}',
      f'--workdir={workdir}',
      f'--config.data_dir={data_dir}',
    ]
  )
  return workdir


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, tiny_crema_d_dataset):
  return train(tmp_path_factory.mktemp('mixture'), tiny_crema_d_dataset)


def read(workdir):
  path = workdir / 'eval/test/metrics.json'
  return json.loads(path.read_text()), path.with_name('report.html').read_text()


def test_all_corpora_are_scored_together_and_each(workdir, capsys):
  capsys.readouterr()
  cli.main(['evaluate', f'--workdir={workdir}'])
  printed = capsys.readouterr().out
  metrics, page = read(workdir)
  assert list(metrics['corpora']) == ['again', 'plain']
  for name, own in metrics['corpora'].items():
    # The same clips, so the same figures.
    assert own['uar'] == metrics['uar'] and f'{name}: uar' in printed
    assert own['num_examples'] == metrics['num_examples'] / 2 > 0
  assert metrics['fold'] == [0, 0]
  rows = metrics['speakers']
  assert {row['corpus'] for row in rows} == {'plain', 'again'}
  assert [row['uar'] for row in rows] == sorted(row['uar'] for row in rows)
  assert 'By corpus' in page and 'By speaker' in page
  found = table.read(workdir / 'eval/test/predictions.csv')
  assert summary.score(found)['uar'] == metrics['uar']


def test_derived_values_are_told_of_and_never_scored(workdir):
  cli.main(['evaluate', f'--workdir={workdir}'])
  metrics, page = read(workdir)
  table_name = 'russell_mehrabian_1977'
  about = json.loads((workdir / 'labels.json').read_text())
  assert (
    about['derived'] == metrics['derived'] == {'valence_arousal': table_name}
  )
  assert not [name for name in metrics if name.startswith('ccc')]
  assert table_name in page and 'no ground truth' in page
  assert 'valence_arousal: no labels here' in ' '.join(metrics['warnings'])
  with (workdir / 'eval/test/predictions.csv').open() as file:
    row = next(csv.DictReader(file))
  assert -1 < float(row['valence']) < 1 and row['label_valence'] == ''


def test_one_of_the_corpora_is_scored_by_its_name(workdir, capsys):
  cli.main(['evaluate', f'--workdir={workdir}', '--data=again', '--fold=1'])
  assert 'may have been trained on' in capsys.readouterr().out
  joint = (workdir / 'eval/test/metrics.json').read_text()
  metrics = json.loads((workdir / 'eval/test-again/metrics.json').read_text())
  assert isinstance(json.loads(joint)['fold'], list)
  assert metrics['fold'] == 1 and 'corpora' not in metrics
  # It is known to be a part of what was trained on.
  assert not [w for w in metrics['warnings'] if 'which may hold' in w]
  with pytest.raises(SystemExit):
    cli.main(['evaluate', f'--workdir={workdir}', '--fold=1'])
  assert 'name one of them by --data' in capsys.readouterr().err
  with pytest.raises(SystemExit):
    cli.main(['evaluate', f'--workdir={workdir}', '--data=other'])
  assert "'other' is none of them" in capsys.readouterr().err


@pytest.mark.slow
def test_two_simulated_corpora(tmp_path, tiny_crema_d_dataset):
  data_dir = tmp_path / 'data'
  data_dir.mkdir()
  (data_dir / 'crema_d_av').symlink_to(tiny_crema_d_dataset / 'crema_d_av')
  raw = tmp_path / 'raw'
  corpus.simulate(
    'ravdess', raw, speakers=3, clips_per_speaker=4, progress=False
  )
  prepare.prepare('ravdess', raw, data_dir=data_dir, workers=0, progress=False)
  small = CONFIG[CONFIG.index('def small') :]
  workdir = train(
    tmp_path,
    data_dir,
    'from configs import mixture\n'
    'def get_config(arg=""):\n'
    '  return small(mixture.get_config("system=audio"))\n' + small,
  )
  cli.main(['evaluate', f'--workdir={workdir}'])
  metrics, _ = read(workdir)
  assert list(metrics['corpora']) == ['crema_d', 'ravdess']
  assert 'calm' not in metrics['corpora']['crema_d']['labels']
  assert 'surprise' in metrics['corpora']['ravdess']['labels']
