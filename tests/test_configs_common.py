"""Arguments of configs, and their sections."""

import pytest

from avemo import errors
from configs import common


def test_arguments_have_the_types_of_their_defaults():
  arg = common.parse('fold=3,smoke,lr=1e-4,system=late', **DEFAULTS)
  assert (arg.fold, arg.smoke, arg.lr, arg.system) == (3, True, 1e-4, 'late')
  assert common.parse('smoke=false', **DEFAULTS).smoke is False
  for empty in ('', None):
    assert common.parse(empty, **DEFAULTS).to_dict() == DEFAULTS


DEFAULTS = {'fold': 0, 'smoke': False, 'lr': 0.1, 'system': 'early'}


@pytest.mark.parametrize(
  ('arg', 'message'),
  [
    ('flod=1', "did you mean 'fold'"),
    ('fold=one', 'fold as int'),
    ('fold=1.5', 'fold as int'),
    ('smoke=maybe', 'smoke as bool'),
  ],
)
def test_wrong_arguments_are_named(arg, message):
  with pytest.raises(errors.AvemoError, match=message):
    common.parse(arg, **DEFAULTS)


def test_empty_values_can_be_set_and_keep_their_type():
  config = common.default().lock()
  assert config.to_dict()['data']['soft_labels'] is None
  config.data.soft_labels = 'votes_both'
  config.data_dir = '/data'
  with pytest.raises(TypeError):
    config.data.soft_labels = 3
  with pytest.raises(AttributeError, match='batch_size'):
    config.data.batchsize = 3


def test_shrink_leaves_a_config_of_the_same_keys():
  config = common.default().lock()
  common.shrink(config)
  assert config.steps < 10
