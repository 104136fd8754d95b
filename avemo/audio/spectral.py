"""STFT, log-mel and MFCC with librosa's definitions, time before frequency.

Every function is pure, works on any leading axes, and takes static options.
A clip is the last axis of a waveform and the last two axes of a spectrum:
what depends on a maximum (`ref='max'`, `top_db`) is per clip, as when librosa
is called on each clip alone.
"""

import functools

import jax
import jax.numpy as jnp
import librosa.filters
import librosa.util
import numpy as np
import scipy.fft


def count_frames(
  num_samples: int, *, n_fft: int = 512, hop: int = 160, center: bool = True
) -> int:
  """The number of frames that `stft` makes of so many samples."""
  if center:
    num_samples += 2 * (n_fft // 2)
  if num_samples < n_fft:
    raise ValueError(
      f'{num_samples} samples hold no frame of {n_fft}: use center=True or a '
      'smaller n_fft'
    )
  return 1 + (num_samples - n_fft) // hop


@functools.cache
def _make_window(
  window: str | tuple, window_length: int, n_fft: int
) -> np.ndarray:
  values = librosa.filters.get_window(window, window_length, fftbins=True)
  values = librosa.util.pad_center(values, size=n_fft).astype(np.float32)
  values.flags.writeable = False
  return values


@functools.cache
def make_mel_bank(
  *,
  sample_rate: int = 16_000,
  n_fft: int = 512,
  num_mels: int = 128,
  fmin: float = 0.0,
  fmax: float | None = None,
  htk: bool = False,
  norm: str | None = 'slaney',
) -> np.ndarray:
  """The mel filter bank of librosa, float32 `[1 + n_fft // 2, M]`."""
  bank = librosa.filters.mel(
    sr=sample_rate,
    n_fft=n_fft,
    n_mels=num_mels,
    fmin=fmin,
    fmax=fmax,
    htk=htk,
    norm=norm,
  ).T.copy()
  bank.flags.writeable = False
  return bank


@functools.cache
def _make_cosines(num_mels: int, num_mfcc: int, dct_type: int) -> np.ndarray:
  cosines = scipy.fft.dct(
    np.eye(num_mels), axis=-1, type=dct_type, norm='ortho'
  )[:, :num_mfcc]
  cosines.flags.writeable = False
  return cosines


def _pad(waveform: jax.Array, amount: int, pad_mode: str) -> jax.Array:
  if pad_mode == 'constant':
    return jnp.pad(
      waveform, [(0, 0)] * (waveform.ndim - 1) + [(amount, amount)]
    )
  # NumPy's own padding of the positions: a signal shorter than the padding is
  # then reflected as often as librosa reflects it.
  places = np.pad(np.arange(waveform.shape[-1]), amount, mode=pad_mode)
  return jnp.take(waveform, places, axis=-1)


def stft(
  waveform: jax.Array,
  *,
  n_fft: int = 512,
  hop: int = 160,
  window: str | tuple = 'hann',
  window_length: int | None = None,
  center: bool = True,
  pad_mode: str = 'constant',
) -> jax.Array:
  """Short-time Fourier transform, as `librosa.stft`.

  Args:
    waveform: floats `[..., S]`.
    n_fft: samples in a frame.
    hop: samples from one frame to the next.
    window: a window that `scipy.signal.get_window` knows.
    window_length: samples of the window, centred in the frame; None: n_fft.
    center: frame t is centred on sample t * hop of the padded signal; else it
      starts there and the signal is not padded.
    pad_mode: `constant` (zeros), `reflect`, `edge` or another of `np.pad`.

  Returns:
    complex64 `[..., F, 1 + n_fft // 2]`.

  Raises:
    TypeError: the waveform holds integers, whose scale is unknown here.
    ValueError: without centring, the signal is shorter than a frame.
  """
  if not jnp.issubdtype(waveform.dtype, jnp.floating):
    raise TypeError(f'the waveform must hold floats, not {waveform.dtype}')
  waveform = waveform.astype(jnp.float32)
  num_frames = count_frames(
    waveform.shape[-1], n_fft=n_fft, hop=hop, center=center
  )
  if center:
    waveform = _pad(waveform, n_fft // 2, pad_mode)
  # One slice a frame: measured faster on CPU than joining shifted blocks of
  # `hop` samples or gathering single samples; rfft beat a product with a DFT
  # matrix two- to fivefold.
  frames = jax.vmap(
    lambda start: jax.lax.dynamic_slice_in_dim(waveform, start, n_fft, -1),
    out_axes=-2,
  )(np.arange(num_frames) * hop)
  return jnp.fft.rfft(
    frames * _make_window(window, window_length or n_fft, n_fft)
  )


def stft_power(waveform: jax.Array, **options) -> jax.Array:
  """Squared magnitude of `stft`, float32; its gradient is finite at zero."""
  spectrum = stft(waveform, **options)
  return spectrum.real**2 + spectrum.imag**2


def mel_power(
  waveform: jax.Array,
  *,
  sample_rate: int = 16_000,
  n_fft: int = 512,
  num_mels: int = 128,
  fmin: float = 0.0,
  fmax: float | None = None,
  htk: bool = False,
  norm: str | None = 'slaney',
  **options,
) -> jax.Array:
  """Power in mel bands, as `librosa.feature.melspectrogram`.

  Args:
    waveform: floats `[..., S]`.
    sample_rate: in Hz.
    n_fft: samples in a frame.
    num_mels: M.
    fmin: lowest frequency of the bank, in Hz.
    fmax: highest, in Hz; None: half the sample rate.
    htk: HTK's mel scale in place of Slaney's.
    norm: `slaney` (bands of equal area) or None (peaks of one).
    **options: further options of `stft`.

  Returns:
    float32 `[..., F, M]`.
  """
  bank = make_mel_bank(
    sample_rate=sample_rate,
    n_fft=n_fft,
    num_mels=num_mels,
    fmin=fmin,
    fmax=fmax,
    htk=htk,
    norm=norm,
  )
  power = stft_power(waveform, n_fft=n_fft, **options)
  # GPUs would round the factors to TF32, three digits.
  return jnp.matmul(power, bank, precision='highest')


def power_to_db(
  power: jax.Array,
  *,
  ref: float | str = 1.0,
  amin: float = 1e-10,
  top_db: float | None = 80.0,
) -> jax.Array:
  """Decibels, as `librosa.power_to_db` of each clip.

  Args:
    power: `[..., F, M]`, not negative.
    ref: the power of 0 dB, or 'max': the greatest of the clip.
    amin: smaller powers count as this.
    top_db: nothing lies further than this below the clip's own maximum; None:
      no such floor.

  Returns:
    float32 `[..., F, M]`.
  """
  if amin <= 0 or (top_db is not None and top_db < 0):
    raise ValueError('amin must be positive and top_db not negative')
  decibels = 10 * jnp.log10(jnp.maximum(power, amin))
  if ref == 'max':
    peak = jnp.max(power, axis=(-2, -1), keepdims=True)
    decibels -= 10 * jnp.log10(jnp.maximum(peak, amin))
  elif ref != 1.0:
    decibels -= np.float32(10 * np.log10(max(abs(ref), amin)))
  if top_db is not None:
    peak = jnp.max(decibels, axis=(-2, -1), keepdims=True)
    decibels = jnp.maximum(decibels, peak - top_db)
  return decibels


def log_mel(
  waveform: jax.Array,
  *,
  ref: float | str = 1.0,
  amin: float = 1e-10,
  top_db: float | None = 80.0,
  **options,
) -> jax.Array:
  """Mel power in decibels, float32 `[..., F, M]`.

  Args:
    waveform: floats `[..., S]`.
    ref: see `power_to_db`, like `amin` and `top_db`.
    amin: likewise.
    top_db: likewise.
    **options: those of `mel_power` and `stft`.
  """
  power = mel_power(waveform, **options)
  return power_to_db(power, ref=ref, amin=amin, top_db=top_db)


def cepstrum(
  decibels: jax.Array,
  *,
  num_mfcc: int = 20,
  dct_type: int = 2,
  lifter: float = 0.0,
) -> jax.Array:
  """Cosine transform of log-mel `[..., F, M]` to `[..., F, num_mfcc]`.

  Args:
    decibels: log-mel.
    num_mfcc: coefficients kept.
    dct_type: 1 to 4; orthonormal.
    lifter: 0, or the length of the sine that weights higher coefficients.
  """
  if lifter < 0:
    raise ValueError('lifter must not be negative')
  cosines = _make_cosines(decibels.shape[-1], num_mfcc, dct_type)
  # The mean apart: its share of the products is far greater than all others
  # and would round them away.
  mean = jnp.mean(decibels, axis=-1, keepdims=True)
  coefficients = jnp.matmul(
    decibels - mean, cosines.astype(np.float32), precision='highest'
  )
  coefficients += mean * cosines.sum(axis=0).astype(np.float32)
  if lifter:
    sines = np.sin(np.pi * np.arange(1, 1 + cosines.shape[-1]) / lifter)
    coefficients *= (1 + lifter / 2 * sines).astype(np.float32)
  return coefficients


def mfcc(
  waveform: jax.Array,
  *,
  num_mfcc: int = 20,
  dct_type: int = 2,
  lifter: float = 0.0,
  **options,
) -> jax.Array:
  """Mel-frequency cepstral coefficients, as `librosa.feature.mfcc`.

  Args:
    waveform: floats `[..., S]`.
    num_mfcc: see `cepstrum`, like `dct_type` and `lifter`.
    dct_type: likewise.
    lifter: likewise.
    **options: those of `log_mel`.

  Returns:
    float32 `[..., F, num_mfcc]`.
  """
  return cepstrum(
    log_mel(waveform, **options),
    num_mfcc=num_mfcc,
    dct_type=dct_type,
    lifter=lifter,
  )
