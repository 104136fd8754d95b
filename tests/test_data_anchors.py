"""Valence and arousal from categories: pinned values, and never by default."""

import numpy as np
import pytest
import small_dataset

from avemo import errors
from avemo.data import anchors, labels, targets

SPACE = labels.LabelSpace.of(('anger', 'calm', 'sadness', 'neutral'))
TASKS = ('emotion', 'valence_arousal')


def test_the_values_are_pinned():
  # Copies of the table circulate with other figures and a wrong sign.
  assert dict(anchors.get('russell_mehrabian_1977')) == {
    'anger': (-0.51, 0.59),
    'disgust': (-0.60, 0.35),
    'fear': (-0.64, 0.60),
    'happiness': (0.81, 0.51),
    'neutral': (0.0, 0.0),
    'sadness': (-0.63, -0.27),
    'surprise': (0.40, 0.67),
  }


def test_shares_weigh_the_anchors_and_unknown_classes_give_nothing():
  target = np.float32(
    [[1, 0, 0, 0], [0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.9, 0.1, 0, 0], [0] * 4]
  )
  found = anchors.derive('russell_mehrabian_1977', target, SPACE.names)
  np.testing.assert_allclose(found[0], [-0.51, 0.59])
  np.testing.assert_allclose(found[1], [-0.57, 0.16], atol=1e-6)
  assert np.isnan(found[2:]).all()


def make_dataset():
  return small_dataset.make_dataset(
    [small_dataset.Clip(emotion=word) for word in ('anger', 'sadness', '')],
    emotions=SPACE.names,
    valence=np.float32([0.5, np.nan, np.nan]),
    arousal=np.float32([0.25, np.nan, np.nan]),
  )


def test_a_label_is_never_replaced_and_nothing_is_derived_unasked():
  table = targets.make_table(make_dataset(), SPACE, tasks=TASKS)
  assert np.isnan(table.values['valence_arousal'][1:]).all()
  table = targets.make_table(
    make_dataset(), SPACE, tasks=TASKS, derive='russell_mehrabian_1977'
  )
  found = table.values['valence_arousal']
  np.testing.assert_allclose(found[:2], [[0.5, 0.25], [-0.63, -0.27]])
  assert np.isnan(found[2]).all()
  with pytest.raises(errors.AvemoError, match='russell_mehrabian_1977'):
    targets.make_table(make_dataset(), SPACE, tasks=TASKS, derive='russell')
