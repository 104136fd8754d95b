"""Kaldi's log mel filter bank, as spectrogram transformers are trained on it.

At 16 kHz: frames of 25 ms every 10 ms, only whole ones; the mean of each frame
is removed, then pre-emphasis, a symmetric Hann window, 512 points, power, and
128 triangles between 20 and 8000 Hz on Kaldi's mel scale; no dither.

Everything up to the spectrum is linear in the samples of a frame; `exact`
computes it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from avemo.audio import exact

SAMPLE_RATE = 16_000
FRAME = 400
HOP = 160
N_FFT = 512
NUM_MELS = 128
LOWEST = 20.0
HIGHEST = 8_000.0
PREEMPHASIS = 0.97

# Smaller powers count as this: the epsilon of single precision.
FLOOR = np.finfo(np.float32).eps


def count_frames(num_samples: int) -> int:
  """The number of frames that lie within so many samples."""
  return 1 + (num_samples - FRAME) // HOP if num_samples >= FRAME else 0


def log_mel(waveform: jax.Array, *, num_mels: int = NUM_MELS) -> jax.Array:
  """The logarithm of the power in each band.

  The mean over the waveform need not be removed first: each frame loses its
  own.

  Args:
    waveform: floats in [-1, 1], `[..., S]`, not scaled to 16 bits as Kaldi's
      tools have it.
    num_mels: M.

  Returns:
    float32 `[..., F, M]`, F by `count_frames`; at least log(1.19e-7), which
    low bands between two frequencies of the spectrum always have.

  Raises:
    TypeError: the waveform holds integers, whose scale is unknown here.
  """
  if not jnp.issubdtype(waveform.dtype, jnp.floating):
    raise TypeError(f'the waveform must hold floats, not {waveform.dtype}')
  waveform = waveform.astype(jnp.float32)
  num_frames = count_frames(waveform.shape[-1])
  if not num_frames:
    return jnp.zeros((*waveform.shape[:-1], 0, num_mels), jnp.float32)
  frames = exact.cut_frames(waveform, size=FRAME, hop=HOP)
  power = exact.compute_power(frames, TRANSFORM)
  # GPUs would round the factors to TF32, three digits.
  power = jnp.matmul(power, make_mel_bank(num_mels), precision='highest')
  return jnp.log(jnp.maximum(power, FLOOR))


def weigh(frames: jax.Array) -> jax.Array:
  """Without their mean, pre-emphasised, under the window, `[..., FRAME]`."""
  frames = frames - frames.mean(-1, keepdims=True)
  # The first sample counts as its own predecessor.
  before = jnp.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
  return (frames - PREEMPHASIS * before) * np.hanning(FRAME)


@functools.cache
def make_matrix() -> np.ndarray:
  """All up to the spectrum, float64 `[FRAME, 2 * 255]`, below 2."""
  window = np.hanning(FRAME)[:, None]
  frequencies = np.arange(1, N_FFT // 2) * (2 * np.pi / N_FFT)
  waves = window * np.exp(-1j * np.arange(FRAME)[:, None] * frequencies)
  matrix = waves.copy()
  matrix[:-1] -= PREEMPHASIS * waves[1:]
  # The first sample counts as its own predecessor.
  matrix[0] -= PREEMPHASIS * waves[0]
  matrix -= matrix.mean(0)
  matrix = np.concatenate([matrix.real, matrix.imag], axis=1)
  matrix.flags.writeable = False
  return matrix


TRANSFORM = exact.Transform(weigh, N_FFT, make_matrix)


@functools.cache
def make_mel_bank(num_mels: int = NUM_MELS) -> np.ndarray:
  """Triangles on Kaldi's mel scale, float32 `[N_FFT // 2 - 1, M]`.

  Rounded once. Kaldi and torchaudio work in single precision all along, which
  moves the edges of these narrow triangles: bands differ by 1e-4 at most, or
  by twice that where a loud tone lies on an edge.
  """
  low, high = (1127 * np.log1p(f / 700) for f in (LOWEST, HIGHEST))
  edges = np.linspace(low, high, num_mels + 2)
  left, centre, right = edges[:-2], edges[1:-1], edges[2:]
  frequencies = np.arange(1, N_FFT // 2)[:, None] * (SAMPLE_RATE / N_FFT)
  mel = 1127 * np.log1p(frequencies / 700)
  bank = np.minimum(
    (mel - left) / (centre - left), (right - mel) / (right - centre)
  )
  bank = np.maximum(bank, 0).astype(np.float32)
  bank.flags.writeable = False
  return bank
