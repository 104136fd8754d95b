"""Opening media files of any origin, and reading them within bounds."""

import fractions
import os
import pathlib
from collections.abc import Iterator

import av

from avemo import errors

# What may be opened. Play lists and scripts, which FFmpeg would also follow
# to other files and hosts, are not among them.
_DEMUXERS = (
  'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,kux,mpegts,mpeg,'
  'mpegvideo,asf,wav,w64,mp3,aac,flac,ogg,caf,aiff,au,amr,h264,hevc,m4v,gif,'
  'rm,dv,nut,ivf,mxf,ac3,eac3'
)
_LFS_STUB = b'version https://git-lfs.github.com/spec/'

# Bounds that only damaged files meet: a picture larger than 8192 x 4320, a
# run of packets without anything to show, errors of the container's reader.
_MAX_PIXELS = 8192 * 4320
_MAX_FRUITLESS = 2_000
_MAX_READ_ERRORS = 100

# Longest believable gap in a stream's times, in seconds. A larger step is a
# broken clock, which would else become hours of silence or still pictures.
MAX_GAP = 30.0

# PyAV raises an IndexError at the end of a file in which streams have appeared
# after its start, as a flipped bit in FLV makes them.
_ERRORS = (
  av.error.FFmpegError,
  IndexError,
  ValueError,
  OverflowError,
  MemoryError,
)


def open_media(path: str | os.PathLike) -> av.container.InputContainer:
  """Opens a media file for reading.

  Raises:
    MediaError: for a path that is no readable media file.
  """
  path = pathlib.Path(path)
  try:
    if path.is_dir():
      raise errors.MediaError(path, 'a folder, not a media file')
    with open(path, 'rb') as file:
      head = file.read(len(_LFS_STUB))
  except FileNotFoundError:
    raise errors.MediaError(path, 'no such file') from None
  except OSError as error:
    raise errors.MediaError(path, f'cannot be read: {error.strerror}') from None
  if not head:
    raise errors.MediaError(path, 'the file is empty')
  if head == _LFS_STUB:
    raise errors.MediaError(
      path, 'a git-LFS stub, not the media itself; fetch it with git lfs pull'
    )
  try:
    # The prefix keeps a name with a colon from being read as an address.
    return av.open(
      f'file:{path}',
      options={'format_whitelist': _DEMUXERS, 'protocol_whitelist': 'file'},
      metadata_errors='replace',
    )
  except _ERRORS as error:
    raise errors.MediaError(
      path,
      'not a media file, or cut short or damaged beyond reading '
      f'({describe(error)})',
    ) from None


def describe(error: Exception) -> str:
  """The bare reason of an FFmpeg or Python error, in one line."""
  text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
  return ' '.join(text.split())


def video_stream(container: av.container.InputContainer):
  """The picture stream, or None; the cover of a sound file is not one."""
  for stream in container.streams.video:
    covers = av.stream.Disposition.attached_pic
    if stream.codec_context is not None and not stream.disposition & covers:
      return stream
  return None


def audio_stream(container: av.container.InputContainer):
  """The first sound stream that has a decoder, or None."""
  for stream in container.streams.audio:
    if stream.codec_context is not None:
      return stream
  return None


def frame_rate(stream) -> fractions.Fraction:
  """Frames a second as the container says it, 25 where it says nonsense."""
  for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
    if rate and 1 <= rate <= 240:
      return rate
  return fractions.Fraction(25)


def start_time(stream) -> float:
  """Seconds at which the stream starts on the container's clock."""
  if stream.start_time is None or stream.time_base is None:
    return 0.0
  return float(stream.start_time * stream.time_base)


def decode(container, stream) -> Iterator:
  """Decodes what can be decoded of a stream, passing over damaged parts."""
  context = stream.codec_context
  context.thread_count = 1
  context.options = {**context.options, 'max_pixels': str(_MAX_PIXELS)}
  fruitless = 0
  for packet in read_packets(container, stream):
    try:
      frames = packet.decode()
    except _ERRORS:
      frames = ()
    fruitless = 0 if frames else fruitless + 1
    yield from frames
    if fruitless > _MAX_FRUITLESS:
      return


def read_packets(container, stream) -> Iterator[av.Packet]:
  """Packets of a stream, going on after errors a bounded number of times."""
  for _ in range(_MAX_READ_ERRORS):
    try:
      yield from container.demux(stream)
      return
    except _ERRORS:
      continue


class Clock:
  """Turns the times a file states into times that rise from frame to frame.

  Missing times count on at the frame rate. A frame that another one has
  overtaken follows it closely, until the file's clock has caught up. Where
  the clock is set back, or leaps by more than `MAX_GAP`, it is taken to go on
  from the frame before.
  """

  def __init__(self, origin: float, step: float):
    """Starts the clock.

    Args:
      origin: time of the file's clock that counts as zero, in seconds.
      step: usual distance of two frames in seconds.
    """
    self._origin = origin
    self._step = step
    self._last = None
    self._last_stated = None

  def __call__(self, stated: float | None) -> float:
    """Time in seconds of the next frame, given the stated one or None."""
    if self._last is None:
      time = 0.0 if stated is None else stated - self._origin
      if not 0 <= time <= MAX_GAP:
        self._origin += time
        time = 0.0
    elif stated is None or stated == self._last_stated:
      time = self._last + self._step
    else:
      time = stated - self._origin
      if not self._last - 1.0 < time <= self._last + MAX_GAP:
        self._origin = stated - (self._last + self._step)
        time = self._last + self._step
      elif time <= self._last:
        time = self._last + self._step / 4
    self._last, self._last_stated = time, stated
    return time
