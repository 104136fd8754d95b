"""How far many trainings are, and when they will be done."""

import datetime
import time


class Progress:
  """Tells of finished parts, and estimates the end from those before.

  Args:
    total: number of parts.
    done: of them that were there already.
  """

  def __init__(self, total: int, done: int = 0):
    self._total = total
    self._first = self._done = done
    self._began = time.monotonic()

  def finish(self, name: str) -> None:
    """Prints that a part is done, and when the others will be."""
    self._done += 1
    line = f'[{self._done}/{self._total}] {name}'
    left = self._total - self._done
    if left:
      spent = time.monotonic() - self._began
      seconds = spent / (self._done - self._first) * left
      line += f'; about {say_seconds(seconds)} left, until {say_end(seconds)}'
    print(line, flush=True)


def say_seconds(seconds: float) -> str:
  """Such as '45 s', '12 min' or '3 h 20 min'."""
  if seconds < 90:
    return f'{seconds:.0f} s'
  minutes = round(seconds / 60)
  hours, rest = divmod(minutes, 60)
  return f'{hours} h {rest} min' if hours else f'{minutes} min'


def say_end(seconds: float) -> str:
  """The time of day, with the date where it is not today's."""
  now = datetime.datetime.now()
  end = now + datetime.timedelta(seconds=seconds)
  return end.strftime('%H:%M' if end.date() == now.date() else '%d %b %H:%M')
