"""Sections to arguments; the nearest key; what another training is."""

import pytest

from avemo import errors
from avemo.train import settings


def cook(dish, *, salt=1, pepper=2):
  del dish, salt, pepper


def test_sections_are_shared_out_by_name():
  first, second = settings.split('food', {'salt': 3, 'heat': 4}, cook, ['heat'])
  assert (first, second) == ({'salt': 3}, {'heat': 4})
  assert settings.find_keys(cook) == ['salt', 'pepper']


def test_wrong_keys_name_the_nearest():
  with pytest.raises(errors.AvemoError, match="'food.peper'.*'pepper'"):
    settings.split('food', {'peper': 3}, cook, ['heat'])
  with pytest.raises(errors.AvemoError, match="unknown key 'foot'.*'food'"):
    settings.check_keys('', ['foot'], ['food', 'drink'])
  with pytest.raises(errors.AvemoError, match="'val/war'"):
    settings.check_value('control.metric', 'val/wra', ['val/uar', 'val/war'])


OLD = {
  'steps': 10,
  'data_dir': '/a',
  'data': {'batch_size': 8, 'workers': 0},
  'optim': {'lr': 0.1},
  'augment': {},
}


@pytest.mark.parametrize(
  'change',
  [
    {'steps': 12},
    {'data_dir': '/b'},
    {'data': {'batch_size': 8, 'workers': 4}},
    {'mesh': {'data': 2, 'fsdp': 4}},
    {'checkpoint': {'every': 3}},
  ],
)
def test_what_changes_nothing_learned_may_differ(change):
  assert settings.find_differences(OLD, OLD | change) == []


@pytest.mark.parametrize(
  ('change', 'line'),
  [
    ({'steps': 9}, 'steps was 10, is 9'),
    ({'data': {'batch_size': 16}}, 'data.batch_size was 8, is 16'),
    ({'optim': {'lr': 0.1, 'clip': 1.0}}, 'optim.clip was None, is 1.0'),
    ({'augment': {'flip': {}}}, 'augment.flip was None, is {}'),
  ],
)
def test_what_changes_the_training_is_named(change, line):
  assert line in settings.find_differences(OLD, OLD | change)


def test_many_differences_are_told_briefly():
  assert settings.list_briefly(['a', 'b']) == 'a; b'
  assert settings.list_briefly(list('abcdefg')) == 'a; b; c; d; e; and 2 more'
