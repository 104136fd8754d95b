"""A request to stop, heard between two steps."""

import signal
import threading

# Of a run that was asked to stop and has saved; 128 and the signal's number,
# as a shell would say of one that did not catch it.
EXIT_STATUS = 128 + signal.SIGTERM


class StopRequest:
  """Remembers SIGTERM while the context is open; true once it has come.

  A second SIGTERM acts as if nobody listened. Outside of the main thread,
  where Python hears no signals, it stays false.

  Args:
    listen: False leaves the signal to whom it belongs: among several
      processes JAX's coordination service has a handler of its own.
  """

  def __init__(self, *, listen: bool = True):
    self._listen = listen
    self._heard = False
    self._previous = None

  def __enter__(self) -> 'StopRequest':
    is_main = threading.current_thread() is threading.main_thread()
    if self._listen and is_main:
      self._previous = signal.signal(signal.SIGTERM, self._hear)
    return self

  def __exit__(self, *exception) -> None:
    if self._previous is not None:
      signal.signal(signal.SIGTERM, self._previous)
      self._previous = None

  def __bool__(self) -> bool:
    return self._heard

  def _hear(self, number, frame) -> None:
    del number, frame
    self._heard = True
    signal.signal(signal.SIGTERM, self._previous)
