"""What every simulated clip shows: drawn first, written down, then rendered.

Each modality shows the clip's emotion with a stated probability, independently
of the other given the class; otherwise it is flat, which looks or sounds like
a neutral clip of that speaker. Neutral clips are flat in both. Nothing else in
a clip depends on its class, so Bayes' rule on the two cues is the best that
any system can do (`avemo.simulate.bayes`).
"""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from avemo import errors

# Rises with any change of pixels, samples or draws.
VERSION = 1
FILE = 'simulation.json'

FLAT = 'flat'
# The modality's file is broken or absent: no cue at all.
MISSING = ''

EVIDENCE = 0.65
SECONDS = (1.3, 2.5)

# How far an expression goes, by the corpora's names of intensity.
AMPLITUDES = {
  'LO': 0.85,
  'MD': 0.95,
  'HI': 1.1,
  'XX': 1.0,
  'normal': 0.92,
  'strong': 1.08,
}
AMPLITUDE_SPREAD = 0.05


@dataclasses.dataclass(frozen=True)
class Clip:
  """The latent cues of one clip.

  Attributes:
    clip_id: the corpus's own id.
    speaker: the speaker's id.
    emotion: the class, a canonical word; '' where raters did not agree.
    intensity: a key of `AMPLITUDES`.
    voice: the emotion that the voice shows, `FLAT` or `MISSING`.
    face: the same for the face.
    amplitude: how far what is shown goes; 1 is usual.
    seconds: length of the clip.
  """

  clip_id: str
  speaker: str
  emotion: str
  intensity: str
  voice: str
  face: str
  amplitude: float
  seconds: float


@dataclasses.dataclass(frozen=True)
class Simulation:
  """One simulated corpus, as `simulation.json` holds it.

  Attributes:
    corpus: its name.
    version: `VERSION` of the code that drew it.
    seed: the seed of everything.
    emotions: the classes, in the corpus's order.
    voice_evidence: probability that the voice of an emotional clip shows it.
    face_evidence: the same for the face.
    speakers: looks and voice of each speaker, by id.
    clips: by clip id, ascending.
    quirks: path in the tree or clip id -> what is unusual about it.
    media: picture size, frame rate and the like.
  """

  corpus: str
  version: int
  seed: int
  emotions: tuple[str, ...]
  voice_evidence: float
  face_evidence: float
  speakers: dict[str, dict]
  clips: tuple[Clip, ...]
  quirks: dict[str, str]
  media: dict


def random_generator(seed: int, *names: str) -> np.random.Generator:
  """The generator that belongs to a name, whatever is drawn elsewhere."""
  digest = hashlib.sha256('/'.join(names).encode()).digest()
  words = [int.from_bytes(digest[i : i + 4], 'little') for i in (0, 4, 8, 12)]
  return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def draw(
  clip_id: str,
  *,
  speaker: str,
  emotion: str,
  intensity: str,
  seed: int,
  voice_evidence: float,
  face_evidence: float,
) -> Clip:
  """Draws the cues of one clip; they depend on the seed and its id alone."""
  rng = random_generator(seed, 'cues', clip_id)
  # All draws happen in every case, so that another probability or class moves
  # nothing but what it must.
  voice_draw, face_draw = rng.random(2)
  spread = rng.uniform(-1, 1) * AMPLITUDE_SPREAD
  seconds = rng.uniform(*SECONDS)
  emotional = emotion != 'neutral'
  return Clip(
    clip_id=clip_id,
    speaker=speaker,
    emotion=emotion,
    intensity=intensity,
    voice=emotion if emotional and voice_draw < voice_evidence else FLAT,
    face=emotion if emotional and face_draw < face_evidence else FLAT,
    amplitude=round(AMPLITUDES[intensity] + spread, 4),
    seconds=round(seconds, 3),
  )


def check_evidence(name: str, probability: float):
  """Raises AvemoError unless the probability is one."""
  if not 0 <= probability <= 1:
    raise errors.AvemoError(
      f'{name}={probability}: a probability lies between 0 and 1'
    )


def save(simulation: Simulation, directory: str | os.PathLike):
  """Writes `simulation.json` into the directory."""
  text = json.dumps(dataclasses.asdict(simulation), indent=1, sort_keys=True)
  pathlib.Path(directory, FILE).write_text(text + '\n', encoding='utf-8')


def load(directory: str | os.PathLike) -> Simulation:
  """Reads `simulation.json` of a simulated corpus.

  Raises:
    AvemoError: when the directory holds none, or one that cannot be read.
  """
  path = pathlib.Path(directory, FILE)
  try:
    fields = json.loads(path.read_text(encoding='utf-8'))
    clips = tuple(Clip(**clip) for clip in fields.pop('clips'))
    emotions = tuple(fields.pop('emotions'))
    return Simulation(clips=clips, emotions=emotions, **fields)
  except FileNotFoundError:
    raise errors.AvemoError(
      f'{path}: no such file; only `avemo simulate` writes it, so the best '
      'possible score of other recordings is unknown'
    ) from None
  except (ValueError, TypeError, KeyError) as error:
    raise errors.AvemoError(
      f'{path}: not a description of a simulated corpus ({error}); simulate '
      'the corpus again'
    ) from None
