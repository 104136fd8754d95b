"""The score that is chosen on test clips: made as the one that it is beside."""

import numpy as np
import small_run

from avemo.data import parts
from avemo.evaluate import run, table
from avemo.experiment import best_on_test
from avemo.train import loop


def test_it_is_seen_in_as_many_views_as_the_score(tmp_path, monkeypatch):
  # Speech much longer than a view, so that two views hear different parts.
  dataset = small_run.make_dataset()
  config = small_run.make_config(
    steps=2,
    data={'seconds': 0.03},
    features={'views': 2},
    optim={'lr': 0.05, 'warmup': 1},
    control={'evaluate_every': 2},
  )
  watcher = best_on_test.Watcher(tmp_path)
  loop.train(config, tmp_path, dataset=dataset, after_evaluation=watcher)
  assert watcher.finish()['step'] == 2
  beside = table.read(tmp_path / 'best_on_test/predictions.csv')
  monkeypatch.setattr(parts, 'open_parts', lambda *_: dataset)
  run.evaluate(tmp_path, checkpoint=2)
  found = table.read(tmp_path / 'eval/test/predictions.csv')
  assert found.clip_id == beside.clip_id
  np.testing.assert_allclose(
    found.probabilities, beside.probabilities, atol=1e-5
  )
