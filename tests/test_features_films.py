"""Features of frames, and a model over them, from records to every frame."""

import functools
import json

import jax
import numpy as np
import pytest
import small_films
import small_run
import small_towers

from avemo import errors
from avemo.data import clips
from avemo.evaluate import cost, restore
from avemo.evaluate import films as evaluate_films
from avemo.evaluate import run as evaluate_run
from avemo.features import assembled, films, keys, shards, sources, towers
from avemo.models import sequence
from avemo.runtime import cost as runtime_cost
from avemo.train import loop
from avemo.train import run as run_lib

LENGTH = 8
PUBLISHED = {'data': {'protocol': 'crema_d_hicmae_5fold_published'}}


def make_films(films=6):
  """Films in memory, of which one segment has no face and one no sound."""
  made = [
    small_films.make_record(film, segment, masked=(3, 4))
    for film in range(films)
    for segment in range(3)
  ]
  for place, name in ((1, 'face'), (4, 'speech')):
    made[place] = made[place] | {
      name: b'' if name == 'speech' else np.zeros_like(made[place]['face'])
    }
  return small_films.open_records(made)


@pytest.fixture(scope='module')
def dataset():
  return make_films()


@pytest.fixture(scope='module')
def trained(dataset, tmp_path_factory):
  """Two towers, and the run of a sequence model over them."""
  root = tmp_path_factory.mktemp('towers')
  for name in ('face', 'cnn'):
    small_towers.write(root, name)
  loop.train(make_config(root), root / 'run', dataset=dataset)
  return root


def make_config(root, **sections):
  config = {
    'seed': 0,
    'steps': 3,
    'log_every': 1,
    'data': {
      'name': 'films_av',
      'protocol': 'crema_d_hicmae_5fold',
      'batch_size': 8,
    },
    'features': {
      'cache': str(root / 'cache'),
      'frames': LENGTH,
      'towers': {
        'face': {'path': str(root / 'face')},
        'cnn': {'path': str(root / 'cnn'), 'modality': 'audio'},
        'absent': {'path': None},
      },
    },
    'model': {
      'name': 'sequence',
      'width': 16,
      'depth': 1,
      'num_heads': 2,
      'heads': ('emotion', 'valence_arousal', 'action_units'),
    },
    'optim': {'lr': 0.01},
    'control': {'evaluate_every': 3, 'metric': 'val/ccc_mean'},
    'checkpoint': {'every': 3},
  }
  return small_run.merge(config, sections)


def test_other_towers_are_refused_by_a_run_that_goes_on(
  trained, dataset, monkeypatch
):
  described = sources.describe

  def describe(opened):
    return [one | {'sha256': 'other'} for one in described(opened)]

  before = (trained / 'run/labels.json').read_text()
  monkeypatch.setattr(sources, 'describe', describe)
  with pytest.raises(errors.AvemoError, match='the tower cnn .*other now'):
    loop.train(make_config(trained, steps=4), trained / 'run', dataset=dataset)
  assert (trained / 'run/labels.json').read_text() == before


def test_faces_are_counted_not_frames(trained, dataset):
  towers_found = {'face': towers.load(trained / 'face')}
  found = films.cache_films(
    trained / 'cache', dataset, [0, 1], towers_found, length=LENGTH
  )
  size = small_films.FRAMES
  assert found.count_looked_at([0, 1]) == (size, size, 2 * size)


def test_frames_have_their_own_faces_and_the_sound_of_their_time(
  dataset, trained, tmp_path
):
  opened = {name: towers.load(trained / name) for name in ('face', 'cnn')}
  made = films.cache_films(tmp_path, dataset, range(18), opened, length=LENGTH)
  stored = dataset.source[7]
  window = made.cut(7, 5)
  frames = clips.decode_frames(
    stored, np.arange(5, 5 + LENGTH), opened['face'].options
  )
  np.testing.assert_allclose(
    window['face_feature'],
    towers.embed_frames(opened['face'], frames),
    atol=1e-5,
  )
  heard = towers.embed_speech(
    opened['cnn'], np.frombuffer(stored['speech'], '<i2'), hop=films.HOP
  )
  times = stored['frame_time'][5 : 5 + LENGTH] - stored['start']
  wanted = np.stack(
    [np.interp(times, heard.times, column) for column in heard.values.T], 1
  )
  np.testing.assert_allclose(window['cnn_feature'], wanted, atol=1e-5)
  assert window['face_known'].all() and window['num_frames'] == LENGTH
  # A segment without a face, and one without sound.
  assert not made.cut(1, 0)['face_known'].any()
  assert made.cut(1, 0)['cnn_known'].all()
  assert not made.cut(4, 0)['cnn_known'].any()
  end = made.cut(2, 15)
  assert end['num_frames'] == 5 and not end['face_known'][5:].any()


def test_windows_cover_every_frame(trained, dataset):
  restored = restore.restore(trained / 'run', checkpoint='last')
  found = evaluate_run.predict_rows(restored, dataset, np.arange(18), views=1)
  expected = [n for _ in range(6) for n in range(60)]
  assert found.frame.tolist() == expected
  assert found.answered.all()
  np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)
  for value in found.values.values():
    assert np.isfinite(value).all()
  truth = found.truth['valence_arousal'][:20, 0]
  assert np.isnan(truth[3:5]).all()
  np.testing.assert_allclose(truth[5], small_films.find_valence(5))
  # What was learned differs from frame to frame.
  assert np.ptp(found.values['valence_arousal'][:, 0]) > 1e-3


def test_another_weight_in_a_tower_is_refused(trained, dataset):
  path = trained / 'run' / 'labels.json'
  text = path.read_text()
  about = json.loads(text)
  assert [t['name'] for t in about['towers']] == ['cnn', 'face']
  about['towers'][1]['sha256'] = '0' * 64
  try:
    path.write_text(json.dumps(about))
    restored = restore.restore(trained / 'run', checkpoint='last')
    with pytest.raises(errors.AvemoError, match='face has other weights'):
      evaluate_run.predict_rows(restored, dataset, np.arange(3), views=1)
  finally:
    path.write_text(text)


@pytest.mark.parametrize(
  'sections, said',
  [
    ({'features': {'towers': {}}}, 'features.towers names no weights'),
    ({'features': {'frames': None}}, 'features.frames is missing'),
    ({'optim': {'accumulate': 2}}, 'optim.accumulate'),
    ({'augment': {'gain': {}}}, 'augment.gain'),
    ({'evaluate': {'smooth': 'chosen'}} | PUBLISHED, 'held out to choose on'),
    (
      {'evaluate': {'smooth': 'chosen'}, 'data': {'refit': True}},
      'held out to choose on',
    ),
    ({'evaluate': {'smooth': 'meen:1'}}, 'mean'),
  ],
)
def test_what_a_sequence_cannot_do_is_said(
  trained, dataset, tmp_path, sections, said
):
  with pytest.raises(errors.AvemoError, match=said):
    loop.train(
      make_config(trained, **sections), tmp_path / 'run', dataset=dataset
    )


def test_shards_hold_as_many_frames_as_their_records(dataset, trained):
  (entry,) = (trained / 'cache').glob('films-labels-*')
  assert shards.read(entry, 0)['count'].tolist() == [20] * 18


def test_a_thinned_window_says_what_the_faces_it_holds_would(trained):
  tower = towers.load(trained / 'face')
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (7, 32, 32, 3), np.uint8)
  frames[3] = frames[2]
  clip = {'frames': frames, 'has_video': np.array(True)}
  kept, count = assembled.thin(clip, 0.28, 0.0)
  # The third and fourth are alike, and never two in a row are looked at.
  assert count == 4 and kept['frames'].shape == (4, 32, 32, 3)
  assert kept['held'].tolist() == [0, 0, 1, 1, 2, 2, 3]
  batch = {name: value[None] for name, value in kept.items()}
  look = jax.jit(functools.partial(assembled.look, tower))
  found, known = look(tower.variables, batch)
  expected = towers.embed_frames(tower, frames[[0, 0, 2, 2, 4, 4, 6]])
  assert known.shape == (1, 7) and known.all()
  np.testing.assert_allclose(found[0], expected, atol=1e-5)
  still, count = assembled.thin(
    clip | {'frames': frames[:1].repeat(7, 0)}, 1, 0
  )
  assert count == 2 and still['held'].tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_towers_are_opened_once(trained, dataset, monkeypatch):
  restored = evaluate_films.open_towers(restore.restore(trained / 'run'))
  monkeypatch.setattr(sources, 'open_again', None)
  for _ in range(2):
    found = evaluate_films.open_features(restored, dataset, np.arange(2))
    assert found.count(0) == small_films.FRAMES
  # What a frame costs has the towers in it, as far as they are run.
  head = cost.describe_model(restored.model, restored.options)
  assert head['example'] == 'frame'
  watch = runtime_cost.Stopwatch(None)
  whole, half = (
    cost.describe(trained / 'run', restored, watch, rate)
    for rate in (None, {'looked_at': 1, 'frames': 2})
  )
  assert whole['parameters'] == head['parameters'] + whole['tower_parameters']
  assert whole['gmacs'] == pytest.approx(head['gmacs'] + whole['tower_gmacs'])
  assert half['tower_gmacs'] < whole['tower_gmacs']


def test_a_window_is_counted_in_its_length():
  model = sequence.Sequence(3, inputs=(('face', 8),), width=16, depth=1)
  short, long = (
    cost.describe_model(model, clips.ClipOptions(frames=frames))['gmacs']
    for frames in (1, 100)
  )
  # Attention over a hundred frames, for each of them.
  assert long - short == pytest.approx(2 * 99 * 16 / 1e9, rel=1e-3)


def test_clips_are_not_smoothed_by_what_was_held_out(tmp_path):
  config = make_config(
    tmp_path, evaluate={'smooth': 'chosen'}, model={'heads': ('emotion',)}
  )
  with pytest.raises(errors.AvemoError, match='these are clips'):
    run_lib.make_run(config, small_run.make_dataset(frames=2))


def test_the_key_of_features_has_the_precision(trained, dataset):
  tower = towers.load(trained / 'face')
  before = keys.describe(dataset, tower, tower.options)
  precision = jax.config.jax_default_matmul_precision
  jax.config.update('jax_default_matmul_precision', 'bfloat16')
  try:
    after = keys.describe(dataset, tower, tower.options)
  finally:
    jax.config.update('jax_default_matmul_precision', precision)
  assert before != after and before['backend'] == jax.default_backend()
