"""Several processes train as one does, and survive the death of any."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import unittest.mock

import jax
import numpy as np
import pytest
import small_run

from avemo import errors
from avemo.runtime import checkpoint, launcher, writers
from avemo.train import loop
from avemo.train import run as run_lib

PROGRAM = str(pathlib.Path(__file__).with_name('small_run.py'))
STEPS = 20

# Every leaf that eight devices divide is split, however small.
SECTIONS = {
  'data': {'workers': 0},
  'model': {'audio': {'name': 'cnn', 'widths': [8]}},
  'mesh': {'fsdp': 2, 'smallest': 0},
}

# Of a parameter, after the steps: other numbers of processes add up in
# another order. Measured: see docs/scaling.md.
BOUND = 1e-5


def launch(workdir, count, steps=STEPS, end=None):
  """Runs it in processes with eight devices together.

  Args:
    workdir: of the run.
    count: of processes.
    steps: at the end.
    end: [process, step, seconds after it, signal], see `small_run`.
  """
  devices = f'--xla_force_host_platform_device_count={8 // count}'
  order = workdir / f'order_{len(list(workdir.glob("order_*")))}'
  order.mkdir(parents=True)
  environment = small_run.make_environment() | {
    'XLA_FLAGS': devices,
    small_run.FOLDER: str(order),
  }
  if end:
    environment[small_run.END] = json.dumps(end)
  command = [sys.executable, PROGRAM, str(workdir), str(steps)]
  return launcher.launch(
    [*command, json.dumps(SECTIONS)], workdir, count, environment=environment
  )


def read_losses(workdir):
  lines = writers.read_lines(workdir / 'metrics.jsonl')
  return {
    (line['step'], name): line[name]
    for line in lines
    for name in ('train/loss', 'val/loss', 'val/uar')
    if name in line
  }


def read_params(workdir, steps=STEPS):
  """The last parameters, on eight devices of this process."""
  config = small_run.make_config(steps=steps, **SECTIONS)
  run = run_lib.make_run(config, small_run.make_dataset())
  store = checkpoint.Checkpoints(workdir / 'checkpoints', read_only=True)
  assert store.latest_step() == steps
  return jax.device_get(loop.start_state(run, store, steps).params)


def read_orders(workdir):
  """By start of the run, the records of each step in their order.

  Only of steps that all processes have read.
  """
  orders = []
  for folder in sorted(workdir.glob('order_*')):
    parts = [
      {line['step']: line['records'] for line in writers.read_lines(path)}
      for path in sorted(folder.glob('*.jsonl'))
    ]
    steps = set.intersection(*map(set, parts))
    orders.append({s: sum((part[s] for part in parts), []) for s in steps})
  return orders


def measure_distance(one, other):
  distances = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, other)
  return max(jax.tree.leaves(distances))


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  """A cache of programs for the processes that the tests start."""
  with pytest.MonkeyPatch.context() as patch:
    for name, value in (
      ('DIR', str(tmp_path_factory.mktemp('cache'))),
      ('MIN_COMPILE_TIME_SECS', '0'),
      ('MIN_ENTRY_SIZE_BYTES', '0'),
    ):
      variable = 'JAX_COMPILATION_CACHE_DIR'
      if name != 'DIR':
        variable = f'JAX_PERSISTENT_CACHE_{name}'
      patch.setenv(variable, value)
    yield


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, cache):
  """By number of processes, the workdir of a run that nothing has stopped."""
  made = {}

  def find(count):
    if count not in made:
      workdir = tmp_path_factory.mktemp(f'unbroken_{count}')
      assert launch(workdir, count) == 0
      made[count] = workdir
    return made[count]

  return find


@pytest.fixture
def compile_fast(monkeypatch):
  """In this process, and in those that are started."""
  monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


def test_one_of_two_is_killed_and_one_goes_on_to_the_losses_of_one(
  tmp_path, cache, compile_fast
):
  steps = 6
  end = [1, 4, 0.02, signal.SIGKILL]
  with pytest.raises(errors.AvemoError, match='process 1 was killed by SIGK'):
    launch(tmp_path, 2, steps, end)
  of_two = read_losses(tmp_path)
  store = checkpoint.Checkpoints(tmp_path / 'checkpoints', read_only=True)
  first = store.latest_step()
  assert first and first <= 4
  assert launch(tmp_path, 1, steps) == 0
  losses = read_losses(tmp_path)
  assert {step for step, _ in losses} == set(range(1, steps + 1))
  # One process that nothing stops says the same, at every step.
  config = small_run.make_config(steps=steps, **SECTIONS)
  loop.train(config, tmp_path / 'one', dataset=small_run.make_dataset())
  expected = read_losses(tmp_path / 'one')
  assert {step for step, _ in of_two} >= set(range(1, first + 1))
  for found in (of_two, losses):
    for key, value in found.items():
      np.testing.assert_allclose(value, expected[key], atol=1e-5, err_msg=key)
  # What two have read of a step is what one reads of it, in the same order.
  before, after = read_orders(tmp_path)
  assert set(after) == set(range(first + 1, steps + 1))
  assert set(range(1, 5)) <= before.keys() and before.keys() & after.keys()
  assert all(before[step] == after[step] for step in before.keys() & after)


@pytest.mark.slow
@pytest.mark.parametrize('count', [2, 4])
def test_several_processes_have_the_losses_of_one(unbroken, count):
  found, expected = read_losses(unbroken(count)), read_losses(unbroken(1))
  assert found.keys() == expected.keys()
  for key, value in expected.items():
    np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)
  assert read_orders(unbroken(count)) == read_orders(unbroken(1))


@pytest.mark.slow
@pytest.mark.parametrize(
  'counts', [(2, 2), (4, 4), (2, 1), (1, 2), (2, 4), (4, 2), (4, 1)]
)
def test_any_is_killed_and_any_number_goes_on(tmp_path, unbroken, counts):
  seed = random.randrange(1 << 32)
  draw = random.Random(seed)
  before, after = counts
  end = draw.randrange(before), draw.randrange(4, STEPS - 2), draw.random() / 5
  print(f'{counts}: kills {end}')
  with pytest.raises(errors.AvemoError, match='was killed by SIGKILL'):
    launch(tmp_path, before, end=[*end, signal.SIGKILL])
  assert launch(tmp_path, after) == 0
  expected = read_params(unbroken(before))
  distance = measure_distance(read_params(tmp_path), expected)
  print(f'{counts}: largest distance of a parameter {distance:.3g}')
  if before == after:
    assert distance == 0
    assert read_losses(tmp_path) == read_losses(unbroken(before))
  assert distance <= BOUND
  (whole,) = read_orders(unbroken(1))
  before, after = read_orders(tmp_path)
  assert len(before | after) == STEPS
  assert whole == before | after == after | before


@pytest.mark.slow
def test_an_error_of_one_ends_all_with_its_line(tmp_path, cache):
  with pytest.raises(errors.AvemoError) as caught:
    launch(tmp_path, 2, end=[1, 3, 0, 0])
  assert 'process 1 ended with status 1 (nothing can be read)' in str(
    caught.value
  )


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all(tmp_path, cache):
  assert launch(tmp_path, 2, 500, end=[1, 3, 0, signal.SIGTERM]) == 143
  store = checkpoint.Checkpoints(tmp_path / 'checkpoints', read_only=True)
  assert 3 <= store.latest_step() < 500


@pytest.mark.slow
def test_the_command_line_trains_in_two(tmp_path, tiny_crema_d_dataset):
  root = pathlib.Path(__file__).parent.parent
  command = [sys.executable, '-m', 'avemo', 'train', '--processes', '2']
  command += [f'--config={root}/configs/tiny_crema_d.py:system=audio']
  command += [f'--workdir={tmp_path}', '--config.data.batch_size=8']
  command += [f'--config.data_dir={tiny_crema_d_dataset}']
  command += ['--config.optim.warmup=0']
  environment = small_run.make_environment() | {
    'XLA_FLAGS': '--xla_force_host_platform_device_count=1'
  }

  def run(*more):
    found = subprocess.run(
      [*command, *more],
      env=environment,
      capture_output=True,
      text=True,
      check=False,
    )
    return found.returncode, found.stdout, found.stderr

  assert run('--config.steps=2') == (0, unittest.mock.ANY, '')
  environment_file = json.loads((tmp_path / 'environment.json').read_text())
  assert environment_file['processes'] == 2
  # Both find that the config is another one; the first to end is named.
  status, _, error = run('--config.steps=2', '--config.seed=1')
  assert status == 1 and error.startswith('avemo: process ')
  assert 'holds a run of another config' in error and error.count('\n') == 1
