"""The front-end of VGGish: patches of log-mel magnitude, 0.96 s each.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification",
ICASSP 2017, with the constants of the released model. Speech is 16 kHz mono.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from avemo.audio import exact, features

SAMPLE_RATE = 16_000
WINDOW = 400
HOP = 160
N_FFT = 512
NUM_MELS = 64
FMIN, FMAX = 125.0, 7_500.0
LOG_OFFSET = 0.01
# Frames of a patch; patches do not overlap.
PATCH = 96
# The shortest clip with a patch: what the frames of one patch reach over.
PATCH_SAMPLES = (PATCH - 1) * HOP + WINDOW


def hertz_to_mel(frequency: np.ndarray | float) -> np.ndarray:
  """HTK's mel scale."""
  return 1_127.0 * np.log1p(np.asarray(frequency) / 700.0)


@functools.cache
def make_mel_bank() -> np.ndarray:
  """Triangles in mel, not in hertz, of height 1, float32 `[255, 64]`."""
  # The constant part, which HTK leaves out, and the last are in no band.
  bins = hertz_to_mel(np.arange(1, N_FFT // 2) * (SAMPLE_RATE / N_FFT))
  edges = np.linspace(hertz_to_mel(FMIN), hertz_to_mel(FMAX), NUM_MELS + 2)
  width = edges[1] - edges[0]
  rise = (bins[:, None] - edges[:-2]) / width
  fall = (edges[2:] - bins[:, None]) / width
  bank = np.maximum(0, np.minimum(rise, fall)).astype(np.float32)
  bank.flags.writeable = False
  return bank


def make_window() -> np.ndarray:
  """A periodic Hann window, float64 `[400]`."""
  return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


@functools.cache
def make_matrix() -> np.ndarray:
  """The windowed Fourier transform, float64 `[400, 2 * 255]`.

  The real, then the imaginary parts.
  """
  frequencies = np.arange(1, N_FFT // 2) * (2 * np.pi / N_FFT)
  waves = np.exp(-1j * np.arange(WINDOW)[:, None] * frequencies)
  waves *= make_window()[:, None]
  matrix = np.concatenate([waves.real, waves.imag], axis=1)
  matrix.flags.writeable = False
  return matrix


TRANSFORM = exact.Transform(
  lambda frames: frames * make_window(), N_FFT, make_matrix
)


def compute_log_mel(waveform: jax.Array) -> jax.Array:
  """Logarithms of mel bands of the magnitude, without padding at the edges.

  Args:
    waveform: floats in [-1, 1], `[..., S]`, S at least `WINDOW`.

  Returns:
    float32 `[..., F, 64]`; its gradient is finite in silence.
  """
  frames = exact.cut_frames(waveform, size=WINDOW, hop=HOP)
  power = exact.compute_power(frames, TRANSFORM)
  # The root has no gradient at 0: there the branch not taken gets another.
  some = power > 0
  magnitude = jnp.where(some, jnp.sqrt(jnp.where(some, power, 1)), 0)
  mels = jnp.matmul(magnitude, make_mel_bank(), precision='highest')
  return jnp.log(mels + LOG_OFFSET)


def cut_patches(
  speech: jax.Array, speech_length: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Patches of a padded batch, and how many of them each clip fills.

  A clip's patches do not depend on how far it is padded. What is left after
  the last whole patch is not used, so a clip below 0.975 s fills none.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`, at 16 kHz.
    speech_length: valid samples, int `[B]`.

  Returns:
    float32 `[B, N, 96, 64]`, N at least 1, with zeros in patches that are not
    filled; their number, int32 `[B]`.
  """
  waveform = features.to_waveform(speech)
  missing = max(0, PATCH_SAMPLES - waveform.shape[-1])
  waveform = jnp.pad(waveform, ((0, 0), (0, missing)))
  log_mel = compute_log_mel(waveform)
  size = log_mel.shape[1] // PATCH
  patches = log_mel[:, : size * PATCH].reshape(-1, size, PATCH, NUM_MELS)
  # Rounded down, so that a negative number of frames is none.
  num_frames = 1 + (speech_length - WINDOW) // HOP
  num_patches = jnp.clip(num_frames // PATCH, 0, size).astype(jnp.int32)
  filled = jnp.arange(size) < num_patches[:, None]
  return jnp.where(filled[..., None, None], patches, 0), num_patches
