"""Kaldi's log mel filter bank, as spectrogram transformers are trained on it.

At 16 kHz: frames of 25 ms every 10 ms, only whole ones; the mean of each frame
is removed, then pre-emphasis, a symmetric Hann window, 512 points, power, and
128 triangles between 20 and 8000 Hz on Kaldi's mel scale; no dither.

Everything up to the spectrum is linear in the samples of a frame and therefore
one matrix. Single precision would not do: next to a loud tone, a quiet bin is
the small rest of large products, and its logarithm would be wrong by 1e-2.
Samples and matrix are therefore cut into slices of 9 bits, whose products sum
up exactly, whatever the order and whichever device: the bins come within
2^-33 of the loudest, as if computed in double precision.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

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

# Magnitudes up to 2^8 in each slice: a sum over a frame stays below 2^24, and
# each factor is exact in bfloat16, into which accelerators may round it.
SLICE_BITS = 8
# Products of slices i and j, from 0, count where i + j is less than this.
NUM_SLICES = 4


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
  frames = jax.vmap(
    lambda start: jax.lax.dynamic_slice_in_dim(waveform, start, FRAME, -1),
    out_axes=-2,
  )(np.arange(num_frames) * HOP)
  # A power of two, which costs no digit, brings each frame near 1.
  peak = jnp.max(jnp.abs(frames), axis=-1, keepdims=True)
  exponent = jax.lax.stop_gradient(jnp.frexp(peak)[1])
  bins = transform(jnp.ldexp(frames, -exponent))
  real, imaginary = jnp.split(bins, 2, axis=-1)
  power = jnp.ldexp(real**2 + imaginary**2, 2 * exponent)
  # GPUs would round the factors to TF32, three digits.
  power = jnp.matmul(power, make_mel_bank(num_mels), precision='highest')
  return jnp.log(jnp.maximum(power, FLOOR))


@jax.custom_jvp
def transform(frames: jax.Array) -> jax.Array:
  """Spectra of frames, to the digits of double precision that matter.

  Args:
    frames: float32 in [-1, 1], `[..., FRAME]`.

  Returns:
    float32 `[..., 2 * (N_FFT // 2 - 1)]`: the real, then the imaginary parts
    of all frequencies but the first and the last, which no band contains.
  """
  samples = cut_slices(frames)
  factors = cut_slices(make_transform() / 2)
  spectra = 0.0
  # Small terms first, so that they are not rounded away one by one.
  for order in reversed(range(NUM_SLICES)):
    for i in range(order + 1):
      spectra += jnp.matmul(samples[i], factors[order - i], precision='highest')
  return 2 * spectra


@transform.defjvp
def _differentiate_transform(primals, tangents):
  # Slices have no derivative, but their sum is linear.
  matrix = make_transform().astype(np.float32)
  change = jnp.matmul(tangents[0], matrix, precision='highest')
  return transform(*primals), change


def cut_slices(x: jax.Array | np.ndarray) -> list[jax.Array | np.ndarray]:
  """Numbers in [-1, 1] as a sum of such of 9 bits, the coarsest first."""
  rint = np.rint if isinstance(x, np.ndarray) else jnp.rint
  slices = []
  for i in range(NUM_SLICES):
    step = 2.0 ** -(SLICE_BITS + i * (SLICE_BITS + 1))
    slices.append((rint(x / step) * step).astype(np.float32))
    x = x - slices[-1]
  return slices


@functools.cache
def make_transform() -> np.ndarray:
  """What `transform` multiplies with, float64 `[FRAME, 2 * 255]`, below 2."""
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
