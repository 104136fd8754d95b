"""From a film to the pictures that are stored: whole, or cut around a face."""

import array
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from avemo import errors
from avemo.data import schema
from avemo.media import crops, decode, faces, stills, tracking

# Films are read twice: to follow the face, then to cut it out. Those whose
# pictures take more memory than this are decoded a second time for it.
_KEPT_BYTES = 128 << 20

# A clip's picture and sound are of one performance: where one lasts longer by
# more than this factor (and these seconds), the other has been cut short.
_LENGTH_FACTOR = 2.0
_LENGTH_SLACK = 0.5

# Grey levels by which no part of a still picture changes, at this size.
_STILL_LEVELS = 3
_STILL_SIZE = (32, 24)

# From the first picture of a part to the one after its last.
Span = tuple[int, int]


class Shot(NamedTuple):
  """A picture as it is stored.

  Attributes:
    index: its number in the film, from 0.
    jpeg: the picture.
    face: whether the face was found or followed.
    box: float32 [4], of the face in the stored picture, 0 without one.
    landmarks: float32 [10], likewise, NaN where unknown.
  """

  index: int
  jpeg: bytes
  face: bool
  box: np.ndarray
  landmarks: np.ndarray


NO_BOX = np.zeros(4, np.float32)
NO_LANDMARKS = np.full(10, np.nan, np.float32)


def is_cut_short(seconds: float, other_seconds: float) -> bool:
  """Whether a picture or a sound ends long before the other one does."""
  return other_seconds > seconds * _LENGTH_FACTOR + _LENGTH_SLACK


class Film:
  """A film that has been looked over once.

  Attributes:
    path: the file.
    fps: frames a second.
    times: float64 [n], seconds of each picture.
    seconds_told: how long the file says that it is.
  """

  def __init__(
    self,
    path: str,
    detector: faces.Detector,
    *,
    config: str,
    max_seconds: float = schema.MAX_SECONDS,
    longest: float = math.inf,
    heard: float = 0.0,
    side: str = '',
  ):
    """Follows the faces through the film.

    Args:
      path: the film.
      detector: finds faces.
      config: 'face' or 'frame'.
      max_seconds: longest part of it that is stored at a time.
      longest: seconds beyond which the film is none of a clip.
      heard: seconds that the clip's sound lasts, as far as it is known.
      side: 'left' or 'right' when it is about the person in that half of the
        picture, '' when about the one who is largest for longest.

    Raises:
      MediaError: for a film that is of no use.
    """
    self.path = path
    self._config = config
    self._kept = []
    self._half = ()
    self._is_still = True
    times = array.array('d')
    images = self._watch(times, longest, side)
    self._tracks = tracking.track_faces(images, detector)
    self.times = np.array(times)
    info = decode.probe(path)
    self.fps, self.seconds_told = info.fps, info.duration
    if is_cut_short(times[-1], heard):
      raise errors.MediaError(
        path, f'its pictures last {times[-1]:.2f} s, the sound {heard:.2f} s'
      )
    count = max(1, math.ceil(times[-1] / max_seconds))
    edges = np.linspace(0, len(times), count + 1).astype(int).tolist()
    if any(map(self._find_face, edges[:-1], edges[1:])):
      return
    if config == 'face':
      raise errors.MediaError(path, 'no face was found in it')
    if self._is_still:
      raise errors.MediaError(path, 'one still picture without a face')

  def _watch(self, times, longest, side) -> Iterator[np.ndarray]:
    """Yields the pictures for the first time, and notes what they are."""
    first = None
    for frame in decode.read_frames(self.path):
      if frame.time > longest:
        raise errors.MediaError(
          self.path, f'lasts longer than {longest:g} s, as no clip does'
        )
      small = cv2.resize(
        cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY),
        _STILL_SIZE,
        interpolation=cv2.INTER_AREA,
      )
      if first is None:
        first = small
        middle = frame.image.shape[1] / 2
        # Which half is whose where only one of two people is seen.
        halves = {'left': (-math.inf, middle), 'right': (middle, math.inf)}
        self._half = halves.get(side, ())
      change = int(cv2.absdiff(small, first).max())
      self._is_still &= change <= _STILL_LEVELS
      times.append(frame.time)
      self._keep(frame.image)
      yield frame.image

  def _keep(self, image):
    if self._kept is None:
      return
    self._kept.append(image)
    if len(self._kept) * image.nbytes > _KEPT_BYTES:
      self._kept = None

  def _read_again(self) -> Iterator[np.ndarray]:
    if self._kept is not None:
      yield from self._kept
      return
    for frame in decode.read_frames(self.path):
      yield frame.image

  def _find_face(self, start, stop):
    return tracking.main_track(self._tracks, start, stop, self._half)

  def read(self, parts: Sequence[Span]) -> Iterator[Shot]:
    """Yields the pictures to store, one after the other.

    Args:
      parts: of the film, one after the other; each is about its main face.
        Where faces are cut, a part without any has no pictures.
    """
    images = enumerate(self._read_again())
    cut = _cut_faces if self._config == 'face' else _keep_whole
    for start, stop in parts:
      track = self._find_face(start, stop)
      inside = (next(images) for _ in range(start, min(stop, len(self.times))))
      yield from cut(inside, track, range(start, stop))


def _cut_faces(images, track, numbers) -> Iterator[Shot]:
  """Squares around the face; where it is lost, between its last places."""
  if track is None:
    # The pictures are gone through all the same.
    for _ in images:
      continue
    return
  boxes = np.stack(
    [
      np.interp(numbers, track.frames, track.boxes[:, side])
      for side in range(4)
    ],
    axis=1,
  )
  for (index, image), box in zip(images, boxes, strict=False):
    place = _find_place(track, index)
    crop, box, landmarks = crops.crop_face(
      image,
      box,
      margin=schema.MARGIN,
      max_side=schema.MAX_SIDE,
      landmarks=None if place is None else track.landmarks[place],
    )
    jpeg = stills.encode_jpeg(crop)
    if place is None:
      yield Shot(index, jpeg, False, NO_BOX, NO_LANDMARKS)
    else:
      yield Shot(index, jpeg, True, box, landmarks.reshape(10))


def _keep_whole(images, track, numbers) -> Iterator[Shot]:
  """Whole pictures."""
  del numbers
  for index, image in images:
    image, scale = stills.shrink(image, schema.MAX_SIDE)
    jpeg = stills.encode_jpeg(image)
    place = None if track is None else _find_place(track, index)
    if place is None:
      yield Shot(index, jpeg, False, NO_BOX, NO_LANDMARKS)
    else:
      box = track.boxes[place] * np.float32(scale)
      points = track.landmarks[place].reshape(10) * np.float32(scale)
      yield Shot(index, jpeg, True, box, points)


def _find_place(track, index) -> int | None:
  """Where in the track a picture is; None where the face is lost."""
  place = int(np.searchsorted(track.frames, index))
  if place < len(track.frames) and track.frames[place] == index:
    return place
  return None
