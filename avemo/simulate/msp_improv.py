"""The trees of MSP-IMPROV: turns, ratings, and how a turn is written."""

import dataclasses
import fractions
import pathlib

import scipy.signal

from avemo.media import encode
from avemo.simulate import actor, cues, msp_improv_ratings

NAME = 'msp_improv'
# Size and rate of the release are taken to be these.
FPS = fractions.Fraction(30_000, 1001)
SIZE = (480, 360)
RELEASE_SIZE = (1440, 1080)
SIZES = (SIZE, RELEASE_SIZE)
# Sound and films in a tree each, or side by side.
LAYOUTS = ('release', 'together')

# In the published order of labels.
EMOTIONS = ('anger', 'happiness', 'neutral', 'sadness')
_TARGETS = dict(zip('AHNS', EMOTIONS, strict=True))

SPEAKERS = tuple(f'{sex}0{n}' for sex in 'FM' for n in range(1, 7))
FOLDS = tuple((f'F0{n}', f'M0{n}') for n in range(1, 7))

_RATE = 48_000
# How often a scene's aim is what raters name, by the kind of turn.
_ON_TARGET = {'T': 0.8, 'R': 0.7, 'S': 0.5, 'P': 0.0}

# One turn a quirk, of three sessions, so that their folds exist.
_UTD = 'MSP-IMPROV-S01A-F01-T-FM01'
_NO_FILM = 'MSP-IMPROV-S01A-F01-S-MF01'
_NO_SOUND = 'MSP-IMPROV-S01A-M01-T-MF01'
_NO_WAV = 'MSP-IMPROV-S01S-M02-S-FM01'
_OTHER = 'MSP-IMPROV-S01A-F02-P-FM01'
_NO_AGREEMENT = 'MSP-IMPROV-S01A-M02-P-MF01'
_UNRATED = 'MSP-IMPROV-S16A-F02-P-FM01'
_TWICE = 'MSP-IMPROV-S20H-M03-R-MM01'
_QUIRKS = {
  _UTD: 'the film is named UTD-IMPROV',
  _NO_FILM: 'there is no film',
  _NO_SOUND: 'there is no WAV, and the film has no sound',
  _NO_WAV: 'no WAV, but sound in the film; no rating of dominance',
  _OTHER: 'most raters say something else',
  _NO_AGREEMENT: 'the raters do not agree',
  _UNRATED: 'the turn is not in the evaluation file',
  _TWICE: 'a rater stands twice in the evaluation file',
}


def clip_names(speaker: str) -> list[str]:
  """Turns of a speaker: every scene's target sentence, and some talk."""
  own = 'FM' if speaker[0] == 'F' else 'MF'
  names = []
  for sentence in range(1, 16):
    for target in _TARGETS:
      scene = f'MSP-IMPROV-S{sentence:02d}{target}-{speaker}'
      names += [f'{scene}-T-{own}01', f'{scene}-R-{2 * speaker[0]}01']
      # The letters say whose scene it is: anybody speaks in both.
      names += [
        f'{scene}-{condition}-{whose}{turn:02d}'
        for condition in 'PS'
        for whose in ('FM', 'MF')
        for turn in (1, 2)
      ]
  return names


def describe(name: str) -> tuple[str, str, str]:
  """Speaker, the emotion that raters will name, and intensity.

  The name tells no label; the one that is drawn depends on the name alone.
  """
  _, _, scene, speaker, condition, _ = name.split('-')
  rng = cues.random_generator(0, 'label', name)
  on_target, other = rng.random(), rng.integers(len(EMOTIONS))
  emotion = EMOTIONS[other]
  if on_target < _ON_TARGET[condition]:
    emotion = _TARGETS[scene[-1]]
  return speaker, emotion, 'XX'


def required_clips(quirks: bool) -> tuple[str, ...]:
  """Turns that must be there whatever was asked for."""
  return tuple(_QUIRKS) if quirks else ()


def find_paths(name: str, layout: str) -> dict[str, str]:
  """Paths of a turn's sound and film in the tree."""
  _, _, scene, speaker, condition, _ = name.split('-')
  folder = f'session{int(speaker[1:])}/{scene}/{condition}'
  sound, film = ('Audio/', 'Video/') if layout == 'release' else ('', '')
  return {
    'sound': f'{sound}{folder}/{name}.wav',
    'film': f'{film}{folder}/{name}.avi',
  }


def plan_quirks(
  clips: list[cues.Clip], quirks: bool, layout: str
) -> tuple[list[cues.Clip], dict[str, str]]:
  """What will be unusual, and the cues that remain."""
  del layout
  if not quirks:
    return clips, {}
  changes = dict.fromkeys((_OTHER, _NO_AGREEMENT, _UNRATED), {'emotion': ''})
  # Either is left out, so what the other modality shows is lost as well.
  lost = {'voice': cues.MISSING, 'face': cues.MISSING}
  changes |= {_NO_FILM: lost, _NO_SOUND: lost}
  clips = [dataclasses.replace(c, **changes.get(c.clip_id, {})) for c in clips]
  return clips, dict(_QUIRKS)


def make_folders(root: pathlib.Path, simulation: cues.Simulation):
  """Makes the folders that hold media."""
  for clip in simulation.clips:
    for path in find_paths(clip.clip_id, simulation.media['layout']).values():
      (root / path).parent.mkdir(parents=True, exist_ok=True)


def write_clip(
  root: pathlib.Path, clip: cues.Clip, performer: actor.Actor, media: dict
):
  """Writes the WAV and the AVI of one turn, at 48 kHz.

  Args:
    root: the tree.
    clip: its cues.
    performer: the speaker.
    media: 'layout', and 'quirks': what is unusual, by turn.
  """
  name = clip.clip_id
  frames, speech = performer.perform(clip)
  speech = scipy.signal.resample_poly(speech, _RATE // 16_000, 1)
  paths = find_paths(name, media['layout'])
  quirk = name if name in media['quirks'] else ''
  if quirk not in (_NO_SOUND, _NO_WAV):
    encode.write_wav(root / paths['sound'], speech, _RATE)
  if quirk == _NO_FILM:
    return
  film = root / paths['film']
  if quirk == _UTD:
    film = film.with_name(film.name.replace('MSP-', 'UTD-'))
  encode.write_media(
    film,
    frames,
    fps=FPS,
    speech=None if quirk == _NO_SOUND else speech,
    sample_rate=_RATE,
  )


def finish(
  root: pathlib.Path, simulation: cues.Simulation, make_actor, layout: str
):
  """Writes the evaluation file, in either of its spellings.

  Args:
    root: the tree.
    simulation: its cues.
    make_actor: not needed.
    layout: of `LAYOUTS`.
  """
  del make_actor
  name = 'Evalution.txt' if layout == 'release' else 'Evaluation.txt'
  if not simulation.quirks:
    msp_improv_ratings.write(root / name, simulation.clips, simulation.seed)
    return
  msp_improv_ratings.write(
    root / name,
    [clip for clip in simulation.clips if clip.clip_id != _UNRATED],
    simulation.seed,
    codes={_OTHER: 'O', _NO_AGREEMENT: 'X'},
    incomplete=(_NO_WAV,),
    doubled=(_TWICE,),
  )
  msp_improv_ratings.add_strangers(root / name, simulation.seed)
