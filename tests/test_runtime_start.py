"""Start-up of processes, and the request to stop."""

import inspect
import os
import signal
import threading

import jax
import pytest

from avemo import errors
from avemo.runtime import distributed, preemption


def test_sigterm_is_remembered_and_the_second_one_is_not_caught():
  heard = []
  before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
  try:
    with preemption.StopRequest() as request:
      assert not request
      os.kill(os.getpid(), signal.SIGTERM)
      assert request and not heard
      os.kill(os.getpid(), signal.SIGTERM)
      assert heard == [1]
    assert signal.getsignal(signal.SIGTERM) is not before
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [1, 1]
  finally:
    signal.signal(signal.SIGTERM, before)


def test_outside_of_the_main_thread_nothing_is_caught():
  found = []

  def work():
    with preemption.StopRequest() as request:
      found.append(bool(request))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert found == [False]


def test_other_processes_are_joined_as_the_environment_says(monkeypatch):
  joined = []
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda **options: joined.append(options)
  )
  distributed.start()
  assert joined == []
  monkeypatch.setenv('AVEMO_COORDINATOR_ADDRESS', 'localhost:1234')
  with pytest.raises(errors.AvemoError, match='AVEMO_NUM_PROCESSES'):
    distributed.start()
  monkeypatch.setenv('AVEMO_NUM_PROCESSES', '2')
  monkeypatch.setenv('AVEMO_PROCESS_ID', '1')
  distributed.start()
  assert [options['process_id'] for options in joined] == [1]
  # None of them may be called something else by JAX.
  inspect.signature(initialize).bind(**joined[0])


initialize = jax.distributed.initialize


def test_determinism_is_asked_for_once(monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_dump_to=x')
  for _ in range(2):
    distributed.start(deterministic=True)
  assert os.environ['XLA_FLAGS'] == (
    f'--xla_dump_to=x {distributed.DETERMINISTIC}'
  )
