"""A voice from a source-filter model: pulses and breath through formants."""

import dataclasses

import numpy as np

from avemo.simulate import prosody

SAMPLE_RATE = 16_000

_HOP = 80
_WINDOW = 400
_STEP = 100

# Level of flat speech in dB below full scale, measured over the spoken part.
_LEVEL = -25.0


@dataclasses.dataclass(frozen=True)
class Timbre:
  """What stays the same over all clips of a speaker.

  Attributes:
    pitch: usual F0 in Hz.
    span: standard deviation of the pitch between syllables in semitones.
    tract: factor on the formants of `prosody.VOWELS`.
    tilt: dB per octave, added to the usual -6.
    breath: share of noise in the source.
    level: dB.
    rate: syllables a second.
    floor: level of the room's noise in dB below full scale.
  """

  pitch: float
  span: float
  tract: float
  tilt: float
  breath: float
  level: float
  rate: float
  floor: float


def draw_timbre(sex: str, rng: np.random.Generator) -> Timbre:
  """Draws a speaker's voice; `sex` is 'male' or 'female'."""
  low, high, tract = (95, 145, 1.0) if sex == 'male' else (170, 230, 1.15)
  return Timbre(
    pitch=round(rng.uniform(low, high), 2),
    span=round(rng.uniform(0.9, 1.6), 3),
    tract=round(tract * rng.uniform(0.95, 1.05), 4),
    tilt=round(rng.uniform(-1, 1), 3),
    breath=round(rng.uniform(0.01, 0.04), 4),
    level=round(rng.uniform(-1.5, 1.5), 3),
    rate=round(rng.uniform(3.6, 5.0), 3),
    floor=round(rng.uniform(-68, -60), 2),
  )


def synthesise(
  syllables: prosody.Syllables,
  timbre: Timbre,
  profile: prosody.Profile,
  rng: np.random.Generator,
) -> np.ndarray:
  """Speaks the syllables.

  Args:
    syllables: what is said and when.
    timbre: whose voice it is.
    profile: the manner, already scaled.
    rng: the clip's generator for the voice.

  Returns:
    float32 [n] at 16 kHz in [-1, 1].
  """
  num_samples = round(syllables.seconds * SAMPLE_RATE)
  sample_times = np.arange(num_samples) / SAMPLE_RATE
  times = np.arange(0, num_samples + _HOP, _HOP) / SAMPLE_RATE
  pitch = _pitch_track(syllables, timbre, profile, times, rng)
  loudness = _loudness_track(syllables, profile, times)
  pitch = np.interp(sample_times, times, pitch)
  loudness = np.interp(sample_times, times, loudness)

  phase = np.cumsum(pitch) / SAMPLE_RATE
  source = _pulses(phase, pitch)
  source *= 1 + min(profile.rough, 0.95) * np.cos(np.pi * phase)
  source *= np.sqrt(2 * pitch / SAMPLE_RATE)  # Unit power at any pitch.
  breath = np.clip(timbre.breath + profile.breath, 0, 1)
  noise = rng.standard_normal(num_samples)
  voiced = loudness * ((1 - breath) * source + breath * noise)

  speech = _filter(voiced, _envelope(syllables, timbre, profile, num_samples))
  speech /= np.sqrt(np.mean(speech**2) / np.mean(loudness**2))
  speech += _consonants(syllables, profile, sample_times, rng)
  level = _LEVEL + timbre.level + profile.energy
  speech *= 10 ** (level / 20) / np.sqrt(np.mean(speech**2))
  speech += 10 ** (timbre.floor / 20) * rng.standard_normal(num_samples)
  # A soft limiter: loud clips must not clip hard.
  return (0.95 * np.tanh(speech / 0.95)).astype(np.float32)


def _pitch_track(syllables, timbre, profile, times, rng):
  """F0 in Hz at the times of control."""
  index, position, _ = prosody.locate(syllables, times)
  first = syllables.start[0]
  end = syllables.start[-1] + syllables.length[-1]
  place = np.clip((times - first) / (end - first), 0, 1)
  centre = syllables.start + 0.5 * syllables.length
  span = timbre.span * max(0.1, 1 + profile.span)
  semitones = profile.pitch + span * np.interp(
    times, centre, np.clip(syllables.pitch, -1.5, 1.5)
  )
  # Everyone's pitch declines a little over a sentence.
  semitones += (profile.slope - 1.5) * (place - 0.5)
  semitones += profile.arc * (np.sin(np.pi * place) - 0.5)
  semitones += profile.final * np.clip((place - 0.66) / 0.34, 0, 1) ** 1.5
  semitones += profile.accent * (0.5 - position)
  semitones += profile.tremor * np.sin(
    2 * np.pi * (profile.tremor_rate * times + rng.random())
  )
  semitones += (0.06 + profile.jitter) * rng.standard_normal(len(times))
  return np.clip(timbre.pitch * 2 ** (semitones / 12), 50, 700)


def _loudness_track(syllables, profile, times):
  """Relative amplitude at the times of control; silence outside speech."""
  index, position, spoken = prosody.locate(syllables, times)
  staccato = np.clip(profile.staccato, -1, 1)
  if staccato > 0:
    position = np.clip(position / (1 - 0.4 * staccato), 0, 1)
  floor = 0.12 + 0.5 * max(-staccato, 0)
  envelope = floor + (1 - floor) * prosody.shape(position)
  if staccato > 0:
    envelope = envelope * np.where(position < 1, 1, 0.3)
  envelope = envelope * syllables.stress[index]
  tremble = np.sin(2 * np.pi * profile.tremor_rate * times)
  envelope *= 1 + 0.3 * min(profile.tremor, 1.5) * tremble
  edge = np.minimum(
    times - syllables.start[0],
    syllables.start[-1] + syllables.length[-1] - times,
  )
  return envelope * spoken * np.clip(edge / 0.03, 0, 1)


def _pulses(phase, pitch):
  """A train of band-limited pulses: the sum of all harmonics below 7.6 kHz."""
  count = np.floor(0.475 * SAMPLE_RATE / pitch)
  sine = np.sin(np.pi * phase)
  close = np.abs(sine) < 1e-6
  closed = np.sin((2 * count + 1) * np.pi * phase) / (
    2 * np.where(close, 1, sine)
  )
  return np.where(close, count + 0.5, closed) - 0.5


def _envelope(syllables, timbre, profile, num_samples):
  """Magnitude of the vocal tract, float [frames, bins]."""
  num_frames = num_samples // _STEP + _WINDOW // _STEP + 1
  times = (np.arange(num_frames) * _STEP - _WINDOW / 2) / SAMPLE_RATE
  centre = syllables.start + 0.5 * syllables.length
  formants = np.array([vowel[:3] for vowel in prosody.VOWELS], float)
  formants = formants[syllables.vowel]
  formants = np.concatenate([formants, np.full((len(centre), 1), 3500)], 1)
  frequency = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
  factor = timbre.tract * (1 + profile.formants)
  gain = np.ones((num_frames, len(frequency)))
  for number in range(4):
    track = factor * np.interp(times, centre, formants[:, number])[:, None]
    bandwidth = 70 + 40 * number
    ratio = frequency / track
    gain /= np.hypot(1 - ratio**2, bandwidth / track * ratio)
  octaves = np.log2(np.maximum(frequency, 250) / 250)
  # The product of resonances falls off above the last one by itself.
  decibels = (timbre.tilt + profile.tilt + 9) * octaves
  decibels -= profile.nasal * np.exp(-(((frequency - 900) / 250) ** 2))
  decibels += 0.6 * profile.nasal * np.exp(-(((frequency - 250) / 90) ** 2))
  decibels[frequency < 60] = -60
  return gain * 10 ** (decibels / 20)


def _filter(source, envelope):
  """Applies a magnitude [frames, bins] that changes over time, zero phase."""
  padded = np.pad(source, (_WINDOW, 2 * _WINDOW))
  window = np.hanning(_WINDOW + 1)[:-1]
  offset = np.arange(len(envelope)) * _STEP
  frames = padded[offset[:, None] + np.arange(_WINDOW)] * window
  frames = np.fft.irfft(np.fft.rfft(frames) * envelope, _WINDOW)
  output = np.zeros(len(padded) + _WINDOW)
  for phase in range(_WINDOW // _STEP):
    part = frames[phase :: _WINDOW // _STEP].reshape(-1)
    output[phase * _STEP : phase * _STEP + len(part)] += part
  output *= _STEP / window.sum()
  return output[_WINDOW : _WINDOW + len(source)]


def _consonants(syllables, profile, times, rng):
  """Noise of stops and fricatives at the onsets of syllables, float [n]."""
  noise = rng.standard_normal(len(times))
  index, position, spoken = prosody.locate(syllables, times)
  seconds = position * syllables.length[index]
  kind = syllables.consonant[index]
  burst = (kind == 0) * np.exp(-(((seconds - 0.01) / 0.006) ** 2))
  hiss = (kind == 1) * np.exp(-(((seconds - 0.025) / 0.02) ** 2))
  high = np.diff(noise, prepend=0.0)
  return spoken * (0.35 * burst * noise + 0.25 * hiss * high)
