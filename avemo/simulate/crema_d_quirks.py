"""What is broken or odd in the real CREMA-D, done to simulated files."""

import dataclasses
import hashlib
import itertools
import pathlib
import shutil

import cv2
import numpy as np

from avemo.media import encode
from avemo.simulate import cues

_FPS = 30_000 / 1001
# Its length is what matters; fewer frames are written and read faster.
_ONE_MINUTE_FPS = 10

ERROR_PICTURE = '1076_MTI_SAD_XX'
SHORT_WITHOUT_SOUND = '1076_MTI_NEU_XX'
WITHOUT_DURATION = '1064_TIE_SAD_XX'
ONE_MINUTE = '1064_IEO_DIS_MD'
OLD_NAME = '1040_ITH_SAD_XX'
SAME_SOUND = (
  ('1006_TIE_HAP_XX', '1006_TIE_NEU_XX'),
  ('1013_WSI_DIS_XX', '1013_WSI_SAD_XX'),
  ('1017_IWW_ANG_XX', '1017_IWW_FEA_XX'),
)
# Neither is broken in the real corpus as it is now: a checkout without git-lfs
# makes stubs of all media, and FLVs without sound were replaced in 2020.
STUB = '1040_ITH_HAP_XX'
WITHOUT_SOUND = '1040_ITH_ANG_XX'

CLIPS = tuple(
  sorted(
    [ERROR_PICTURE, SHORT_WITHOUT_SOUND, WITHOUT_DURATION, ONE_MINUTE]
    + [OLD_NAME, STUB, WITHOUT_SOUND, *itertools.chain(*SAME_SOUND)]
  )
)


def plan(clips: list[cues.Clip]) -> tuple[list[cues.Clip], dict[str, str]]:
  """The cues that survive the quirks, and what each quirk is.

  Args:
    clips: all clips, those of `CLIPS` among them.
  """
  by_id = {clip.clip_id: clip for clip in clips}

  def change(name, **cue):
    by_id[name] = dataclasses.replace(by_id[name], **cue)

  quirks = {
    ERROR_PICTURE: 'the FLV shows an error picture, the WAV is silent',
    SHORT_WITHOUT_SOUND: 'the FLV is short and has no sound; the WAV is fine',
    WITHOUT_DURATION: 'the FLV states no duration; the WAV is fine',
    ONE_MINUTE: 'the FLV lasts a minute and shows all; the WAV is fine',
    OLD_NAME: f'the WAV has its old name {OLD_NAME[:-1]}.wav',
    STUB: 'the WAV and the FLV are git-lfs stubs',
    WITHOUT_SOUND: 'the FLV has no sound; the WAV is fine',
  }
  change(ERROR_PICTURE, voice=cues.MISSING, face=cues.MISSING)
  change(SHORT_WITHOUT_SOUND, face=cues.MISSING)
  change(ONE_MINUTE, face=cues.MISSING)
  change(STUB, voice=cues.MISSING, face=cues.MISSING)
  for first, second in SAME_SOUND:
    change(second, voice=by_id[first].voice)
    quirks[first] = f'the WAV is byte-identical to that of {second}'
    quirks[second] = f'the WAV is byte-identical to that of {first}'
  return [by_id[name] for name in sorted(by_id)], quirks


def apply(root: pathlib.Path, simulation: cues.Simulation, make_actor):
  """Breaks the files of a tree that is otherwise whole.

  Args:
    root: the tree.
    simulation: its cues; without quirks nothing happens.
    make_actor: speaker's id -> `actor.Actor`.
  """
  if not simulation.quirks:
    return
  sound, picture = root / 'AudioWAV', root / 'VideoFlash'
  by_id = {clip.clip_id: clip for clip in simulation.clips}

  seconds = 2.57
  silence = np.zeros(round(seconds * 16_000), np.int16)
  encode.write_wav(sound / f'{ERROR_PICTURE}.wav', silence, 16_000)
  card = draw_error_picture()
  _write_flv(
    picture / f'{ERROR_PICTURE}.flv',
    itertools.repeat(card, round(seconds * _FPS)),
    silence,
  )

  frames, _ = _perform(by_id[SHORT_WITHOUT_SOUND], make_actor)
  few = itertools.islice(frames, 8)
  _write_flv(picture / f'{SHORT_WITHOUT_SOUND}.flv', few, None)
  frames, _ = _perform(by_id[WITHOUT_SOUND], make_actor)
  _write_flv(picture / f'{WITHOUT_SOUND}.flv', frames, None)

  frames, speech = _show_everything(simulation, by_id, make_actor)
  _write_flv(picture / f'{ONE_MINUTE}.flv', frames, speech, _ONE_MINUTE_FPS)
  _erase_duration(picture / f'{WITHOUT_DURATION}.flv')

  for first, second in SAME_SOUND:
    shutil.copyfile(sound / f'{first}.wav', sound / f'{second}.wav')
  (sound / f'{OLD_NAME}.wav').rename(sound / f'{OLD_NAME[:-1]}.wav')
  for path in (sound / f'{STUB}.wav', picture / f'{STUB}.flv'):
    path.write_text(_stub(path.read_bytes()), encoding='ascii')


def draw_error_picture() -> np.ndarray:
  """A grey card that says that there is no film, uint8 [360, 480, 3]."""
  card = np.full((360, 480, 3), 90, np.uint8)
  cv2.putText(
    card, 'media error', (110, 190), cv2.FONT_HERSHEY_SIMPLEX, 1.4,
    (230, 230, 230), 3, cv2.LINE_AA,
  )  # fmt: skip
  return card


def _write_flv(path, frames, speech, fps=_FPS):
  encode.write_media(path, frames, fps=fps, speech=speech, sample_rate=16_000)


def _perform(clip, make_actor):
  return make_actor(clip.speaker).perform(clip)


def _show_everything(simulation, by_id, make_actor):
  """Every emotion in turn, each over and over, for one minute."""
  clip = by_id[ONE_MINUTE]
  performer = make_actor(clip.speaker)
  share = 60 / len(simulation.emotions)
  films, sounds = [], []
  for emotion in simulation.emotions:
    shown = cues.FLAT if emotion == 'neutral' else emotion
    part = dataclasses.replace(clip, voice=shown, face=shown)
    frames, speech = performer.perform(part)
    frames = list(frames)[::3]
    count = round(share * _ONE_MINUTE_FPS)
    films.append(itertools.islice(itertools.cycle(frames), count))
    sounds.append(np.resize(speech, round(share * 16_000)))
  return itertools.chain(*films), np.concatenate(sounds)


def _erase_duration(path):
  """Takes the length out of an FLV's own description of itself."""
  content = path.read_bytes()
  # An AMF key, followed by the type byte of a number and the number itself.
  start = content.index(b'duration\x00') + len(b'duration\x00')
  path.write_bytes(content[:start] + bytes(8) + content[start + 8 :])


def _stub(content: bytes) -> str:
  digest = hashlib.sha256(content).hexdigest()
  return (
    'version https://git-lfs.github.com/spec/v1\n'
    f'oid sha256:{digest}\nsize {len(content)}\n'
  )
