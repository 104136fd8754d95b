"""What a run leaves, how it ends, and what it refuses."""

import json
import math
import shutil
import types

import jax
import numpy as np
import pytest
import small_dataset
import small_run

from avemo import errors, locks
from avemo.evaluate import predictions, restore
from avemo.metrics import classification
from avemo.runtime import checkpoint, writers
from avemo.train import about, loop
from avemo.train import run as run_lib


def train(workdir, dataset=None, steps=4, **sections):
  config = small_run.make_config(steps=steps, **sections)
  dataset = dataset or small_run.make_dataset()
  return loop.train(config, workdir, dataset=dataset)


def read_lines(workdir, part):
  lines = writers.read_lines(workdir / 'metrics.jsonl')
  return [line for line in lines if any(k.startswith(part) for k in line)]


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  summary = train(folder)
  assert summary['stopped'] == 'end' and summary['step'] == 4
  assert summary['best_step'] in (2, 4)
  assert summary['num_params'] == 59
  return folder


def test_a_run_leaves_the_files_of_the_contract(workdir):
  found = {path.name for path in workdir.iterdir()}
  assert {
    'config.json',
    'environment.json',
    'labels.json',
    'metrics.jsonl',
    'checkpoints',
  } <= found
  assert not [name for name in found if name.endswith(('partial', 'tmp'))]
  config = json.loads((workdir / 'config.json').read_text())
  assert config['optim']['lr'] == 0.05
  about = json.loads((workdir / 'labels.json').read_text())
  assert about['labels'] == list(small_dataset.EMOTIONS)
  assert about['preprocessing']['sample_rate'] == 16_000
  environment = json.loads((workdir / 'environment.json').read_text())
  assert environment['packages']['jax'] == jax.__version__
  assert len(environment['devices']) == 8


def test_curves_have_their_names(workdir):
  train_lines = read_lines(workdir, 'train/')
  assert [line['step'] for line in train_lines] == [1, 2, 3, 4]
  for name in ('loss', 'accuracy', 'learning_rate', 'grad_norm'):
    assert all(math.isfinite(line[f'train/{name}']) for line in train_lines)
  val_lines = read_lines(workdir, 'val/')
  assert [line['step'] for line in val_lines] == [2, 4]
  metrics = {f'val/{name}' for name in ('uar', 'war', 'f1_macro', 'loss')}
  assert metrics <= val_lines[0].keys()


def test_the_restored_model_scores_what_the_run_measured(workdir):
  restored = restore.restore(workdir, checkpoint='last')
  assert restored.step == 4
  assert restored.labels.names == small_dataset.EMOTIONS
  dataset = small_run.make_dataset()
  config = small_run.make_config()
  run = run_lib.make_run(config, dataset)
  assert restored.options == run.feed.options
  found = predictions.predict_records(
    predictions.make_predict_step(restored.model, restored.mesh),
    restored.variables,
    dataset,
    run.feed.val,
    restored.labels,
    options=restored.options,
    batch_size=8,
    mesh=restored.mesh,
  )
  line = read_lines(workdir, 'val/')[-1]
  counts = classification.confusion(found.emotion, found.prediction, 3)
  assert float(classification.uar(counts)) == line['val/uar']
  assert found.loss == line['val/loss']


def test_the_metric_travels_with_its_checkpoint(workdir):
  store = checkpoint.Checkpoints(
    workdir / 'checkpoints', metric='val/uar', read_only=True
  )
  values = {
    line['step']: line['val/uar'] for line in read_lines(workdir, 'val/')
  }
  for step in store.steps():
    assert store.metrics(step)['val/uar'] == values[step]
  assert store.best_step() == restore.restore(workdir).step


def test_another_config_is_refused_and_steps_may_grow(workdir, tmp_path):
  folder = shutil.copytree(workdir, tmp_path / 'copy')
  with pytest.raises(errors.AvemoError) as caught:
    train(folder, optim={'lr': 0.1}, data={'batch_size': 16})
  assert 'optim.lr was 0.05, is 0.1' in str(caught.value)
  assert 'data.batch_size was 8, is 16' in str(caught.value)
  with pytest.raises(errors.AvemoError, match='steps was 4, is 3'):
    train(folder, steps=3)
  assert train(folder, steps=6)['step'] == 6
  steps = [line['step'] for line in read_lines(folder, 'train/')]
  assert steps == [1, 2, 3, 4, 5, 6]


def test_a_damaged_checkpoint_is_named(workdir, tmp_path):
  folder = shutil.copytree(workdir, tmp_path / 'copy')
  shutil.rmtree(folder / 'checkpoints' / '4' / 'training')
  with pytest.raises(errors.AvemoError, match=r'checkpoints/4.*remove'):
    train(folder, steps=5)
  (folder / 'labels.json').write_text('{')
  with pytest.raises(errors.AvemoError, match=r'labels\.json'):
    restore.restore(folder)
  with pytest.raises(errors.AvemoError, match='name the workdir'):
    restore.restore(tmp_path)


def test_training_learns(tmp_path):
  # The sound of a class has its own level: what batches carry must fit.
  words = [small_dataset.EMOTIONS[n % 3] for n in range(30)]
  dataset = small_dataset.make_dataset(
    small_dataset.Clip(emotion=word, frames=0, samples=1600) for word in words
  )
  dataset.source = Tones(words)
  summary = train(
    tmp_path,
    dataset,
    steps=40,
    augment={'gain': None},
    optim={'ema': 0.0, 'warmup': 0},
    control={'evaluate_every': 10},
    log_every=10,
  )
  assert summary['best'] == 1.0


class Tones:
  """Records whose pitch tells the emotion."""

  def __init__(self, words):
    self.words = words

  def __len__(self):
    return len(self.words)

  def __getitem__(self, number):
    clip = small_dataset.Clip(self.words[number], frames=0, samples=1600)
    record = small_dataset.make_record(number, clip)
    pitch = 500 * (1 + 2 * small_dataset.EMOTIONS.index(self.words[number]))
    wave = 8000 * np.sin(2 * np.pi * pitch * np.arange(1600) / 16_000)
    return record | {'speech': wave.astype('<i2').tobytes()}


def test_early_stopping_ends_the_run_and_stays(tmp_path):
  options = {'control': {'evaluate_every': 1, 'patience': 2}}
  still = {'optim': {'lr': 0.0}}
  summary = train(tmp_path, steps=9, **options, **still)
  assert summary['stopped'] == 'early' and summary['step'] == 3
  assert summary['best_step'] == 1
  again = train(tmp_path, steps=9, **options, **still)
  assert again['stopped'] == 'early' and again['step'] == 3


def test_a_loss_that_is_not_finite_stops_with_step_and_norms(tmp_path):
  with pytest.raises(errors.AvemoError) as caught:
    train(tmp_path, optim={'lr': 1e18, 'warmup': 0})
  message = str(caught.value)
  assert message.startswith('step 2:')
  for name in ('loss', 'grad_norm', 'param_norm', 'update_norm'):
    assert name in message
  store = checkpoint.Checkpoints(tmp_path / 'checkpoints', read_only=True)
  assert store.latest_step() == 1
  # Before the first step there is nothing to keep.
  with pytest.raises(errors.AvemoError, match=r'^step 1:.*nothing was'):
    train(tmp_path / 'b', optim={'lr': 1e30, 'warmup': 0})


def test_refit_trains_on_validation_clips_and_chooses_nothing(tmp_path):
  summary = train(tmp_path, data={'refit': True})
  assert summary['best_step'] is None and summary['step'] == 4
  assert not read_lines(tmp_path, 'val/')
  assert restore.restore(tmp_path, checkpoint='best').step == 4
  plain = run_lib.make_run(small_run.make_config(), small_run.make_dataset())
  refit = run_lib.make_run(
    small_run.make_config(data={'refit': True}), small_run.make_dataset()
  )
  assert len(plain.feed.val) == 6 and not len(refit.feed.val)
  both = np.concatenate([plain.feed.train, plain.feed.val])
  np.testing.assert_array_equal(refit.feed.train, np.sort(both))


def test_frozen_towers_keep_their_parameters(tmp_path):
  summary = train(
    tmp_path, steps=2, optim={'freeze': ['audio/.*'], 'ema': 0.0, 'warmup': 0}
  )
  assert summary['step'] == 2
  restored = restore.restore(tmp_path, checkpoint='last')
  start = jax.jit(restore.make_init(restored.model, restored.options))(
    jax.random.key(0)
  )
  same = jax.tree.map(
    np.array_equal, restored.variables['params'], start['params']
  )
  assert jax.tree.all(same['audio']) and not jax.tree.all(same['head'])
  assert jax.tree.all(
    jax.tree.map(
      np.array_equal, restored.variables['batch_stats'], start['batch_stats']
    )
  )


def test_other_data_is_not_resumed_on(tmp_path):
  train(tmp_path)
  emotion = small_run.make_dataset().index['emotion'][::-1]
  other = small_run.make_dataset(emotion=emotion)
  with pytest.raises(errors.AvemoError, match='other clips or labels'):
    train(tmp_path, other, steps=6)
  assert restore.restore(tmp_path, checkpoint='last').step == 4


def test_two_runs_do_not_share_a_workdir(tmp_path):
  with (
    locks.hold(tmp_path, 'busy'),
    pytest.raises(errors.AvemoError, match='another process trains there'),
  ):
    train(tmp_path)


def test_records_that_are_left_out_are_told():
  index = small_run.make_dataset().index
  emotion, samples = index['emotion'].copy(), index['num_samples'].copy()
  # Speakers stand in turn: 2 to 4 of 5 are trained on.
  emotion[2], emotion[3], samples[2], samples[7] = '', '', 0, 0
  dataset = small_run.make_dataset(emotion=emotion, num_samples=samples)
  feed = run_lib.make_run(small_run.make_config(), dataset).feed
  assert about.describe_feed(feed) == (
    'training on 15 records, choosing on 6; left out: 2 without audio, '
    '1 without a label'
  )
  assert not {2, 3, 7} & set(feed.train)


@pytest.mark.slow
def test_both_modalities_and_sharded_parameters_train(tmp_path):
  words = small_dataset.EMOTIONS * 10
  dataset = small_dataset.make_dataset(
    small_dataset.Clip(word, frames=4, samples=1600) for word in words
  )
  tower = {'width': 8, 'depth': 2, 'num_heads': 2, 'remat': False}
  summary = train(
    tmp_path,
    dataset,
    steps=2,
    model={
      'use': ('video', 'audio'),
      'video': {'name': 'videomae', 'tubelet': (2, 8, 8), **tower},
      'audio': {
        'name': 'spectrogram_vit',
        'patch': (4, 4),
        'stride': (4, 4),
        **tower,
      },
      'fusion': {'kind': 'early', 'early': {'join_at': 1}},
    },
    augment={'spec_augment': {}, 'modality_dropout': {}},
    optim={'layer_decay': 0.7, 'warmup': 0},
    mesh={'data': 4, 'fsdp': 2},
    sharding=[['.*/blocks/fc1/kernel', [None, None, 'fsdp']]],
    data={'balanced': True, 'workers': 0},
    loss={'class_weights': None},
  )
  assert summary['step'] == 2


@pytest.mark.parametrize(
  ('sections', 'message'),
  [
    ({'modle': {}}, "'modle'; did you mean 'model'"),
    ({'data': {'batchsize': 3}}, "'data.batchsize'; did you mean"),
    ({'data': {'sise': 3}}, "did you mean 'size'"),
    ({'data': {'protocol': 'ravdess_hicmae_6fold'}}, 'divides ravdess'),
    ({'data': {'fold': 7}}, 'has no fold 7'),
    ({'data': {'batch_size': 12}}, 'multiple of 8'),
    ({'optim': {'weight_dekay': 1}}, "did you mean 'weight_decay'"),
    ({'optim': {'freeze': ['vide/.*']}}, 'matches no parameter'),
    ({'data': {'balanced': True}}, 'class_weights correct .* twice over'),
    ({'loss': {'smoothing': 1}}, "did you mean 'label_smoothing'"),
    ({'control': {'patiense': 1}}, "did you mean 'patience'"),
    ({'control': {'metric': 'val/ura'}}, "did you mean 'val/uar'"),
    ({'checkpoint': {'evry': 1}}, "did you mean 'every'"),
    ({'mesh': {'fdsp': 2}}, "did you mean 'fsdp'"),
    ({'mesh': {'data': 3}}, '8 devices'),
    ({'sharding': [['nothing', []]]}, 'matches no parameter'),
    ({'model': {'use': ('adio',)}}, 'adio'),
    ({'model': {'dropuot': 0.1}}, "did you mean 'dropout'"),
    ({'augment': {'flop': {}}}, "nearest is 'flip'"),
    ({'augment': {'gain': 3}}, 'give its options'),
    ({'steps': 0}, 'at least 1'),
    ({'seed': -1}, 'seed=-1: at least 0'),
    ({'log_every': 0}, 'log_every=0: at least 1'),
    ({'data': {'seconds': -1.0}}, 'seconds=-1.0: at least 0'),
    ({'data': {'workers': -1}}, 'workers=-1'),
    ({'optim': {'accumulate': 0}}, 'accumulate=0'),
    ({'optim': {'ema': 2.0}}, 'ema=2.0'),
    ({'optim': {'lr': float('nan')}}, 'lr=nan'),
    ({'loss': {'label_smoothing': 2.0}}, 'label_smoothing=2.0'),
    (
      {'data': {'refit': True, 'protocol': 'crema_d_hicmae_5fold_published'}},
      'use the nested protocol',
    ),
  ],
)
def test_wrong_configs_are_refused_before_anything_is_left(
  tmp_path, sections, message
):
  with pytest.raises(errors.AvemoError, match=message):
    train(tmp_path / 'run', **sections)
  assert not (tmp_path / 'run' / 'config.json').exists()


def test_action_units_without_a_label_are_told():
  known = np.ones(12)
  known[2] = 0
  feed = types.SimpleNamespace(
    tasks=('action_units',), count_units=lambda: (known, known)
  )
  assert about.find_untrained(feed) == ['au_4']
  feed.tasks = ('emotion',)
  assert about.find_untrained(feed) == []
