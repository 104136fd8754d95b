"""Classes made of a dimension: edges, unknown labels, folds as they were."""

import numpy as np
import pytest
import small_dataset

from avemo import errors
from avemo.data import dimensions, folds, labels, mixture, targets

# On the raters' scale; as 3.5 and 2.5 exactly, and as near as float32 comes.
RATED = [1.0, 2.4, 2.5, 3.0, 3.5, 3.6, 5.0, np.nan]


@pytest.fixture
def dataset():
  words = ['anger', 'happiness', 'neutral', '', 'anger', '', 'neutral', 'anger']
  made = [small_dataset.Clip(emotion=word, frames=0) for word in words]
  unit = ((np.array(RATED) - 3) / 2).astype(np.float32)
  return small_dataset.make_dataset(
    made, arousal=unit, valence=-unit, classes=np.ones((8, 3))
  )


def test_two_edges_make_three_classes(dataset):
  section = {'dimension': 'activation', 'edges': (2.5, 3.5)}
  made = dimensions.classify(dataset, section)
  assert made.emotions == ('low', 'middle', 'high')
  assert made.index['emotion'].tolist() == [
    'low', 'low', 'middle', 'middle', 'middle', 'high', 'high', '',
  ]  # fmt: skip
  turned = dimensions.classify(dataset, section | {'dimension': 'valence'})
  assert turned.index['emotion'].tolist() == [
    'high', 'high', 'middle', 'middle', 'middle', 'low', 'low', '',
  ]  # fmt: skip
  space = mixture.make_space(made)
  table = targets.make_table(made, space)
  assert table.emotion.tolist() == [0, 0, 1, 1, 1, 2, 2, labels.UNLABELLED]
  assert table.class_mask.all()


def test_one_edge_makes_two_and_belongs_above(dataset):
  made = dimensions.classify(dataset, {'dimension': 'arousal', 'edges': [3]})
  assert made.emotions == ('low', 'high')
  assert made.index['emotion'].tolist()[:5] == ['low'] * 3 + ['high'] * 2


def test_the_dataset_itself_stays(dataset):
  before = dict(dataset.index)
  assert dimensions.classify(dataset, {}) is dataset
  section = {'dimension': 'valence', 'edges': (2.5, 3.5)}
  made = dimensions.classify(dataset, section)
  assert dataset.index.keys() == before.keys()
  assert dataset.emotions == small_dataset.EMOTIONS
  # Another label space is other data, whoever asks what a run has seen.
  assert mixture.identify(made) != mixture.identify(dataset)


def test_folds_go_by_the_corpus_own_emotions(dataset):
  made = dimensions.classify(dataset, {'dimension': 'valence', 'edges': [3]})
  assert folds.make_rows(made.index) == folds.make_rows(dataset.index)


def test_turns_outside_the_four_classes_stay_outside_their_folds():
  words = ['anger', '', 'neutral', 'sadness', '', 'happiness'] * 6
  made = [small_dataset.Clip(emotion=word, frames=0) for word in words]
  speakers = [f'{"FM"[n % 2]}0{n // 6 + 1}' for n in range(36)]
  dataset = small_dataset.make_dataset(
    made, valence=np.full(36, 0.5), speaker=np.array(speakers)
  )
  dataset.corpus = 'msp_improv'
  found = dimensions.classify(dataset, {'dimension': 'valence', 'edges': [3]})
  for fold in range(6):
    split = folds.find_split(found, 'msp_improv_hicmae_6fold', fold)
    own = folds.find_split(dataset, 'msp_improv_hicmae_6fold', fold)
    for name in folds.SPLITS:
      np.testing.assert_array_equal(split.get(name), own.get(name))
      assert all(words[record] for record in split.get(name))


@pytest.mark.parametrize(
  'section, message',
  [
    ({'dimension': 'valense', 'edges': [3]}, "did you mean 'valence'"),
    ({'dimension': 'valence', 'edge': [3]}, "classes_from.edge'.*'edges'"),
    ({'dimension': 'valence', 'edges': [3.5, 2.5]}, 'one or two rising'),
    ({'dimension': 'valence', 'edges': []}, 'one or two rising'),
    ({'dimension': 'dominance', 'edges': [3]}, 'no clip of small_av'),
  ],
)
def test_wrong_sections_are_told(dataset, section, message):
  with pytest.raises(errors.AvemoError, match=message):
    dimensions.classify(dataset, section)
