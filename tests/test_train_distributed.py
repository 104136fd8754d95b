"""Two processes train as one does."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from avemo.runtime import checkpoint, writers

HERE = pathlib.Path(__file__).parent
STEPS = '6'

pytestmark = pytest.mark.slow


def find_port():
  with socket.socket() as server:
    server.bind(('localhost', 0))
    return server.getsockname()[1]


def start(workdir, count, steps=STEPS):
  port = find_port()
  path = os.pathsep.join([str(HERE), str(HERE.parent)])
  processes = []
  for number in range(count):
    devices = f'--xla_force_host_platform_device_count={8 // count}'
    environment = os.environ | {'PYTHONPATH': path, 'XLA_FLAGS': devices}
    if count > 1:
      environment |= {
        'JAX_COORDINATOR_ADDRESS': f'localhost:{port}',
        'JAX_NUM_PROCESSES': str(count),
        'JAX_PROCESS_ID': str(number),
      }
    processes.append(
      subprocess.Popen(
        [sys.executable, str(HERE / 'small_run.py'), str(workdir), steps],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
      )
    )
  return processes


def finish(processes):
  outputs = [process.communicate(timeout=280)[0] for process in processes]
  return [process.returncode for process in processes], outputs


def read_losses(workdir):
  lines = writers.read_lines(workdir / 'metrics.jsonl')
  return {
    (line['step'], name): line[name]
    for line in lines
    for name in ('train/loss', 'val/loss', 'val/uar')
    if name in line
  }


def test_two_processes_have_the_losses_of_one(tmp_path):
  found = {}
  for count in (1, 2):
    workdir = tmp_path / str(count)
    codes, _ = finish(start(workdir, count))
    assert codes == [0] * count
    found[count] = read_losses(workdir)
  assert found[1].keys() == found[2].keys()
  for key, value in found[1].items():
    np.testing.assert_allclose(found[2][key], value, atol=1e-5, err_msg=key)


def test_a_signal_to_one_process_stops_both(tmp_path):
  processes = start(tmp_path, 2, steps='500')
  for line in processes[0].stdout:
    if line.split() == ['step', '3']:
      break
  processes[1].send_signal(signal.SIGTERM)
  codes, _ = finish(processes)
  assert codes == [143, 143]
  store = checkpoint.Checkpoints(tmp_path / 'checkpoints', read_only=True)
  assert 3 <= store.latest_step() < 500
