"""One record to one clip: frames chosen, faces cut, the speech beside them.

Everything here is NumPy and OpenCV, and a function of the record, the options
and either a random generator (training) or the number of a view (evaluation).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from avemo import errors

SAMPLE_RATE = 16_000

# Seconds by which a frame may be late and still count as shown.
_TIME_TOLERANCE = 2e-3

MODALITIES = ('video', 'audio')
SAMPLINGS = ('uniform', 'dense', 'head')


@dataclasses.dataclass(frozen=True)
class ClipOptions:
  """How a record becomes a clip.

  Attributes:
    frames: T, frames of a clip.
    sampling: 'uniform' spreads the frames over the whole clip, 'dense' takes
      them `stride` apart from one place, 'head' from the first frame on.
    stride: frames from one frame to the next, where they are not uniform.
    fps: frames a second that are counted, so that corpora of several rates
      are seen at one speed; None counts the stored ones.
    size: H and W, pixels.
    margin: side of the square that is cut, as a multiple of the face's box;
      None takes the middle square of the stored picture, face or no face.
    squeeze: instead of its middle square press the whole picture into one,
      without its aspect; only where `margin` is None.
    seconds: of speech.
    use: the modalities that a batch carries.
  """

  frames: int = 16
  sampling: str = 'uniform'
  stride: int = 4
  fps: float | None = None
  size: int = 224
  margin: float | None = 1.3
  squeeze: bool = False
  seconds: float | None = 3.0
  use: tuple[str, ...] = MODALITIES

  def __post_init__(self):
    object.__setattr__(self, 'use', tuple(self.use))
    wrong = [name for name in self.use if name not in MODALITIES]
    if wrong or not self.use:
      raise errors.AvemoError(
        f'use={self.use}: name one or both of {", ".join(MODALITIES)}'
      )
    if self.sampling not in SAMPLINGS:
      raise errors.AvemoError(
        f'sampling={self.sampling!r}: use one of {", ".join(SAMPLINGS)}'
      )
    if self.squeeze and self.margin is not None:
      raise errors.AvemoError(
        f'squeeze takes whole pictures, and margin={self.margin} cuts faces: '
        'set margin=None'
      )
    if 'audio' in self.use and not self.seconds:
      raise errors.AvemoError('audio is in use: set seconds, its window')
    for name in ('frames', 'stride', 'size'):
      if getattr(self, name) < 1:
        raise errors.AvemoError(f'{name}={getattr(self, name)}: at least 1')
    if self.fps is not None and not 1 <= self.fps <= 240:
      raise errors.AvemoError(f'fps={self.fps}: from 1 to 240, or None')

  @property
  def num_samples(self) -> int:
    """S, samples of the speech window; 0 without speech."""
    return round((self.seconds or 0) * SAMPLE_RATE)


def read_options(preprocessing: Mapping[str, Any]) -> ClipOptions:
  """The options that a file says under `preprocessing`."""
  names = {field.name for field in dataclasses.fields(ClipOptions)}
  return ClipOptions(**{k: v for k, v in preprocessing.items() if k in names})


@dataclasses.dataclass(frozen=True)
class View:
  """Which of several looks at a clip evaluation takes: `number` of `count`."""

  number: int = 0
  count: int = 1

  @property
  def inside(self) -> float:
    """Middle of this view's share of an interval, in (0, 1)."""
    return (self.number + 0.5) / self.count

  @property
  def across(self) -> float:
    """Place between the two ends, in [0, 1]; the middle for a single view."""
    return self.number / (self.count - 1) if self.count > 1 else 0.5


Draw = np.random.Generator | View


def load_clip(
  record: Mapping[str, Any],
  options: ClipOptions,
  draw: Draw,
  out: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Decodes and cuts one record.

  Args:
    record: as stored; a missing modality has no frames, or no speech.
    options: what to make of it.
    draw: a generator in training, a view in evaluation.
    out: where to put the frames, such as a row of a batch; a new array when
      None.

  Returns:
    `frames` uint8 [T, H, W, 3] RGB if video is in use; `speech` int16 [S] and
    `speech_length` int32, its valid samples, if audio is in use; `has_video`
    and `has_audio` bool, False where the modality is missing (its arrays are
    then 0) or not in use.

  Raises:
    AvemoError: a stored picture that cannot be decoded.
  """
  clip = {}
  chosen = np.zeros(0, np.int64)
  if 'video' in options.use:
    if has_picture(record, options):
      shown = count_at_rate(record, options.fps)
      chosen = shown[choose_frames(len(shown), options, draw)]
      clip['frames'] = decode_frames(record, chosen, options, out)
    else:
      clip['frames'] = make_frames(options) if out is None else out
      clip['frames'].fill(0)
  if 'audio' in options.use:
    speech = np.frombuffer(record['speech'], '<i2')
    start = place_window(record, len(speech), chosen, options, draw)
    cut = speech[start : start + options.num_samples]
    clip['speech'] = np.zeros(options.num_samples, np.int16)
    clip['speech'][: len(cut)] = cut
    clip['speech_length'] = np.int32(len(cut))
  clip['has_video'] = np.bool_(len(chosen) > 0)
  clip['has_audio'] = np.bool_(clip.get('speech_length', 0) > 0)
  return clip


def make_frames(options: ClipOptions, *rows: int) -> np.ndarray:
  """Room for frames, uint8 [*rows, T, H, W, 3], not yet set."""
  shape = (*rows, options.frames, options.size, options.size, 3)
  return np.empty(shape, np.uint8)


def has_picture(record: Mapping[str, Any], options: ClipOptions) -> bool:
  """Whether there is anything to see: a face, where faces are cut."""
  if not len(record['frames']):
    return False
  return options.margin is None or bool(np.any(record['face']))


# ------------------------------------------------------------------- frames


def choose_frames(
  num_frames: int, options: ClipOptions, draw: Draw
) -> np.ndarray:
  """Indices int64 [T] into a clip of `num_frames` >= 1, in order.

  A clip that is too short for dense frames holds its last one: stretching
  would change the speed of what is seen.
  """
  count = options.frames
  is_training = isinstance(draw, np.random.Generator)
  if options.sampling == 'uniform':
    place = draw.random(count) if is_training else draw.inside
    chosen = (np.arange(count) + place) * num_frames / count
  elif options.sampling == 'head':
    chosen = np.arange(count) * options.stride
  else:
    last_start = max(num_frames - ((count - 1) * options.stride + 1), 0)
    start = (
      draw.integers(last_start + 1)
      if is_training
      else round(draw.across * last_start)
    )
    chosen = start + np.arange(count) * options.stride
  return np.minimum(chosen.astype(np.int64), num_frames - 1)


def count_at_rate(record: Mapping[str, Any], fps: float | None) -> np.ndarray:
  """Indices int64 [N] of the frames shown at 0, 1 / fps, ... of a clip.

  Args:
    record: as stored, with frames.
    fps: frames a second; None takes each stored frame once.
  """
  stored = len(record['frames'])
  if fps is None:
    return np.arange(stored)
  times = np.asarray(record['frame_time'], np.float64)
  times = times - times[0]
  step = times[-1] / (stored - 1) if stored > 1 else 1 / fps
  count = max(round((times[-1] + step) * fps), 1)
  # Times in files are rounded.
  wanted = np.arange(count) / fps + _TIME_TOLERANCE
  return np.searchsorted(times, wanted, side='right') - 1


def decode_frames(
  record: Mapping[str, Any],
  chosen: np.ndarray,
  options: ClipOptions,
  out: np.ndarray | None = None,
) -> np.ndarray:
  """The chosen frames uint8 [T, H, W, 3], each decoded once; in `out` if given.

  Raises:
    AvemoError: a stored picture that cannot be decoded.
  """
  centres, side = (
    (None, None)
    if options.margin is None
    else follow_face(record['box'], record['face'], options.margin)
  )
  if out is None:
    out = make_frames(dataclasses.replace(options, frames=len(chosen)))
  places = {}
  for place, index in enumerate(chosen.tolist()):
    if index in places:
      out[place] = out[places[index]]
      continue
    places[index] = place
    picture = decode_picture(record['frames'][index], record)
    if options.squeeze:
      out[place] = squeeze_picture(picture, options.size)
      continue
    if side is None:
      height, width = picture.shape[:2]
      centre, length = (width / 2, height / 2), min(height, width)
    else:
      centre, length = centres[index], side
    cut_square(picture, centre, length, options.size, out[place])
  return out


def squeeze_picture(picture: np.ndarray, size: int) -> np.ndarray:
  """The whole picture as a square, uint8 [size, size, 3]."""
  smaller = min(picture.shape[:2]) >= size
  method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
  return cv2.resize(picture, (size, size), interpolation=method)


def decode_picture(
  encoded: bytes, record: Mapping[str, Any] | None = None
) -> np.ndarray:
  """JPEG bytes to uint8 [H, W, 3] RGB."""
  data = np.frombuffer(encoded, np.uint8)
  picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
  if picture is None:
    name = as_text((record or {}).get('clip_id', 'a record'))
    raise errors.AvemoError(
      f'{name}: a stored picture cannot be decoded; prepare the dataset again'
    )
  return picture


def follow_face(
  box: np.ndarray, face: np.ndarray, margin: float
) -> tuple[np.ndarray, float]:
  """Centres [N, 2] and the one side of the squares to cut, in pixels.

  The side is the median over the clip, for a box that breathes from frame to
  frame would zoom the picture in and out. The centre follows the box, which
  the tracker has smoothed: a fixed one would lose a head that moves, and in a
  stored crop it is the box that says where the crop was taken. Where no face
  was found the centre is interpolated between the frames around.

  Args:
    box: float [N, 4], x, y, width and height in the stored picture.
    face: [N], true where a box is valid; at least one is.
    margin: side of the square over the side of the box.
  """
  box = np.asarray(box, np.float64).reshape(-1, 4)
  found = np.flatnonzero(np.asarray(face))
  middle = box[:, :2] + box[:, 2:] / 2
  places = np.arange(len(box))
  centres = np.stack(
    [np.interp(places, found, middle[found, axis]) for axis in (0, 1)], axis=1
  )
  side = margin * float(np.median(box[found, 2:].max(axis=1)))
  return centres, max(side, 1.0)


def cut_square(
  picture: np.ndarray,
  centre: Sequence[float],
  side: float,
  size: int,
  out: np.ndarray | None = None,
) -> np.ndarray:
  """A square of the picture, resampled to [size, size, 3].

  Cut at fractions of a pixel, for rounding would shake the face; what lies
  outside repeats the edge.

  Args:
    picture: uint8 [H, W, 3].
    centre: x and y, pixels.
    side: of the square, pixels.
    size: of the result, pixels.
    out: where to put it; a new array when None.
  """
  # Bilinear sampling skips pixels beyond a factor of two: sample finely, then
  # average down.
  fine = size * max(1, round(side / size))
  scale = fine / side
  x, y = (c - side / 2 for c in centre)
  # Pixel i covers [i, i + 1), so its middle lies at i + 1/2.
  matrix = np.array(
    [
      [scale, 0, (0.5 - x) * scale - 0.5],
      [0, scale, (0.5 - y) * scale - 0.5],
    ]
  )
  cut = cv2.warpAffine(
    picture,
    matrix,
    (fine, fine),
    dst=out if fine == size else None,
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  if fine == size:
    return cut
  return cv2.resize(cut, (size, size), dst=out, interpolation=cv2.INTER_AREA)


# ------------------------------------------------------------------- speech


def place_window(
  record: Mapping[str, Any],
  num_samples: int,
  chosen: np.ndarray,
  options: ClipOptions,
  draw: Draw,
) -> int:
  """First sample of the speech window.

  Dense frames have their middle in the window's middle, as far as the speech
  reaches. Uniform frames go with the whole clip, and clips without a picture
  have no span to follow: where the clip is longer than the window it is then
  placed at random in training, and spread over the views in evaluation.
  """
  last_start = max(num_samples - options.num_samples, 0)
  if options.sampling == 'dense' and len(chosen):
    times = np.asarray(record['frame_time'], np.float64)[chosen[[0, -1]]]
    middle = times.mean() - float(record['start'])
    start = round((middle - options.seconds / 2) * SAMPLE_RATE)
    return min(max(start, 0), last_start)
  if isinstance(draw, np.random.Generator):
    return int(draw.integers(last_start + 1))
  return round(draw.across * last_start)


def as_text(value: str | bytes) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)
