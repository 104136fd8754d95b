"""Towers from directories and workdirs, and what they say along time."""

import numpy as np
import pytest
import small_run
import small_towers

from avemo import errors
from avemo.audio import vggish as front_end
from avemo.features import towers
from avemo.train import loop


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp('towers')
  for name in ('face', 'vggish', 'wav2vec2'):
    small_towers.write(root, name)
  return root


def make_speech(seconds):
  rng = np.random.default_rng(0)
  return (3000 * rng.normal(size=round(seconds * 16_000))).astype(np.int16)


def test_frames_are_embedded_one_by_one(folder):
  tower = towers.load(folder / 'face')
  frames = np.random.default_rng(0).integers(
    0, 256, (19, 32, 32, 3), dtype=np.uint8
  )
  values = towers.embed_frames(tower, frames)
  assert values.shape == (19, 320) and np.ptp(values[:, 0]) > 0
  np.testing.assert_allclose(
    values[17:], towers.embed_frames(tower, frames[17:]), atol=1e-5
  )


def test_vggish_has_its_patches_and_their_times(folder):
  tower = towers.load(folder / 'vggish')
  speech = make_speech(4.1)
  made = towers.embed_speech(tower, speech)
  np.testing.assert_allclose(made.times, 0.4875 + 0.96 * np.arange(4))
  second = speech[15_360 : 15_360 + front_end.PATCH_SAMPLES]
  alone = towers.embed_speech(tower, second)
  np.testing.assert_allclose(made.values[1:2], alone.values, atol=1e-5)
  closer = towers.embed_speech(tower, speech, hop=0.48)
  np.testing.assert_allclose(closer.values[::2], made.values, atol=1e-5)
  assert len(towers.embed_speech(tower, make_speech(0.9)).times) == 0


def test_wav2vec2_has_a_token_every_fiftieth_of_a_second(folder):
  tower = towers.load(folder / 'wav2vec2')
  made = towers.embed_speech(tower, make_speech(2.0))
  np.testing.assert_allclose(np.diff(made.times), 0.02)
  assert len(made.times) == 99 and made.values.shape == (99, 16)
  # Longer than a piece: each token is of the piece that knows both its sides.
  speech = make_speech(23.0)
  long = towers.embed_speech(tower, speech)
  np.testing.assert_allclose(long.times, 0.0125 + 0.02 * np.arange(1149))
  for start, own in ((0, slice(0, 550)), (10, slice(550, 1050))):
    piece = speech[start * 16_000 : (start + 12) * 16_000]
    values = towers.embed_speech(tower, piece).values
    shifted = slice(own.start - 50 * start, own.stop - 50 * start)
    np.testing.assert_allclose(long.values[own], values[shifted], atol=1e-5)


def test_a_run_gives_its_tower(tmp_path):
  dataset = small_run.make_dataset()
  config = small_run.make_config(steps=2, optim={'warmup': 0, 'ema': 0.5})
  loop.train(config, tmp_path, dataset=dataset)
  tower = towers.load(tmp_path, checkpoint='last')
  assert tower.modality == 'audio' and tower.options.seconds == 0.1
  assert tower.batch_stats
  made = towers.embed_speech(tower, make_speech(0.3))
  np.testing.assert_allclose(made.times, 0.05 * np.arange(1, 6))
  assert made.values.shape == (5, 4)


def test_what_is_no_tower_is_said(folder, tmp_path):
  with pytest.raises(errors.AvemoError, match='neither the workdir'):
    towers.load(tmp_path)
  with pytest.raises(errors.AvemoError, match='has no audio tower'):
    towers.load(folder / 'face', 'audio')
  with pytest.raises(errors.AvemoError, match='tower over sound'):
    towers.embed_frames(towers.load(folder / 'vggish'), np.zeros((1, 8, 8, 3)))
