"""Windows of records whose labels stand by frame.

A window is `seconds` long and lies wholly within its record, a segment of a
film; its label is that of its middle frame, the one nearest to its middle in
time. A record that is shorter than a window is one window.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo.data import clips

Record = Mapping[str, Any]


def count(duration: float, seconds: float, every: float) -> int:
  """How many windows, `every` seconds apart, cover a record; at least one.

  The last ends with the record, so that it may be nearer to the one before.
  """
  return 1 + max(int(np.ceil((duration - seconds) / every - 1e-6)), 0)


def measure(record: Record) -> float:
  """Seconds from the start of a record to the end of its pictures or sound."""
  times = record['frame_time']
  shown = 0.0
  if len(times):
    shown = float(times[-1] - record['start'])
    shown += 1 / max(float(record['fps']), 1.0)
  return max(shown, len(record['speech']) / 2 / clips.SAMPLE_RATE)


def find_middles(record: Record, seconds: float) -> np.ndarray:
  """Bool [n]: the frames that may be the middle of a window."""
  times = np.asarray(record['frame_time'], np.float64) - float(record['start'])
  duration = measure(record)
  if duration <= seconds:
    middles = np.zeros(len(times), bool)
    middles[find_nearest(times, duration / 2)] = True
    return middles
  half = seconds / 2
  inside = (times >= half - 1e-3) & (times <= duration - half + 1e-3)
  if not inside.any():
    # Few pictures, and none where a window's middle may be.
    inside[find_nearest(times, duration / 2)] = True
  return inside


def draw_middle(
  record: Record, seconds: float, known: np.ndarray, rng: np.random.Generator
) -> int:
  """A window's middle frame: of those with a label, each as likely.

  Args:
    record: as stored, with frames.
    seconds: of the window.
    known: bool [n], the frames with a label; where none of them may be a
      middle, any frame that may is drawn.
    rng: of the draw.
  """
  middles = find_middles(record, seconds)
  places = np.flatnonzero(middles & known)
  if not len(places):
    places = np.flatnonzero(middles)
  return int(rng.choice(places))


def place_middle(
  record: Record, seconds: float, every: float, number: int
) -> int:
  """The middle frame of window `number` of those that `count` counts."""
  times = np.asarray(record['frame_time'], np.float64) - float(record['start'])
  duration = measure(record)
  last = max(duration - seconds / 2, duration / 2)
  first = min(seconds / 2, duration / 2)
  return find_nearest(times, min(first + number * every, last))


def find_nearest(times: np.ndarray, time: float) -> int:
  """The place of the time nearest to another; of two, the earlier."""
  return int(np.abs(times - time).argmin())


def cut(record: Record, middle: int, seconds: float) -> dict[str, Any]:
  """The window around a frame, as a record of its own without labels.

  Args:
    record: as stored, with frames.
    middle: place of the frame in the record.
    seconds: of the window.
  """
  start = float(record['start'])
  times = np.asarray(record['frame_time'], np.float64)
  last = max(measure(record) - seconds, 0.0)
  begin = min(max(times[middle] - start - seconds / 2, 0.0), last)
  # Half a frame's rounding must not cost the first or last picture.
  slack = 1e-3
  first, stop = np.searchsorted(
    times - start, (begin - slack, begin + seconds - slack)
  )
  stop = max(stop, first + 1)
  samples = [
    round(moment * clips.SAMPLE_RATE) for moment in (begin, begin + seconds)
  ]
  return {
    'clip_id': record['clip_id'],
    'start': np.float32(start + begin),
    'fps': record['fps'],
    'frames': record['frames'][first:stop],
    'frame_time': record['frame_time'][first:stop],
    'face': record['face'][first:stop],
    'box': record['box'][first:stop],
    'speech': record['speech'][2 * samples[0] : 2 * samples[1]],
  }
