"""How a clip is spoken: syllables that know no emotion, profiles that do."""

import dataclasses

import numpy as np

# First three formants of a male vocal tract in Hz, and how far the mouth
# opens for the vowel.
VOWELS = (
  (730, 1090, 2440, 1.0),
  (660, 1720, 2410, 0.85),
  (530, 1840, 2480, 0.7),
  (270, 2290, 3010, 0.4),
  (570, 840, 2410, 0.75),
  (440, 1020, 2240, 0.6),
  (300, 870, 2240, 0.35),
  (500, 1400, 2400, 0.65),
)

CONSONANTS = ('stop', 'fricative', 'nasal', 'none')


@dataclasses.dataclass(frozen=True)
class Profile:
  """Offsets from the speaker's own way of speaking; all zero is flat.

  Attributes:
    pitch: semitones.
    span: factor - 1 on the speaker's pitch range between syllables.
    slope: semitones from the first to the last syllable.
    arc: semitones of a rise and fall over the whole clip.
    final: semitones of rise within the last third.
    accent: semitones of fall (negative: rise) within each syllable.
    tremor: semitones of a tremble at `tremor_rate`, with loudness going along.
    tremor_rate: Hz.
    energy: dB.
    tilt: dB per octave; positive is brighter.
    breath: share of noise in the source.
    jitter: semitones of irregularity.
    rough: depth of a subharmonic.
    staccato: syllables clipped short (positive) or run together (negative).
    formants: factor - 1 on all formants: spread or rounded lips.
    nasal: dB of a dip at 900 Hz and a murmur at 250 Hz.
  """

  pitch: float = 0.0
  span: float = 0.0
  slope: float = 0.0
  arc: float = 0.0
  final: float = 0.0
  accent: float = 0.0
  tremor: float = 0.0
  tremor_rate: float = 0.0
  energy: float = 0.0
  tilt: float = 0.0
  breath: float = 0.0
  jitter: float = 0.0
  rough: float = 0.0
  staccato: float = 0.0
  formants: float = 0.0
  nasal: float = 0.0

  def scale(self, amplitude: float) -> 'Profile':
    """The same manner, further (or less far) from flat."""
    values = {k: v * amplitude for k, v in dataclasses.asdict(self).items()}
    return Profile(**(values | {'tremor_rate': self.tremor_rate}))


PROFILES = {
  'flat': Profile(),
  'anger': Profile(
    pitch=4.0, span=0.8, slope=-1.0, accent=4.0, energy=9.0, tilt=5.5,
    jitter=0.15, rough=0.45, staccato=0.8,
  ),
  'disgust': Profile(
    pitch=-4.0, span=0.2, slope=-3.0, accent=1.5, energy=-2.0, tilt=1.0,
    jitter=0.7, rough=0.7, staccato=-0.5, formants=-0.06, nasal=14.0,
  ),
  'fear': Profile(
    pitch=8.0, span=-0.2, slope=2.5, tremor=1.5, tremor_rate=8.0, energy=1.0,
    tilt=-0.5, breath=0.42, jitter=0.3, staccato=0.3,
  ),
  'happiness': Profile(
    pitch=5.5, span=1.3, arc=2.5, accent=-5.0, energy=5.0, tilt=4.0,
    formants=0.12, staccato=0.3,
  ),
  'sadness': Profile(
    pitch=-1.5, span=-0.7, slope=-4.5, tremor=0.35, tremor_rate=4.0,
    energy=-9.0, tilt=-5.0, breath=0.4, staccato=-0.7, formants=-0.03,
  ),
  'surprise': Profile(
    pitch=4.5, span=0.3, slope=5.0, final=12.0, accent=-2.0, energy=5.0,
    tilt=1.0, breath=0.25, staccato=-0.6,
  ),
  'calm': Profile(
    pitch=-3.0, span=-0.8, arc=7.0, energy=-6.0, tilt=-4.0, staccato=-1.0,
  ),
  'contempt': Profile(
    pitch=-2.0, span=0.5, slope=-5.0, accent=3.0, energy=1.0, tilt=3.0,
    staccato=0.6, nasal=9.0,
  ),
  'anxiety': Profile(
    pitch=3.5, span=0.6, slope=1.5, tremor=0.8, tremor_rate=6.0, energy=-1.0,
    breath=0.2, jitter=0.6, staccato=1.0,
  ),
  'helplessness': Profile(
    pitch=1.5, span=-0.3, slope=-2.0, arc=-3.0, tremor=0.7, tremor_rate=3.0,
    energy=-5.0, tilt=-2.0, breath=0.6, staccato=-0.4,
  ),
  'disappointment': Profile(
    pitch=-3.0, span=-0.2, slope=-7.0, accent=2.0, energy=-6.0, tilt=-3.0,
    breath=0.25, rough=0.3, staccato=-0.2,
  ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Syllables:
  """The articulation of a clip; the face and the voice share it.

  Attributes:
    seconds: length of the clip.
    start: float [n], onset of each syllable in seconds.
    length: float [n], seconds.
    vowel: int [n], index into `VOWELS`.
    consonant: int [n], index into `CONSONANTS`.
    pitch: float [n], standard normal accent of each syllable.
    stress: float [n], loudness of each syllable, about 1.
  """

  seconds: float
  start: np.ndarray
  length: np.ndarray
  vowel: np.ndarray
  consonant: np.ndarray
  pitch: np.ndarray
  stress: np.ndarray


def draw_syllables(
  seconds: float, rate: float, rng: np.random.Generator
) -> Syllables:
  """Draws what is said: phones and timing, from no knowledge of the class.

  Args:
    seconds: length of the clip.
    rate: the speaker's syllables a second.
    rng: the clip's generator for articulation.
  """
  lead, trail = rng.uniform(0.1, 0.2), rng.uniform(0.08, 0.16)
  rate = rate * rng.uniform(0.9, 1.1)
  count = max(3, round((seconds - lead - trail) * rate))
  weights = rng.uniform(0.75, 1.25, count)
  length = weights / weights.sum() * (seconds - lead - trail)
  start = lead + np.concatenate([[0.0], np.cumsum(length)[:-1]])
  return Syllables(
    seconds=seconds,
    start=start,
    length=length,
    vowel=rng.integers(len(VOWELS), size=count),
    consonant=rng.integers(len(CONSONANTS), size=count),
    pitch=rng.standard_normal(count),
    stress=rng.uniform(0.8, 1.2, count),
  )


def locate(
  syllables: Syllables, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Index of the syllable at each time, position within it, and whether any.

  Args:
    times: seconds, float [n].

  Returns:
    int [n]; float [n] in [0, 1]; bool [n].
  """
  index = np.searchsorted(syllables.start, times, side='right') - 1
  index = np.clip(index, 0, len(syllables.start) - 1)
  position = (times - syllables.start[index]) / syllables.length[index]
  spoken = (position >= 0) & (position <= 1)
  return index, np.clip(position, 0, 1), spoken


def shape(position: np.ndarray) -> np.ndarray:
  """Loudness over a syllable: closed at both ends, open in the middle."""
  return np.sin(np.pi * np.clip(position, 0, 1) ** 0.8) ** 0.7


def mouth_opening(syllables: Syllables, times: np.ndarray) -> np.ndarray:
  """How far talking opens the mouth, float [n] in about [0, 1]."""
  index, position, spoken = locate(syllables, times)
  openness = np.array([vowel[3] for vowel in VOWELS])[syllables.vowel]
  return spoken * shape(position) * openness[index] * syllables.stress[index]
