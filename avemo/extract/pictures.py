"""The sound of a file as one picture, or as several in a row."""

import functools
import math
import os
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from avemo import errors
from avemo.audio import picture
from avemo.extract import faces
from avemo.extract import settings as settings_lib
from avemo.media import decode, encode
from avemo.predict import sound

SAMPLE_RATE = 16_000

# Sounds are brought to one of few lengths in seconds, for each is compiled.
_SHORTEST = 4
# Columns a second and at most, of which a pixel shows the mean.
_COLUMNS, _MAX_COLUMNS = 100, 60_000


def open_mfcc_maker(
  settings: settings_lib.Settings, files: Sequence[pathlib.Path]
) -> Callable[..., str]:
  """What makes MFCC pictures."""
  del files
  return functools.partial(make_picture, settings=settings, kind='mfcc')


def open_mel_maker(
  settings: settings_lib.Settings, files: Sequence[pathlib.Path]
) -> Callable[..., str]:
  """What makes mel spectrograms."""
  del files
  return functools.partial(make_picture, settings=settings, kind='mel')


def make_picture(
  path: pathlib.Path,
  target: pathlib.Path,
  progress: Callable,
  *,
  settings: settings_lib.Settings,
  kind: str,
) -> str:
  """Writes a PNG file, and says what it shows.

  Time runs to the right, low bands lie below. Of several windows each has half
  of the one before.

  Args:
    path: a film or a sound.
    target: the PNG file.
    progress: from the number of a pass to what is called with its time.
    settings: `size`, the side of a window, and `frames`, how many windows.
    kind: out of `picture.KINDS`.

  Raises:
    MediaError: no sound can be decoded.
    AvemoError: there is none, or it is silent.
  """
  size = settings_lib.pick(settings.size, settings_lib.SIZE)
  count = settings.frames or 1
  report, pieces, seconds = progress(0), [], 0.0
  for piece in decode.stream_audio(path, sample_rate=SAMPLE_RATE):
    pieces.append(encode.to_int16(piece))
    seconds += len(piece) / SAMPLE_RATE
    report(seconds)
  speech = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
  check_heard(path, speech)
  windows = draw(speech, kind=kind, size=size, windows=count)
  faces.write_png(target, np.concatenate(list(windows), axis=1))
  shown = f'{count} windows' if count > 1 else 'one picture'
  return f'{shown} of {size} pixels over {seconds:.2f} s of sound'


def check_heard(path: str | os.PathLike, speech: np.ndarray) -> None:
  """Raises an AvemoError for int16 samples [n] that show nothing."""
  if not len(speech):
    raise errors.AvemoError(
      f'{path}: has no sound; name the file that has it, such as a WAV'
    )
  peak = float(np.abs(speech.astype(np.int32)).max()) / 32768
  if not sound.Measure(len(speech) / SAMPLE_RATE, peak).is_heard:
    raise errors.AvemoError(
      f'{path}: its sound is silent throughout, or too short to be heard; '
      'name another file for its sound'
    )


def draw(
  speech: np.ndarray, *, kind: str, size: int, windows: int = 1
) -> np.ndarray:
  """Pictures uint8 [windows, size, size, 3] of int16 samples [n], 16 kHz."""
  seconds = max(len(speech) / SAMPLE_RATE, _SHORTEST)
  seconds = _SHORTEST * 2 ** math.ceil(math.log2(seconds / _SHORTEST))
  padded = np.zeros(seconds * SAMPLE_RATE, np.int16)
  padded[: len(speech)] = speech
  columns = min(2 * seconds * _COLUMNS // (windows + 1), _MAX_COLUMNS)
  found = _draw(
    padded[None],
    np.int32([len(speech)]),
    kind=kind,
    size=size,
    windows=windows,
    columns=max(columns, size),
  )
  return np.asarray(found[0])


@functools.partial(
  jax.jit, static_argnames=('kind', 'size', 'windows', 'columns')
)
def _draw(speech, length, **options):
  return picture.draw(speech, length, **options)
