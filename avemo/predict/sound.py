"""The sound of a file: measured once, then read window by window."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from avemo.data.clips import SAMPLE_RATE
from avemo.media import decode, encode

# What datasets leave out as no sound at all: full scale is 1.
SILENCE = 1e-3
SHORTEST = 0.1


@dataclasses.dataclass(frozen=True)
class Measure:
  """How long a sound is, in seconds, and its loudest sample, in [0, 1]."""

  duration: float = 0.0
  peak: float = 0.0

  @property
  def is_heard(self) -> bool:
    return self.duration >= SHORTEST and self.peak >= SILENCE


NOTHING = Measure()


def listen(
  path: str | os.PathLike,
  report: Callable[[float], None] = lambda time: None,
) -> Measure:
  """Measures a sound in constant memory.

  Raises:
    MediaError: it cannot be decoded.
  """
  size, peak = 0, 0.0
  for piece in decode.stream_audio(path, sample_rate=SAMPLE_RATE):
    size += len(piece)
    peak = max(peak, float(np.abs(piece).max(initial=0.0)))
    report(size / SAMPLE_RATE)
  return Measure(size / SAMPLE_RATE, peak)


class Reader:
  """Cuts windows out of a sound, each starting no earlier than the last.

  Only what the coming windows may want is kept.
  """

  def __init__(self, path: str | os.PathLike | None):
    """Starts at the beginning; None is a file without sound."""
    self._pieces = iter(())
    if path is not None:
      self._pieces = decode.stream_audio(path, sample_rate=SAMPLE_RATE)
    self._kept = np.zeros(0, np.int16)
    self._first = 0

  def cut(self, start: float, stop: float) -> np.ndarray:
    """The samples between two times in seconds, int16 [n], as far as any.

    A window that is silent, or hardly begun, holds none: that is what models
    are given in training where a sound is missing.
    """
    first, last = round(start * SAMPLE_RATE), round(stop * SAMPLE_RATE)
    self._forget(first)
    while self._first + len(self._kept) < last:
      piece = next(self._pieces, None)
      if piece is None:
        break
      self._kept = np.concatenate([self._kept, encode.to_int16(piece)])
      self._forget(first)
    speech = self._kept[: max(last - self._first, 0)]
    if len(speech) < SHORTEST * SAMPLE_RATE:
      return speech[:0]
    if np.abs(speech.astype(np.int32)).max() < SILENCE * 32768:
      return speech[:0]
    return speech

  def _forget(self, first):
    """Drops the samples before number `first`."""
    count = min(max(first - self._first, 0), len(self._kept))
    self._kept = self._kept[count:]
    self._first += count
