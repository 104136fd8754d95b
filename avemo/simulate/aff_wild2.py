"""The tree of Aff-Wild2: films, cut faces, annotations by frame."""

import dataclasses
import fractions
import pathlib
import re

import cv2
import numpy as np

from avemo.media import encode
from avemo.simulate import actor, aff_wild2_files, cues, mafw, trajectory

NAME = 'aff_wild2'
FPS = fractions.Fraction(25)
SIZE = (320, 240)
SIZES = (SIZE,)
RELEASE_SIZE = SIZE
LAYOUTS = tuple(aff_wild2_files.FOLDERS)

EMOTIONS = tuple(trajectory.EXPRESSIONS)

# Films of many sizes and rates; what a name says of them is not to be relied
# on, here as in the release.
_FORMS = (
  ((240, 320), fractions.Fraction(15)),
  ((320, 240), fractions.Fraction(30_000, 1001)),
  ((480, 270), fractions.Fraction(25)),
)
_LONGER = 1.6

# Those of quirks first. A clip is a person in a film.
_ODD = {
  'M01': '6-30-1920x1080_left',
  'F02': '6-30-1920x1080_right',
  'M03': '10-60-1280x720',
  'F04': '10-60-1280x720_right',
  'M05': 'video45_1',
  'F06': 'video45_2',
}
SPEAKERS = tuple(f'{"FM"[n % 2]}{n:02d}' for n in range(7, 400))
# Nobody is named, so there are no folds by speaker.
FOLDS = ()

# Who shares a film with whom, and how much smaller the second one is.
_PAIRS = {'M01': ('F02', 1.0), 'M03': ('F04', 0.6)}
# Films of which no faces were cut out, so that the films are looked at.
_WITHOUT_FACES = ('10-60-1280x720', '10-60-1280x720_right', 'video45_1')
_LONG = 'video45_2'
_LONG_SECONDS = 10.6


def find_form(
  speaker: str, size: tuple[int, int]
) -> tuple[tuple[int, int], fractions.Fraction]:
  """Size and rate of what a person is in; two in one film have one."""
  del size
  number = int(speaker[1:])
  return _FORMS[1 if speaker in _ODD and number < 5 else number % len(_FORMS)]


def clip_names(speaker: str) -> list[str]:
  """The one clip of a person."""
  if speaker in _ODD:
    return [_ODD[speaker]]
  number = int(speaker[1:])
  return [f'video{number}' if number % 2 else f'{number}-30-1280x720']


def describe(name: str) -> tuple[str, str, str]:
  """Speaker, no emotion, and intensity of a clip."""
  for speaker, other in _ODD.items():
    if name == other:
      return speaker, '', 'XX'
  number = int(name.removeprefix('video').split('-')[0])
  return f'{"FM"[number % 2]}{number:02d}', '', 'XX'


def required_clips(quirks: bool) -> tuple[str, ...]:
  """Clips that must be there whatever was asked for."""
  return tuple(_ODD.values()) if quirks else ()


def plan_quirks(
  clips: list[cues.Clip], quirks: bool, layout: str
) -> tuple[list[cues.Clip], dict[str, str]]:
  """What will be unusual, and the clips in their lengths."""
  # Films are longer than clips.
  clips = [
    dataclasses.replace(
      clip,
      voice=cues.FLAT,
      face=cues.FLAT,
      seconds=_LONG_SECONDS
      if clip.clip_id == _LONG
      else round(clip.seconds * _LONGER, 3),
    )
    for clip in clips
  ]
  # Two people in one film are in it for as long.
  seconds = {clip.speaker: clip.seconds for clip in clips}
  shared = {other: seconds.get(who) for who, (other, _) in _PAIRS.items()}
  clips = [
    dataclasses.replace(c, seconds=shared.get(c.speaker) or c.seconds)
    for c in clips
  ]
  if not quirks:
    return clips, {}
  return clips, aff_wild2_files.plan_quirks([c.clip_id for c in clips], layout)


def make_folders(root: pathlib.Path, simulation: cues.Simulation):
  """Makes the folders of films."""
  del simulation
  for folder in ('batch1', 'batch2'):
    (root / folder).mkdir(parents=True)


def find_film(clip_id: str) -> str:
  """Path of the film that a clip is in."""
  film = clip_id.removesuffix('_left').removesuffix('_right')
  # One in three is an AVI, in the second batch.
  if int(re.search(r'\d+', film)[0]) % 3 == 2:
    return f'batch2/{film}.avi'
  return f'batch1/{film}.mp4'


def write_clip(
  root: pathlib.Path, clip: cues.Clip, performer: actor.Actor, media: dict
):
  """Writes a clip's film, its cut faces and its annotations.

  Args:
    root: the tree.
    clip: the clip; the film of two people is written with the first.
    performer: the person.
    media: 'layout', 'quirks' and, where frames are redrawn, 'redraw'.
  """
  frames, speech, labels = trajectory.perform(
    performer,
    clip.clip_id,
    clip.seconds,
    redraw=media.get('redraw', False),
  )
  frames = list(frames)
  odd = media['quirks']
  aff_wild2_files.write_annotations(root, clip.clip_id, labels, media)
  if clip.clip_id not in _WITHOUT_FACES or not odd:
    missing = aff_wild2_files.find_missing(clip.clip_id, len(frames), odd)
    _write_faces(root / 'cropped_aligned' / clip.clip_id, frames, missing)
  if clip.speaker in [other for other, _ in _PAIRS.values()]:
    return
  if clip.speaker in _PAIRS:
    frames, speech = _add_second(clip, performer, frames, speech)
  encode.write_media(
    root / find_film(clip.clip_id),
    frames,
    fps=find_form(clip.speaker, SIZE)[1],
    speech=speech,
    sample_rate=16_000,
    options={'preset': 'ultrafast'},
  )


def _write_faces(folder, frames, missing):
  """Writes squares of 112 pixels, numbered from 1, but where none is found."""
  folder.mkdir(parents=True)
  for number, image in enumerate(frames):
    if number not in missing:
      path = folder / f'{number + 1:05d}.jpg'
      cv2.imwrite(str(path), mafw.cut_face(image, 112))


def _add_second(clip, performer, frames, speech):
  """Puts the other person to the right, maybe smaller, and adds the voice."""
  speaker, scale = _PAIRS[clip.speaker]
  size, fps = find_form(speaker, SIZE)
  other = actor.Actor(
    speaker,
    actor.draw_traits(speaker, actor.find_sex(speaker), performer.seed),
    seed=performer.seed,
    size=size,
    fps=fps,
  )
  images, sound, _ = trajectory.perform(other, _ODD[speaker], clip.seconds)
  joined = []
  for first, second in zip(frames, images, strict=True):
    small = cv2.resize(
      second, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    room = np.full_like(second, 90)
    room[-small.shape[0] :, -small.shape[1] :] = small
    joined.append(np.concatenate([first, room], axis=1))
  return joined, 0.5 * (speech + sound)


def finish(
  root: pathlib.Path, simulation: cues.Simulation, make_actor, layout: str
):
  """Writes the list of a test set, and what quirks add.

  Args:
    root: the tree.
    simulation: its clips.
    make_actor: not needed.
    layout: of `LAYOUTS`.
  """
  del make_actor
  ids = [clip.clip_id for clip in simulation.clips]
  aff_wild2_files.finish(root, ids, layout, bool(simulation.quirks))
