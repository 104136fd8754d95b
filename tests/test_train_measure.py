"""What is measured: on training clips alone, and kept with the run."""

import json
import shutil

import librosa
import numpy as np
import pytest
import small_dataset
import small_run

from avemo import errors
from avemo.data import clips, folds
from avemo.evaluate import restore, run
from avemo.train import loop, measure
from avemo.train import run as run_lib

PROTOCOL = 'crema_d_hicmae_5fold'
FEATURES = {
  'num_mels': 8,
  'n_fft': 128,
  'window_length': 128,
  'hop': 64,
  'kind': 'constant',
}


def make_config(**sections):
  config = small_run.make_config(
    steps=2,
    model={
      'use': ('video', 'audio'),
      'video': {'name': 'cnn3d', 'widths': (4,), 'span': 1},
      'audio': {'name': 'cnn', 'widths': (4,), 'keep_bands': True},
      'features': FEATURES,
      'pictures': {'grey': True},
      'fusion': {'kind': 'concatenation', 'concatenation': {'width': 8}},
    },
    data={'fold': 0, 'frames': 2},
    optim={'warmup': 0},
  )
  config['measure'] = ('seconds', 'features', 'pictures')
  return small_run.merge(config, sections)


class Loud(small_dataset.Source):
  """Records whose sound and pictures differ from clip to clip."""

  def __init__(self, made, changed=()):
    super().__init__(made)
    self.changed = set(changed)

  def __getitem__(self, number):
    record = super().__getitem__(number)
    rng = np.random.default_rng(number)
    size = self.made[number].samples
    level = 20_000 if number in self.changed else 300 + 50 * number
    record['speech'] = (
      rng.normal(0, level, size).clip(-32_768, 32_767).astype('<i2').tobytes()
    )
    if number in self.changed:
      bright = np.full((64, 64, 3), 255, np.uint8)
      record['frames'] = [small_dataset.encode(bright)] * len(record['frames'])
    return record


def make_dataset(changed=()):
  made = [
    small_dataset.Clip(
      emotion=small_dataset.EMOTIONS[number % 3],
      frames=4 if number % 7 else 0,
      samples=(1_200 + 100 * number) * (number != 3),
    )
    for number in range(30)
  ]
  for number in changed:
    made[number] = small_dataset.Clip(frames=4, samples=16_000)
  dataset = small_dataset.make_dataset(made)
  dataset.source = Loud(made, changed)
  return dataset


def complete(config, dataset, workdir):
  run_lib.check_sections(config)
  maker = measure.make_feed_maker(run_lib.make_feed, dataset)
  return measure.complete(config, workdir, maker)


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
  return complete(make_config(), make_dataset(), tmp_path_factory.mktemp('m'))


def test_equals_numpy_over_the_training_clips(measured):
  dataset = make_dataset()
  train = folds.find_split(dataset, PROTOCOL, 0).train
  samples = dataset.index['num_samples'][train]
  known = samples[samples > 0] / 16_000
  seconds = measured['data']['seconds']
  assert seconds == pytest.approx(known.mean() + known.std(), abs=0.005)
  options = clips.ClipOptions(frames=2, size=16, seconds=seconds)
  bands, luma = [], []
  for number in train:
    clip = clips.load_clip(dataset.source[number], options, clips.View())
    count = int(clip['speech_length'])
    if count:
      waveform = clip['speech'][:count].astype(np.float32) / 32_768
      power = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=128, hop_length=64, n_mels=8,
        pad_mode='constant',
      )  # fmt: skip
      bands.append(librosa.power_to_db(power).T)
    if clip['has_video']:
      luma.append(clip['frames'] @ [0.299, 0.587, 0.114] / 255)
  bands, luma = np.concatenate(bands), np.concatenate(luma)
  features, pictures = (measured['model'][n] for n in ('features', 'pictures'))
  np.testing.assert_allclose(features['mean'], bands.mean(0), rtol=1e-4)
  np.testing.assert_allclose(features['std'], bands.std(0), rtol=1e-3)
  np.testing.assert_allclose(pictures['mean'], [luma.mean()], rtol=1e-4)
  np.testing.assert_allclose(pictures['std'], [luma.std()], rtol=1e-3)


def test_who_is_chosen_or_scored_on_changes_nothing(measured, tmp_path):
  split = folds.find_split(make_dataset(), PROTOCOL, 0)
  unseen = [*split.val, *split.test]
  changed = complete(make_config(), make_dataset(unseen), tmp_path)
  assert changed == measured
  # That such clips would be heard and seen is no matter of course.
  other = complete(make_config(), make_dataset(split.train[:3]), tmp_path)
  for place in ('features', 'pictures'):
    assert other['model'][place] != measured['model'][place]
  assert other['data']['seconds'] != measured['data']['seconds']


def test_evaluation_reads_what_training_measured(measured, tmp_path):
  config, dataset = make_config(), make_dataset()
  loop.train(config, tmp_path, dataset=dataset)
  kept = json.loads((tmp_path / 'config.json').read_text())
  for place in ('features', 'pictures'):
    assert kept['model'][place] == measured['model'][place]
  restored = restore.restore(tmp_path)
  assert restored.options.seconds == measured['data']['seconds']
  assert restored.model.features['mean'] == tuple(
    kept['model']['features']['mean']
  )
  assert restored.model.pictures['std'] == tuple(
    kept['model']['pictures']['std']
  )
  split = folds.find_split(dataset, PROTOCOL, 0)
  found = run.predict_rows(restored, dataset, split.test, views=1)
  # Of a model that sees nothing all rows would be alike.
  assert np.ptp(found.probabilities, axis=0).max() > 1e-4
  # A run that goes on measures nothing anew, and trains as if unbroken.
  said = []
  loop.train(config | {'steps': 3}, tmp_path, dataset=dataset,
             after_step=said.append)  # fmt: skip
  assert said == [3]
  assert measure.recall(
    kept, tmp_path, measure.PLACES['features'], 'other data'
  ) is None  # fmt: skip


def test_another_fold_in_a_folder_is_measured_anew(measured, tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(measured))
  shutil.copy(__file__, tmp_path / 'labels.json')
  # What is no run of this config is not even read.
  other = complete(make_config(data={'fold': 1}), make_dataset(), tmp_path)
  assert other['model']['features'] != measured['model']['features']


def test_what_is_not_in_use_is_not_measured(tmp_path):
  config = make_config(model={'use': ('audio',)})
  found = complete(config, make_dataset(), tmp_path)
  assert found['model']['pictures'] == {'grey': True}
  assert len(found['model']['features']['mean']) == 8
  config['measure'] = ()
  assert complete(config, make_dataset(), tmp_path) == config


def test_wrong_measures_are_told():
  with pytest.raises(errors.AvemoError, match="did you mean 'features'"):
    run_lib.check_sections(make_config(measure=('feature',)))
  features = FEATURES | {'kind': 'clip'}
  with pytest.raises(errors.AvemoError, match="kind='constant'"):
    run_lib.check_sections(make_config(model={'features': features}))
