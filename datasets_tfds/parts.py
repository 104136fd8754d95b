"""Sound, pictures and labels by frame on one timeline, cut into parts."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from avemo import words
from avemo.corpora import clip as clips
from avemo.data import schema
from datasets_tfds import pictures, shipped, sounds

# Shape, type and mask of each label of a frame.
_LABELS = {
  'valence': ((), np.float32, np.nan),
  'arousal': ((), np.float32, np.nan),
  'expression': ((), np.int32, -1),
  'action_units': ((schema.NUM_ACTION_UNITS,), np.float32, np.nan),
}

# Decoders differ by so many frames in what they give of one film.
_USUAL_MISMATCH = 2


class Timeline(NamedTuple):
  """When each frame of a clip is, and where the clip is cut.

  A frame that is labelled and has no picture has its place all the same.

  Attributes:
    fps: frames a second, 0 where there are no frames.
    times: float64 [n], seconds of the frames.
    edges: float64 [parts + 1], seconds; the last one is infinite.
    spans: of each part, from its first frame to the one after its last.
  """

  fps: float
  times: np.ndarray
  edges: np.ndarray
  spans: tuple[pictures.Span, ...]


def make_timeline(
  clip: clips.Clip,
  sound: sounds.Sound | None,
  picture: pictures.Film | shipped.Faces | None,
  labels: clips.FrameLabels | None,
  max_seconds: float,
) -> Timeline:
  """Cuts a clip into equal parts of at most `max_seconds`.

  Args:
    clip: the clip.
    sound: its sound, or None.
    picture: its pictures, or None.
    labels: its labels by frame, or None. Line i is of picture i, whatever
      their numbers; frames beyond the last picture go on at its rate.
    max_seconds: a part's longest duration.
  """
  times, fps = np.zeros(0), 0.0
  if picture is not None:
    times, fps = picture.times, picture.fps
  elif labels is not None:
    times, fps = shipped.find_times(clip)
  if labels is not None:
    count = len(labels.valence)
    count = count if picture is None else max(count, len(times))
    times = shipped.extend_times(times, max(fps, 1.0), count)
  seconds = 0.0 if sound is None else sound.seconds
  if len(times):
    seconds = max(seconds, times[-1] + 1 / max(fps, 1.0))
  # A hundredth of a second over the limit makes no part of its own.
  count = max(1, math.ceil((seconds - 0.01) / max_seconds))
  edges = np.arange(count + 1) * (seconds / count)
  edges[-1] = math.inf
  places = np.searchsorted(times, edges).tolist()
  return Timeline(fps, times, edges, tuple(itertools.pairwise(places)))


def cut(
  line: Timeline,
  voice: Iterator[bytes],
  shots: Iterator[pictures.Shot],
  labels: clips.FrameLabels | None,
) -> Iterator[dict[str, Any]]:
  """Yields, part by part, the fields of a record that change along a clip.

  Args:
    line: where to cut.
    voice: the sound of each part.
    shots: the pictures of the clip, rising; some may be missing.
    labels: by frame, or None.
  """
  waiting = next(shots, None)
  for number, (first, last) in enumerate(line.spans):
    inside = []
    while waiting is not None and waiting.index < last:
      inside.append(waiting)
      waiting = next(shots, None)
    frames = np.arange(first, last) if inside or labels is not None else ()
    times = line.times[first:last][: len(frames)]
    yield {
      'segment': number,
      'num_segments': len(line.spans),
      'start': np.float32(line.edges[number]),
      'fps': np.float32(line.fps if len(frames) else 0.0),
      'frame_index': np.asarray(frames, np.int32),
      'frame_time': times.astype(np.float32),
      'speech': next(voice),
      **_join_pictures(inside, first, len(frames)),
      **_cut_labels(labels, first, last),
    }


def _join_pictures(shots, first, count):
  """The fields of pictures; a missing one is the one before, without a face.

  The model then sees what was seen last, and the mask says that it is no
  news. A part without any picture stores none.
  """
  values = {
    'face': np.zeros(count, np.uint8),
    'box': np.zeros((count, 4), np.float32),
    'landmarks': np.full((count, 10), np.nan, np.float32),
    'frames': [],
  }
  if not shots:
    return values
  present = {shot.index - first: shot for shot in shots}
  held = shots[0].jpeg
  for place in range(count):
    if place in present:
      shot = present[place]
      held = shot.jpeg
      values['face'][place] = shot.face
      values['box'][place] = shot.box
      values['landmarks'][place] = shot.landmarks
    values['frames'].append(held)
  return values


def _cut_labels(labels, first, last):
  """The fields of labels by frame; a corpus without any has none of them."""
  fields = {}
  for name, (tail, kind, masked) in _LABELS.items():
    count = 0 if labels is None else last - first
    fields[f'frame_{name}'] = np.full((count, *tail), masked, kind)
    if count:
      given = getattr(labels, name)[first:last]
      fields[f'frame_{name}'][: len(given)] = given
  return fields


def add_given(
  labels: clips.FrameLabels | None,
  given: clips.GivenLabels | None,
  num_pictures: int,
  emotions: tuple[str, ...],
) -> tuple[clips.FrameLabels | None, list[clips.Quarantined]]:
  """Labels by frame with a user's own on top, and notes on the latter.

  Args:
    labels: the corpus's, or None.
    given: the user's, or None.
    num_pictures: frames of the clip.
    emotions: words in the order of their numbers.
  """
  if given is None:
    return labels, []
  count = num_pictures if labels is None else len(labels.valence)
  count = max(count, num_pictures)
  beyond = int((given.frames >= count).sum())
  notes = []
  if beyond:
    last = f'beyond the last, {count - 1}' if count else 'that are not there'
    label = words.count(beyond, 'of its rows labels', 'of its rows label')
    reason = f'{label} frames {last}'
    notes.append(clips.Quarantined(given.source, reason))
  if not count:
    return labels, notes
  joined = {}
  for name, (tail, kind, masked) in _LABELS.items():
    joined[name] = np.full((count, *tail), masked, kind)
    if labels is not None:
      own = getattr(labels, name)
      joined[name][: len(own)] = own
    values = getattr(given, name)
    if name == 'expression':
      values = np.array(
        [emotions.index(word) if word else masked for word in values], kind
      )
    for frame, value in zip(given.frames.tolist(), values, strict=True):
      place = slice(None) if frame < 0 else slice(frame, frame + 1)
      known = value >= 0 if name == 'expression' else np.isfinite(value)
      joined[name][place] = np.where(known, value, joined[name][place])
  lines = {} if labels is None else labels.lines
  return clips.FrameLabels(**joined, lines=lines), notes


def find_mismatches(
  labels: clips.FrameLabels, num_pictures: int
) -> list[clips.Quarantined]:
  """The files of labels that have another number of lines than pictures.

  They are joined from the first on all the same: pictures beyond the last
  line have no label, lines beyond the last picture have none.
  """
  found = []
  for path, count in labels.lines.items():
    if count == num_pictures:
      continue
    few = abs(count - num_pictures) <= _USUAL_MISMATCH
    found.append(
      clips.Quarantined(
        path,
        f'used in part: {count} lines for {num_pictures} pictures'
        + ('' if few else ', more apart than decoders differ'),
      )
    )
  return found
