"""Windows of a film as the model's input, cut as in training.

Each window becomes a record like those of datasets, face crops as JPEG
included, and goes through the same function as theirs.
"""

import collections
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from avemo.data import clips, schema
from avemo.data.clips import ClipOptions
from avemo.media import crops, decode, stills
from avemo.predict import people, sound

# Window in seconds of a model that was trained on whole films without sound.
DEFAULT_SECONDS = 3.0

# Seconds that must follow an estimate's time before the end.
_SHORTEST_REST = 0.1


@dataclasses.dataclass(frozen=True)
class Plan:
  """Which windows are cut.

  Attributes:
    times: of the estimates in seconds, rising.
    seconds: length of a window.
    duration: of the film or sound, in seconds.
  """

  times: np.ndarray
  seconds: float
  duration: float

  def window(self, time: float) -> tuple[float, float]:
    """Start and stop in seconds: `time` in the middle, as far as the film goes.

    At its ends the window is moved, not cut: shorter ones would show another
    speed.
    """
    last = max(self.duration - self.seconds, 0.0)
    start = min(max(time - self.seconds / 2, 0.0), last)
    return start, min(start + self.seconds, self.duration)


class Window(NamedTuple):
  """One estimate to be made.

  Attributes:
    time: seconds.
    track: the person's number, None without a face.
    box: float32 [4] in pixels of the film, None without a face.
    sound: whose sound the model hears: 'own', 'shared' or 'none'.
    clip: the model's input, as from `data.clips.load_clip`.
  """

  time: float
  track: int | None
  box: np.ndarray | None
  sound: str
  clip: dict[str, np.ndarray]


class Stored(NamedTuple):
  """A frame as datasets store it, and where it lies in the film."""

  number: int
  time: float
  jpeg: bytes
  found: bool
  box: np.ndarray


def plan(
  duration: float, every: float, options: ClipOptions, step: float
) -> Plan:
  """Chooses times and length of the windows.

  Args:
    duration: of the film or sound, in seconds.
    every: seconds from one estimate to the next.
    options: of the model. Frames spread over a clip are spread over a window
      of as many seconds as its speech; dense frames keep their distance.
    step: seconds from one frame to the next.
  """
  seconds = options.seconds or 0.0
  if options.sampling == 'dense' and 'video' in options.use:
    # A frame more than needed, so that rounded times cost none.
    step = 1 / options.fps if options.fps else step
    span = ((options.frames - 1) * options.stride + 2) * step
    seconds = max(span, seconds if 'audio' in options.use else 0.0)
  # Sound mostly ends a little after the pictures: that is no time of its own.
  rest = min(_SHORTEST_REST, every / 2)
  count = max(int(np.ceil((duration - rest) / every)), 1)
  return Plan(np.arange(count) * every, seconds or DEFAULT_SECONDS, duration)


def find_config(about: Mapping[str, Any]) -> str:
  """What the datasets of a run store: 'face', or 'frame' for whole pictures.

  Args:
    about: the run's config, whose datasets are named such as
      'crema_d_av/frame:1.0.0'; 'face' is usual. Of a mixture the first decides.
  """
  data = about.get('data', {})
  parts = [data, *(data.get('mixture') or {}).values()]
  name = next((p['name'] for p in parts if p.get('name')), '')
  return name.partition(':')[0].partition('/')[2] or 'face'


def are_alike(config: str, options: ClipOptions) -> bool:
  """Whether all people, and nobody, are seen by the same whole pictures."""
  return config == 'frame' and options.margin is None


def cut(
  path: str | os.PathLike,
  film: people.Film,
  sound_path: str | os.PathLike | None,
  windows: Plan,
  options: ClipOptions,
  *,
  config: str = 'face',
  report: Callable[[float], None] = lambda time: None,
) -> Iterator[Window]:
  """Cuts every window of every person, in the order of time.

  Args:
    path: the film; not opened where `film` has no pictures.
    film: its people.
    sound_path: the file whose sound is heard, or None.
    windows: which.
    options: how a record becomes a clip.
    config: what datasets store: 'face' or 'frame'.
    report: called with the time of each frame.

  Yields:
    One window a time and person, one with no track where nobody is.
  """
  uses_sound = 'audio' in options.use
  reader = sound.Reader(sound_path if uses_sound else None)
  shelf = Shelf(path, film, config, report)
  alike = are_alike(config, options)
  for time in windows.times:
    start, stop = windows.window(time)
    speech = reader.cut(start, stop)
    shelf.move_to(start, stop)
    present = film.people_at(time)
    heard = 'own' if len(present) < 2 else 'shared'
    for person, box in present or [(None, None)]:
      record = shelf.make_record(None if alike else person)
      record |= {'start': np.float32(start), 'speech': speech.tobytes()}
      clip = clips.load_clip(record, options, clips.View())
      yield Window(
        float(time),
        None if person is None else person.track,
        box,
        heard if clip['has_audio'] else 'none',
        clip,
      )


class Shelf:
  """The stored frames of the current window, by person.

  With the config 'frame' these are whole pictures, kept for nobody as well.
  """

  def __init__(self, path, film, config, report):
    self._film = film
    self._whole = config == 'frame'
    self._report = report
    self._frames = iter(())
    if len(film.times) and (film.people or self._whole):
      self._frames = decode.read_frames(path)
    self._next = next(self._frames, None)
    self._kept = collections.defaultdict(collections.deque)

  def move_to(self, start: float, stop: float) -> None:
    """Stores the frames up to `stop` and forgets those before `start`.

    Args:
      start: seconds, no less than the last time.
      stop: likewise.
    """
    while self._next is not None and self._next.time < stop:
      # A long way between two windows is decoded, but not stored.
      if self._next.time >= start:
        self._store(self._next)
      self._report(self._next.time)
      self._next = next(self._frames, None)
    for kept in self._kept.values():
      while kept and kept[0].time < start:
        kept.popleft()

  def _store(self, frame):
    people_in = [p for p in self._film.people if p.covers(frame.index)]
    if self._whole:
      picture, scale = stills.shrink(frame.image, schema.MAX_SIDE)
      jpeg = stills.encode_jpeg(picture)
      self._keep(None, frame, jpeg, False, np.zeros(4, np.float32))
    for person in people_in:
      place = frame.index - person.start
      box = person.boxes[place]
      if self._whole:
        box = box * scale
      else:
        crop, box, _ = crops.crop_face(
          frame.image, box, margin=schema.MARGIN, max_side=schema.MAX_SIDE
        )
        jpeg = stills.encode_jpeg(crop)
      self._keep(person.track, frame, jpeg, person.found[place], box)

  def _keep(self, track, frame, jpeg, found, box):
    box = box if found else np.zeros(4, np.float32)
    kept = Stored(frame.index, frame.time, jpeg, bool(found), box)
    self._kept[track].append(kept)

  def make_record(self, person: people.Person | None) -> dict[str, object]:
    """The fields of a record that hold the pictures."""
    kept = self._kept[None if person is None else person.track]
    return describe(list(kept))


def describe(kept: Sequence[Stored]) -> dict[str, object]:
  """Stored frames in the fields of a record."""
  return {
    'frames': [frame.jpeg for frame in kept],
    'frame_time': np.array([frame.time for frame in kept], np.float32),
    'face': np.array([frame.found for frame in kept], np.uint8),
    'box': np.array([frame.box for frame in kept], np.float32).reshape(-1, 4),
  }
