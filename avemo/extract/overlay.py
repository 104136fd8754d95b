"""A film with its faces marked and its sound drawn below, its sound kept."""

import collections
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from avemo import errors, words
from avemo.extract import faces as faces_lib
from avemo.extract import pictures
from avemo.extract import settings as settings_lib
from avemo.media import decode, encode, faces, render

# The strip shows the sound page by page, none longer than this in seconds.
_PAGE = 4.0
# Height of the strip over that of the picture.
_SHARE = 0.2
_CURSOR = (255, 255, 255)


def open_maker(
  settings: settings_lib.Settings, files: Sequence[pathlib.Path]
) -> Callable[..., str]:
  """Opens the detector: one that cannot be used concerns every file."""
  del files
  detector = faces.make_detector(settings.face_model)

  def make(path, target, progress):
    return make_overlay(
      path,
      target,
      detector,
      max_side=settings.size,
      fps=settings_lib.pick(settings.fps, settings_lib.FPS),
      progress=progress,
    )

  return make


def make_overlay(
  path: pathlib.Path,
  target: pathlib.Path,
  detector: faces.Detector,
  *,
  max_side: int | None,
  fps: float,
  progress: Callable,
) -> str:
  """Writes an MP4 file, and says what is marked in it.

  Args:
    path: the film.
    target: the .mp4 file.
    detector: finds faces in a picture, some with landmarks.
    max_side: longer sides of pictures are scaled down to it.
    fps: pictures a second.
    progress: from the number of a pass to what is called with its time.

  Raises:
    MediaError: no picture can be decoded.
  """
  tracks, times = faces_lib.find_tracks(
    path, detector, fps, progress(0), max_side
  )
  marked = collections.defaultdict(list)
  for number, track in enumerate(tracks):
    for frame, box, points in zip(
      track.frames.tolist(), track.boxes, track.landmarks, strict=True
    ):
      known = points if np.isfinite(points).all() else None
      marked[frame].append(render.Overlay(box, colour=number, landmarks=known))
  duration = len(times) / fps
  strip = Strip(path, duration)
  report = progress(1)

  def draw_at(frame):
    report(frame.time)
    return marked.get(frame.index, ())

  render.render(
    path, target, draw_at, max_side=max_side, fps=fps, finish=strip.add
  )
  count = words.count(len(tracks), 'face') if tracks else 'no face found'
  line = f'{duration:.2f} s, {count} in {len(marked)} of {len(times)} pictures'
  if strip.is_empty:
    line += ', no strip: there is no sound that can be decoded'
  return line


class Strip:
  """The sound below the picture, page by page, and where it is heard."""

  def __init__(self, path: pathlib.Path, duration: float):
    """Divides a film of so many seconds into pages of one length."""
    self._seconds = duration / max(math.ceil(duration / _PAGE), 1)
    self._pages = self._read(path)
    self._number = 0
    self._page = next(self._pages, None)
    self.is_empty = self._page is None

  def _read(self, path) -> Iterator[np.ndarray]:
    """Yields the pages, uint8 [size, size, 3], one after the other."""
    rate = pictures.SAMPLE_RATE
    pieces = decode.stream_audio(
      path, sample_rate=rate, chunk=max(round(self._seconds * rate), 1)
    )
    try:
      for piece in pieces:
        yield pictures.draw(
          encode.to_int16(piece), kind='mfcc', size=settings_lib.SIZE
        )[0]
    except errors.MediaError:
      # The film is worth looking at without its sound.
      return

  def add(self, image: np.ndarray, time: float) -> np.ndarray:
    """A picture [H, W, 3] with the strip of its time below it.

    Every picture of a film gets a strip, or none does; where the sound is
    over it is black.

    Args:
      image: uint8 RGB.
      time: seconds, no less than at the last call.
    """
    if self.is_empty:
      return image
    number = int(time / self._seconds)
    while self._number < number:
      self._number += 1
      self._page = next(self._pages, None)
    height, width = image.shape[:2]
    size = (width, max(2, round(_SHARE * height / 2) * 2))
    strip = np.zeros((size[1], width, 3), np.uint8)
    if self._page is not None:
      strip = cv2.resize(self._page, size, interpolation=cv2.INTER_AREA)
    place = int((time / self._seconds - number) * width)
    strip[:, max(place - 1, 0) : place + 1] = _CURSOR
    return np.concatenate([image, strip])
