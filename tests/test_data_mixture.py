"""Mixtures: shares, orders, masks, resume, and one head over all."""

import itertools

import numpy as np
import pytest
import small_dataset
import small_films

from avemo import errors
from avemo.data import clips, mixture, parts, pipeline, schema, targets

OPTIONS = clips.ClipOptions(frames=2, size=16, seconds=0.1)
TASKS = ('emotion', 'valence_arousal', 'action_units')


def make(sizes=(12, 6), words=(('anger', 'fear'), ('fear', 'calm'))):
  made = []
  for number, (size, emotions) in enumerate(zip(sizes, words, strict=True)):
    cycle = itertools.cycle(emotions)
    columns = {} if number else {'valence': np.linspace(-1, 1, size)}
    columns |= {} if number else {'arousal': np.linspace(1, -1, size)}
    made.append(
      small_dataset.make_dataset(
        [
          small_dataset.Clip(emotion=next(cycle), frames=4, samples=2000)
          for _ in range(size)
        ],
        emotions=emotions,
        **columns,
      )
    )
  return mixture.Mixture(('first', 'second'), tuple(made))


def take(dataset, count, first_step=0, records=None, **options):
  records = range(len(dataset.source)) if records is None else records
  space = mixture.make_space(dataset)
  batches = pipeline.train_batches(
    dataset,
    records,
    space,
    **{'options': OPTIONS, 'batch_size': 4, 'seed': 7}
    | options
    | {'first_step': first_step},
  )
  taken = list(itertools.islice(batches, count))
  batches.close()
  return taken


def list_records(batches):
  return np.concatenate([batch['record'] for batch in batches])


def assert_equal(some, others):
  for one, other in zip(some, others, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_rows_are_those_of_the_parts_one_after_another():
  dataset = make()
  assert len(dataset.source) == 18
  assert dataset.source[12]['clip_id'] == dataset.parts[1].source[0]['clip_id']
  assert dataset.source[11]['clip_id'] == b'clip_011'
  assert mixture.find_parts(dataset, [0, 11, 12, 17]).tolist() == [0, 0, 1, 1]
  np.testing.assert_array_equal(
    dataset.index['clip_id'][12:], dataset.parts[1].index['clip_id']
  )
  assert 'valence' not in dataset.index


def test_one_head_over_all_and_each_example_its_corpus_classes():
  space = mixture.make_space(make())
  assert space.names == ('anger', 'fear', 'calm')
  for batch in take(make(), 6, tasks=TASKS[:2]):
    is_second = batch['record'] >= 12
    expected = np.where(
      is_second[:, None], [False, True, True], [True, True, False]
    )
    np.testing.assert_array_equal(batch['class_mask'], expected)
    np.testing.assert_array_equal(
      batch['valence_arousal_mask'], np.repeat(~is_second[:, None], 2, 1)
    )
    assert not batch['valence_arousal'][is_second].any()


@pytest.mark.parametrize('weights', [(3, 1), (1, 1), (0, 2), None])
def test_parts_have_their_shares_and_their_own_epochs(weights):
  found = list_records(take(make(), 36, weights=weights))
  share = (found >= 12).mean()
  expected = {(3, 1): 1 / 4, (1, 1): 1 / 2, (0, 2): 1, None: 6 / 18}[weights]
  assert share == pytest.approx(expected, abs=0.01)
  second = found[found >= 12]
  epochs = [second[at : at + 6] for at in range(0, len(second) - 5, 6)]
  assert all(sorted(epoch) == list(range(12, 18)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_order_is_fixed_by_the_seed_and_resumes_anywhere():
  whole = take(make(), 9, weights=(2, 1))
  for first in (1, 4, 8):
    rest = take(make(), 9 - first, first_step=first, weights=(2, 1))
    assert_equal(whole[first:], rest)
  other = list_records(take(make(), 9, weights=(2, 1), seed=8))
  assert (other != list_records(whole)).any()
  # The first part is met in the order that it has alone.
  alone = list_records(take(make().parts[0], 3))
  mixed = list_records(whole)
  np.testing.assert_array_equal(mixed[mixed < 12][:12], alone)


def test_workers_and_hosts_give_the_same_batches():
  whole = take(make(), 5)
  assert_equal(whole[2:], take(make(), 3, first_step=2, workers=2))
  halves = [take(make(), 5, host=h, num_hosts=2) for h in (0, 1)]
  for number, batch in enumerate(whole):
    for name in batch:
      joined = np.concatenate([half[number][name] for half in halves])
      np.testing.assert_array_equal(joined, batch[name])


def test_clips_and_films_share_a_batch():
  films = small_films.make_dataset(films=3)
  clips_alone = make().parts[0]
  dataset = mixture.Mixture(('clips', 'films'), (clips_alone, films))
  table = targets.make_table(dataset, mixture.make_space(dataset), tasks=TASKS)
  assert table.by_frame.tolist() == [False] * 12 + [True] * 9
  for batch in take(dataset, 6, tasks=TASKS, weights=(1, 1)):
    is_film = batch['record'] >= 12
    np.testing.assert_array_equal(batch['action_units_mask'].all(1), is_film)
    assert batch['valence_arousal_mask'].all()
    assert (batch['emotion'] >= 0).all()


def test_a_strange_word_wants_a_map():
  words = (('anger', 'fear'), ('fear', 'rage'))
  with pytest.raises(errors.AvemoError, match=r'data\.label_map\.rage'):
    mixture.make_space(make(words=words))
  space = mixture.make_space(make(words=words), {'rage': 'anger'})
  assert space.names == ('anger', 'fear') and space.index('rage') == 0
  space = mixture.make_space(make(words=words), {'rage': 'rage'})
  assert space.names == ('anger', 'fear', 'rage')
  with pytest.raises(errors.AvemoError, match="did you mean 'rage'"):
    mixture.make_space(make(words=words), {'rag': 'anger'})
  # Alone it is a corpus like any other.
  alone = make(words=words).parts[1]
  assert mixture.make_space(alone).names == ('fear', 'rage')


def test_identity_follows_the_parts():
  assert mixture.identify(make()) == mixture.identify(make())
  assert mixture.identify(make()) != mixture.identify(make(sizes=(12, 5)))
  assert mixture.identify(make().parts[0]) == schema.identify(make().parts[0])


def test_identity_follows_values():
  part = make().parts[0]
  found = set()
  for value in (0.25, 0.5):
    part.index['valence'] = np.full(12, value, np.float32)
    found.add(schema.identify(part))
  assert len(found) == 2


def test_shuffled_labels_stay_in_their_part():
  batches = take(make((20, 20)), 20, shuffle_labels_seed=1)
  for batch in batches:
    known = batch['class_mask'][np.arange(4), batch['emotion']]
    assert known.all()
  record, emotion = (
    np.concatenate([batch[name] for batch in batches])
    for name in ('record', 'emotion')
  )
  assert (emotion[record < 20] != record[record < 20] % 2).any()


MIXTURE = {
  'crema_d': {'protocol': 'crema_d_hicmae_5fold', 'weight': 2.0},
  'other': {'name': 'custom_av', 'protocol': 'p', 'fold': 3, 'weight': 1.0},
}


def test_parts_are_read_from_a_config():
  first, second = parts.read({'mixture': MIXTURE})
  assert first == parts.Part(
    'crema_d', 'crema_d_av', 'crema_d_hicmae_5fold', 0, 2.0
  )
  assert (second.name, second.fold) == ('custom_av', 3)
  (only,) = parts.read({'name': 'x_av', 'protocol': 'p', 'mixture': {}})
  assert (only.name, only.fold) == ('x_av', 0)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'name': 'x'}, r'leave data\.name out'),
    ({'mixture': {}}, r"'data\.name' is missing"),
    ({'mixture': {'a': {'fold': 1}}}, r"'data\.mixture\.a\.protocol'"),
    ({'mixture': {'a': {'protocl': 'p'}}}, "did you mean 'protocol'"),
    ({'mixture': {'a': {'protocol': 'p', 'weight': -1.0}}}, 'at least 0'),
    (
      {'mixture': MIXTURE | {'b': {'protocol': 'p'}}},
      'weight of every corpus',
    ),
  ],
)
def test_wrong_parts_are_named(change, message):
  with pytest.raises(errors.AvemoError, match=message):
    parts.read({'mixture': MIXTURE} | change)


def test_a_part_without_clips_is_named():
  with pytest.raises(errors.AvemoError, match='second: none of its training'):
    take(make(), 1, records=range(12), weights=(1, 1))
  # Nor is a part lost where no weights are set.
  with pytest.raises(errors.AvemoError, match='second: none of its training'):
    take(make(), 1, records=range(12))
  assert take(make(), 1, records=range(12), weights=(1, 0))


def test_a_part_never_trains_on_what_another_keeps_unseen():
  one = small_dataset.make_dataset([small_dataset.Clip()] * 10)
  other = small_dataset.make_dataset([small_dataset.Clip()] * 10)
  dataset = mixture.Mixture(('one', 'other'), (one, other))

  def divide(first, second, **options):
    named = [
      parts.Part(key, 'x', 'crema_d_hicmae_5fold', fold)
      for key, fold in (('one', first), ('other', second))
    ]
    return parts.divide(dataset, named, **options)

  train, val = divide(0, 0)
  assert len(train) == 12 and len(val) == 4
  assert set(train) & set(val) == set()
  # Fold 0 trains on speakers that fold 2 is scored on; their sounds as well.
  with pytest.raises(errors.AvemoError, match='one trains on what other'):
    divide(0, 2)
  other.index['audio_sha256'] = np.array([f'other {n}' for n in range(10)])
  with pytest.raises(errors.AvemoError, match='of kind speaker'):
    divide(0, 2)
  # What is called alike in two corpora is not the same, sounds are.
  other.index['speaker'] = one.index['speaker']
  dataset.parts[1].corpus = 'ravdess'
  splits = [
    parts.folds.Split(np.arange(4), np.arange(4, 6), np.arange(6, 10)),
    parts.folds.Split(np.arange(5, 9), np.arange(2), np.arange(2, 5)),
  ]
  named = [parts.Part(key, 'x', 'p') for key in ('one', 'other')]
  parts.check_leaks(named, dataset.parts, splits, refit=False)
  other.index['audio_sha256'][0] = one.index['audio_sha256'][3]
  with pytest.raises(errors.AvemoError, match='of kind identical sound'):
    parts.check_leaks(named, dataset.parts, splits, refit=False)
  # To refit is to train on validation clips, which are then seen.
  parts.check_leaks(named, dataset.parts, splits, refit=True)


@pytest.mark.parametrize('tasks', [TASKS, TASKS[:1], TASKS[2:]])
def test_clips_labelled_as_a_whole_stay_clips_whatever_is_learned(tasks):
  made = [
    small_dataset.Clip(emotion=word) for word in ('anger', '', '', 'fear', '')
  ]
  known = np.zeros((5, 12), np.int32)
  known[2:4] = 7
  units = np.full((5, 12), np.nan, np.float32)
  units[1, 3] = 1
  dataset = small_dataset.make_dataset(
    made,
    emotions=('anger', 'fear'),
    action_units=units,
    frame_action_units_known=known,
  )
  space = mixture.make_space(dataset)
  found = targets.make_table(dataset, space, tasks=tasks)
  # The last has no label at all: it is read as what its corpus labels.
  framed = targets.labels.ACTION_UNITS in tasks
  expected = [False, False, framed, framed, framed]
  assert found.by_frame.tolist() == expected
