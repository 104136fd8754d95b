"""Decoded sound as mono samples, each at its time."""

import av
import numpy as np

from avemo.media import container as containers

# Sound is moved when it strays this far from its stated times, in seconds.
_MAX_DRIFT = 0.1


def place(container, stream, origin: float, sample_rate: int):
  """Decodes a sound stream so that its samples lie at their stated times.

  Args:
    container: the open file.
    stream: its sound stream.
    origin: time on the file's clock of the first sample, in seconds.
    sample_rate: of the samples given back, in Hz.

  Yields:
    float32 [n] mono samples in [-1, 1].
  """
  resample = _Resampler(sample_rate)
  cut = 0  # Samples still to be dropped, from before the first picture.
  expected = None
  for frame in containers.decode(container, stream):
    if not frame.samples or not frame.sample_rate:
      continue
    stated = frame.time
    if expected is None:
      lead = 0.0 if stated is None else stated - origin
      lead = lead if abs(lead) <= containers.MAX_GAP else 0.0
      expected = stated = origin + lead if stated is None else stated
      cut = max(0, round(-lead * sample_rate))
      if lead > 0:
        yield np.zeros(round(lead * sample_rate), np.float32)
    elif stated is not None and abs(stated - expected) > _MAX_DRIFT:
      # A step back, or a leap, is a broken clock: the samples are all there.
      if expected < stated <= expected + containers.MAX_GAP:
        piece = np.concatenate(
          [
            resample.flush(),
            np.zeros(round((stated - expected) * sample_rate), np.float32),
          ]
        )
        cut, piece = _cut(cut, piece)
        yield piece
      expected = stated
    expected += frame.samples / frame.sample_rate
    cut, piece = _cut(cut, resample(frame))
    yield piece
  if expected is not None:
    yield _cut(cut, resample.flush())[1]


def _cut(cut, piece):
  return max(0, cut - len(piece)), piece[cut:]


class _Resampler:
  """Decoded sound frames to mono samples at one rate."""

  def __init__(self, sample_rate):
    self._sample_rate = sample_rate
    self._form = None
    self._resampler = None

  def __call__(self, frame) -> np.ndarray:
    """The samples, float32 [n], that this frame completes."""
    form = (frame.format.name, frame.layout.name, frame.sample_rate)
    tail = self.flush() if form != self._form else np.zeros(0, np.float32)
    if self._resampler is None:
      self._form = form
      self._resampler = av.AudioResampler(
        format='fltp', layout=frame.layout, rate=self._sample_rate
      )
    frame.pts = None
    try:
      frames = self._resampler.resample(frame)
    except (av.error.FFmpegError, ValueError):
      frames = []
    return np.concatenate([tail, _to_mono(frames)])

  def flush(self) -> np.ndarray:
    """The samples still inside, float32 [n]; the next frame starts afresh."""
    if self._resampler is None:
      return np.zeros(0, np.float32)
    frames = self._resampler.resample(None)
    self._resampler = None
    return _to_mono(frames)


def _to_mono(frames) -> np.ndarray:
  """The mean of the channels: FFmpeg's own downmix of floats is too loud."""
  if not frames:
    return np.zeros(0, np.float32)
  planes = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
  # Broken streams of floating-point samples hold NaN and huge values.
  samples = np.nan_to_num(planes).clip(-1, 1).mean(axis=0)
  return samples.astype(np.float32, copy=False)
