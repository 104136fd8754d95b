"""Benchmarks: programs in turns, and what the figures are shares of."""

import sys

import jax
import pytest

from benchmarks import pairs, towers

ANSWER = """
import json, sys, time
print('a word of a library')
print(json.dumps({'ready': 1}), flush=True)
for line in sys.stdin:
  open(sys.argv[1], 'a').write(sys.argv[2])
  print(json.dumps({'seconds': float(sys.argv[3])}), flush=True)
"""


def answer(*arguments):
  return [sys.executable, '-S', '-c', ANSWER, *map(str, arguments)]


def test_programs_run_in_turns_after_a_first_round(tmp_path):
  commands = {
    'one': answer(tmp_path / 'log', 'A', 0.5),
    'two': answer(tmp_path / 'log', 'B', 1.5),
    'three': [sys.executable, '-c', 'raise SystemExit("no such package")'],
    'four': ['/no/such/python'],
  }
  with pairs.start(commands) as (programs, failed):
    seconds = pairs.time_in_turns(programs, 3)
    assert programs['one'].ready == {'ready': 1}
  assert (tmp_path / 'log').read_text() == 'ABABABAB'
  assert seconds == {'one': [0.5] * 3, 'two': [1.5] * 3}
  assert failed['three'] == 'no such package'
  assert '/no/such/python' in failed['four']
  assert pairs.compare(seconds['one'], seconds['two']) == 3


def test_a_program_that_dies_says_why(tmp_path):
  with pairs.start({'one': answer(tmp_path / 'log', 'A', 'x')}) as (one, _):
    with pytest.raises(pairs.Failed, match='ValueError.*float'):
      one['one'].ask()


@pytest.mark.parametrize('task', ['forward', 'finetune'])
def test_operations_are_those_that_xla_counts(task):
  shape = towers.VIDEO['S']._replace(depth=1)
  model = towers.make_model(
    'video', 'S', 'float32', depth=1, implementation='xla', remat='none'
  )
  batch = towers.make_batch('video', 1)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)

  def compute(variables, batch):
    return model.apply(variables, batch)['emotion'].sum()

  if task == 'finetune':
    compute = jax.grad(compute)
  counted = jax.jit(compute).lower(variables, batch).cost_analysis()['flops']
  # Norms and softmax are not products.
  assert counted == pytest.approx(towers.count_flops(shape, task), rel=0.05)
