"""One clip's files to its records: decode, find the face, cut, encode.

Files are looked over once and then read again part by part, so that a film of
hours takes no more memory than a short one.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from avemo import errors
from avemo.corpora import clip as clips
from avemo.data import schema
from avemo.media import faces
from datasets_tfds import parts, pictures, shipped, sounds

# Why a clip that needs both modalities is not in the dataset.
LACKS = 'left out, for its clip has no usable {}'


@dataclasses.dataclass(frozen=True)
class Options:
  """How clips become records.

  Attributes:
    config: 'face' stores crops around the main face, 'frame' whole pictures.
    face_model: ONNX file of the face detector, None for the default one.
    longest_clip: seconds beyond which a file cannot be a clip of this corpus;
      infinite where it may be a film of any length.
    extra: the corpus's own fields, name to type.
    emotions: the words that labels by frame are numbered by.
    max_seconds: longest segment.
    scratch: folder for the records of a long film on their way; the system's
      own when empty.
  """

  config: str = schema.CONFIGS[0]
  face_model: str | None = None
  longest_clip: float = math.inf
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  emotions: tuple[str, ...] = ()
  max_seconds: float = schema.MAX_SECONDS
  scratch: str = ''


class Outcome(NamedTuple):
  """What came of a clip: its records, and the files that were of no use."""

  records: Any
  unusable: list[clips.Quarantined]


class _Unreadable(Exception):
  """A file that was fine when it was looked over, and is not any more."""

  def __init__(self, kind, path, reason):
    super().__init__(reason)
    self.kind, self.path, self.reason = kind, path, reason


def make_records(
  clip: clips.Clip,
  options: Options,
  make_detector: Callable[..., faces.Detector] = faces.make_detector,
  store: Callable[[Iterator[dict[str, Any]]], Any] = list,
) -> Outcome:
  """Reads a clip's files and makes its records.

  Each modality comes from the first of its files that is usable; a modality
  without any is missing. A clip without both has no records, nor has a clip
  that needs both and lacks one.

  Args:
    clip: the clip.
    options: how.
    make_detector: face model's path or None -> detector.
    store: takes the records one by one; what it returns stands for them.
  """
  own, faults = clip.read_labels() if clip.read_labels else (None, [])
  notes = _Notes()
  while True:
    sound, picture = _look_over(clip, options, make_detector, notes)
    if clip.needs_both and (sound is None or picture is None):
      # Noted on every file of the clip: none of them is in the dataset.
      what = 'picture' if picture is None else 'sound'
      for path in dict.fromkeys((*clip.videos, *clip.audios)):
        notes.refuse(what, path, LACKS.format(what))
      sound = picture = None
    labels, notices = parts.add_given(
      own,
      clip.given,
      0 if picture is None else len(picture.times),
      options.emotions,
    )
    try:
      stored = store(_stream(clip, sound, picture, labels, options))
      break
    except _Unreadable as error:
      notes.refuse(error.kind, error.path, error.reason)
  unusable = [*faults, *notices, *notes.tell()]
  if not stored:
    unusable += clip.if_left_out
  if isinstance(picture, shipped.Faces) and picture.num_damaged:
    reason = (
      f'used in part: {picture.num_damaged} of its pictures cannot be read'
    )
    unusable.append(clips.Quarantined(picture.path, reason))
  if stored and isinstance(picture, pictures.Film):
    unusable += _find_missing_end(picture)
  if own is not None and picture is not None:
    unusable += parts.find_mismatches(own, len(picture.times))
  return Outcome(stored, unusable)


def _find_missing_end(film: pictures.Film) -> list[clips.Quarantined]:
  shown = float(film.times[-1]) + 1 / max(film.fps, 1.0)
  if not pictures.is_cut_short(shown, film.seconds_told):
    return []
  reason = (
    f'used in part: says that it lasts {film.seconds_told:.1f} s, and '
    f'{shown:.1f} s could be decoded'
  )
  return [clips.Quarantined(film.path, reason)]


class _Notes:
  """What is wrong with a clip's files."""

  def __init__(self):
    self._reasons = {}
    self._refused = set()

  def refuse(self, kind: str, path: str, reason: str):
    """Notes that the picture or the sound of a file is of no use."""
    self._reasons.setdefault(os.fspath(path), []).append(reason)
    self._refused.add((kind, path))

  def read_first(self, kind, paths, read):
    """What the first usable file gives, or None."""
    for path in paths:
      if (kind, path) in self._refused:
        continue
      try:
        found = read(path)
      except Exception as error:
        # One file's damage, of whatever kind, must not stop a corpus's build.
        self.refuse(kind, path, _explain(error))
        continue
      if found is not None:
        return found
    return None

  def tell(self) -> list[clips.Quarantined]:
    return [
      clips.Quarantined(path, '; '.join(dict.fromkeys(reasons)))
      for path, reasons in self._reasons.items()
    ]


def _explain(error: Exception) -> str:
  if isinstance(error, errors.MediaError):
    return error.reason
  reason = f'cannot be read ({type(error).__name__}: {error})'
  return ' '.join(reason.split())


def _look_over(clip, options, make_detector, notes):
  """The clip's sound and its pictures, either of which may be None."""

  def hear(path, shown=0.0):
    return sounds.look_over(
      path,
      longest=options.longest_clip,
      shown=shown,
      has_picture=path in clip.videos,
    )

  def watch(path):
    if path in clip.pictures:
      return shipped.Faces(path, clip)
    return pictures.Film(
      path,
      make_detector(options.face_model),
      config=options.config,
      max_seconds=options.max_seconds,
      longest=options.longest_clip,
      heard=0.0 if sound is None else sound.seconds,
      side=clip.side,
    )

  sound = notes.read_first('sound', clip.audios, hear)
  # Faces that are cut out already are no whole pictures, but better than none.
  candidates = (
    (*clip.pictures, *clip.videos)
    if options.config == 'face'
    else (*clip.videos, *clip.pictures)
  )
  picture = notes.read_first('picture', candidates, watch)
  if sound is not None and isinstance(picture, pictures.Film):
    shown = float(picture.times[-1])
    if pictures.is_cut_short(sound.seconds, shown):
      sound = notes.read_first(
        'sound', clip.audios, lambda path: hear(path, shown)
      )
  return sound, picture


def _stream(clip, sound, picture, labels, options) -> Iterator[dict[str, Any]]:
  """Yields the records of a clip, as `schema.features` describes them."""
  if sound is None and picture is None:
    return
  line = parts.make_timeline(clip, sound, picture, labels, options.max_seconds)
  voice = sounds.cut(sound, line.edges)
  shots = iter(()) if picture is None else picture.read(line.spans)
  if sound is not None:
    voice = _guard('sound', sound.path, voice)
  if picture is not None:
    shots = _guard('picture', picture.path, shots)
  for fields in parts.cut(line, voice, shots, labels):
    yield make_record(clip, fields, options)


def _guard(kind, path, iterator):
  """The same, but what goes wrong tells the file."""
  try:
    yield from iterator
  except Exception as error:
    raise _Unreadable(kind, path, _explain(error)) from error


def make_record(
  clip: clips.Clip, fields: Mapping[str, Any], options: Options
) -> dict[str, Any]:
  """The record of one part of a clip, as `schema.features` describes it.

  Args:
    clip: the clip.
    fields: those that change along the clip.
    options: names the corpus's own fields.
  """
  record = {
    'clip_id': clip.clip_id,
    'video_id': clip.clip_id,
    'speaker': clip.speaker,
    'recording': clip.recording,
    'emotion': clip.emotion,
    'intensity': clip.intensity,
    'valence': np.float32(clip.valence),
    'arousal': np.float32(clip.arousal),
    **fields,
  }
  for name, kind in options.extra.items():
    value = clip.extra.get(name)
    record[name] = schema.unknown(kind) if value is None else value
  return record
