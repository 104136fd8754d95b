"""Every fold of one corpus of a mixture: the other corpora stay as they are."""

import json

import pytest

from avemo import cli
from avemo.evaluate import table

CONFIG = """
from configs import mixture

def get_config(arg=''):
  config = mixture.get_config('system=audio,corpora=crema_d+enterface')
  config.data_dir = {data_dir!r}
  config.data.batch_size = 8
  config.data.seconds = 0.25
  config.steps = 2
  config.optim.warmup = 0
  config.control.evaluate_every = 2
  config.model.audio = {{'name': 'cnn', 'widths': (4,)}}
  config.model.features = {{'num_mels': 8}}
  return config
"""


@pytest.mark.parametrize('tiny_corpus', ['enterface'], indirect=True)
def test_every_fold_of_one_of_two_corpora(
  tmp_path, tiny_crema_d_dataset, tiny_corpus
):
  data_dir, workdir = tmp_path / 'data', tmp_path / 'runs'
  data_dir.mkdir()
  for name, folder in (
    ('crema_d_av', tiny_crema_d_dataset),
    ('enterface_av', tiny_corpus[2]),
  ):
    (data_dir / name).symlink_to(folder / name)
  path = tmp_path / 'small.py'
  path.write_text(CONFIG.format(data_dir=str(data_dir)))
  words = [
    'cross-validate',
    f'--config={path}',
    '--protocol=crema_d_hicmae_5fold',
    f'--workdir={workdir}',
    '--no-best-on-test',
  ]
  cli.main(words)
  summary = json.loads((workdir / 'summary.json').read_text())
  assert summary['dataset'] == 'crema_d'
  folds = [row['fold'] for row in summary['folds']]
  assert folds == [0, 1, 2]
  clips = []
  for fold in folds:
    folder = workdir / f'fold_{fold}'
    data = json.loads((folder / 'config.json').read_text())['data']['mixture']
    assert data['crema_d']['fold'] == fold
    assert data['enterface'].get('fold', 0) == 0
    # Scored on the one corpus alone, and the fold's own clips of it.
    assert [p.name for p in (folder / 'eval').iterdir()] == ['test-crema_d']
    rows = table.read(folder / 'eval/test-crema_d/predictions.csv')
    trained = json.loads((folder / 'trained_on.json').read_text())
    seen = trained[0]['corpora']
    assert seen['enterface']['trained']['clip_id']
    assert not {*rows.speaker} & {*seen['crema_d']['trained']['speaker']}
    clips += rows.clip_id
  assert len(clips) == len(set(clips)) > 10
  assert summary['pooled']['num_examples'] <= len(clips)
