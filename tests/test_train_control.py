"""Best, early stopping and plateau."""

import pytest

from avemo import errors
from avemo.train import control


def follow(values, **options):
  state = control.start(mode=options.get('mode', 'max'))
  for number, value in enumerate(values, start=1):
    state = control.update(state, value, 10 * number, **options)
  return state


def test_the_first_of_equals_is_the_best():
  state = follow([0.1, 0.5, 0.5, 0.4])
  assert state['best_step'] == 20 and state['best'] == 0.5
  assert state['waited'] == 2 and not state['stopped']
  assert follow([3.0, 1.0, 2.0], mode='min')['best_step'] == 20


def test_patience_counts_evaluations_without_a_new_best():
  assert not follow([0.5, 0.4, 0.4], patience=3)['stopped']
  assert follow([0.5, 0.4, 0.4, 0.4], patience=3)['stopped']
  assert not follow([0.5, 0.4, 0.4, 0.6, 0.1], patience=3)['stopped']
  # Once stopped, it stays so.
  assert follow([0.5, 0.4, 0.9], patience=1)['stopped']


def test_a_plateau_lowers_the_learning_rate_and_waits_again():
  options = {'plateau_patience': 2, 'plateau_factor': 0.5}
  scales = [
    float(follow([0.5] + [0.4] * n, **options)['scale']) for n in range(6)
  ]
  assert scales == [1, 1, 0.5, 0.5, 0.25, 0.25]
  assert follow([0.5, 0.4, 0.6, 0.4], **options)['scale'] == 1


def test_what_is_not_a_number_is_never_best():
  state = follow([float('nan'), 0.1, float('nan')])
  assert state['best_step'] == 20 and state['waited'] == 1
  assert follow([float('nan')])['best_step'] == -1


def test_types_stay_those_of_the_start():
  before, after = control.start(), follow([0.1, 0.2], plateau_patience=1)
  assert {k: v.dtype for k, v in before.items()} == {
    k: v.dtype for k, v in after.items()
  }
  with pytest.raises(errors.AvemoError, match='mode'):
    control.start(mode='largest')
