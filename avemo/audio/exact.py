"""Linear transforms of frames to the digits of double precision that matter.

Single precision would not do: next to a loud tone, a quiet bin is the small
rest of large products, and its logarithm would be wrong by 1e-2. A CPU has a
fast Fourier transform in double precision. Elsewhere that is slow or absent,
the transform is a product with a matrix, and samples and matrix are cut into
slices of 9 bits, whose products sum up exactly, whatever the order and
whichever device: the results come within 2^-33 of the loudest.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Magnitudes up to 2^8 in each slice: a sum over a windowed frame of 400
# samples stays below 2^24, and each factor is exact in bfloat16, into which
# accelerators may round it.
SLICE_BITS = 8
# Products of slices i and j, from 0, count where i + j is less than this.
NUM_SLICES = 4

# Real and imaginary, `[..., K]` each.
Parts = tuple[jax.Array, jax.Array]


class Transform(NamedTuple):
  """From a frame of N samples to its spectrum: linear, in two forms.

  Attributes:
    weigh: frames float64 `[..., N]` as they enter the Fourier transform: with
      their window, say.
    n_fft: points of it, at least N; N is filled up with zeros.
    make_matrix: gives all of it as one float64 matrix `[N, 2 * K]`, below 2:
      the real, then the imaginary parts of the frequencies 1 to K, K being
      n_fft / 2 - 1. Cached, for it is asked often.
  """

  weigh: Callable[[jax.Array], jax.Array]
  n_fft: int
  make_matrix: Callable[[], np.ndarray]


def cut_frames(waveform: jax.Array, *, size: int, hop: int) -> jax.Array:
  """Whole frames `[..., F, size]` of samples `[..., S]`, S at least `size`."""
  num_frames = 1 + (waveform.shape[-1] - size) // hop
  frames = jax.vmap(
    lambda start: jax.lax.dynamic_slice_in_dim(waveform, start, size, -1),
    out_axes=-2,
  )(np.arange(num_frames) * hop)
  # Else XLA cuts them anew for each of their uses.
  return jax.lax.optimization_barrier(frames)


def compute_power(frames: jax.Array, transform: Transform) -> jax.Array:
  """Squared magnitudes of the spectra of frames.

  Args:
    frames: float32 `[..., N]`.
    transform: of N samples.

  Returns:
    float32 `[..., K]`.
  """
  real, imaginary = find_spectra(frames, transform)
  return real**2 + imaginary**2


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def find_spectra(frames: jax.Array, transform: Transform) -> Parts:
  """Real and imaginary parts, each float32 `[..., K]`, of frames."""
  return jax.lax.platform_dependent(
    frames,
    cpu=functools.partial(spectra_of_doubles, transform=transform),
    default=functools.partial(spectra_of_slices, transform=transform),
  )


@find_spectra.defjvp
def _differentiate(transform, primals, tangents):
  # Slices have no derivative, but their sum is linear.
  matrix = transform.make_matrix().astype(np.float32)
  change = jnp.matmul(tangents[0], matrix, precision='highest')
  return find_spectra(*primals, transform), halve(change)


def spectra_of_doubles(frames: jax.Array, transform: Transform) -> Parts:
  """The same on a CPU, in double precision."""
  with jax.enable_x64(True):
    frames = jax.lax.convert_element_type(frames, np.float64)
    if jax.device_count() > 1:
      # XLA splits a product over devices, and gathers all for an FFT.
      dimensions = (((frames.ndim - 1,), (0,)), ((), ()))
      matrix = jnp.asarray(transform.make_matrix())
      parts = halve(jax.lax.dot_general(frames, matrix, dimensions))
    else:
      # Apart, for XLA squares them as it rounds them, and stores neither.
      bins = jnp.fft.rfft(transform.weigh(frames), transform.n_fft)[..., 1:-1]
      parts = bins.real, bins.imag
    real, imaginary = parts
    return (
      jax.lax.convert_element_type(real, np.float32),
      jax.lax.convert_element_type(imaginary, np.float32),
    )


def spectra_of_slices(frames: jax.Array, transform: Transform) -> Parts:
  """The same where products have the digits of bfloat16 alone."""
  # A power of two, which costs no digit, brings each frame near 1.
  peak = jnp.max(jnp.abs(frames), axis=-1, keepdims=True)
  exponent = jnp.frexp(peak)[1]
  scaled = jnp.ldexp(frames, -exponent)
  products = multiply_slices(scaled, transform.make_matrix)
  return halve(jnp.ldexp(products, exponent))


def halve(spectra: jax.Array) -> Parts:
  """Columns `[..., 2 * K]` as a matrix of `Transform` orders them, in two."""
  real, imaginary = jnp.split(spectra, 2, axis=-1)
  return real, imaginary


def multiply_slices(
  frames: jax.Array, make_matrix: Callable[[], np.ndarray]
) -> jax.Array:
  """Products of frames in [-1, 1] and a matrix, by their slices."""
  samples = cut_slices(frames)
  factors = cut_slices(make_matrix() / 2)
  products = 0.0
  # Small terms first, so that they are not rounded away one by one.
  for order in reversed(range(NUM_SLICES)):
    for i in range(order + 1):
      products += jnp.matmul(
        samples[i], factors[order - i], precision='highest'
      )
  return 2 * products


def cut_slices(x: jax.Array | np.ndarray) -> list[jax.Array | np.ndarray]:
  """Numbers in [-1, 1] as a sum of such of 9 bits, the coarsest first."""
  rint = np.rint if isinstance(x, np.ndarray) else jnp.rint
  slices = []
  for i in range(NUM_SLICES):
    step = 2.0 ** -(SLICE_BITS + i * (SLICE_BITS + 1))
    slices.append((rint(x / step) * step).astype(np.float32))
    x = x - slices[-1]
  return slices
