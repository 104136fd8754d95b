"""A run that is killed at any step and resumed ends with the same bits."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import small_run

from avemo.runtime import checkpoint, writers
from avemo.train import loop
from avemo.train import run as run_lib

STEPS = 9
# Of a run in a process of its own; long enough to be hit anywhere.
LONG = 16
HERE = pathlib.Path(__file__).parent

# Another moment each time; a failure prints the seed that repeats it.
SEED_NAME = 'AVEMO_KILL_SEED'
SEED = os.environ.get(SEED_NAME) or str(random.randrange(1 << 32))


class Killed(Exception):
  pass


def train(workdir, steps=STEPS, kill_at=None, **sections):
  def after_step(step):
    if step == kill_at:
      raise Killed

  config = small_run.make_config(steps=steps, **sections)
  with contextlib.suppress(Killed):
    return loop.train(
      config, workdir, dataset=small_run.make_dataset(), after_step=after_step
    )


def read(workdir, steps=STEPS):
  """The last state and all metrics, down to the bit."""
  config = small_run.make_config(steps=steps)
  run = run_lib.make_run(config, small_run.make_dataset())
  store = checkpoint.Checkpoints(workdir / 'checkpoints', read_only=True)
  state = loop.start_state(run, store, store.latest_step())
  lines = writers.read_lines(workdir / 'metrics.jsonl')
  for line in lines:
    del line['time']
  return jax.device_get(state), lines, store.steps()


def assert_same(found, expected):
  paths, tree = jax.tree_util.tree_flatten_with_path(found[0])
  others, expected_tree = jax.tree_util.tree_flatten_with_path(expected[0])
  assert tree == expected_tree
  for (path, value), (_, other) in zip(paths, others, strict=True):
    assert value.dtype == other.dtype
    np.testing.assert_array_equal(value, other, err_msg=str(path))
  assert found[1] == expected[1]
  assert found[2] == expected[2]


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('unbroken')
  summary = train(workdir)
  assert summary['stopped'] == 'end' and summary['step'] == STEPS
  return read(workdir)


@pytest.fixture(scope='module')
def unbroken_long(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('unbroken_long')
  train(workdir, LONG)
  return read(workdir, LONG)


def test_the_run_has_all_that_could_differ(unbroken):
  state, lines, steps = unbroken
  assert state.batch_stats and state.ema and state.opt_state
  assert state.step == STEPS and state.control['best_step'] > 0
  assert {line['step'] for line in lines} == set(range(1, STEPS + 1))
  assert steps == sorted({int(state.control['best_step']), STEPS})
  leaves = [jax.tree.leaves(tree) for tree in (state.params, state.ema)]
  assert any((a != b).any() for a, b in zip(*leaves, strict=True))


@pytest.mark.parametrize('kills', [[1], [3], [2, 5, 8]])
def test_resumed_run_matches_unbroken_run(tmp_path, unbroken, kills):
  for step in kills:
    assert train(tmp_path, kill_at=step) is None
  assert train(tmp_path)['stopped'] == 'end'
  assert_same(read(tmp_path), unbroken)


def test_a_finished_run_is_left_as_it_is(tmp_path, unbroken):
  train(tmp_path)
  summary = train(tmp_path)
  assert summary['stopped'] == 'end' and summary['step'] == STEPS
  assert summary['best_step'] == unbroken[0].control['best_step']
  assert_same(read(tmp_path), unbroken)


# ----------------------------------------------------- processes of their own


@contextlib.contextmanager
def start(workdir):
  command = [sys.executable, str(HERE / 'small_run.py'), str(workdir)]
  process = subprocess.Popen(
    [*command, str(LONG)],
    stdout=subprocess.PIPE,
    text=True,
    env=small_run.make_environment(),
  )
  try:
    yield process
  finally:
    process.kill()
    process.wait()
    process.stdout.close()


def wait_for_step(process, step):
  for line in process.stdout:
    if line.split() == ['step', str(step)]:
      return
  pytest.fail(f'the run ended before step {step}')


def find_children(process):
  """Its processes, whichever of its threads has started them."""
  files = pathlib.Path(f'/proc/{process.pid}/task').glob('*/children')
  return [int(word) for file in files for word in file.read_text().split()]


def is_running(number):
  try:
    status = pathlib.Path(f'/proc/{number}/stat').read_text()
  except (FileNotFoundError, ProcessLookupError):
    return False
  return status.rsplit(')', 1)[1].split()[0] != 'Z'


def draw_moment(seed, number):
  """The step and the seconds after it at which test `number` kills."""
  draw = random.Random(f'{seed} {number}')
  return draw.randrange(1, LONG - 2), draw.random() * 0.1


def test_a_seed_repeats_the_moments_of_the_kills():
  moments = [draw_moment('7', number) for number in range(20)]
  assert moments == [draw_moment('7', number) for number in range(20)]
  assert len({step for step, _ in moments}) > 5
  assert moments != [draw_moment('8', number) for number in range(20)]


@pytest.mark.parametrize(
  'number',
  [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 20))],
)
def test_killed_process_resumes_to_the_same_bits(
  tmp_path, unbroken_long, number
):
  step, delay = draw_moment(SEED, number)
  print(
    f'killed {delay:.3f} s after step {step}; {SEED_NAME}={SEED} repeats it'
  )
  with start(tmp_path) as process:
    wait_for_step(process, step)
    time.sleep(delay)
    workers = find_children(process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
  assert len(workers) >= 2
  deadline = time.monotonic() + 30
  while any(map(is_running, workers)):
    assert time.monotonic() < deadline, 'workers outlive the run'
    time.sleep(0.1)
  train(tmp_path, LONG, data={'workers': 2})
  assert_same(read(tmp_path, LONG), unbroken_long)


def test_terminated_process_saves_and_leaves(tmp_path, unbroken_long):
  with start(tmp_path) as process:
    wait_for_step(process, 4)
    # A scheduler signals the workers as well.
    for number in (process.pid, *find_children(process)):
      os.kill(number, signal.SIGTERM)
    rest, _ = process.communicate(timeout=100)
    assert process.returncode == 143
  assert 'saved, run the same command again to go on' in rest
  store = checkpoint.Checkpoints(tmp_path / 'checkpoints', read_only=True)
  # At once, and not at the next regular checkpoint alone.
  assert 4 < store.latest_step() <= 7
  train(tmp_path, LONG)
  assert_same(read(tmp_path, LONG), unbroken_long)
