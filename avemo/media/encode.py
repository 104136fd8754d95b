"""Arrays to media files: the same input always gives the same bytes."""

import contextlib
import fractions
import os
import pathlib
import wave
from collections.abc import Iterable

import av
import cv2
import numpy as np

# Container, picture codec, sound codec and sound rate (None: as given) by
# suffix. FLV carries MP3 at 11025, 22050 and 44100 Hz only.
FORMATS = {
  '.flv': ('flv', 'flv', 'libmp3lame', 44_100),
  '.mp4': ('mp4', 'libx264', 'aac', 48_000),
  '.m4a': ('ipod', None, 'aac', 48_000),
  '.mov': ('mov', 'libx264', 'aac', 48_000),
  '.mkv': ('matroska', 'libx264', 'aac', 48_000),
  '.avi': ('avi', 'mpeg4', 'pcm_s16le', None),
  '.wav': ('wav', None, 'pcm_s16le', None),
  '.mp3': ('mp3', None, 'libmp3lame', None),
}

# Without a bit rate the encoders run at constant quality.
_QUANTISER = 3
_QP_TO_LAMBDA = 118

# Ticks of a stream whose frames carry their own times.
_TICKS = 90_000


class MediaWriter:
  """Encodes pictures and sound, interleaved, into one file.

  Use it as a context manager. The file appears under its name only when the
  block ends without an exception, so that a broken run leaves nothing that
  looks whole.

  Attributes:
    container: the open PyAV output.
    video: the picture stream, or None.
    audio: the sound stream, or None.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    *,
    size: tuple[int, int] | None = None,
    fps: float | fractions.Fraction = 25,
    variable: bool = False,
    sample_rate: int | None = None,
    layout: str = 'mono',
    video_codec: str | None = None,
    audio_codec: str | None = None,
    video_bitrate: int | None = None,
    audio_bitrate: int | None = None,
    audio_rate: int | None = None,
    options: dict[str, str] | None = None,
  ):
    """Opens the file.

    Args:
      path: where to write; its suffix, a key of `FORMATS`, is the container.
      size: width and height of the pictures in pixels, None for no pictures.
        An odd side is padded by one pixel, as 4:2:0 needs even ones.
      fps: frames a second.
      variable: the caller gives each frame its time.
      sample_rate: rate in Hz of the samples to come, None for no sound.
      layout: 'mono' or 'stereo'; mono samples are doubled for the latter.
      video_codec: an encoder in place of the container's usual one.
      audio_codec: the same for sound.
      video_bitrate: bits a second; constant quality when None.
      audio_bitrate: bits a second.
      audio_rate: rate in Hz of the sound in the file; the container's usual
        one when None.
      options: further options of the picture encoder.

    Raises:
      ValueError: for an unknown suffix.
    """
    self.path = pathlib.Path(path)
    suffix = self.path.suffix.lower()
    if suffix not in FORMATS:
      raise ValueError(
        f'{self.path}: cannot write {suffix or "a name without suffix"}; '
        f'one of {", ".join(FORMATS)}'
      )
    form, usual_video, usual_audio, usual_rate = FORMATS[suffix]
    self._partial = self.path.with_name(f'.{self.path.name}.partial')
    self.container = av.open(
      self._partial, 'w', format=form, options={'fflags': '+bitexact'}
    )
    self.video = self.audio = None
    self._variable = variable
    self._num_frames = self._num_samples = 0
    self._last_tick = -1
    self._sample_rate = sample_rate
    if size is not None:
      if usual_video is None:
        raise ValueError(f'{self.path}: {suffix} holds no pictures')
      self._add_video(video_codec or usual_video, size, fps, options)
      if video_bitrate is not None:
        self.video.codec_context.bit_rate = video_bitrate
      else:
        _set_quality(self.video.codec_context)
    if sample_rate is not None:
      self.audio = self.container.add_stream(
        audio_codec or usual_audio,
        rate=audio_rate or usual_rate or sample_rate,
        layout=layout,
      )
      _make_deterministic(self.audio.codec_context)
      if audio_bitrate is not None:
        self.audio.codec_context.bit_rate = audio_bitrate

  def _add_video(self, codec, size, fps, options):
    rate = fractions.Fraction(fps).limit_denominator(1001)
    self.video = self.container.add_stream(codec, rate=rate, options=options)
    self.video.width, self.video.height = (side + side % 2 for side in size)
    self.video.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
    context = self.video.codec_context
    context.time_base = (
      fractions.Fraction(1, _TICKS) if self._variable else 1 / rate
    )
    _make_deterministic(context)

  def write_frame(self, image: np.ndarray, time: float | None = None):
    """Appends one picture.

    Args:
      image: uint8 [H, W, 3] RGB of the size given at the start.
      time: seconds from the start of the film, for a writer opened with
        `variable`; frames out of order are moved up behind the one before.
    """
    height, width = self.video.height, self.video.width
    bottom, right = height - image.shape[0], width - image.shape[1]
    if (bottom, right) != (0, 0):
      if not (0 <= bottom <= 1 and 0 <= right <= 1):
        raise ValueError(
          f'a frame of {image.shape[1]}x{image.shape[0]} pixels in a film of '
          f'{width}x{height}'
        )
      image = cv2.copyMakeBorder(
        image, 0, bottom, 0, right, cv2.BORDER_REPLICATE
      )
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), 'rgb24')
    frame = frame.reformat(format=self.video.pix_fmt)
    if self._variable:
      tick = max(round(time * _TICKS), self._last_tick + 1)
    else:
      tick = self._num_frames
    self._last_tick = tick
    self._num_frames += 1
    frame.pts = tick
    frame.time_base = self.video.codec_context.time_base
    self.container.mux(self.video.encode(frame))

  def write_speech(self, speech: np.ndarray):
    """Appends mono samples: float in [-1, 1] or int16, [n]."""
    if not len(speech):
      return
    if speech.dtype != np.int16:
      speech = to_int16(speech)
    frame = av.AudioFrame.from_ndarray(
      np.ascontiguousarray(speech)[None], format='s16', layout='mono'
    )
    frame.sample_rate = self._sample_rate
    frame.pts = self._num_samples
    frame.time_base = fractions.Fraction(1, self._sample_rate)
    self._num_samples += len(speech)
    self.container.mux(self.audio.encode(frame))

  def __enter__(self):
    return self

  def __exit__(self, kind, error, traceback):
    try:
      if kind is None:
        if self.video is not None:
          self.container.mux(self.video.encode(None))
        if self.audio is not None and self._sample_rate is not None:
          self.container.mux(self.audio.encode(None))
      self.container.close()
      if kind is None:
        os.replace(self._partial, self.path)
    finally:
      with contextlib.suppress(FileNotFoundError):
        os.remove(self._partial)


def write_media(
  path: str | os.PathLike,
  frames: Iterable[np.ndarray] | None,
  *,
  fps: float | fractions.Fraction = 25,
  speech: np.ndarray | None = None,
  sample_rate: int = 16_000,
  times: Iterable[float] | None = None,
  **writer_options,
):
  """Writes a film, a silent film or a sound file.

  Args:
    path: where to write; the suffix chooses container and codecs (`FORMATS`).
    frames: uint8 [H, W, 3] RGB pictures of one size, None for sound alone.
    fps: frames a second.
    speech: mono samples [n], float in [-1, 1] or int16; None for no sound.
    sample_rate: their rate in Hz.
    times: seconds of each frame, for a variable rate.
    **writer_options: of `MediaWriter`.

  Raises:
    ValueError: when there is nothing to write or the suffix is unknown.
  """
  if frames is None and speech is None:
    raise ValueError(f'{os.fspath(path)}: neither pictures nor sound to write')
  if (
    frames is None
    and not writer_options
    and pathlib.Path(path).suffix.lower() == '.wav'
  ):
    write_wav(path, speech, sample_rate)
    return
  frames = iter(frames if frames is not None else ())
  first = next(frames, None)
  if first is None and speech is None:
    raise ValueError(f'{os.fspath(path)}: no pictures to write')
  with MediaWriter(
    path,
    size=None if first is None else (first.shape[1], first.shape[0]),
    fps=fps,
    variable=times is not None,
    sample_rate=None if speech is None else sample_rate,
    **writer_options,
  ) as writer:
    times = iter(times) if times is not None else None
    index, written, image = 0, 0, first
    while image is not None:
      time = index / float(fps) if times is None else next(times)
      writer.write_frame(image, time)
      if speech is not None:
        # Sound runs with the picture, so that neither has to be buffered.
        upto = min(len(speech), max(written, round(time * sample_rate)))
        writer.write_speech(speech[written:upto])
        written = upto
      image = next(frames, None)
      index += 1
    if speech is not None:
      writer.write_speech(speech[written:])


def write_wav(path: str | os.PathLike, speech: np.ndarray, sample_rate: int):
  """Writes mono samples [n], float in [-1, 1] or int16, as 16-bit PCM."""
  path = pathlib.Path(path)
  speech = np.asarray(speech)
  if speech.dtype != np.int16:
    speech = to_int16(speech)
  partial = path.with_name(f'.{path.name}.partial')
  try:
    with wave.open(os.fspath(partial), 'wb') as file:
      file.setnchannels(1)
      file.setsampwidth(2)
      file.setframerate(sample_rate)
      file.writeframes(speech.astype('<i2').tobytes())
    os.replace(partial, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(partial)


def to_int16(speech: np.ndarray) -> np.ndarray:
  """Float samples in [-1, 1] as int16, clipped; 32768 stands for 1."""
  scaled = np.rint(np.asarray(speech, np.float64) * 32768)
  return np.clip(scaled, -32768, 32767).astype(np.int16)


def _make_deterministic(context):
  context.thread_count = 1
  context.flags |= int(av.codec.context.Flags.bitexact)


def _set_quality(context):
  if context.name == 'libx264':
    # The tree of macroblocks adds floats in an order that varies: with it one
    # film in four came out with other bytes.
    context.options = {
      'crf': '20',
      'x264-params': 'mbtree=0',
      **context.options,
    }
  elif context.name in ('flv', 'mpeg4', 'mjpeg'):
    context.flags |= int(av.codec.context.Flags.qscale)
    context.options = {
      'global_quality': str(_QUANTISER * _QP_TO_LAMBDA),
      **context.options,
    }
