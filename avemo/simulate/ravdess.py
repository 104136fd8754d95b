"""The trees of RAVDESS: names, files and how one recording is written."""

import dataclasses
import fractions
import pathlib
import shutil

import scipy.signal

from avemo.media import encode
from avemo.simulate import actor, cues

NAME = 'ravdess'
FPS = fractions.Fraction(30_000, 1001)
# The release has 1280x720; a quarter of the pixels costs a quarter of the time.
SIZE = (640, 360)
RELEASE_SIZE = (1280, 720)
SIZES = (SIZE, RELEASE_SIZE)
LAYOUTS = ('release', 'user')

# In the order of the codes 01 to 08.
EMOTIONS = (
  'neutral', 'calm', 'happiness', 'sadness', 'anger', 'fear', 'disgust',
  'surprise',
)  # fmt: skip

SPEAKERS = tuple(f'{number:02d}' for number in range(1, 25))
FOLDS = tuple(SPEAKERS[first : first + 4] for first in range(0, 24, 4))

_STEREO_EVERY = 40
_SONGS = ('02-03-01-01-01-01', '02-04-02-02-01-01')
_RATE = 48_000


def clip_names(speaker: str) -> list[str]:
  """The speech recordings of a speaker: fields 2 to 7 of the file names."""
  return [
    f'01-{emotion:02d}-{intensity:02d}-{statement:02d}-{take:02d}-{speaker}'
    for emotion in range(1, 9)
    for intensity in ((1,) if emotion == 1 else (1, 2))
    for statement in (1, 2)
    for take in (1, 2)
  ]


def describe(name: str) -> tuple[str, str, str]:
  """Speaker, emotion and intensity that a recording's name states."""
  _, emotion, intensity, _, _, speaker = name.split('-')
  strength = ('normal', 'strong')[int(intensity) - 1]
  return speaker, EMOTIONS[int(emotion) - 1], strength


def required_clips(quirks: bool) -> tuple[str, ...]:
  """Clips that must be there whatever was asked for: two songs."""
  return _SONGS if quirks else ()


def find_paths(name: str, layout: str) -> dict[str, str]:
  """Paths of a recording in the tree, by modality code."""
  channel, speaker = name.split('-')[0], name.split('-')[-1]
  person = f'Actor_{speaker}'
  kind = {'01': 'Speech', '02': 'Song'}[channel]
  if layout == 'user':
    picture, sound = f'videos/{person}', f'audios/{person}'
  else:
    picture = f'Video_{kind}_Actor_{speaker}/{person}'
    sound = f'Audio_{kind}_Actors_01-24/{person}'
  return {
    '01': f'{picture}/01-{name}.mp4',
    '02': f'{picture}/02-{name}.mp4',
    '03': f'{sound}/03-{name}.wav',
  }


def plan_quirks(
  clips: list[cues.Clip], quirks: bool, layout: str
) -> tuple[list[cues.Clip], dict[str, str]]:
  """What will be unusual, and the cues that remain.

  A few WAVs are stereo in every simulated tree. Quirks take files away, add a
  nested copy of the sound and songs.
  """
  unusual = {}
  if quirks:
    clips, unusual = _plan_losses(clips, layout)
    for name in _SONGS:
      for path in find_paths(name, layout).values():
        unusual[path] = 'song'
    if layout == 'release':
      unusual[f'{_nested()}/'] = 'byte-identical copies of what lies beside it'
  sounds = [find_paths(clip.clip_id, layout)['03'] for clip in clips]
  sounds = [path for path in sounds if path not in unusual]
  unusual |= dict.fromkeys(sounds[::_STEREO_EVERY], 'stereo')
  return clips, unusual


def _plan_losses(clips, layout):
  """Which files are missing, and the cues that remain."""
  clips, unusual = list(clips), {}
  spoken = [i for i, clip in enumerate(clips) if clip.clip_id[:2] == '01']
  # Spread over the corpus; what is missing of each.
  missing = (('02',), ('01',), ('03',), ('01', '02'), ('01', '03'))
  step = max(1, len(spoken) // len(missing))
  for place, codes in zip(spoken[::step], missing, strict=False):
    clip = clips[place]
    paths = find_paths(clip.clip_id, layout)
    for code in codes:
      unusual[paths[code]] = 'missing'
    clips[place] = dataclasses.replace(
      clip,
      voice=cues.MISSING if {'01', '03'} <= set(codes) else clip.voice,
      face=cues.MISSING if {'01', '02'} <= set(codes) else clip.face,
    )
  return clips, unusual


def _nested():
  return 'Audio_Speech_Actors_01-24/audio_speech_actors_01-24'


def make_folders(root: pathlib.Path, simulation: cues.Simulation):
  """Makes the folders that hold media."""
  for clip in simulation.clips:
    for path in find_paths(clip.clip_id, simulation.media['layout']).values():
      (root / path).parent.mkdir(parents=True, exist_ok=True)


def write_clip(
  root: pathlib.Path, clip: cues.Clip, performer: actor.Actor, media: dict
):
  """Writes the three files of one recording: 01, 02 and 03.

  Args:
    root: the tree.
    clip: its cues.
    performer: the speaker.
    media: 'layout', and 'quirks': what is missing or stereo, by path.
  """
  frames, speech = performer.perform(clip)
  frames = list(frames)
  speech = scipy.signal.resample_poly(speech, _RATE // 16_000, 1)
  speech = encode.to_int16(speech)
  paths = find_paths(clip.clip_id, media['layout'])
  present = {
    code: root / path
    for code, path in paths.items()
    if media['quirks'].get(path) != 'missing'
  }
  for code, sound in (('01', speech), ('02', None)):
    if code in present:
      encode.write_media(
        present[code],
        frames,
        fps=FPS,
        speech=sound,
        sample_rate=_RATE,
        options={'preset': 'ultrafast'},
      )
  if '03' in present:
    stereo = media['quirks'].get(paths['03']) == 'stereo'
    if stereo:
      encode.write_media(
        present['03'], None, speech=speech, sample_rate=_RATE, layout='stereo'
      )
    else:
      encode.write_wav(present['03'], speech, _RATE)


def finish(
  root: pathlib.Path, simulation: cues.Simulation, make_actor, layout: str
):
  """Adds the nested copy of the sound.

  Args:
    root: the tree.
    simulation: its cues.
    make_actor: not needed.
    layout: of `LAYOUTS`.
  """
  del make_actor, layout
  if f'{_nested()}/' in simulation.quirks:
    outer, inner = (root / _nested()).parent, root / _nested()
    for folder in sorted(outer.glob('Actor_*')):
      shutil.copytree(folder, inner / folder.name)
