"""Faces of a film as pictures: cut out, brought to one size, eyes level."""

import array
import pathlib
import re
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from avemo import errors
from avemo.extract import settings as settings_lib
from avemo.media import crops, decode, faces, tracking

SUFFIX = '.faces'
# Number of the frame, from 1, as Aff-Wild2 names its crops.
NAME = re.compile(r'\d{5,}\.png')

# Side of the square over the longer side of the box, as models are fed.
MARGIN = 1.3


def open_maker(
  settings: settings_lib.Settings, files: Sequence[pathlib.Path]
) -> Callable[..., str]:
  """Opens the detector: one that cannot be used concerns every file."""
  del files
  detector = faces.make_detector(settings.face_model)

  def make(path, target, progress):
    return make_faces(
      path,
      target,
      detector,
      size=settings_lib.pick(settings.size, settings_lib.SIZE),
      count=settings_lib.pick(settings.frames, settings_lib.FRAMES),
      fps=settings_lib.pick(settings.fps, settings_lib.FPS),
      progress=progress,
    )

  return make


def make_faces(
  path: pathlib.Path,
  target: pathlib.Path,
  detector: faces.Detector,
  *,
  size: int,
  count: int,
  fps: float,
  progress: Callable,
) -> str:
  """Writes crops of the main face into a folder, and says what they are.

  Args:
    path: the film.
    target: the folder to make; `00001.png` in it is of time 0, `00002.png` of
      1 / fps, and so on.
    detector: finds faces in a picture; with landmarks crops are turned until
      the eyes lie level.
    size: side in pixels.
    count: how many crops, spread evenly over the pictures with the face; 0 is
      every one.
    fps: pictures a second.
    progress: from the number of a pass to what is called with its time.

  Raises:
    MediaError: no picture can be decoded.
    AvemoError: no face is found.
  """
  track, num_frames = find_main(path, detector, fps, progress(0))
  chosen = track.frames
  if count and count < len(chosen):
    places = (np.arange(count) + 0.5) * len(chosen) / count
    chosen = chosen[places.astype(int)]
  rows = dict(zip(track.frames.tolist(), range(len(track.frames)), strict=True))
  target.mkdir()
  wanted, report = set(chosen.tolist()), progress(1)
  for frame in decode.read_frames(path, fps=fps):
    if frame.index in wanted:
      row = rows[frame.index]
      crop, _, _ = crops.crop_face(
        frame.image,
        track.boxes[row],
        margin=MARGIN,
        size=size,
        landmarks=track.landmarks[row],
        align=True,
      )
      write_png(target / f'{frame.index + 1:05d}.png', crop)
    report(frame.time)
  level = np.isfinite(track.landmarks).all()
  return (
    f'{len(chosen)} faces of {size} pixels from {num_frames} pictures, '
    + ('eyes level' if level else 'upright as filmed: no landmarks are known')
  )


def find_main(
  path: pathlib.Path,
  detector: faces.Detector,
  fps: float,
  report: Callable[[float], None],
) -> tuple[tracking.Track, int]:
  """The face that a film is about, and how many pictures there are.

  Raises:
    MediaError: no picture can be decoded.
    AvemoError: no face is found.
  """
  tracks, times = find_tracks(path, detector, fps, report)
  track = tracking.main_track(tracks, 0, len(times))
  if track is None:
    way_out = 'name a film with one'
    if isinstance(detector, faces.CascadeDetector):
      way_out = '--face-model names a better detector, YuNet'
    raise errors.AvemoError(
      f'{path}: no face was found in its {len(times)} pictures; {way_out}'
    )
  return track, len(times)


def find_tracks(
  path: pathlib.Path,
  detector: faces.Detector,
  fps: float,
  report: Callable[[float], None],
  max_side: int | None = None,
) -> tuple[list[tracking.Track], Sequence[float]]:
  """All faces of a film, and the seconds of its pictures."""
  times = array.array('d')

  def read():
    for frame in decode.read_frames(path, fps=fps, max_side=max_side):
      times.append(frame.time)
      report(frame.time)
      yield frame.image

  return tracking.track_faces(read(), detector), times


def write_png(path: pathlib.Path, image: np.ndarray) -> None:
  """Writes a uint8 [H, W, 3] RGB picture."""
  data = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
  # Not by OpenCV, which says nothing of a full disk.
  path.write_bytes(data.tobytes())
