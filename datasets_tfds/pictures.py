"""From a film to the pictures that are stored: whole, or cut around a face."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from avemo import errors
from avemo.data import schema
from avemo.media import crops, decode, faces, stills, tracking

# Boxes are smoothed over a whole film before its faces are cut. Films whose
# pictures take more memory than this are decoded a second time for it.
_KEPT_BYTES = 128 << 20

# A clip's picture and sound are of one performance: where one lasts longer by
# more than this factor (and these seconds), the other has been cut short.
_LENGTH_FACTOR = 2.0
_LENGTH_SLACK = 0.5

# Grey levels by which no part of a still picture changes, at this size.
_STILL_LEVELS = 3
_STILL_SIZE = (32, 24)


class Picture(NamedTuple):
  """The pictures of a clip, ready to store.

  Attributes:
    fps: frames a second.
    frames: n JPEGs.
    index: int32 [n], their numbers in the film.
    time: float64 [n], their seconds in the film.
    face: uint8 [n], 1 where the face was found or followed.
    box: float32 [n, 4], of the face in the stored picture, 0 without one.
    landmarks: float32 [n, 10], likewise, NaN where unknown.
  """

  fps: float
  frames: list[bytes]
  index: np.ndarray
  time: np.ndarray
  face: np.ndarray
  box: np.ndarray
  landmarks: np.ndarray


def is_cut_short(seconds: float, other_seconds: float) -> bool:
  """Whether a picture or a sound ends long before the other one does."""
  return other_seconds > seconds * _LENGTH_FACTOR + _LENGTH_SLACK


def read_picture(
  path: str,
  detector: faces.Detector,
  *,
  config: str,
  longest: float = math.inf,
  heard: float = 0.0,
) -> Picture:
  """The pictures of a film, whole or cut around its main face.

  Args:
    path: the film.
    detector: finds faces.
    config: 'face' or 'frame'.
    longest: seconds beyond which the film is none of a clip.
    heard: seconds that the clip's sound lasts, as far as it is known.

  Raises:
    MediaError: for a film that is of no use.
  """
  film = _Film(path, longest)
  tracks = tracking.track_faces(film.watch(), detector)
  if is_cut_short(film.times[-1], heard):
    raise errors.MediaError(
      path,
      f'its pictures last {film.times[-1]:.2f} s, the sound {heard:.2f} s',
    )
  track = tracking.main_track(tracks, len(film.times))
  if track is None and config == 'face':
    raise errors.MediaError(path, 'no face was found in it')
  if track is None and film.is_still:
    raise errors.MediaError(path, 'one still picture without a face')
  store = _store_crops if config == 'face' else _store_frames
  frames, box, landmarks = store(film, track)
  face = np.zeros(len(frames), np.uint8)
  if track is not None:
    face[track.frames] = 1
  box[face == 0] = 0
  landmarks[face == 0] = np.nan
  return Picture(
    decode.probe(path).fps,
    frames,
    np.arange(len(frames), dtype=np.int32),
    np.array(film.times),
    face,
    box,
    landmarks,
  )


class _Film:
  """A film, read twice: to follow the face, then to cut it out.

  Attributes:
    path: the file.
    times: seconds of each picture.
    is_still: no picture differs from the first.
  """

  def __init__(self, path, longest):
    self.path = path
    self.times = []
    self.is_still = True
    self._kept = []
    self._longest = longest

  def watch(self) -> Iterator[np.ndarray]:
    """Yields the pictures for the first time.

    Raises:
      MediaError: when they go on for longer than a clip can.
    """
    first = None
    for frame in decode.read_frames(self.path):
      if frame.time > self._longest:
        raise errors.MediaError(
          self.path, f'lasts longer than {self._longest:g} s, as no clip does'
        )
      small = cv2.resize(
        cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY),
        _STILL_SIZE,
        interpolation=cv2.INTER_AREA,
      )
      first = small if first is None else first
      self.is_still &= int(cv2.absdiff(small, first).max()) <= _STILL_LEVELS
      self.times.append(frame.time)
      self._keep(frame.image)
      yield frame.image

  def _keep(self, image):
    if self._kept is None:
      return
    self._kept.append(image)
    if len(self._kept) * image.nbytes > _KEPT_BYTES:
      self._kept = None

  def read_again(self) -> Iterator[np.ndarray]:
    """Yields the pictures once more."""
    if self._kept is not None:
      yield from self._kept
      return
    for frame in decode.read_frames(self.path):
      yield frame.image


def _store_crops(film, track):
  """Squares around the face; where it is lost, between its last places."""
  everywhere = np.arange(len(film.times))
  boxes = np.stack(
    [
      np.interp(everywhere, track.frames, track.boxes[:, side])
      for side in range(4)
    ],
    axis=1,
  )
  points = np.full((len(everywhere), 5, 2), np.nan)
  points[track.frames] = track.landmarks
  frames, new_boxes, new_points = [], [], []
  for image, box, landmarks in zip(
    film.read_again(), boxes, points, strict=True
  ):
    crop, box, landmarks = crops.crop_face(
      image,
      box,
      margin=schema.MARGIN,
      max_side=schema.MAX_SIDE,
      landmarks=landmarks,
    )
    frames.append(stills.encode_jpeg(crop))
    new_boxes.append(box)
    new_points.append(landmarks.reshape(10))
  return frames, np.float32(new_boxes), np.float32(new_points)


def _store_frames(film, track):
  """Whole pictures."""
  box = np.zeros((len(film.times), 4), np.float32)
  landmarks = np.full((len(film.times), 10), np.nan, np.float32)
  frames, scale = [], 1.0
  for image in film.read_again():
    image, scale = stills.shrink(image, schema.MAX_SIDE)
    frames.append(stills.encode_jpeg(image))
  if track is not None:
    box[track.frames] = track.boxes * scale
    landmarks[track.frames] = track.landmarks.reshape(-1, 10) * scale
  return frames, box, landmarks
