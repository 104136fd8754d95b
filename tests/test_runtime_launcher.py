"""Processes that are launched together and end together."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
import small_run

from avemo import errors
from avemo.runtime import launcher

# What a training does, without JAX: it says its number and waits.
PROGRAM = """
import os, signal, sys, time
from avemo.runtime import launcher
launcher.end_with_launcher()
number = int(os.environ['AVEMO_PROCESS_ID'])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print('process', number, 'of', os.environ['AVEMO_NUM_PROCESSES'], flush=True)
{then}
"""
WAIT = 'time.sleep(100)'
SECOND = 'if number == 1:\n  {}\ntime.sleep(100)'.format


def launch(workdir, then, count=2):
  command = [sys.executable, '-c', PROGRAM.format(then=then)]
  environment = small_run.make_environment()
  return launcher.launch(command, workdir, count, environment=environment)


def read_log(workdir, number):
  return (workdir / 'logs' / f'process_{number}.log').read_text()


def is_running(pid):
  try:
    status = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except FileNotFoundError:
    return False
  return status.rsplit(')', 1)[1].split()[0] != 'Z'


def wait_until(condition):
  deadline = time.monotonic() + 60
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.05)


def test_each_has_its_log_and_the_first_is_shown(tmp_path, capfd):
  assert launch(tmp_path, '') == 0
  for number in range(2):
    assert read_log(tmp_path, number) == f'process {number} of 2\n'
  assert capfd.readouterr().out == 'process 0 of 2\n'
  # What is resumed stands below.
  assert launch(tmp_path, '', count=1) == 0
  assert read_log(tmp_path, 0) == 'process 0 of 2\nprocess 0 of 1\n'


@pytest.mark.parametrize(
  ('then', 'words'),
  [
    ('sys.exit("avemo: the disk is full")', 'status 1 (the disk is full)'),
    ('raise ValueError("broken")', 'status 1 (ValueError: broken)'),
    ('os.kill(os.getpid(), signal.SIGKILL)', 'was killed by SIGKILL;'),
  ],
)
def test_one_that_fails_ends_all_at_once(tmp_path, then, words):
  began = time.monotonic()
  with pytest.raises(errors.AvemoError) as caught:
    launch(tmp_path, SECOND(then))
  assert time.monotonic() - began < 50
  assert f'process 1 {"ended with " if "status" in words else ""}' in str(
    caught.value
  )
  assert words in str(caught.value)
  assert str(tmp_path / 'logs' / 'process_1.log') in str(caught.value)


def test_what_it_has_started_ends_with_it(tmp_path):
  child = 'import subprocess; c = subprocess.Popen(["sleep", "100"]);'
  child += 'print("child", c.pid, flush=True);'
  with pytest.raises(errors.AvemoError):
    launch(tmp_path, f'{child}\n' + SECOND('time.sleep(1); sys.exit(3)'))
  pids = [read_log(tmp_path, n).split('child')[1].split()[0] for n in (0, 1)]
  wait_until(lambda: not any(map(is_running, pids)))


def test_a_request_to_stop_is_handed_on(tmp_path):
  def stop():
    logs = [tmp_path / 'logs' / f'process_{n}.log' for n in range(2)]
    wait_until(lambda: all(log.exists() and log.read_text() for log in logs))
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=stop).start()
  assert launch(tmp_path, WAIT) == 143


def test_they_end_with_the_launcher(tmp_path):
  words = f'launcher.launch([{sys.executable!r}, "-c", {PROGRAM!r}.format('
  words += f'then={WAIT!r})], {str(tmp_path)!r}, 2)'
  command = [
    sys.executable,
    '-c',
    f'from avemo.runtime import launcher; {words}',
  ]
  with subprocess.Popen(command, env=small_run.make_environment()) as popen:
    path = pathlib.Path(f'/proc/{popen.pid}/task')

    def find_children():
      files = path.glob('*/children')
      return [pid for file in files for pid in file.read_text().split()]

    logs = [tmp_path / 'logs' / f'process_{n}.log' for n in range(2)]
    wait_until(lambda: all(log.exists() and log.read_text() for log in logs))
    children = find_children()
    popen.kill()
  assert len(children) == 2
  wait_until(lambda: not any(map(is_running, children)))


def test_gpus_are_shared_out(tmp_path):
  def share(count, **environment):
    return launcher.share_devices(environment, count, tmp_path)

  assert share(2) == [{}, {}]
  for name in ('nvidia0', 'nvidia1', 'nvidiactl', 'nvidia-uvm'):
    (tmp_path / name).touch()
  name = 'CUDA_VISIBLE_DEVICES'
  assert share(2) == [{name: '0'}, {name: '1'}]
  assert share(1) == [{name: '0,1'}]
  assert share(2, **{name: '3,2,1,0'}) == [{name: '3,2'}, {name: '1,0'}]
  assert share(3, JAX_PLATFORMS='cpu') == [{}] * 3
  with pytest.raises(errors.AvemoError, match='3 processes cannot share 2'):
    share(3)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(errors.AvemoError, match='file/logs: cannot be written'):
    launch(tmp_path / 'file', '')
