"""What every corpus says of its clips, and of files that it cannot use."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Name(NamedTuple):
  """What a corpus's file name tells; the fields that all corpora share.

  Attributes:
    clip_id: the clip's identity, the same for every rendering of it.
    speaker: who speaks.
    recording: clips of one recording must never be split between folds.
    emotion: canonical word, '' when the name tells none.
    intensity: the corpus's word for how strongly it was acted, or ''.
    extra: further fields, as in the corpus's EXTRA.
  """

  clip_id: str
  speaker: str
  recording: str
  emotion: str
  intensity: str
  extra: Mapping[str, Any]


class Quarantined(NamedTuple):
  """A file that could not be used, or in part alone, and why.

  Attributes:
    path: the file.
    reason: in words; begins with 'used in part' where it was.
    clip_ids: the clips that it is of, or names, where that is known.
  """

  path: str
  reason: str
  clip_ids: tuple[str, ...] = ()


class FrameLabels(NamedTuple):
  """Labels by frame: row i is of picture i of the film, from 0.

  Attributes:
    valence: float32 [n] in [-1, 1]; NaN where nobody labelled it.
    arousal: likewise.
    expression: int32 [n], places in the corpus's EMOTIONS; -1 likewise.
    action_units: float32 [n, 12], 0 or 1; NaN likewise.
    lines: rows of each file that they were read from, by path.
  """

  valence: np.ndarray
  arousal: np.ndarray
  expression: np.ndarray
  action_units: np.ndarray
  lines: Mapping[str, int]


class GivenLabels(NamedTuple):
  """Labels of a clip's frames from a table of the user's own, row by row.

  Attributes:
    source: name of the table.
    frames: int64 [k], numbers of frames from 0; -1 stands for every frame.
    valence: float32 [k] in [-1, 1]; NaN where the table says nothing.
    arousal: likewise.
    expression: k words of emotions, '' likewise.
    action_units: float32 [k, 12], 0 or 1; NaN likewise.
  """

  source: str
  frames: np.ndarray
  valence: np.ndarray
  arousal: np.ndarray
  expression: tuple[str, ...]
  action_units: np.ndarray


@dataclasses.dataclass(frozen=True)
class Clip:
  """One clip of a corpus: its files and its labels.

  Attributes:
    clip_id: unique within the corpus.
    video_path: the file with the picture; None when there is none.
    audio_path: the file with the sound; None when there is none.
    speaker: who speaks.
    recording: clips that share it are renderings of one performance.
    emotion: canonical word, '' unknown.
    intensity: the corpus's word, '' unknown.
    valence: of the whole clip, in [-1, 1]; NaN unknown.
    arousal: likewise.
    extra: values of the corpus's EXTRA fields.
    other_videos: tried in order when `video_path` is unusable.
    other_audios: tried in order when `audio_path` is unusable.
    needs_both: the clip is left out where it has no usable picture, or sound.
    pictures: folders of faces that the corpus ships cut out, one file a
      frame, the best first.
    fps: frames a second where no film tells; 0 unknown.
    side: 'left' or 'right' where the clip is of one of two people; that of
      the picture, not their own, by assumption.
    read_labels: gives the labels by frame, and the files of them that are of
      no use. A function, for the labels of a whole corpus fill the memory.
    given: labels of frames from a table of the user's own.
    if_left_out: rows of that table, to be told where the clip has no record.
  """

  clip_id: str
  video_path: str | None
  audio_path: str | None
  speaker: str
  recording: str
  emotion: str = ''
  intensity: str = ''
  valence: float = float('nan')
  arousal: float = float('nan')
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  other_videos: tuple[str, ...] = ()
  other_audios: tuple[str, ...] = ()
  needs_both: bool = False
  pictures: tuple[str, ...] = ()
  fps: float = 0.0
  side: str = ''
  read_labels: Callable[[], tuple[FrameLabels, list[Quarantined]]] | None = None
  given: GivenLabels | None = None
  if_left_out: tuple[Quarantined, ...] = ()

  @property
  def videos(self) -> tuple[str, ...]:
    """Every file that may give the picture, the best first."""
    first = () if self.video_path is None else (self.video_path,)
    return first + self.other_videos

  @property
  def audios(self) -> tuple[str, ...]:
    """Every file that may give the sound, the best first."""
    first = () if self.audio_path is None else (self.audio_path,)
    return first + self.other_audios


def make_clip(name: Name, videos: list[str], audios: list[str], **extra):
  """A `Clip` of what the name tells and the files in order of preference."""
  return Clip(
    clip_id=name.clip_id,
    video_path=videos[0] if videos else None,
    audio_path=audios[0] if audios else None,
    speaker=name.speaker,
    recording=name.recording,
    emotion=name.emotion,
    intensity=name.intensity,
    extra={**name.extra, **extra},
    other_videos=tuple(videos[1:]),
    other_audios=tuple(audios[1:]),
  )
