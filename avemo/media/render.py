"""Drawing what was recognised onto a film, its sound kept."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from avemo import errors
from avemo.media import container as containers
from avemo.media import decode, encode

# Colours of the tracks, RGB, told apart also by the colour-blind.
COLOURS = (
  (86, 180, 233),
  (230, 159, 0),
  (0, 158, 115),
  (204, 121, 167),
  (240, 228, 66),
  (213, 94, 0),
)

# Sound that MP4 holds and browsers play is copied, other sound becomes AAC.
_COPIED = ('aac', 'mp3', 'mp3float')
_SOUND_RATE = 48_000

# Of H.264: a third of the usual one's time, for 5 % more bytes (on a film of a
# face, 41.9 against 42.1 dB).
_PRESET = 'veryfast'

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)


class Overlay(NamedTuple):
  """What is drawn for one person.

  Attributes:
    box: float [4], x, y, width, height in pixels of the frame, or None for
      what concerns the whole picture.
    label: a line above the box, '' for none.
    probabilities: name to fraction of 1, drawn as bars in this order.
    colour: index into `COLOURS`, taken modulo their number.
    landmarks: float [n, 2] in pixels, or None.
  """

  box: np.ndarray | None = None
  label: str = ''
  probabilities: Mapping[str, float] = {}
  colour: int = 0
  landmarks: np.ndarray | None = None


def render(
  source: str | os.PathLike,
  target: str | os.PathLike,
  draw_at: Callable[[decode.Frame], Sequence[Overlay]],
  *,
  max_side: int | None = None,
  fps: float | None = None,
  sound: str | os.PathLike | None = None,
  finish: Callable[[np.ndarray, float], np.ndarray] | None = None,
) -> int:
  """Writes the film again as H.264 in MP4, with overlays and its own sound.

  Every picture keeps its time, so that sound and picture stay together also
  at a variable rate. Sound that cannot be decoded is left out.

  Args:
    source: the film.
    target: an .mp4 file.
    draw_at: overlays of a frame; called once a frame, in order.
    max_side: as for `decode.read_frames`; overlays are in the pixels of the
      frames so read.
    fps: likewise.
    sound: a file whose sound takes the place of the film's own.
    finish: from a picture with its overlays and its time in seconds to the
      one that is written, each of the same size.

  Returns:
    The number of frames written.

  Raises:
    MediaError: when no picture of the source can be decoded.
  """
  frames = decode.read_frames(source, max_side=max_side, fps=fps)

  def make(frame):
    image = draw(frame.image, draw_at(frame))
    return finish(image, frame.time) if finish else image

  made = ((make(frame), frame.time) for frame in frames)
  first = next(made)
  copied = sound is None and can_copy_sound(source)
  speech = None if copied else _decoded_sound(sound or source)
  with (
    containers.open_media(source) as container,
    encode.MediaWriter(
      target,
      size=first[0].shape[1::-1],
      fps=fps or containers.frame_rate(containers.video_stream(container)),
      variable=True,
      sample_rate=None if speech is None else _SOUND_RATE,
      options={'preset': _PRESET},
    ) as writer,
  ):
    pieces = iter(())
    if copied:
      pieces = _copy_sound(container, writer.container)
    elif speech is not None:
      pieces = _encode_sound(speech, writer)
    count, heard = 0, next(pieces, None)
    for image, time in itertools.chain((first,), made):
      writer.write_frame(image, time)
      count += 1
      while heard is not None and heard <= time:
        heard = next(pieces, None)
    for _ in pieces:
      pass
  return count


def can_copy_sound(path: str | os.PathLike) -> bool:
  """Whether the packets of the sound can go into an MP4 file as they are.

  That takes a codec which MP4 holds, and packets whose times follow on each
  other, as those of a damaged file do not.
  """
  with containers.open_media(path) as container:
    stream = containers.audio_stream(container)
    if stream is None or stream.codec_context.name not in _COPIED:
      return False
    video = containers.video_stream(container)
    origin = containers.start_time(stream if video is None else video)
    last, count = None, 0
    for packet in containers.read_packets(container, stream):
      if not packet.size:
        continue
      if None in (packet.pts, packet.dts) or packet.is_corrupt:
        return False
      time = float(packet.dts * packet.time_base)
      if last is None and not -1 < time - origin < containers.MAX_GAP:
        return False
      if last is not None and not last < time < last + 1:
        return False
      last = time
      count += 1
  return count > 0


def _copy_sound(container, target):
  """Copies packet by packet; yields each one's time in seconds."""
  stream = containers.audio_stream(container)
  origin = containers.start_time(containers.video_stream(container))
  copy = target.add_stream_from_template(stream)
  shift = round(origin / stream.time_base)
  for packet in containers.read_packets(container, stream):
    if not packet.size:
      continue
    packet.pts -= shift
    packet.dts -= shift
    time = float(packet.pts * packet.time_base)
    packet.stream = copy
    yield time
    target.mux(packet)


def _decoded_sound(source):
  """Pieces of the sound, or None where there is none that decodes."""
  pieces = decode.stream_audio(
    source, sample_rate=_SOUND_RATE, chunk=_SOUND_RATE // 10
  )
  try:
    first = next(pieces, None)
  except errors.MediaError:
    return None
  return None if first is None else itertools.chain((first,), pieces)


def _encode_sound(pieces, writer):
  """Encodes piece by piece; yields the start of each in seconds."""
  start = 0
  for piece in pieces:
    yield start / _SOUND_RATE
    writer.write_speech(piece)
    start += len(piece)


def draw(image: np.ndarray, overlays: Sequence[Overlay]) -> np.ndarray:
  """A copy of a uint8 [H, W, 3] RGB picture with the overlays on it."""
  image = image.copy()
  for overlay in overlays:
    scale = max(0.35, min(image.shape[:2]) / 720)
    colour = COLOURS[overlay.colour % len(COLOURS)]
    thickness = max(1, round(2 * scale))
    if overlay.box is not None:
      x, y, width, height = (round(float(value)) for value in overlay.box)
      cv2.rectangle(
        image, (x, y), (x + width, y + height), colour, thickness, cv2.LINE_AA
      )
    else:
      x, y, width, height = 0, 0, 0, 0
    if overlay.landmarks is not None:
      for point in np.asarray(overlay.landmarks):
        if np.isfinite(point).all():
          place = tuple(int(value) for value in np.round(point))
          cv2.circle(image, place, 1 + thickness, colour, -1, cv2.LINE_AA)
    below = 0
    if overlay.label:
      below = _draw_label(image, overlay, (x, y), colour, scale)
    if overlay.probabilities:
      _draw_bars(image, overlay, (x, y, width), below, colour, scale)
  return image


def _draw_label(image, overlay, corner, colour, scale) -> int:
  """Writes the label above the box; returns where it ends, in pixels."""
  (width, height), base = cv2.getTextSize(overlay.label, _FONT, 0.8 * scale, 1)
  pad = max(2, round(4 * scale))
  left = max(0, min(corner[0], image.shape[1] - width - 2 * pad))
  top = max(0, corner[1] - height - base - 2 * pad)
  bottom = top + height + base + 2 * pad
  cv2.rectangle(
    image, (left, top), (left + width + 2 * pad, bottom), colour, -1
  )
  cv2.putText(
    image,
    overlay.label,
    (left + pad, top + height + pad),
    _FONT,
    0.8 * scale,
    (0, 0, 0),
    1,
    cv2.LINE_AA,
  )
  return bottom


def _draw_bars(image, overlay, place, below, colour, scale):
  """Draws the probabilities beside the box, where there is room."""
  size = 0.6 * scale
  names = {
    name: cv2.getTextSize(name, _FONT, size, 1)[0][0]
    for name in overlay.probabilities
  }
  pad = max(3, round(8 * scale))
  line = round(30 * size + 6 * scale)
  bar = round(110 * scale)
  text = max(names.values())
  width, height = text + bar + 3 * pad, line * len(names) + pad
  x, y, box_width = place
  left = x + box_width + pad
  if overlay.box is None:
    left, y = pad, below + pad
  elif left + width > image.shape[1]:
    left = x - pad - width
    # With no room on either side the bars go over the edge of the picture's
    # emptier half.
    if left < 0:
      left = 0 if x > image.shape[1] - x - box_width else image.shape[1] - width
  left = max(0, min(left, image.shape[1] - width))
  top = max(0, min(y, image.shape[0] - height))
  panel = image[top : top + height, left : left + width]
  np.copyto(panel, (panel * 0.35).astype(np.uint8))
  for row, (name, probability) in enumerate(overlay.probabilities.items()):
    baseline = top + pad // 2 + row * line + round(0.75 * line)
    cv2.putText(
      image, name, (left + pad, baseline), _FONT, size, _WHITE, 1, cv2.LINE_AA
    )
    start = left + 2 * pad + text
    upper = baseline - round(0.5 * line)
    filled = start + round(bar * float(np.clip(probability, 0, 1)))
    cv2.rectangle(image, (start, upper), (start + bar, baseline), _WHITE, 1)
    cv2.rectangle(image, (start, upper), (filled, baseline), colour, -1)
