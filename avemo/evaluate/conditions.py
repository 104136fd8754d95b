"""Tests under worse conditions: a modality missing, noise, fewer frames."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo import errors
from avemo.data.clips import MODALITIES, SAMPLE_RATE

NOISES = ('white', 'pink')
# Pink noise rises no further below it: there is no speech.
LOWEST = 20.0


@dataclasses.dataclass(frozen=True)
class Condition:
  """What is done to clips before a model sees them; nothing by default.

  Attributes:
    without: a modality that is taken for missing.
    snr: signal-to-noise ratio of the sound in decibels; None adds no noise.
    noise: 'white', or 'pink', as strong in every octave.
    adaptive: of a model over features of frames: faces that differ by no more
      from the one looked at before are taken for it, see
      `features.adaptive.choose`; every face is looked at when None.
  """

  without: str | None = None
  snr: float | None = None
  noise: str = 'white'
  adaptive: float | None = None

  def __post_init__(self):
    if self.without not in (None, *MODALITIES):
      raise errors.AvemoError(
        f'without {self.without!r}: use one of {", ".join(MODALITIES)}'
      )
    if self.noise not in NOISES:
      raise errors.AvemoError(
        f'noise {self.noise!r}: use one of {", ".join(NOISES)}'
      )
    if self.snr is not None and not -100 <= self.snr <= 100:
      raise errors.AvemoError(f'snr {self.snr}: decibels, -100 to 100')
    if self.adaptive is not None and not 0 <= self.adaptive <= 1:
      raise errors.AvemoError(
        f'adaptive={self.adaptive}: the difference of grey that counts, 0 to 1'
      )
    if self.without == 'audio' and self.snr is not None:
      raise errors.AvemoError('without audio there is no sound to add noise to')

  @property
  def name(self) -> str:
    """As it stands in a folder's name; '' where nothing is done."""
    words = [f'without-{self.without}'] if self.without else []
    if self.snr is not None:
      sign = 'minus-' if self.snr < 0 else ''
      words.append(f'snr-{sign}{abs(self.snr):g}db')
      words += [self.noise] if self.noise != NOISES[0] else []
    if self.adaptive is not None:
      words.append(f'adaptive-{self.adaptive:g}')
    return '-'.join(words)

  def describe(self) -> dict[str, Any]:
    """For `metrics.json`; empty where nothing is done."""
    found = {'without': self.without} if self.without else {}
    if self.snr is not None:
      found |= {'snr': self.snr, 'noise': self.noise}
    if self.adaptive is not None:
      found['adaptive'] = self.adaptive
    return found

  @property
  def changes_clips(self) -> bool:
    """Whether clips are altered, rather than fewer frames of them read."""
    return self.without is not None or self.snr is not None

  def check(self, use: tuple[str, ...]) -> None:
    """Raises an AvemoError where a model has no use for what is changed."""
    left = [name for name in use if name != self.without]
    if self.without and len(left) == len(use):
      raise errors.AvemoError(
        f'without {self.without}: the model uses {" and ".join(use)} alone'
      )
    if not left:
      raise errors.AvemoError(
        f'without {self.without}: the model uses nothing else'
      )
    if self.snr is not None and 'audio' not in use:
      raise errors.AvemoError('snr: the model does not listen')

  def apply(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch as the model shall see it.

    Noise is drawn by the record and the view alone, the same for every model
    and in batches of any size.

    Args:
      batch: of `pipeline.eval_batches`.

    Raises:
      AvemoError: it holds features in place of frames and speech.
    """
    batch = dict(batch)
    needed = {'video': ('frames', 'has_video')}
    needed['audio'] = 'speech', 'speech_length', 'has_audio'
    names = needed.get(self.without, ()) or needed['audio']
    if any(name not in batch for name in names):
      raise errors.AvemoError(
        f'{self.name}: the model reads features that are cached, in which '
        'nothing can be changed any more'
      )
    if self.without:
      batch |= {name: np.zeros_like(batch[name]) for name in names}
    if self.snr is not None:
      speech = np.array(batch['speech'])
      for row, length in enumerate(batch['speech_length']):
        # Padding has the record -1.
        seed = int(batch['record'][row]) + 1, int(batch['view'][row])
        speech[row, :length] = add_noise(
          speech[row, :length],
          self.snr,
          self.noise,
          np.random.default_rng(seed),
        )
      batch['speech'] = speech
    return batch


def add_noise(
  speech: np.ndarray, snr: float, noise: str, rng: np.random.Generator
) -> np.ndarray:
  """Speech with noise at a ratio of powers, of the whole to the whole.

  Where the sum would not fit into 16 bits both become quieter, so that the
  ratio holds. Silence stays as it is, for it has no ratio to anything.

  Args:
    speech: int16 [S].
    snr: decibels.
    noise: out of `NOISES`.
    rng: by which it is drawn.
  """
  signal = speech.astype(np.float64)
  if not signal.any():
    return speech
  drawn = rng.standard_normal(len(signal))
  if noise == 'pink':
    frequency = np.fft.rfftfreq(len(drawn), 1 / SAMPLE_RATE)
    bands = np.fft.rfft(drawn) / np.sqrt(np.maximum(frequency, LOWEST))
    bands[0] = 0
    drawn = np.fft.irfft(bands, len(drawn))
  power = np.mean(drawn**2)
  if not power:
    return speech
  wanted = np.mean(signal**2) / 10 ** (snr / 10)
  mixed = signal + drawn * np.sqrt(wanted / power)
  mixed *= min(1.0, 32_767 / np.abs(mixed).max())
  return np.round(mixed).astype(np.int16)
