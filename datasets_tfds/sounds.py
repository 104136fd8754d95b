"""The sound of a clip: looked over once, then read piece by piece."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from avemo import errors
from avemo.data import schema
from avemo.media import decode, encode
from datasets_tfds import pictures

# Sound that nowhere rises above -60 dB of full scale is silence.
SILENCE = 1e-3
_SHORTEST = 0.1

# Longer sound is decoded a second time rather than kept in memory.
_KEPT_SECONDS = 60


class Sound(NamedTuple):
  """A sound that has been looked over once.

  Attributes:
    path: the file.
    num_samples: at 16 kHz.
    kept: its pieces, int16 each, or None where they were too many.
  """

  path: str
  num_samples: int
  kept: tuple[np.ndarray, ...] | None

  @property
  def seconds(self) -> float:
    return self.num_samples / schema.SAMPLE_RATE

  def read(self) -> Iterator[np.ndarray]:
    """Yields the samples piece by piece, int16 [n]."""
    if self.kept is not None:
      yield from self.kept
      return
    for piece in decode.stream_audio(self.path, sample_rate=schema.SAMPLE_RATE):
      yield encode.to_int16(piece)


def look_over(
  path: str, *, longest: float, shown: float = 0.0, has_picture: bool = False
) -> Sound | None:
  """Hears a file once; None where a film has no sound.

  Args:
    path: the file.
    longest: seconds beyond which the sound is none of a clip.
    shown: seconds that the clip's picture lasts, as far as it is known.
    has_picture: the file is a film, which may be silent.

  Raises:
    MediaError: for sound that is of no use.
  """
  kept, size, peak = [], 0, 0.0
  for piece in decode.stream_audio(path, sample_rate=schema.SAMPLE_RATE):
    size += len(piece)
    peak = max(peak, float(np.abs(piece).max(initial=0)))
    if size > longest * schema.SAMPLE_RATE:
      raise errors.MediaError(path, f'its sound is longer than {longest:g} s')
    if size > _KEPT_SECONDS * schema.SAMPLE_RATE:
      kept = None
    if kept is not None:
      kept.append(encode.to_int16(piece))
  if not size:
    if has_picture:
      return None
    raise errors.MediaError(path, 'has no sound')
  seconds = size / schema.SAMPLE_RATE
  if seconds < _SHORTEST:
    raise errors.MediaError(path, f'its sound is shorter than {_SHORTEST:g} s')
  if pictures.is_cut_short(seconds, shown):
    raise errors.MediaError(
      path, f'its sound lasts {seconds:.2f} s, the pictures {shown:.2f} s'
    )
  if peak < SILENCE:
    raise errors.MediaError(path, 'its sound is silent')
  return Sound(path, size, None if kept is None else tuple(kept))


def cut(sound: Sound | None, edges: np.ndarray) -> Iterator[bytes]:
  """Yields the samples between edges, in bytes of little-endian int16.

  Args:
    sound: the sound; None gives empty bytes.
    edges: float64 [n + 1] seconds, the last one infinite.
  """
  pieces = iter(()) if sound is None else sound.read()
  start, waiting = 0, bytearray()
  for edge in edges[1:].tolist():
    stop = math.inf if math.isinf(edge) else round(edge * schema.SAMPLE_RATE)
    while len(waiting) < 2 * (stop - start):
      piece = next(pieces, None)
      if piece is None:
        break
      waiting += piece.astype('<i2').tobytes()
    size = len(waiting) if math.isinf(stop) else 2 * (stop - start)
    yield bytes(waiting[:size])
    del waiting[:size]
    start = stop
