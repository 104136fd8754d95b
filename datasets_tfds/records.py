"""One clip's files to its records: decode, find the face, cut, encode."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from avemo import errors
from avemo.corpora import clip as clips
from avemo.data import schema
from avemo.media import crops, decode, encode, faces, tracking

JPEG_QUALITY = 95

# Boxes are smoothed over a whole film before its faces are cut. Films whose
# pictures take more memory than this are decoded a second time for it.
_KEPT_BYTES = 128 << 20

# Sound that nowhere rises above -60 dB of full scale is silence.
SILENCE = 1e-3
_SHORTEST_SOUND = 0.1

# A clip's picture and sound are of one performance: where one lasts more than
# this factor (and these seconds) longer, the picture is another's, or broken.
_LENGTH_FACTOR = 2.0
_LENGTH_SLACK = 0.5

# Grey levels by which no part of a still picture changes, at this size.
_STILL_LEVELS = 3
_STILL_SIZE = (32, 24)


@dataclasses.dataclass(frozen=True)
class Options:
  """How clips become records.

  Attributes:
    config: 'face' stores crops around the main face, 'frame' whole pictures.
    face_model: ONNX file of the face detector, None for the default one.
    longest_clip: seconds beyond which a file cannot be a clip of this corpus;
      None where it may be a film of any length.
    extra: the corpus's own fields, name to type.
    max_seconds: longest segment.
  """

  config: str = schema.CONFIGS[0]
  face_model: str | None = None
  longest_clip: float | None = None
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  max_seconds: float = schema.MAX_SECONDS


class Outcome(NamedTuple):
  """What came of a clip: its records, and the files that were of no use."""

  records: list
  unusable: list[clips.Quarantined]


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


def make_records(
  clip: clips.Clip,
  options: Options,
  make_detector: Callable[..., faces.Detector] = faces.make_detector,
) -> Outcome:
  """Reads a clip's files and makes its records.

  Each modality comes from the first of its files that is usable; a modality
  without any is missing. A clip without both has no records.

  Args:
    clip: the clip.
    options: how.
    make_detector: face model's path or None -> detector.
  """
  unusable = {}
  speech = _read_first(
    clip.audios, lambda path: read_speech(path, clip, options), unusable
  )
  seconds = None if speech is None else len(speech) / schema.SAMPLE_RATE
  picture = _read_first(
    clip.videos,
    lambda path: read_picture(path, options, make_detector, seconds),
    unusable,
  )
  records = []
  if speech is not None or picture is not None:
    records = [
      make_record(clip, part, options)
      for part in cut_segments(speech, picture, options.max_seconds)
    ]
  return Outcome(
    records,
    [
      clips.Quarantined(path, '; '.join(dict.fromkeys(reasons)))
      for path, reasons in unusable.items()
    ],
  )


def _read_first(paths, read, unusable):
  """What the first usable file gives, or None; notes the unusable ones."""
  for path in paths:
    try:
      found = read(path)
    except errors.MediaError as error:
      unusable.setdefault(os.fspath(path), []).append(error.reason)
      continue
    if found is not None:
      return found
  return None


def read_speech(
  path: str, clip: clips.Clip, options: Options
) -> np.ndarray | None:
  """Sound as int16 [n] at 16 kHz; None where a film has no sound.

  Raises:
    MediaError: for sound that is of no use.
  """
  pieces, size = [], 0
  longest = (options.longest_clip or math.inf) * schema.SAMPLE_RATE
  for piece in decode.stream_audio(path, sample_rate=schema.SAMPLE_RATE):
    pieces.append(piece)
    size += len(piece)
    if size > longest:
      raise errors.MediaError(
        path, f'its sound is longer than {options.longest_clip:g} s'
      )
  if not pieces:
    if path in clip.videos:
      return None
    raise errors.MediaError(path, 'has no sound')
  speech = np.concatenate(pieces)
  if size < _SHORTEST_SOUND * schema.SAMPLE_RATE:
    raise errors.MediaError(
      path, f'its sound is shorter than {_SHORTEST_SOUND:g} s'
    )
  if np.abs(speech).max() < SILENCE:
    raise errors.MediaError(path, 'its sound is silent')
  return encode.to_int16(speech)


def read_picture(
  path: str,
  options: Options,
  make_detector: Callable[..., faces.Detector],
  seconds: float | None,
) -> Picture:
  """The pictures of a film, whole or cut around its main face.

  Args:
    path: the film.
    options: how.
    make_detector: face model's path or None -> detector.
    seconds: length of the clip's sound, None without any.

  Raises:
    MediaError: for a film that is of no use.
  """
  film = _Film(path, options, seconds)
  detector = make_detector(options.face_model)
  tracks = tracking.track_faces(film.watch(), detector)
  film.check_length()
  track = tracking.main_track(tracks, len(film.times))
  if track is None and options.config == 'face':
    raise errors.MediaError(path, 'no face was found in it')
  if track is None and film.is_still:
    raise errors.MediaError(path, 'one still picture without a face')
  store = _store_crops if options.config == 'face' else _store_frames
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
  """A film: its pictures, their times, and whether it can be a clip's.

  Attributes:
    path: the file.
    times: seconds of each picture.
    is_still: no picture differs from the first.
  """

  def __init__(self, path, options, seconds):
    self.path = path
    self.times = []
    self.is_still = True
    self._kept = []
    self._seconds = seconds
    limits = [math.inf]
    if options.longest_clip is not None:
      limits.append(options.longest_clip)
    if seconds is not None:
      limits.append(seconds * _LENGTH_FACTOR + _LENGTH_SLACK)
    self._longest = min(limits)

  def watch(self) -> Iterator[np.ndarray]:
    """Yields the pictures for the first time.

    Raises:
      MediaError: when they go on for longer than a clip can.
    """
    first = None
    for frame in decode.read_frames(self.path):
      if frame.time > self._longest:
        other = '' if self._seconds is None else f' of {self._seconds:.2f} s'
        raise errors.MediaError(
          self.path,
          f'lasts over {self._longest:.1f} s, too long for '
          f'{"its sound" if other else "a clip of this corpus"}{other}',
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

  def check_length(self):
    """Raises MediaError when the sound goes on far beyond the pictures."""
    length = self.times[-1]
    if (
      self._seconds is not None
      and self._seconds > length * _LENGTH_FACTOR + _LENGTH_SLACK
    ):
      raise errors.MediaError(
        self.path,
        f'its pictures last {length:.2f} s, its sound {self._seconds:.2f} s',
      )


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
    frames.append(encode_jpeg(crop))
    new_boxes.append(box)
    new_points.append(landmarks.reshape(10))
  return frames, np.float32(new_boxes), np.float32(new_points)


def _store_frames(film, track):
  """Whole pictures."""
  box = np.zeros((len(film.times), 4), np.float32)
  landmarks = np.full((len(film.times), 10), np.nan, np.float32)
  frames, scale = [], 1.0
  for image in film.read_again():
    scale = min(1.0, schema.MAX_SIDE / max(image.shape[:2]))
    if scale < 1:
      size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
      image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    frames.append(encode_jpeg(image))
  if track is not None:
    box[track.frames] = track.boxes * scale
    landmarks[track.frames] = track.landmarks.reshape(-1, 10) * scale
  return frames, box, landmarks


def encode_jpeg(image: np.ndarray) -> bytes:
  """JPEG of a uint8 [H, W, 3] RGB picture."""
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
  return cv2.imencode('.jpg', bgr, quality)[1].tobytes()


class Segment(NamedTuple):
  """A piece of a clip; a missing modality is None, or empty in this piece."""

  number: int
  count: int
  start: float
  speech: np.ndarray | None
  picture: Picture | None


def cut_segments(
  speech: np.ndarray | None, picture: Picture | None, max_seconds: float
) -> list[Segment]:
  """Cuts a clip into equal pieces of at most `max_seconds`.

  Args:
    speech: int16 [n] at 16 kHz, or None.
    picture: the pictures, or None.
    max_seconds: a piece's longest duration.
  """
  seconds = 0.0 if speech is None else len(speech) / schema.SAMPLE_RATE
  if picture is not None:
    seconds = max(seconds, picture.time[-1] + 1 / max(picture.fps, 1.0))
  # A hundredth of a second over the limit makes no piece of its own.
  count = max(1, math.ceil((seconds - 0.01) / max_seconds))
  edges = np.arange(count + 1) * (seconds / count)
  edges[-1] = math.inf
  return [
    Segment(
      number,
      count,
      float(edges[number]),
      _cut_speech(speech, edges[number], edges[number + 1]),
      _cut_picture(picture, edges[number], edges[number + 1]),
    )
    for number in range(count)
  ]


def _cut_speech(speech, start, stop):
  if speech is None:
    return None
  first = round(start * schema.SAMPLE_RATE)
  last = None if math.isinf(stop) else round(stop * schema.SAMPLE_RATE)
  return speech[first:last]


def _cut_picture(picture, start, stop):
  if picture is None:
    return None
  inside = np.flatnonzero((picture.time >= start) & (picture.time < stop))
  return Picture(
    picture.fps,
    [picture.frames[place] for place in inside],
    *(column[inside] for column in picture[2:]),
  )


def make_record(
  clip: clips.Clip, part: Segment, options: Options
) -> dict[str, Any]:
  """The record of one segment, as `schema.features` describes it."""
  picture = part.picture or Picture(
    0.0,
    [],
    np.zeros(0, np.int32),
    np.zeros(0),
    np.zeros(0, np.uint8),
    np.zeros((0, 4), np.float32),
    np.zeros((0, 10), np.float32),
  )
  speech = b'' if part.speech is None else part.speech.astype('<i2').tobytes()
  nan = np.float32(np.nan)
  record = {
    'clip_id': clip.clip_id,
    'video_id': clip.clip_id,
    'speaker': clip.speaker,
    'recording': clip.recording,
    'segment': part.number,
    'num_segments': part.count,
    'start': np.float32(part.start),
    'fps': np.float32(picture.fps),
    'frames': picture.frames,
    'frame_index': picture.index,
    'frame_time': picture.time.astype(np.float32),
    'face': picture.face,
    'box': picture.box,
    'landmarks': picture.landmarks,
    'speech': speech,
    'emotion': clip.emotion,
    'intensity': clip.intensity,
    'valence': nan,
    'arousal': nan,
    'frame_valence': np.zeros(0, np.float32),
    'frame_arousal': np.zeros(0, np.float32),
    'frame_expression': np.zeros(0, np.int32),
    'frame_action_units': np.zeros((0, schema.NUM_ACTION_UNITS), np.float32),
  }
  for name, kind in options.extra.items():
    value = clip.extra.get(name)
    record[name] = schema.unknown(kind) if value is None else value
  return record
