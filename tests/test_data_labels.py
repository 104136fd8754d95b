"""Label spaces: order, union, maps and masks."""

import json
import types

import numpy as np
import pytest

from avemo import errors
from avemo.corpora import aff_wild2_labels
from avemo.data import labels
from avemo.metrics import abaw
from avemo.simulate import trajectory

FIRST = labels.LabelSpace.of(('anger', 'neutral', 'sadness'))
SECOND = labels.LabelSpace.of(('calm', 'sadness', 'surprise'))


def test_words_become_classes_in_the_published_order():
  found = FIRST.indices(['sadness', '', 'anger', 'sadness'])
  np.testing.assert_array_equal(found, [2, -1, 0, 2])
  assert found.dtype == np.int32
  with pytest.raises(errors.AvemoError, match="nearest is 'sadness'"):
    FIRST.indices(['sad'])


def test_union_keeps_order_and_masks_what_a_corpus_does_not_annotate():
  space = labels.union([FIRST, SECOND])
  assert space.names == ('anger', 'neutral', 'sadness', 'calm', 'surprise')
  np.testing.assert_array_equal(
    space.class_mask(SECOND.names), [False, False, True, True, True]
  )


def test_words_can_be_mapped_explicitly():
  space = labels.union([FIRST, SECOND], {'calm': 'neutral'})
  assert space.names == ('anger', 'neutral', 'sadness', 'surprise')
  assert space.index('calm') == 1
  np.testing.assert_array_equal(
    space.class_mask(SECOND.names), [False, True, True, True]
  )
  votes = np.array([2.0, 3.0, 5.0])
  np.testing.assert_array_equal(
    votes @ space.votes_matrix(SECOND.names), [0, 2, 3, 5]
  )
  with pytest.raises(errors.AvemoError, match='no such class'):
    labels.LabelSpace(('anger',), (('calm', 'neutral'),))


def test_masks_of_rows_follow_a_corpus_and_its_own_column():
  space = labels.union([FIRST, SECOND], {'calm': 'neutral'})
  dataset = types.SimpleNamespace(
    emotions=SECOND.names, index={'emotion': np.array(['calm', 'sadness'])}
  )
  whole = [False, True, True, True]
  np.testing.assert_array_equal(space.class_masks(dataset), [whole, whole])
  dataset.index['classes'] = np.array([[1, 1, 1], [0, 1, 0]], np.float32)
  np.testing.assert_array_equal(
    space.class_masks(dataset), [whole, [False, False, True, False]]
  )


def test_json_returns_the_same_space():
  space = labels.union([FIRST, SECOND], {'calm': 'neutral'})
  assert labels.LabelSpace.from_json(
    json.loads(json.dumps(space.to_json()))
  ) == (space)


def test_a_name_stands_once():
  with pytest.raises(errors.AvemoError, match='twice'):
    labels.LabelSpace(('anger', 'anger'))


def test_rooms_that_do_not_import_one_another_agree():
  assert labels.UNITS == aff_wild2_labels.ACTION_UNITS
  assert labels.UNITS == trajectory.ACTION_UNITS
  assert [f'AU{n}' for n in labels.UNITS] == list(abaw.ACTION_UNITS)
  words = tuple(word.lower() for word in abaw.EXPRESSIONS)
  assert words == aff_wild2_labels.EXPRESSIONS == tuple(trajectory.EXPRESSIONS)
