"""Who is in a film: faces followed over all of it, before anything is cut."""

import array
import dataclasses
import math
import os
from collections.abc import Callable, Sequence

import numpy as np

from avemo.media import decode, faces, tracking

# A face that the detector misses for less than this, in seconds, is there.
MAX_MISSED = 0.5

# A face must be followed for this long, or for this share of a shorter film:
# a cascade takes texture for a face now and then, but not for long.
_MIN_SECONDS = 0.5
_MIN_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Person:
  """One face in the N frames from `start` on.

  Attributes:
    track: its number, from 1.
    start: number of the first frame.
    found: bool [N], whether the face was found or followed.
    shown: bool [N], the same with short gaps closed: it is there.
    boxes: float32 [N, 4], x, y, width, height in pixels, smoothed, and
      interpolated where the face was not found.
  """

  track: int
  start: int
  found: np.ndarray
  shown: np.ndarray
  boxes: np.ndarray

  @property
  def stop(self) -> int:
    return self.start + len(self.found)

  def covers(self, frame: int) -> bool:
    """Whether the frame may be shown to a model as this person's."""
    return self.start <= frame < self.stop

  def box_at(self, frame: int) -> np.ndarray | None:
    """The box in a frame; None when the face is not there."""
    if not self.covers(frame) or not self.shown[frame - self.start]:
      return None
    return self.boxes[frame - self.start]


@dataclasses.dataclass(frozen=True)
class Film:
  """The pictures of a film.

  Attributes:
    times: seconds of each frame, float64 [N]; empty without pictures.
    people: in the order of their appearance.
  """

  times: np.ndarray
  people: Sequence[Person]

  @property
  def step(self) -> float:
    """Seconds from one frame to the next, on average."""
    if len(self.times) < 2:
      return 1 / 25
    return float(self.times[-1] - self.times[0]) / (len(self.times) - 1)

  @property
  def duration(self) -> float:
    """Seconds."""
    return float(self.times[-1]) + self.step if len(self.times) else 0.0

  def frame_at(self, time: float) -> int | None:
    """The frame shown at a time; None after the end."""
    if not len(self.times) or time >= self.duration:
      return None
    # Times in files are rounded.
    return max(int(np.searchsorted(self.times, time + 2e-3)) - 1, 0)

  def people_at(self, time: float) -> list[tuple[Person, np.ndarray]]:
    """The people in the picture shown at a time, each with the box."""
    frame = self.frame_at(time)
    if frame is None:
      return []
    found = [(person, person.box_at(frame)) for person in self.people]
    return [(person, box) for person, box in found if box is not None]


NO_PICTURES = Film(np.zeros(0), ())


def watch(
  path: str | os.PathLike,
  detector: faces.Detector,
  report: Callable[[float], None] = lambda time: None,
) -> Film:
  """Follows all faces of a film, as datasets are made; keeps boxes alone.

  Args:
    path: the film.
    detector: finds faces in a picture.
    report: called with the time of each frame.

  Raises:
    MediaError: no picture can be decoded.
  """
  times = array.array('d')

  def pictures():
    for frame in decode.read_frames(path):
      times.append(frame.time)
      report(frame.time)
      yield frame.image

  tracks = tracking.track_faces(pictures(), detector)
  film = Film(np.array(times), ())
  needed = min(_MIN_SECONDS / film.step, _MIN_SHARE * len(times))
  tracks = [track for track in tracks if len(track.frames) >= needed]
  taken = np.zeros(len(times), int)
  for track in tracks:
    taken[track.frames] += 1
  people = [
    follow(track, number, film, taken)
    for number, track in enumerate(tracks, start=1)
  ]
  return dataclasses.replace(film, people=people)


def follow(
  track: tracking.Track, number: int, film: Film, taken: np.ndarray
) -> Person:
  """A track as a row of frames without holes.

  It is held for a moment before its first and after its last frame, as a face
  is not found in every frame, but not into frames with another's face: after
  a cut the place belongs to somebody else.

  Args:
    track: of the tracker.
    number: of the person.
    film: for its times.
    taken: int [N], the number of tracks in each frame.
  """
  start, stop = int(track.frames[0]), int(track.frames[-1]) + 1
  reach = math.floor(MAX_MISSED / film.step)
  limit = max(start - reach, 0)
  while start > limit and not taken[start - 1]:
    start -= 1
  limit = min(stop + reach, len(film.times))
  while stop < limit and not taken[stop]:
    stop += 1
  numbers = np.arange(start, stop)
  found = np.isin(numbers, track.frames)
  boxes = [
    np.interp(numbers, track.frames, track.boxes[:, side]) for side in range(4)
  ]
  return Person(
    number,
    start,
    found,
    close_gaps(found, film.times[start:stop]),
    np.stack(boxes, axis=1).astype(np.float32),
  )


def close_gaps(found: np.ndarray, times: np.ndarray) -> np.ndarray:
  """Fills the gaps between found frames that are short, in seconds."""
  shown = found.copy()
  places = np.flatnonzero(found)
  for before, after in zip(places[:-1], places[1:], strict=True):
    if after > before + 1 and times[after] - times[before] <= MAX_MISSED:
      shown[before:after] = True
  return shown
