"""Somebody's own recordings from a folder and a table to read films."""

import csv
import json

import pytest
import small_run

from avemo import cli
from avemo.evaluate import table
from avemo.train import loop


@pytest.fixture(scope='module')
def workdir(tiny_custom, tmp_path_factory):
  _, _, data_dir = tiny_custom
  folder = tmp_path_factory.mktemp('run')
  config = small_run.make_config(
    steps=2,
    data_dir=str(data_dir),
    data={
      'name': 'custom_av',
      'protocol': 'custom_split',
      'batch_size': 8,
    },
    optim={'warmup': 0},
  )
  loop.train(config, folder)
  return folder


def test_scores_are_of_the_clips_that_the_table_puts_into_test(workdir, capsys):
  cli.main(['evaluate', f'--workdir={workdir}'])
  metrics = json.loads((workdir / 'eval/test/metrics.json').read_text())
  found = table.read(workdir / 'eval/test/predictions.csv')
  assert sorted(found.clip_id) == ['7', '8'] and metrics['num_examples'] == 2
  assert set(found.speaker) == {'emil'}
  assert sorted(found.label) == ['anger', 'sadness']
  assert metrics['labels'] == ['anger', 'disgust', 'sadness']
  assert not any('speaker' in line for line in metrics['warnings'])
  # Every speaker is tested once by the other protocol, which this run is none
  # of.
  cli.main(
    ['evaluate', f'--workdir={workdir}', '--protocol=custom_speaker_5fold']
  )
  assert 'may have been trained on' in capsys.readouterr().out


def test_a_film_is_read_in_the_words_of_the_table(
  workdir, tiny_custom, tmp_path
):
  root, _, _ = tiny_custom
  film = root / '7.flv'
  cli.main(['predict', str(film), f'--workdir={workdir}', f'--out={tmp_path}'])
  with open(tmp_path / '7.csv', newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  words = {'anger', 'disgust', 'sadness'}
  assert words == {n[2:] for n in rows[0] if n.startswith('p_')}
  assert {row['emotion'] for row in rows} <= {'', *words}
  assert (tmp_path / '7.mp4').is_file()


def test_protocols_of_own_recordings_are_told(tiny_custom, capsys):
  root, _, data_dir = tiny_custom
  cli.main(['protocols', 'custom_split', '--data-dir', str(data_dir), '--json'])
  (fold,) = json.loads(capsys.readouterr().out)['folds']
  assert fold['test'] == ['7', '8'] and fold['val'] == ['val/5', 'val/6']
  # Without the table the folders say what they can, and nobody is named.
  with pytest.raises(SystemExit):
    cli.main(['protocols', 'custom_split', '--raw', str(root)])
  assert 'no clip is for test' in capsys.readouterr().err
