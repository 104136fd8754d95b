"""Media files to arrays: pictures and sound on one clock.

Time zero is the start of the picture stream, or of the sound where there are
no pictures. Sound sample n is heard with the picture shown at n / sample_rate:
sound from before the first picture is cut off, sound that starts later is
preceded by silence.
"""

import dataclasses
import os
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np

from avemo import errors
from avemo.media import container as containers
from avemo.media import sound

# Times in files are rounded, in FLV to a millisecond.
_TIME_TOLERANCE = 1.5e-3


@dataclasses.dataclass(frozen=True)
class MediaInfo:
  """What a media file holds, as far as it can be decoded.

  Attributes:
    path: the file.
    has_video: a picture can be decoded.
    has_audio: some sound can be decoded.
    width: of the pictures as shown, in pixels; 0 without pictures.
    height: likewise.
    fps: mean frames a second, 0 without pictures.
    duration: seconds.
    num_frames: an estimate.
    rotation: degrees counter-clockwise by which stored pictures are turned.
    sample_rate: of the sound in the file in Hz, 0 without sound.
    channels: of the sound in the file.
    video_codec: name of the decoder, '' without pictures.
    audio_codec: likewise.
  """

  path: str
  has_video: bool
  has_audio: bool
  width: int
  height: int
  fps: float
  duration: float
  num_frames: int
  rotation: int
  sample_rate: int
  channels: int
  video_codec: str
  audio_codec: str


class Frame(NamedTuple):
  """A picture: its number, its time in seconds, uint8 [H, W, 3] RGB."""

  index: int
  time: float
  image: np.ndarray


def probe(path: str | os.PathLike) -> MediaInfo:
  """Says what a file holds, from its first picture and its first sound.

  Raises:
    MediaError: when neither can be decoded.
  """
  picture, voice = _first(path, 'video'), _first(path, 'audio')
  if picture is None and voice is None:
    raise errors.MediaError(
      path, 'holds neither pictures nor sound that can be decoded'
    )
  with containers.open_media(path) as container:
    video = containers.video_stream(container)
    audio = containers.audio_stream(container)
    duration = _duration(container, video if picture is not None else audio)
    width = height = rotation = 0
    fps = 0.0
    if picture is not None:
      fps = float(containers.frame_rate(video))
      rotation = picture.rotation
      aspect = video.sample_aspect_ratio
      height, width = _to_image(picture, aspect).shape[:2]
    return MediaInfo(
      path=os.fspath(path),
      has_video=picture is not None,
      has_audio=voice is not None,
      width=width,
      height=height,
      fps=fps,
      duration=duration,
      num_frames=round(duration * fps),
      rotation=rotation,
      sample_rate=voice.sample_rate if voice is not None else 0,
      channels=voice.layout.nb_channels if voice is not None else 0,
      video_codec=video.codec_context.name if picture is not None else '',
      audio_codec=audio.codec_context.name if voice is not None else '',
    )


def _first(path, kind):
  """The first frame of a stream that decodes, or None."""
  with containers.open_media(path) as container:
    stream = getattr(containers, f'{kind}_stream')(container)
    if stream is None:
      return None
    return next(containers.decode(container, stream), None)


def _duration(container, stream) -> float:
  if container.duration is not None and container.duration > 0:
    return container.duration / av.time_base
  end, count = None, 0
  for packet in containers.read_packets(container, stream):
    count += packet.size > 0
    if packet.pts is not None:
      end = max(end or 0, packet.pts + (packet.duration or 0))
  if end is not None:
    seconds = float(end * stream.time_base) - containers.start_time(stream)
    return max(seconds, 0.0)
  if stream.type == 'video':
    return count / float(containers.frame_rate(stream))
  return 0.0


def read_frames(
  path: str | os.PathLike,
  *,
  fps: float | None = None,
  max_side: int | None = None,
) -> Iterator[Frame]:
  """Reads the pictures of a film one by one, upright, in constant memory.

  A film that is cut short or damaged gives what can be decoded. Pictures that
  change their size midway are brought to the size of the first.

  Args:
    path: the film.
    fps: pictures a second; frame n is then the one shown at n / fps. None
      gives every picture of the file at its own time.
    max_side: pictures with a longer side than this, in pixels, are scaled
      down to it.

  Yields:
    Frames in the order of their times, the first at or just after 0 s.

  Raises:
    MediaError: when no picture can be decoded.
  """
  with containers.open_media(path) as container:
    stream = containers.video_stream(container)
    if stream is None:
      raise errors.MediaError(path, 'has no video stream')
    step = 1 / float(containers.frame_rate(stream))
    clock = containers.Clock(containers.start_time(stream), step)
    frames = _images(container, stream, clock, max_side)
    if fps is not None:
      frames = _at_constant_rate(frames, fps, step)
    index = -1
    for index, (time, image) in enumerate(frames):
      yield Frame(index, time, image)
    if index < 0:
      raise errors.MediaError(path, 'no picture of it can be decoded')


def read_times(path: str | os.PathLike) -> np.ndarray:
  """Seconds of each picture of a film, read without decoding any.

  Returns:
    float64 [n], rising; what `read_frames` gives of a film that is whole.

  Raises:
    MediaError: when it has no pictures.
  """
  with containers.open_media(path) as container:
    stream = containers.video_stream(container)
    if stream is None:
      raise errors.MediaError(path, 'has no video stream')
    step = 1 / float(containers.frame_rate(stream))
    stated = [
      float(
        (packet.dts if packet.pts is None else packet.pts) * packet.time_base
      )
      for packet in containers.read_packets(container, stream)
      if packet.size and (packet.pts is not None or packet.dts is not None)
    ]
    if not stated:
      raise errors.MediaError(path, 'no picture of it can be decoded')
    clock = containers.Clock(containers.start_time(stream), step)
    return np.array([clock(time) for time in sorted(stated)])


def _images(container, stream, clock, max_side):
  """Yields (time in seconds, uint8 [H, W, 3]) of what decodes."""
  size, aspect = None, stream.sample_aspect_ratio
  for frame in containers.decode(container, stream):
    time = clock(frame.time)
    try:
      image = _to_image(frame, aspect, max_side, size)
    except (av.error.FFmpegError, ValueError):
      continue
    size = size or image.shape[1::-1]
    yield time, image


def _to_image(frame, aspect, max_side=None, size=None) -> np.ndarray:
  """A decoded frame upright as uint8 [H, W, 3] RGB, of `size` if given."""
  turns = round(frame.rotation / 90) % 4
  if size is None:
    width, height = frame.width, frame.height
    if aspect and 0.25 <= aspect <= 4:
      width = round(width * aspect)
    scale = min(1, max_side / max(width, height)) if max_side else 1
    width = max(1, round(width * scale))
    height = max(1, round(height * scale))
  else:
    width, height = size[::-1] if turns % 2 else size
  image = frame.to_ndarray(
    format='rgb24', width=width, height=height, interpolation='AREA'
  )
  return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _at_constant_rate(frames, fps, step):
  """Yields the picture shown at n / fps for n = 0, 1, …"""
  index, image, time = 0, None, 0.0
  for time, following in frames:
    # Until the first picture comes there is nothing to show but itself.
    image = following if image is None else image
    while index / fps < time - _TIME_TOLERANCE:
      yield index / fps, image
      index += 1
    image = following
  while image is not None and index / fps < time + step - _TIME_TOLERANCE:
    yield index / fps, image
    index += 1


def stream_audio(
  path: str | os.PathLike,
  *,
  sample_rate: int = 16_000,
  chunk: int = 160_000,
) -> Iterator[np.ndarray]:
  """Reads the sound of a file piece by piece, in constant memory.

  Args:
    path: a film or a sound file.
    sample_rate: of the samples given back, in Hz.
    chunk: samples a piece; the last piece may be shorter.

  Yields:
    float32 [n] mono samples in [-1, 1], the mean of the channels. Nothing
    where there is no sound stream, or an empty one beside pictures.

  Raises:
    MediaError: when no sound can be decoded from the stream.
  """
  with containers.open_media(path) as container:
    stream = containers.audio_stream(container)
    if stream is None:
      return
    video = containers.video_stream(container)
    origin = containers.start_time(stream if video is None else video)
    pieces, size, found = [], 0, False
    for piece in sound.place(container, stream, origin, sample_rate):
      found = True
      pieces.append(piece)
      size += len(piece)
      if size >= chunk:
        joined = np.concatenate(pieces)
        whole = size - size % chunk
        yield from np.split(joined[:whole], whole // chunk)
        pieces, size = [joined[whole:]], size - whole
    if size:
      yield np.concatenate(pieces)
    if not found and (video is None or _has_packets(path)):
      raise errors.MediaError(path, 'no sound of it can be decoded')


def read_audio(
  path: str | os.PathLike, *, sample_rate: int = 16_000
) -> np.ndarray | None:
  """Reads the sound of a file.

  Args:
    path: a film or a sound file.
    sample_rate: of the samples given back, in Hz.

  Returns:
    float32 [n] mono samples in [-1, 1], or None when there is no sound
    stream, or an empty one beside pictures.

  Raises:
    MediaError: when no sound can be decoded from the stream.
  """
  pieces = list(stream_audio(path, sample_rate=sample_rate))
  return np.concatenate(pieces) if pieces else None


def _has_packets(path) -> bool:
  with containers.open_media(path) as container:
    stream = containers.audio_stream(container)
    packets = containers.read_packets(container, stream)
    return any(packet.size for packet in packets)
