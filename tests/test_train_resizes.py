"""Position tables of spectrograms that grow or shrink with their clips."""

import numpy as np
import pytest
import small_run

from avemo import errors
from avemo.models import positions
from avemo.train import loop, resizes
from avemo.train import run as run_lib

TOWER = {
  'name': 'spectrogram_vit',
  'patch': (4, 4),
  'stride': (4, 4),
  'width': 8,
  'depth': 1,
  'num_heads': 2,
  'remat': False,
}


def make_config(seconds, **sections):
  return small_run.make_config(
    steps=1,
    model={'use': ('audio',), 'audio': TOWER, 'features': {'num_mels': 16}},
    data={'seconds': seconds},
    optim={'warmup': 0},
    augment={},
    **sections,
  )


def test_a_longer_clip_takes_the_table_of_a_shorter_one(tmp_path, capsys):
  dataset = small_run.make_dataset()
  loop.train(make_config(0.12), tmp_path / 'old', dataset=dataset)
  config = make_config(0.2, init={'audio': str(tmp_path / 'old')})
  run = run_lib.make_run(config, dataset)
  state, lines = run.fill(run.init())
  assert 'resized: audio/embedding/positions;' in lines[0]
  old = run_lib.make_run(make_config(0.12), dataset)
  shape = old.shapes.params['audio']['embedding']['positions'].shape
  new = np.asarray(state.params['audio']['embedding']['positions'])
  assert new.shape[1] > shape[1] and new.shape[2] == shape[2]
  assert np.isfinite(new).all()
  capsys.readouterr()


@pytest.mark.parametrize('order', ('band-major', 'time-major'))
def test_the_rule_is_that_of_the_tower(order):
  section = {
    'audio': TOWER | {'order': order},
    'features': {'num_mels': 16},
  }
  found = resizes.find_resizes(section, 'audio', {'model': section})
  (resize,) = found.values()
  table = np.random.default_rng(0).normal(size=(1, 2 + 4 * 6, 8))
  table = table.astype(np.float32)
  follow = {
    'band-major': positions.resize_band_major,
    'time-major': positions.cut_time_major,
  }[order]
  expected = follow(table, (4, 6), (4, 3))
  np.testing.assert_array_equal(resize(table, (1, 2 + 4 * 3, 8)), expected)
  with pytest.raises(errors.AvemoError):
    resize(table[:, :-1], (1, 2 + 4 * 3, 8))


def test_other_towers_are_not_resized():
  section = {'audio': TOWER}
  assert not resizes.find_resizes(section, 'video', {'model': section})
  assert not resizes.find_resizes(section, 'audio', {})
  cnn = {'audio': {'name': 'cnn'}}
  assert not resizes.find_resizes(cnn, 'audio', {'model': section})
  assert not resizes.find_resizes(section, 'audio', {'model': {'video': {}}})
