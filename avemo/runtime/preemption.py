"""A request to stop, heard between two steps."""

import signal
import threading


class StopRequest:
  """Remembers SIGTERM while the context is open; true once it has come.

  A second SIGTERM acts as if nobody listened. Outside of the main thread,
  where Python hears no signals, it stays false.
  """

  def __init__(self):
    self._heard = False
    self._previous = None

  def __enter__(self) -> 'StopRequest':
    if threading.current_thread() is threading.main_thread():
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
