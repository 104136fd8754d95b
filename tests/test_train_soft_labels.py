"""CREMA-D's votes, from its table to what a run is trained on."""

import numpy as np
import pytest
import small_run

from avemo.corpora import crema_d
from avemo.train import loop
from avemo.train import run as run_lib


@pytest.fixture(scope='module')
def config(tiny_crema_d_dataset):
  return small_run.make_config(
    steps=2,
    data_dir=str(tiny_crema_d_dataset),
    # Most of the few clips are trained on in this fold.
    data={'name': 'crema_d_av', 'fold': 1, 'soft_labels': 'votes_both'},
    optim={'warmup': 0},
  )


def test_the_targets_are_the_shares_of_the_votes(config, tiny_crema_d):
  feed = run_lib.make_run(config).feed
  votes = crema_d.read_votes(
    tiny_crema_d / 'processedResults' / 'tabulatedVotes.csv'
  )
  clip_ids = feed.dataset.index['clip_id'][feed.train]
  counts = np.array([votes[clip]['both'][0] for clip in clip_ids])
  shares = counts / counts.sum(1, keepdims=True)
  # Raters disagree, or this would be the same as labels.
  assert (shares.max(1) < 1).any()
  batches = feed.train_batches(0)
  batch = next(batches)
  batches.close()
  rows = dict(zip(feed.train, shares, strict=True))
  expected = [rows[record] for record in batch['record']]
  np.testing.assert_allclose(batch['target'], expected, atol=1e-6)


@pytest.mark.slow
def test_a_run_on_votes_trains_and_chooses_on_labels(config, tmp_path):
  summary = loop.train(config, tmp_path)
  assert summary['step'] == 2
  lines = (tmp_path / 'metrics.jsonl').read_text()
  assert 'val/uar' in lines and 'NaN' not in lines
