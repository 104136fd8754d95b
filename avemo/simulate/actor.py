"""A simulated speaker: looks, voice, and the performance of a clip."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from avemo.simulate import cues, drawing, face, motion, prosody, voice


@dataclasses.dataclass(frozen=True)
class Traits:
  """What a speaker keeps over all clips."""

  look: face.Look
  timbre: voice.Timbre


def find_sex(speaker: str) -> str:
  """'male' or 'female': a letter before the number tells, else the number.

  RAVDESS gives odd numbers to men; the other simulated corpora do the same.
  """
  if speaker[0] in 'FM':
    return {'F': 'female', 'M': 'male'}[speaker[0]]
  return 'male' if int(speaker) % 2 else 'female'


def draw_traits(speaker: str, sex: str, seed: int) -> Traits:
  """Draws a speaker; `sex` is 'male' or 'female'."""
  return Traits(
    face.draw_look(sex, cues.random_generator(seed, 'look', speaker)),
    voice.draw_timbre(sex, cues.random_generator(seed, 'timbre', speaker)),
  )


class Actor:
  """Performs clips.

  The syllables are drawn apart from the cues: length, timing and the talking
  mouth are the same in law for every class, so that neither modality betrays
  what the other one shows.

  Attributes:
    traits: looks and voice.
    seed: of the corpus.
    fps: frames a second.
  """

  def __init__(
    self,
    speaker: str,
    traits: Traits,
    *,
    seed: int,
    size: tuple[int, int],
    fps: float,
  ):
    """Prepares the layers of the picture.

    Args:
      speaker: the id.
      traits: looks and voice.
      seed: of the corpus.
      size: width and height of the frames in pixels.
      fps: frames a second.
    """
    self.traits = traits
    self.seed = seed
    self.fps = float(fps)
    self._artist = drawing.Artist(
      traits.look, size, cues.random_generator(seed, 'room', speaker)
    )

  def perform(self, clip: cues.Clip) -> tuple[Iterator[np.ndarray], np.ndarray]:
    """Frames, uint8 [H, W, 3] RGB each, and speech, float32 [n] at 16 kHz."""

    def generator(part):
      return cues.random_generator(self.seed, part, clip.clip_id)

    syllables = prosody.draw_syllables(
      clip.seconds, self.traits.timbre.rate, generator('syllables')
    )
    # A cue that gets lost with a broken file was never looked at before.
    heard, seen = clip.voice or cues.FLAT, clip.face or cues.FLAT
    speech = voice.synthesise(
      syllables,
      self.traits.timbre,
      prosody.PROFILES[heard].scale(clip.amplitude),
      generator('voice'),
    )
    rng = generator('face')
    course = motion.move(syllables, seen, clip.amplitude, self.fps, rng)
    return self.show(course, rng), speech

  def show(
    self, course: motion.Motion, rng: np.random.Generator
  ) -> Iterator[np.ndarray]:
    """Frames, uint8 [H, W, 3] RGB each, of a face that moves so."""
    return self._artist.frames(course, rng)
