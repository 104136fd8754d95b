"""The tree of CREMA-D: names, files and how one clip is written."""

import fractions
import pathlib

from avemo.media import encode
from avemo.simulate import actor, crema_d_quirks, crema_d_tables, cues

NAME = 'crema_d'
FPS = fractions.Fraction(30_000, 1001)
SIZE = (480, 360)
SIZES = (SIZE,)
RELEASE_SIZE = SIZE
LAYOUTS = ('release',)

# In the published order of labels, with the codes of the file names.
EMOTIONS = ('anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness')
CODES = dict(
  zip(EMOTIONS, ('ANG', 'DIS', 'FEA', 'HAP', 'NEU', 'SAD'), strict=True)
)

# In the order of the stimulus numbers.
_SENTENCES = ('IEO', 'TIE', 'IOM', 'IWW', 'TAI', 'MTI', 'IWL', 'ITH', 'DFA')
_SENTENCES += ('ITS', 'TSI', 'WSI')
_SPOKEN_EMOTIONS = ('NEU', 'HAP', 'SAD', 'ANG', 'FEA', 'DIS')
_ABSENT = ('1002_TIE_NEU', '1008_WSI', '1009_MTI', '1019_ITH', '1076_ITS_NEU')

SPEAKERS = tuple(str(actor_id) for actor_id in range(1001, 1092))
# Test speakers of the published folds.
FOLDS = tuple(
  tuple(str(actor_id) for actor_id in range(first, last + 1))
  for first, last in (
    (1001, 1018), (1019, 1036), (1037, 1054), (1055, 1072), (1073, 1091),
  )
)  # fmt: skip


def clip_names(speaker: str) -> list[str]:
  """The clips of a speaker in the order of their stimulus numbers."""
  names = []
  for sentence in _SENTENCES:
    for code in _SPOKEN_EMOTIONS:
      graded = sentence == 'IEO' and code != 'NEU'
      names += [
        f'{speaker}_{sentence}_{code}_{level}'
        for level in (('LO', 'MD', 'HI') if graded else ('XX',))
      ]
  return [name for name in names if not name.startswith(_ABSENT)]


def stimulus_numbers() -> dict[str, int]:
  """Number of every clip of the whole corpus, from 1."""
  names = [name for speaker in SPEAKERS for name in clip_names(speaker)]
  return {name: number for number, name in enumerate(names, start=1)}


def describe(name: str) -> tuple[str, str, str]:
  """Speaker, emotion and intensity that a clip's name states."""
  speaker, _, code, level = name.split('_')
  emotion = next(word for word, other in CODES.items() if other == code)
  return speaker, emotion, level


def required_clips(quirks: bool) -> tuple[str, ...]:
  """Clips that must be there whatever was asked for."""
  return crema_d_quirks.CLIPS if quirks else ()


def plan_quirks(
  clips: list[cues.Clip], quirks: bool, layout: str
) -> tuple[list[cues.Clip], dict[str, str]]:
  """What will be unusual, and the cues that remain."""
  del layout
  return crema_d_quirks.plan(clips) if quirks else (clips, {})


def make_folders(root: pathlib.Path, simulation: cues.Simulation):
  """Makes the folders that hold media."""
  del simulation
  for folder in ('AudioWAV', 'VideoFlash'):
    (root / folder).mkdir(parents=True)


def write_clip(
  root: pathlib.Path, clip: cues.Clip, performer: actor.Actor, media: dict
):
  """Writes the WAV and the FLV of one clip."""
  del media
  frames, speech = performer.perform(clip)
  speech = encode.to_int16(speech)
  encode.write_wav(root / 'AudioWAV' / f'{clip.clip_id}.wav', speech, 16_000)
  encode.write_media(
    root / 'VideoFlash' / f'{clip.clip_id}.flv',
    frames,
    fps=FPS,
    speech=speech,
    sample_rate=16_000,
  )


def finish(
  root: pathlib.Path, simulation: cues.Simulation, make_actor, layout: str
):
  """Writes the tables, then breaks what the quirks break.

  Args:
    root: the tree.
    simulation: its cues.
    make_actor: speaker's id -> `actor.Actor`.
    layout: of `LAYOUTS`.
  """
  del layout
  crema_d_tables.write(root, simulation, stimulus_numbers())
  crema_d_quirks.apply(root, simulation, make_actor)
