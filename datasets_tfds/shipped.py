"""Faces that a corpus ships cut out: a folder of one small picture a frame."""

import os
import pathlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from avemo import errors
from avemo.corpora import clip as clips
from avemo.corpora import files
from avemo.data import schema
from avemo.media import decode, stills
from datasets_tfds import pictures

# Frames a second where neither a film nor the corpus tells: an assumption.
_USUAL_FPS = 30.0


class Faces:
  """The pictures of a folder, as they are: the faces of film frames.

  Picture `00001` is of frame 0. Frames without a face have none. What the
  picture shows is the face's box: its makers have cut there.

  Attributes:
    path: the folder.
    fps: frames a second.
    times: float64 [n], seconds of each frame, those without a face too as
      far as the film tells of them.
  """

  def __init__(self, path: str, clip: clips.Clip):
    """Lists the folder.

    Args:
      path: the folder.
      clip: whose pictures they are; its films tell the frames' times.

    Raises:
      MediaError: when there is no picture in it.
    """
    self.path = path
    matches = map(files.PICTURE.fullmatch, os.listdir(path))
    numbers = {int(match[1]) - 1: match[0] for match in matches if match}
    # Nothing is known of a frame before the first.
    numbers.pop(-1, None)
    if not numbers:
      raise errors.MediaError(path, 'holds no picture named by its number')
    self._names = dict(sorted(numbers.items()))
    times, self.fps = find_times(clip)
    count = max(len(times), max(numbers) + 1)
    self.times = extend_times(times, self.fps, count)
    self.num_damaged = 0

  def read(self, parts: Sequence[pictures.Span]) -> Iterator[pictures.Shot]:
    """Yields the pictures to store, one after the other.

    Args:
      parts: of the film, one after the other.
    """
    if not parts:
      return
    for index, name in self._names.items():
      if parts[0][0] <= index < parts[-1][1]:
        shot = self._read(index, name)
        if shot is not None:
          yield shot

  def _read(self, index, name) -> pictures.Shot | None:
    """A picture as it is, or smaller; None for one that is damaged."""
    content = pathlib.Path(self.path, name).read_bytes()
    is_jpeg = content.startswith(b'\xff\xd8')
    image = None
    # Decoders paint what a JPEG that is cut short lacks in grey.
    if content and not (is_jpeg and b'\xff\xd9' not in content[-64:]):
      data = np.frombuffer(content, np.uint8)
      image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if image is None:
      self.num_damaged += 1
      return None
    small, _ = stills.shrink(image, schema.MAX_SIDE)
    if small is not image or not is_jpeg:
      content = stills.encode_jpeg(small)
    height, width = small.shape[:2]
    box = np.array([0, 0, width, height], np.float32)
    return pictures.Shot(index, content, True, box, pictures.NO_LANDMARKS)


def find_times(clip: clips.Clip) -> tuple[np.ndarray, float]:
  """Seconds of a film's frames, float64 [n], and frames a second.

  From the first film that can be read; without any there are no times, and
  the rate is the one that the clip tells.
  """
  for path in clip.videos:
    try:
      return decode.read_times(path), decode.probe(path).fps
    except errors.MediaError:
      continue
  return np.zeros(0), clip.fps or _USUAL_FPS


def extend_times(times: np.ndarray, fps: float, count: int) -> np.ndarray:
  """The first `count` times; what lacks goes on at `fps`."""
  lacking = max(0, count - len(times))
  start = times[-1] + 1 / fps if len(times) else 0.0
  return np.concatenate([times[:count], start + np.arange(lacking) / fps])
