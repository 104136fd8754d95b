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
CHOICES = {'size': ('full', 'tiny'), 'corpus': {'crema_d': 1, 'mafw': 2}}


def test_of_a_choice_the_first_is_meant_unless_another_is_said():
  assert common.parse('', **CHOICES).to_dict() == {
    'size': 'full',
    'corpus': 'crema_d',
  }
  assert common.parse('corpus=mafw', **CHOICES).corpus == 'mafw'


@pytest.mark.parametrize(
  ('arg', 'message'),
  [
    ('flod=1', r"no argument 'flod' \(did you mean fold\?\); it takes fold=0"),
    ('x', 'takes fold=0, smoke, lr=0.1, system=early, size=full|tiny'),
    ('tiny', r"no argument 'tiny' \(did you mean size=tiny\?\)"),
    ('size=tny', "size='tny': use one of full, tiny"),
    ('size', "size='': use one of full, tiny"),
    ('fold=one', 'fold as int'),
    ('fold=1.5', 'fold as int'),
    ('smoke=maybe', 'smoke as bool'),
  ],
)
def test_wrong_arguments_are_named(arg, message):
  with pytest.raises(errors.AvemoError, match=message):
    common.parse(arg, **DEFAULTS, **CHOICES)


def test_help_is_printed_and_no_error(capsys):
  with pytest.raises(SystemExit) as ended:
    common.parse('help', **CHOICES)
  assert ended.value.code == 0
  said = capsys.readouterr().out
  assert said.strip().endswith('takes size=full|tiny, corpus=crema_d|mafw')


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
