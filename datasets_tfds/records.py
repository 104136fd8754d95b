"""One clip's files to its records: decode, find the face, cut, encode."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from avemo import errors
from avemo.corpora import clip as clips
from avemo.data import schema
from avemo.media import decode, encode, faces
from datasets_tfds import pictures

# Sound that nowhere rises above -60 dB of full scale is silence.
SILENCE = 1e-3
_SHORTEST_SOUND = 0.1


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


def make_records(
  clip: clips.Clip,
  options: Options,
  make_detector: Callable[..., faces.Detector] = faces.make_detector,
) -> Outcome:
  """Reads a clip's files and makes its records.

  Each modality comes from the first of its files that is usable; a modality
  without any is missing. A clip without both has no records, nor has a clip
  that needs both and lacks one.

  Args:
    clip: the clip.
    options: how.
    make_detector: face model's path or None -> detector.
  """
  unusable = {}
  speech = _read_first(
    clip.audios, lambda path: read_speech(path, clip, options), unusable
  )
  heard = 0.0 if speech is None else len(speech) / schema.SAMPLE_RATE
  picture = _read_first(
    clip.videos,
    lambda path: pictures.read_picture(
      path,
      make_detector(options.face_model),
      config=options.config,
      longest=options.longest_clip or math.inf,
      heard=heard,
    ),
    unusable,
  )
  if speech is not None and picture is not None:
    shown = float(picture.time[-1])
    if pictures.is_cut_short(heard, shown):
      speech = _read_first(
        clip.audios,
        lambda path: read_speech(path, clip, options, shown),
        unusable,
      )
  records = []
  if clip.needs_both and (speech is None or picture is None):
    # Noted on every file of the clip: none of them is in the dataset.
    what = 'picture' if picture is None else 'sound'
    reason = f'left out, for its clip has no usable {what}'
    for path in dict.fromkeys((*clip.videos, *clip.audios)):
      unusable.setdefault(path, []).append(reason)
  elif speech is not None or picture is not None:
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
    except Exception as error:
      # One file's damage, of whatever kind, must not stop a corpus's build.
      reason = f'cannot be read ({type(error).__name__}: {error})'
      unusable.setdefault(os.fspath(path), []).append(' '.join(reason.split()))
      continue
    if found is not None:
      return found
  return None


def read_speech(
  path: str, clip: clips.Clip, options: Options, shown: float = 0.0
) -> np.ndarray | None:
  """Sound as int16 [n] at 16 kHz; None where a film has no sound.

  Args:
    path: the file.
    clip: whose it is.
    options: how.
    shown: seconds that the clip's picture lasts, as far as it is known.

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
  if pictures.is_cut_short(size / schema.SAMPLE_RATE, shown):
    raise errors.MediaError(
      path,
      f'its sound lasts {size / schema.SAMPLE_RATE:.2f} s, the pictures '
      f'{shown:.2f} s',
    )
  if np.abs(speech).max() < SILENCE:
    raise errors.MediaError(path, 'its sound is silent')
  return encode.to_int16(speech)


class Segment(NamedTuple):
  """A piece of a clip; a missing modality is None, or empty in this piece."""

  number: int
  count: int
  start: float
  speech: np.ndarray | None
  picture: pictures.Picture | None


def cut_segments(
  speech: np.ndarray | None,
  picture: pictures.Picture | None,
  max_seconds: float,
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
  return pictures.Picture(
    picture.fps,
    [picture.frames[place] for place in inside],
    *(column[inside] for column in picture[2:]),
  )


def make_record(
  clip: clips.Clip, part: Segment, options: Options
) -> dict[str, Any]:
  """The record of one segment, as `schema.features` describes it."""
  picture = part.picture or pictures.Picture(
    0.0,
    [],
    np.zeros(0, np.int32),
    np.zeros(0),
    np.zeros(0, np.uint8),
    np.zeros((0, 4), np.float32),
    np.zeros((0, 10), np.float32),
  )
  speech = b'' if part.speech is None else part.speech.astype('<i2').tobytes()
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
    'valence': np.float32(clip.valence),
    'arousal': np.float32(clip.arousal),
    'frame_valence': np.zeros(0, np.float32),
    'frame_arousal': np.zeros(0, np.float32),
    'frame_expression': np.zeros(0, np.int32),
    'frame_action_units': np.zeros((0, schema.NUM_ACTION_UNITS), np.float32),
  }
  for name, kind in options.extra.items():
    value = clip.extra.get(name)
    record[name] = schema.unknown(kind) if value is None else value
  return record
