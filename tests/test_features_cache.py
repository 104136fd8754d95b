"""What a cache gives is what the towers give, and nothing of before."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest
import small_dataset
import small_run

from avemo import errors
from avemo.data import index, labels, pipeline, targets
from avemo.data.clips import ClipOptions
from avemo.evaluate import predictions, restore
from avemo.features import cache, keys, shards, towers
from avemo.runtime import mesh as mesh_lib
from avemo.train import loop

OPTIONS = ClipOptions(frames=2, size=32, seconds=0.1, margin=1.3)
MODEL = {
  'use': ('video', 'audio'),
  'video': {
    'name': 'videomae',
    'variant': 'tiny',
    'width': 16,
    'depth': 1,
    'num_heads': 2,
    'remat': False,
  },
  'audio': {'name': 'cnn', 'widths': (4,)},
  'features': {'num_mels': 8},
  'fusion': {'kind': 'late'},
}


@pytest.fixture(scope='module')
def dataset():
  """Clips with both modalities, and some that lack one of them."""
  words = itertools.cycle(small_dataset.EMOTIONS)
  return small_dataset.make_dataset(
    small_dataset.Clip(
      emotion=next(words),
      frames=0 if n % 11 == 5 else 5,
      samples=0 if n % 13 == 6 else 2000,
    )
    for n in range(30)
  )


@pytest.fixture(scope='module')
def small_shards():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(shards, 'SIZE', 8)
    yield


@functools.cache
def make_towers(modality=None):
  """Both towers, or one of them; the same ones at every call."""
  if modality:
    return [tower for tower in make_towers() if tower.modality == modality]
  made = []
  for name in ('video', 'audio'):
    model = towers.make_model(MODEL, name)
    given = dataclasses.replace(OPTIONS, use=(name,))
    init = jax.jit(restore.make_init(model, given))
    variables = init(jax.random.key(0))
    stats = variables['batch_stats'].get(name, {})
    params = variables['params'][name]
    made.append(towers.Tower(name, model, params, stats, given))
  return made


def fill(root, dataset, made, options=OPTIONS, views=1, records=range(30)):
  return cache.cache_clips(
    root,
    dataset,
    records,
    made,
    options=options,
    mesh=mesh_lib.make_mesh(),
    batch_size=8,
    views=views,
  )


def take(features, views=0):
  return features.take(np.arange(30), np.full(30, views))


def embed_again(dataset, made, options=OPTIONS, views=1):
  """The same without any cache, by modality [views, 30, D]."""
  space = labels.LabelSpace(small_dataset.EMOTIONS)
  table = targets.make_table(dataset, space)
  looks = [(n, view) for view in range(views) for n in range(30)]
  batches = pipeline.eval_batches(
    dataset, looks, table, options=options, batch_size=8, views=views
  )
  found = {tower.modality: [] for tower in made}
  for batch in batches:
    for tower in made:
      given = mesh_lib.shard_batch(pick(tower, batch), mesh_lib.make_mesh())
      values = towers.embed_clips(tower, given)[batch['mask']]
      found[tower.modality].append(values)
  return {
    name: np.concatenate(values).reshape(views, 30, -1)
    for name, values in found.items()
  }


def pick(tower, batch):
  names = {
    'video': ('frames', 'has_video', 'mask'),
    'audio': ('speech', 'speech_length', 'has_audio', 'mask'),
  }
  return {name: batch[name] for name in names[tower.modality]}


def test_features_are_those_of_the_towers(dataset, small_shards, tmp_path):
  made = make_towers()
  features = fill(tmp_path, dataset, made, views=2)
  wanted = embed_again(dataset, made, views=2)
  for view in range(2):
    batch = take(features, view)
    for modality in ('video', 'audio'):
      there = batch[f'has_{modality}']
      assert 25 < there.sum() < 30
      np.testing.assert_allclose(
        batch[f'{modality}_feature'][there],
        wanted[modality][view][there],
        atol=1e-5,
      )
      assert not batch[f'{modality}_feature'][~there].any()
  assert np.abs(np.diff(wanted['video'], axis=0)).max() > 1e-3


def count_made(monkeypatch):
  made = []
  write = shards._write
  monkeypatch.setattr(
    shards, '_write', lambda entry, n, a: (made.append(n), write(entry, n, a))
  )
  return made


def test_nothing_is_made_twice(dataset, small_shards, tmp_path, monkeypatch):
  made = count_made(monkeypatch)
  first = take(fill(tmp_path, dataset, make_towers()))
  assert made == [0, 1, 2, 3] * 2
  again = take(fill(tmp_path, dataset, make_towers()))
  assert len(made) == 8
  np.testing.assert_array_equal(first['video_feature'], again['video_feature'])


def change_weight():
  (video,) = make_towers('video')
  params = jax.tree.map(np.array, video.params)
  params['fc_norm']['bias'][0] += 1e-3
  return {'tower': dataclasses.replace(video, params=params)}


def change_front_end():
  (audio,) = make_towers('audio')
  section = MODEL | {'features': {'num_mels': 8, 'hop': 80}}
  model = towers.make_model(section, 'audio')
  return {'tower': dataclasses.replace(audio, model=model)}


@pytest.mark.parametrize(
  'modality, change',
  [
    ('video', lambda: {'options': dataclasses.replace(OPTIONS, margin=1.0)}),
    ('video', lambda: {'options': dataclasses.replace(OPTIONS, frames=4)}),
    ('audio', lambda: {'options': dataclasses.replace(OPTIONS, seconds=0.05)}),
    ('video', change_weight),
    ('audio', change_front_end),
  ],
  ids=['crop', 'frame count', 'seconds', 'weight', 'front-end'],
)
def test_nothing_of_before_is_given(
  dataset, small_shards, tmp_path, modality, change
):
  (tower,) = make_towers(modality)
  name = f'{modality}_feature'
  first = take(fill(tmp_path, dataset, [tower]))[name]
  changed = change()
  options = changed.get('options', OPTIONS)
  tower = changed.get('tower', tower)
  found = take(fill(tmp_path, dataset, [tower], options))
  there = found[f'has_{modality}']
  wanted = embed_again(dataset, [tower], options)[modality][0]
  np.testing.assert_allclose(found[name][there], wanted[there], atol=1e-5)
  assert np.abs(found[name] - first).max() > 1e-4
  assert len(list(tmp_path.iterdir())) == 2


def test_every_option_of_a_clip_is_in_the_key_of_frames():
  chosen = keys.choose_options('video', OPTIONS)
  fields = {field.name for field in dataclasses.fields(OPTIONS)}
  assert chosen.keys() == fields - {'seconds', 'use'}


def test_a_tower_reads_pictures_as_its_run_measured_them(dataset):
  (video,) = make_towers('video')
  section = MODEL | {'pictures': {'mean': (0.1, 0.2, 0.3)}}
  model = towers.make_model(section, 'video')
  assert model.pictures['mean'] == (0.1, 0.2, 0.3)
  measured = dataclasses.replace(video, model=model)
  assert keys.describe(dataset, video, OPTIONS) != keys.describe(
    dataset, measured, OPTIONS
  )


def test_records_that_look_different_are_other_data(
  dataset, small_shards, tmp_path, monkeypatch
):
  made = count_made(monkeypatch)
  fill(tmp_path, dataset, make_towers('video'))

  class Moved(small_dataset.Source):
    """The same index; the boxes of the faces are others."""

    def __getitem__(self, number):
      record = super().__getitem__(number)
      return record | {'box': record['box'] + np.float32(4)}

  moved = type(dataset)(
    **vars(dataset) | {'source': Moved(dataset.source.made)}
  )
  made.clear()
  fill(tmp_path, moved, make_towers('video'))
  assert made == [0, 1, 2, 3]


def test_one_record_that_is_prepared_anew_makes_other_data(dataset):
  def prepare(change):
    records = [dataset.source[n] for n in range(30)]
    records[2] = records[2] | change(records[2])
    hashes = np.array([index.hash_record(record) for record in records])
    columns = dataset.index | {index.HASH: hashes}
    return type(dataset)(
      **vars(dataset) | {'source': records, 'index': columns}
    )

  plain = keys.identify_data(prepare(lambda record: {}))
  assert plain == keys.identify_data(prepare(lambda record: {}))
  for change in (
    lambda record: {'box': record['box'] + np.float32(1)},
    lambda record: {'frames': record['frames'][::-1]},
    lambda record: {'speech': record['speech'][2:] + b'\1\0'},
  ):
    assert keys.identify_data(prepare(change)) != plain


def test_a_kill_leaves_nothing_that_looks_whole(
  dataset, small_shards, tmp_path, monkeypatch
):
  save = np.save
  with monkeypatch.context() as patch:

    def die(file, array, **options):
      if '000002' in str(file.name):
        file.write(b'half of it')
        raise KeyboardInterrupt
      save(file, array, **options)

    patch.setattr(np, 'save', die)
    with pytest.raises(KeyboardInterrupt):
      fill(tmp_path, dataset, make_towers('video'))
  (entry,) = tmp_path.iterdir()
  assert sorted(p.name for p in entry.glob('0*')) == [
    '000000', '000001', '000002.partial'
  ]  # fmt: skip
  made = count_made(monkeypatch)
  features = fill(tmp_path, dataset, make_towers('video'))
  assert made == [2, 3]
  assert not list(entry.glob('*.partial'))
  whole = fill(tmp_path / 'other', dataset, make_towers('video'))
  np.testing.assert_array_equal(
    take(features)['video_feature'], take(whole)['video_feature']
  )


def test_damage_is_said(dataset, small_shards, tmp_path):
  fill(tmp_path, dataset, make_towers('video'), records=[3])
  (entry,) = tmp_path.iterdir()
  # Other shards hold nothing that was asked for.
  assert [p.name for p in entry.glob('0*')] == ['000000']
  path = entry / '000000' / 'values.npy'
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(errors.AvemoError, match='000000: damaged'):
    fill(tmp_path, dataset, make_towers('video'), records=[3])
  (entry / 'about.json').write_text('{}')
  with pytest.raises(errors.AvemoError, match=r'about.json: is not what'):
    fill(tmp_path, dataset, make_towers('video'), records=[3])


# ------------------------------------------------------------------ training


def make_config(**sections):
  config = small_run.make_config(
    steps=6,
    data={'size': 32, 'frames': 2},
    model=MODEL | {'dropout': 0.2},
    optim={'freeze': ('video/.*', 'audio/.*')},
    features={'views': 1},
    control={'evaluate_every': 3},
  )
  config['augment'] = {'modality_dropout': {}}
  return small_run.merge(config, sections)


@pytest.fixture(scope='module')
def runs(dataset, tmp_path_factory):
  """One run with a cache and one without, alike in all else."""
  root = tmp_path_factory.mktemp('runs')
  for name, folder in (('plain', None), ('cached', str(root / 'cache'))):
    config = make_config(features={'cache': folder, 'views': 1})
    loop.train(config, root / name, dataset=dataset)
  return root


def read_logits(workdir, dataset):
  """Of all clips, from their frames and speech."""
  restored = restore.restore(workdir, checkpoint='last')
  space = restored.labels
  table = targets.make_table(dataset, space)
  batches = pipeline.eval_batches(
    dataset,
    [(n, 0) for n in range(30)],
    table,
    options=restored.options,
    batch_size=10,
  )
  return np.concatenate(
    [
      np.asarray(restored.model.apply(restored.variables, batch)['emotion'])
      for batch in batches
    ]
  )


def test_a_probe_from_the_cache_is_that_from_the_inputs(runs, dataset):
  """The workdir holds the towers: logits are read from the raw inputs."""
  plain, cached = (read_logits(runs / n, dataset) for n in ('plain', 'cached'))
  assert np.abs(plain).max() > 0.05
  np.testing.assert_allclose(cached, plain, atol=1e-5)


def test_the_cache_gives_the_logits_of_the_inputs(runs, dataset):
  restored = restore.restore(runs / 'cached', checkpoint='last')
  config = restored.config
  made = cache.list_towers(
    config['model'],
    restored.variables['params'],
    restored.variables['batch_stats'],
    restored.options.use,
    restored.options,
  )
  features = fill(runs / 'cache', dataset, made, restored.options)
  step = predictions.make_predict_step(restored.model, restored.mesh)
  found = [
    predictions.predict_records(
      step,
      restored.variables,
      dataset,
      range(30),
      restored.labels,
      options=restored.options,
      batch_size=8,
      mesh=restored.mesh,
      features=given,
    ).probabilities
    for given in (None, features)
  ]
  np.testing.assert_allclose(*found, atol=1e-5)


@pytest.mark.parametrize(
  'sections, said',
  [
    ({'augment': {'gain': {}}}, r'augment\.gain changes'),
    ({'optim': {'freeze': ('video/.*',)}}, 'the audio tower is trained'),
    (
      {
        'model': {
          'audio': {
            'name': 'spectrogram_vit',
            'variant': 'tiny',
            'patch': (8, 2),
            'stride': (8, 2),
          },
          'fusion': {'kind': 'early'},
        }
      },
      'model.fusion.kind=late',
    ),
    ({'features': {'caches': 'x'}}, "did you mean 'cache'"),
  ],
)
def test_what_cannot_be_exact_is_refused(dataset, tmp_path, sections, said):
  config = make_config(features={'cache': str(tmp_path / 'c')})
  with pytest.raises(errors.AvemoError, match=said):
    loop.train(
      small_run.merge(config, sections), tmp_path / 'run', dataset=dataset
    )
  assert not (tmp_path / 'run').exists()
