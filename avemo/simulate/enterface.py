"""The tree of eNTERFACE'05: folders, odd names, and how a clip is written."""

import dataclasses
import fractions
import itertools
import pathlib
import shutil

import numpy as np
import scipy.signal

from avemo.media import encode
from avemo.simulate import actor, cues

NAME = 'enterface'
FPS = fractions.Fraction(25)
# The release is taken to have 720x576; a quarter of the pixels costs a quarter
# of the time.
SIZE = (360, 288)
RELEASE_SIZE = (720, 576)
SIZES = (SIZE, RELEASE_SIZE)
LAYOUTS = ('release', 'renamed')

# In the published order of labels.
EMOTIONS = ('anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise')

# Subject 6 is there as six films that nobody cut.
_UNCUT = '6'
SPEAKERS = tuple(str(n) for n in range(1, 45) if str(n) != _UNCUT)
FOLDS = tuple(
  tuple(speaker for speaker in SPEAKERS if first <= int(speaker) <= last)
  for first, last in ((1, 10), (11, 19), (20, 28), (29, 37), (38, 44))
)

_RATE = 48_000
# What the archive is taken to unpack to.
_ROOT = 'enterface database'
# An uncut film's length is what matters; few frames are written fast.
_UNCUT_SECONDS, _UNCUT_FPS = 56, 2

# The odd names of the release, by the folders.
_FILES = {
  'subject_2/anger/sentence_1': 's2_an_2',
  'subject_2/anger/sentence_2': 's2_an_1',
  'subject_3/fear/sentence_5': 's_3_fe_5',
  'subject_16/surprise/sentence_3': 's16_su_3avi',
} | {
  f'subject_3/{emotion}/sentence_{n}': f's_3_{emotion[:2]}_{n}'
  for emotion in ('happiness', 'sadness', 'surprise')
  for n in range(1, 6)
}  # fmt: skip
_ABSENT = tuple(f'subject_23/happiness/sentence_{n}' for n in (1, 2, 3))

_ODD = (
  'subject_2/anger/sentence_1/s2_an_2',
  'subject_2/anger/sentence_2/s2_an_1',
  'subject_3/fear/sentence_5/s_3_fe_5',
  'subject_11/anger/sentence_1/s12_an_1',
  'subject_12/anger/sentence_1/s12_an_1',
  'subject_16/surprise/sentence_3/s16_su_3avi',
  'subject_23/happiness/sentence_4/s23_ha_4',
)
# Not so in the release: a film without sound, and a sound cut from a film.
_MUTE, _CUT_OUT = _ODD[2], _ODD[6]


def clip_names(speaker: str) -> list[str]:
  """The clips of a subject: folders and file, as `avemo.corpora` calls them."""
  names = []
  for emotion in EMOTIONS:
    for n in range(1, 6):
      folder = f'subject_{speaker}/{emotion}/sentence_{n}'
      # All of subject 11 bears the number of subject 12.
      number = '12' if speaker == '11' else speaker
      usual = f's{number}_{emotion[:2]}_{n}'
      if folder not in _ABSENT:
        names.append(f'{folder}/{_FILES.get(folder, usual)}')
  return names


def describe(name: str) -> tuple[str, str, str]:
  """Speaker, emotion and intensity that a clip's folders state."""
  subject, emotion, *_ = name.split('/')
  return subject.removeprefix('subject_'), emotion, 'XX'


def required_clips(quirks: bool) -> tuple[str, ...]:
  """Clips that must be there whatever was asked for: those with odd names."""
  return _ODD if quirks else ()


def find_path(name: str, layout: str) -> str:
  """Path of a clip's film in the tree."""
  if layout == 'release':
    for word in ('subject', 'sentence'):
      name = name.replace(f'{word}_', f'{word} ')
    return f'{_ROOT}/{name}.avi'
  return f'{name}.avi'


def plan_quirks(
  clips: list[cues.Clip], quirks: bool, layout: str
) -> tuple[list[cues.Clip], dict[str, str]]:
  """What will be unusual, and the cues that remain.

  The odd names of the release are in every simulated tree. Quirks see to it
  that each kind of them occurs, and add what must be left out.
  """
  if not quirks:
    return clips, {}
  unusual = {find_path(name, layout): 'an odd name' for name in _ODD}
  unusual[find_path(_MUTE, layout)] = 'the film has no sound'
  unusual[find_path(_CUT_OUT, layout)] = 'there is a WAV, and no film'
  unusual[_find_uncut(layout)] = 'not cut into sentences'
  # A list by file name alone holds one of subjects 11 and 12.
  unusual['s12_an_1.avi'] = 'without its folders'
  lost = {_MUTE: {'voice': cues.MISSING}, _CUT_OUT: {'face': cues.MISSING}}
  clips = [dataclasses.replace(c, **lost.get(c.clip_id, {})) for c in clips]
  return clips, unusual


def _find_uncut(layout):
  return find_path(f'subject_{_UNCUT}/anger/s{_UNCUT}_an', layout)


def make_folders(root: pathlib.Path, simulation: cues.Simulation):
  """Makes the folders that hold media."""
  layout = simulation.media['layout']
  paths = [find_path(clip.clip_id, layout) for clip in simulation.clips]
  for path in (*paths, *simulation.quirks):
    (root / path).parent.mkdir(parents=True, exist_ok=True)


def write_clip(
  root: pathlib.Path, clip: cues.Clip, performer: actor.Actor, media: dict
):
  """Writes the AVI of one clip, with its sound as stereo at 48 kHz.

  Args:
    root: the tree.
    clip: its cues.
    performer: the speaker.
    media: 'layout'.
  """
  frames, speech = performer.perform(clip)
  speech = scipy.signal.resample_poly(speech, _RATE // 16_000, 1)
  path = root / find_path(clip.clip_id, media['layout'])
  is_odd = bool(media['quirks'])
  if is_odd and clip.clip_id == _CUT_OUT:
    encode.write_wav(path.with_suffix('.wav'), speech, _RATE)
    return
  _write_film(
    path, frames, None if is_odd and clip.clip_id == _MUTE else speech
  )


def _write_film(path, frames, speech, fps=FPS):
  encode.write_media(
    path, frames, fps=fps, speech=speech, sample_rate=_RATE, layout='stereo'
  )


def finish(
  root: pathlib.Path, simulation: cues.Simulation, make_actor, layout: str
):
  """Adds what must be left out, where quirks were asked for.

  Args:
    root: the tree.
    simulation: its cues.
    make_actor: speaker's id -> `actor.Actor`.
    layout: of `LAYOUTS`.
  """
  if not simulation.quirks:
    return
  clip = simulation.clips[0]
  clip = dataclasses.replace(clip, voice='anger', face='anger')
  frames, speech = make_actor(clip.speaker).perform(clip)
  few = itertools.islice(
    itertools.cycle(list(frames)[::12]), _UNCUT_SECONDS * _UNCUT_FPS
  )
  speech = np.resize(
    scipy.signal.resample_poly(speech, _RATE // 16_000, 1),
    _UNCUT_SECONDS * _RATE,
  )
  _write_film(root / _find_uncut(layout), few, speech, _UNCUT_FPS)
  source = find_path('subject_12/anger/sentence_1/s12_an_1', layout)
  shutil.copyfile(root / source, root / 's12_an_1.avi')
