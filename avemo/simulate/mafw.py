"""The tree of MAFW: clips, tables, lists of folds and captions."""

import dataclasses
import fractions
import pathlib

import cv2

from avemo.media import encode
from avemo.simulate import actor, cues, mafw_tables

NAME = 'mafw'
FPS = fractions.Fraction(25)
SIZE = (480, 360)
SIZES = (SIZE,)
RELEASE_SIZE = SIZE
LAYOUTS = ('release',)

# In the order of the labels 1 to 11.
EMOTIONS = mafw_tables.EMOTIONS

# Each clip is of a person of its own, whose name is the clip's. Ids are not
# contiguous; one after the other they go through the emotions and the folds.
SPEAKERS = tuple(f'{19 + 3 * n:05d}' for n in range(1100))
# Nobody is named, so there are no folds by speaker.
FOLDS = ()

# Sizes, and frames a second, of what is found on the web.
_FORMS = (
  ((480, 360), fractions.Fraction(25)),
  ((640, 360), fractions.Fraction(30_000, 1001)),
  ((360, 480), fractions.Fraction(24)),
  ((320, 240), fractions.Fraction(30)),
)

# By their place among the clips; the first ones are always there.
(
  _MUTE, _INVALID, _UNLABELLED, _WITHOUT_FILM, _CUT_FACES, _STRAY_INVALID,
) = SPEAKERS[:6]  # fmt: skip


def find_form(
  speaker: str, size: tuple[int, int]
) -> tuple[tuple[int, int], fractions.Fraction]:
  """Size and rate of the clip of that name."""
  del size
  return _FORMS[SPEAKERS.index(speaker) % len(_FORMS)]


def find_fold(name: str) -> int:
  """The fold, from 1, that tests the clip."""
  return SPEAKERS.index(name) % 5 + 1


def clip_names(speaker: str) -> list[str]:
  """The one clip of a person."""
  return [speaker]


def describe(name: str) -> tuple[str, str, str]:
  """Speaker, emotion and intensity of a clip."""
  return name, EMOTIONS[SPEAKERS.index(name) % len(EMOTIONS)], 'XX'


def required_clips(quirks: bool) -> tuple[str, ...]:
  """Clips that must be there whatever was asked for: the odd ones."""
  return SPEAKERS[:6] if quirks else ()


def plan_quirks(
  clips: list[cues.Clip], quirks: bool, layout: str
) -> tuple[list[cues.Clip], dict[str, str]]:
  """What will be unusual, and the cues that remain."""
  del layout
  if not quirks:
    return clips, {}
  unusual = {
    _MUTE: 'the film has no sound',
    _INVALID: 'no emotion was found: invalid is -1, it is in no list',
    _UNLABELLED: 'its label is 0, and it is in no list',
    _WITHOUT_FILM: 'in tables and lists alone',
    _CUT_FACES: 'its faces are cut out, one is missing',
    _STRAY_INVALID: 'invalid is 0.93',
    'data/clips/holiday.mp4': 'no clip of the corpus',
  } | mafw_tables.QUIRKS
  lost = {
    _MUTE: {'voice': cues.MISSING},
    _INVALID: {'emotion': ''},
    _UNLABELLED: {'emotion': ''},
    _WITHOUT_FILM: {'emotion': '', 'voice': cues.MISSING, 'face': cues.MISSING},
  }
  clips = [dataclasses.replace(c, **lost.get(c.clip_id, {})) for c in clips]
  return clips, unusual


def make_folders(root: pathlib.Path, simulation: cues.Simulation):
  """Makes the folder that holds the films."""
  del simulation
  (root / 'data/clips').mkdir(parents=True)


def write_clip(
  root: pathlib.Path, clip: cues.Clip, performer: actor.Actor, media: dict
):
  """Writes the MP4 of one clip.

  Args:
    root: the tree.
    clip: its cues.
    performer: the person.
    media: 'quirks'.
  """
  odd = media['quirks']
  if odd and clip.clip_id == _WITHOUT_FILM:
    return
  frames, speech = performer.perform(clip)
  frames = list(frames)
  encode.write_media(
    root / f'data/clips/{clip.clip_id}.mp4',
    frames,
    fps=find_form(clip.speaker, SIZE)[1],
    speech=None if odd and clip.clip_id == _MUTE else speech,
    sample_rate=16_000,
    options={'preset': 'ultrafast'},
  )
  if odd and clip.clip_id == _CUT_FACES:
    _write_faces(root / f'data/frames/{clip.clip_id}', frames)


def _write_faces(folder, frames):
  """Writes squares of 112 pixels, numbered from 1, all but the third."""
  folder.mkdir(parents=True)
  for number, image in enumerate(frames, start=1):
    if number != 3:
      cv2.imwrite(str(folder / f'{number:04d}.png'), cut_face(image, 112))


def cut_face(image, side: int):
  """About where the face is, uint8 [side, side, 3] BGR."""
  height, width = image.shape[:2]
  # The canvas of the face stands in the middle of the frame.
  half, top = round(0.3 * height), round(0.16 * height)
  face = image[top : top + 2 * half, width // 2 - half : width // 2 + half]
  face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
  return cv2.cvtColor(face, cv2.COLOR_RGB2BGR)


def finish(
  root: pathlib.Path, simulation: cues.Simulation, make_actor, layout: str
):
  """Writes tables and lists.

  Args:
    root: the tree.
    simulation: its cues.
    make_actor: not needed.
    layout: of `LAYOUTS`.
  """
  del make_actor, layout
  mafw_tables.write(
    root, simulation, find_fold, listed=_list_emotions(simulation)
  )
  if simulation.quirks:
    first = simulation.clips[-1].clip_id
    film = (root / f'data/clips/{first}.mp4').read_bytes()
    (root / 'data/clips/holiday.mp4').write_bytes(film)


def _list_emotions(simulation) -> dict[str, str]:
  """The one emotion of the clips that have one; of the lost film too."""
  found = {clip.clip_id: clip.emotion for clip in simulation.clips}
  if simulation.quirks:
    found[_WITHOUT_FILM] = describe(_WITHOUT_FILM)[1]
  return {clip_id: emotion for clip_id, emotion in found.items() if emotion}
