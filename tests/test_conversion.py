"""From a published file to a directory that predicts, evaluates and trains."""

import json

import films
import golden_sources
import jax
import numpy as np
import pytest
import test_convert_efficientnet as faces

from avemo import cli, errors
from avemo.evaluate import restore
from avemo.experiment import conversion


@pytest.fixture(scope='module')
def converted(tmp_path_factory):
  """A small EfficientNet of eight emotions, from a file of its tensors."""
  root = tmp_path_factory.mktemp('converted')
  np.savez(root / 'weights.npz', **faces.draw_file())
  out = root / 'deep' / 'out'
  cli.main(
    ['convert', 'efficientnet', str(root / 'weights.npz'), f'--out={out}']
  )
  return out


def test_a_directory_says_what_it_holds(converted):
  names = {path.name for path in converted.iterdir()}
  assert names == {'params', 'batch_stats', 'model.json'}
  assert [path.name for path in converted.parent.iterdir()] == ['out']
  about = json.loads((converted / 'model.json').read_text())
  assert about['family'] == 'efficientnet'
  assert about['labels'][:2] == ['anger', 'contempt']
  assert about['preprocessing']['size'] == 32
  assert about['source']['format'] == 'npz'
  assert len(about['source']['sha256']) == 64
  assert about['licence'] and about['source']['origin']


def test_the_restored_model_is_the_plan_s(converted):
  restored = restore.restore(converted)
  plan = faces.family.plan(golden_sources.make_source(faces.draw_file()))
  model, _, variables = conversion.build(plan)
  batch = faces.make_batch()
  expected = model.apply(variables, batch)['emotion']
  found = restored.model.apply(jax.device_get(restored.variables), batch)
  np.testing.assert_array_equal(found['emotion'], expected)
  assert restored.labels.names == faces.family.CLASSES_8


def test_nothing_is_replaced_and_nothing_half_written(converted, tmp_path):
  before = (converted / 'model.json').read_bytes()
  np.savez(tmp_path / 'w.npz', **faces.draw_file())
  with pytest.raises(errors.AvemoError, match='holds something'):
    conversion.convert('efficientnet', tmp_path / 'w.npz', converted)
  assert (converted / 'model.json').read_bytes() == before
  with pytest.raises(errors.AvemoError, match="did you mean 'efficientnet'"):
    conversion.convert('eficientnet', tmp_path / 'w.npz', tmp_path / 'out')
  with pytest.raises(errors.AvemoError, match='videomae|VideoMAE'):
    conversion.convert('videomae', tmp_path / 'w.npz', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_converted_classifier_reads_a_film(converted, tmp_path):
  film, _ = films.simulate_corpus(tmp_path / 'raw')
  out = tmp_path / 'read'
  words = [str(film), f'--workdir={converted}', f'--out={out}', '--every=1']
  cli.main(['predict', *words])
  text = (out / f'{film.stem}.csv').read_text().splitlines()
  assert 'p_contempt' in text[0] and len(text) > 1


def test_a_converted_classifier_is_scored(
  converted, tiny_crema_d_dataset, capsys
):
  words = ['evaluate', f'--workdir={converted}']
  with pytest.raises(SystemExit):
    cli.main(words)
  assert 'name --data and --protocol' in capsys.readouterr().err
  cli.main(
    [
      *words,
      '--data=crema_d_av',
      '--protocol=crema_d_hicmae_5fold',
      f'--data-dir={tiny_crema_d_dataset}',
    ]
  )
  metrics = json.loads((converted / 'eval/test/metrics.json').read_text())
  assert metrics['num_examples'] > 0
  assert 'trained elsewhere' in ' '.join(metrics['warnings'])


def test_a_tower_without_a_head_is_no_classifier(tmp_path):
  np.savez(tmp_path / 'w.npz', **faces.draw_file(outputs=0))
  conversion.convert('efficientnet', tmp_path / 'w.npz', tmp_path / 'out')
  with pytest.raises(errors.AvemoError, match=r'config\.init\.video='):
    restore.restore(tmp_path / 'out')
