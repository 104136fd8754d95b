"""The demo: small, killed and run again; folders that are not its own."""

import json

import pytest

from avemo import errors
from avemo.experiment import demo
from avemo.train import loop
from datasets_tfds import prepare


@pytest.fixture
def small(monkeypatch):
  """A corpus of 10 speakers, and trainings of 2 steps."""
  monkeypatch.setattr(demo, 'SPEAKERS', 10)
  monkeypatch.setattr(demo, 'CLIPS_PER_SPEAKER', 1)
  monkeypatch.setattr(demo, 'SYSTEMS', {'early': demo.SYSTEMS['early']})
  load = demo.configs.load
  flags = [
    '--config.steps=2',
    '--config.optim.warmup=0',
    '--config.data.batch_size=8',
    '--config.data.frames=4',
    '--config.data.size=32',
    '--config.data.seconds=0.5',
    '--config.control.evaluate_every=2',
  ]
  monkeypatch.setattr(demo.configs, 'load', lambda words: load(words + flags))


def test_a_demo_goes_on_and_leaves_its_table(tmp_path, small, monkeypatch):
  out = tmp_path / 'demo'
  train = loop.train

  def stop(config, workdir):
    raise KeyboardInterrupt

  monkeypatch.setattr(demo.loop, 'train', stop)
  with pytest.raises(KeyboardInterrupt):
    demo.run_demo(out, prepare.prepare)
  assert not (out / 'results.json').exists()
  monkeypatch.setattr(demo.loop, 'train', train)
  results = demo.run_demo(out, prepare.prepare)
  assert json.loads((out / 'results.json').read_text()) == results
  (result,) = results
  assert set(result) == {
    'name', 'modalities', 'fusion', 'uar', 'war', 'oracle_uar', 'seconds',
    'parameters',
  }  # fmt: skip
  assert (result['name'], result['fusion']) == ('early', 'early')
  assert result['modalities'] == ['video', 'audio']
  assert 0 <= result['uar'] <= 1
  assert 1 / 6 <= result['oracle_uar'] <= 1
  assert (out / 'report.html').is_file()
  assert len(list((out / 'predict').glob('*.mp4'))) == 1


def test_a_demo_removes_only_what_it_made(tmp_path):
  out = tmp_path / 'demo'
  demo.open_folder(out, {'seed': 0, 'control': None})
  (out / 'mine').mkdir()
  (out / 'late').mkdir()
  (out / 'results.json').write_text('[]')
  with pytest.raises(errors.AvemoError, match='other settings'):
    demo.open_folder(out, {'seed': 1, 'control': None})
  assert (out / 'late').exists()
  demo.open_folder(out, {'seed': 0, 'control': None})
  assert sorted(path.name for path in out.iterdir()) == ['demo.json', 'mine']
  (out / 'demo.json').unlink()
  with pytest.raises(errors.AvemoError, match='something else'):
    demo.open_folder(out, {'seed': 0, 'control': None})
