"""Following faces from picture to picture; several people stay apart."""

import array
import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from avemo.media import faces, matching

# A face whose picture fits the next one less than this is lost.
_MIN_MATCH = 0.6

# A face that comes back where one was lost is the same person when the two
# look alike by this correlation; behind a cut stands another one.
_MIN_LIKENESS = 0.6

# Boxes that overlap by this share (intersection over union) are one face.
_MIN_OVERLAP = 0.3

# Rounds of detection that a face may be missed in before it is given up, and
# rounds that must have found it before it is believed.
_PATIENCE = 6
_MIN_ROUNDS = 2

# Weight of the newest box, of its place and of its size, in the streaming
# tracker; widths of the Gaussians, in frames, over whole tracks.
_PLACE_WEIGHT = 0.7
_SIZE_WEIGHT = 0.25
_PLACE_SIGMA = 1.5
_SIZE_SIGMA = 5.0


class TrackedFace(NamedTuple):
  """A face in one picture of a film.

  Attributes:
    track: the number of the person's track.
    box: float32 [4], x, y, width, height in pixels, smoothed over time.
    landmarks: float32 [5, 2] in pixels, or None where none are known.
    score: the detector's confidence, or the fit of the tracked face.
    detected: whether the detector found it in this very picture.
    confirmed: whether it was detected at least twice.
  """

  track: int
  box: np.ndarray
  landmarks: np.ndarray | None
  score: float
  detected: bool
  confirmed: bool


class Track(NamedTuple):
  """A face over a film.

  Attributes:
    id: its number.
    frames: int64 [n], the pictures it is in, rising.
    boxes: float32 [n, 4], x, y, width, height in pixels, smoothed.
    landmarks: float32 [n, 5, 2] in pixels, NaN where unknown.
    detected: bool [n], False where it was tracked only.
    scores: float32 [n].
  """

  id: int
  frames: np.ndarray
  boxes: np.ndarray
  landmarks: np.ndarray
  detected: np.ndarray
  scores: np.ndarray


@dataclasses.dataclass
class _Person:
  """What the tracker knows of one face."""

  track: int
  box: np.ndarray
  smooth: np.ndarray
  landmarks: np.ndarray | None
  score: float
  looks: np.ndarray
  detected: bool = True
  lost: bool = False
  rounds: int = 1
  missed: int = 0


class Tracker:
  """Follows the faces of a film, one picture after the other.

  It detects in every n-th picture, and in the next ones when a new face waits
  to be believed or a known one has just been lost; between, each face is found
  again by matching its last appearance near its last place.
  """

  def __init__(self, detector: faces.Detector, *, every: int = 5):
    self._detector = detector
    self._every = every
    self._people: list[_Person] = []
    self._previous = None
    self._num_frames = 0
    self._num_tracks = 0

  def update(self, image: np.ndarray) -> list[TrackedFace]:
    """Faces in the next picture, uint8 [H, W, 3] RGB, by track number."""
    return [
      TrackedFace(
        person.track,
        person.smooth.copy(),
        person.landmarks,
        person.score,
        person.detected,
        person.rounds >= _MIN_ROUNDS,
      )
      for person in self._advance(image)
    ]

  def _advance(self, image) -> list[_Person]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if self._previous is not None and self._previous.shape != grey.shape:
      self._people = []
      self._previous = None
    urgent = False
    for person in self._people:
      person.detected = False
      if not person.lost:
        self._follow(person, grey)
      urgent |= person.rounds < _MIN_ROUNDS
      urgent |= person.lost and person.missed < _MIN_ROUNDS
    if urgent or self._num_frames % self._every == 0:
      self._detect(image, grey)
    self._previous = grey
    self._num_frames += 1
    for person in self._people:
      _smooth(person)
    return [person for person in self._people if not person.lost]

  def _follow(self, person, grey):
    shift, person.score = matching.match(self._previous, grey, person.box)
    if person.score < _MIN_MATCH:
      person.lost = True
      return
    person.box[:2] += shift
    if person.landmarks is not None:
      person.landmarks = person.landmarks + shift

  def _detect(self, image, grey):
    found = self._detector.detect(image)
    looks = [matching.appearance(grey, detection.box) for detection in found]
    pairs = sorted(
      (
        (
          person.lost,
          -matching.overlap(person.box, detection.box),
          order,
          number,
        )
        for order, person in enumerate(self._people)
        for number, detection in enumerate(found)
        if matching.overlap(person.box, detection.box) >= _MIN_OVERLAP
        and not (
          person.lost
          and float(np.mean(person.looks * looks[number])) < _MIN_LIKENESS
        )
      ),
    )
    people, taken = set(), set()
    for _, _, order, number in pairs:
      if order not in people and number not in taken:
        people.add(order)
        taken.add(number)
        _take(self._people[order], found[number], looks[number])
    self._forget(people)
    for number, detection in enumerate(found):
      if number not in taken:
        self._welcome(detection, looks[number])

  def _forget(self, seen):
    """Drops who was missed too often, or now overlaps another's face."""
    kept = []
    for order, person in enumerate(self._people):
      if order not in seen:
        person.missed += 1
        doubled = any(
          matching.overlap(person.box, self._people[other].box) >= _MIN_OVERLAP
          for other in seen
        )
        unbelieved = person.rounds < _MIN_ROUNDS
        if doubled or person.missed > (1 if unbelieved else _PATIENCE):
          continue
      kept.append(person)
    self._people = kept

  def _welcome(self, detection, looks):
    if any(
      matching.overlap(person.box, detection.box) >= _MIN_OVERLAP
      for person in self._people
      if not person.lost
    ):
      return
    self._people.append(
      _Person(
        self._num_tracks,
        detection.box.astype(np.float32),
        detection.box.astype(np.float32),
        detection.landmarks,
        detection.score,
        looks,
      )
    )
    self._num_tracks += 1


def _take(person, detection, looks):
  """Puts a person where the detector found the face."""
  if person.lost:
    person.smooth = detection.box.astype(np.float32)
  person.box = detection.box.astype(np.float32)
  person.landmarks = detection.landmarks
  person.score = detection.score
  person.looks = looks
  person.detected, person.lost = True, False
  person.rounds += 1
  person.missed = 0


def _smooth(person):
  """Moves the shown box towards the raw one: the size slower than the place.

  The jitter of detectors is mostly in the size.
  """
  old, new = person.smooth, person.box
  size = old[2:] + _SIZE_WEIGHT * (new[2:] - old[2:])
  centre = old[:2] + old[2:] / 2
  centre = centre + _PLACE_WEIGHT * (new[:2] + new[2:] / 2 - centre)
  person.smooth = np.concatenate([centre - size / 2, size]).astype(np.float32)


def track_faces(
  images: Iterable[np.ndarray],
  detector: faces.Detector,
  *,
  every: int = 5,
) -> list[Track]:
  """Follows the faces of a whole film, looking both ways when smoothing.

  Args:
    images: uint8 [H, W, 3] RGB pictures, read once.
    detector: finds faces in a picture.
    every: detect in every n-th picture and track between.

  Returns:
    A track for each face detected at least twice, or once in a single
    picture, in the order of their appearance.
  """
  tracker = Tracker(detector, every=every)
  unknown = np.full(10, np.nan, np.float32)
  # Plain numbers, 17 a face: those of a film of hours stay small.
  rows: dict[int, array.array] = {}
  number = -1
  for number, image in enumerate(images):
    for person in tracker._advance(image):
      points = unknown if person.landmarks is None else person.landmarks
      row = rows.setdefault(person.track, array.array('f'))
      row.extend((number, *person.box, *np.ravel(points)))
      row.extend((person.detected, person.score))
  needed = min(_MIN_ROUNDS, number + 1)
  return [
    _to_track(track, table)
    for track, table in (
      (track, np.array(row, np.float32).reshape(-1, 17))
      for track, row in sorted(rows.items())
    )
    if table[:, 15].sum() >= needed
  ]


def _to_track(track, table) -> Track:
  frames, detected = table[:, 0].astype(np.int64), table[:, 15] > 0
  boxes, landmarks, scores = table[:, 1:5], table[:, 5:15], table[:, 16]
  centres = boxes[:, :2] + boxes[:, 2:] / 2
  # Sizes are measured only where the face was detected.
  sizes = np.stack(
    [
      np.interp(frames, frames[detected], boxes[detected, side])
      for side in (2, 3)
    ],
    axis=1,
  )
  smooth_centres = _gaussian(frames, centres, _PLACE_SIGMA)
  sizes = _gaussian(frames, sizes, _SIZE_SIGMA)
  points = landmarks.reshape(len(frames), 10)
  # Landmarks move with the smoothed box.
  points = points + np.tile(smooth_centres - centres, 5)
  return Track(
    track,
    frames,
    np.concatenate([smooth_centres - sizes / 2, sizes], axis=1).astype(
      np.float32
    ),
    points.reshape(-1, 5, 2).astype(np.float32),
    detected,
    scores.astype(np.float32),
  )


def _gaussian(frames, values, sigma):
  """Weighted mean of `values` [n, k] over near frames, also across gaps."""
  reach = int(np.ceil(3 * sigma))
  total = np.zeros_like(values, np.float64)
  weight = np.zeros(len(frames))
  for shift in range(-reach, reach + 1):
    index = np.arange(len(frames)) + shift
    # Both sides or none, so that a moving face is not pulled back at the ends.
    mirror = np.arange(len(frames)) - shift
    inside = (
      (index >= 0)
      & (index < len(frames))
      & (mirror >= 0)
      & (mirror < len(frames))
    )
    here, there = np.flatnonzero(inside), index[inside]
    part = np.exp(-0.5 * ((frames[there] - frames[here]) / sigma) ** 2)
    total[here] += part[:, None] * values[there]
    weight[here] += part
  return total / weight[:, None]


def main_track(
  tracks: list[Track], start: int, stop: int, half: tuple[float, float] = ()
) -> Track | None:
  """The face that a part of a film is about: long in the picture, and large.

  Args:
    tracks: of the film.
    start: first picture of the part.
    stop: the one after its last; a track that covers less than a tenth of
      them is no main face.
    half: the pixels from left to right within which the middle of the face
      lies; anywhere when not given.

  Returns:
    A track, or None without a fit one.
  """
  best, best_weight = None, 0.0
  for track in tracks:
    first, last = np.searchsorted(track.frames, (start, stop))
    if last - first < 0.1 * (stop - start) or first == last:
      continue
    boxes = track.boxes[first:last]
    if half:
      middle = float(np.mean(boxes[:, 0] + boxes[:, 2] / 2))
      if not half[0] <= middle < half[1]:
        continue
    weight = float(np.sqrt(boxes[:, 2] * boxes[:, 3]).sum())
    # A face never detected again is a weaker claim than one often found.
    weight *= 0.5 + 0.5 * float(track.scores[first:last].mean())
    if weight > best_weight:
      best, best_weight = track, weight
  return best
