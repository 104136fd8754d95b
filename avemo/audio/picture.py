"""Sound as pictures: windows of a clip, each an MFCC or a mel spectrogram.

After Xiang et al., "MultiMAE-DER: Multimodal Masked Autoencoder for Dynamic
Emotion Recognition", 2024. A clip of S samples becomes N windows of twice
S / (N + 1) samples, each half over the one before. In each: pre-emphasis,
Hamming frames of 25 ms, power, 40 mel bands, decibels, and for an MFCC picture
the cosine transform without its first coefficient, liftered. The values become
colours; time runs to the right, the lowest band or coefficient lies below.

`PUBLISHED` gives the pictures as they were: a frame every 0.1 ms, 1.6 samples
at 16 kHz, colours stretched window by window, no floor. By default a window
has one frame for each column of its picture, every 1.5 ms in 3 s of sound at
224 pixels: neighbouring frames of 25 ms hardly differ, and the cost is a
fourteenth. The triangles of the mel bands have their exact edges, not ones
rounded down to a frequency of the spectrum.
"""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np

from avemo.audio import features, spectral

KINDS = ('mfcc', 'mel')
LIMITS = ('clip', 'window')

PREEMPHASIS = 0.97
FRAME_SECONDS = 0.025
N_FFT = 512

PUBLISHED = types.MappingProxyType(
  {
    'hop': 1e-4,
    'limits': 'window',
    'top_db': None,
    'amin': float(np.finfo(np.float64).eps),
  }
)

# What spans less (in dB) is silence and the rounding of it.
MIN_WIDTH = 1e-2

# Seconds between frames that lose nothing of sound a human makes.
FINE_HOP = 0.01

# Every eighth colour of viridis, by van der Walt and Smith, in the public
# domain (CC0); between them lines run within two levels of the whole table.
VIRIDIS = (
  '440154470d6048186a482374472d7b4536814240863f49893b528b375a8d33638d2f6a8e'
  '2c728e297a8e26818e23898e21908c1f988b1f9f8821a68528ae8031b57b3ebc744cc26c'
  '5dc9636ece5882d34c96d83fabdc32c0df24d5e21aeae51afde725'
)


@functools.cache
def make_colors() -> np.ndarray:
  """The colours from the lowest to the highest value, uint8 `[256, 3]`."""
  anchors = np.frombuffer(bytes.fromhex(VIRIDIS), np.uint8).reshape(-1, 3)
  places = np.linspace(0, 255, len(anchors))
  colors = [np.interp(np.arange(256), places, line) for line in anchors.T]
  colors = np.round(np.stack(colors, axis=1)).astype(np.uint8)
  colors.flags.writeable = False
  return colors


def draw(
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  size: int = 224,
  windows: int = 16,
  limits: str = 'clip',
  columns: int | None = None,
  hop: float | None = None,
  **options,
) -> jax.Array:
  """The pictures of a padded batch.

  A clip's pictures do not depend on how far it is padded, nor on its volume.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`.
    speech_length: valid samples, int `[B]`.
    size: H and W, pixels.
    windows: N.
    limits: whose least and greatest value have the first and last colour:
      'clip', so that its windows can be compared, or 'window'.
    columns: see `compute_windows`; as many as pixels when None.
    hop: see `compute_windows`.
    **options: further ones of `compute_windows`.

  Returns:
    uint8 `[B, N, H, W, 3]`, black where a clip has no sound.

  Raises:
    ValueError: unknown `limits` or `kind`.
  """
  if limits not in LIMITS:
    raise ValueError(f'limits is one of {", ".join(LIMITS)}, not {limits!r}')
  columns = columns or size
  values, count = compute_windows(
    speech,
    speech_length,
    windows=windows,
    columns=columns,
    hop=hop,
    **options,
  )
  unit = _stretch(values, count, (1, 2, 3) if limits == 'clip' else (2, 3))
  num_frames, num_bands = unit.shape[2:]
  bands = share_cells(num_bands, size).astype(np.float32)
  unit = jnp.einsum('bnfm,hm->bnhf', unit, bands, precision='highest')
  if hop is not None or columns != size:
    frames = _share_frames(count, num_frames, size)
    unit = jnp.einsum('bnhf,bwf->bnhw', unit, frames, precision='highest')
  # Rows of a picture are counted from above.
  levels = jnp.round(255 * unit[:, :, ::-1]).astype(jnp.int32)
  colors = jnp.asarray(make_colors())[levels]
  heard = speech_length[:, None, None, None, None] > 0
  return jnp.where(heard, colors, jnp.uint8(0))


def compute_windows(
  speech: jax.Array,
  speech_length: jax.Array,
  *,
  kind: str = 'mfcc',
  windows: int = 16,
  columns: int = 224,
  hop: float | None = None,
  sample_rate: int = 16_000,
  num_mels: int = 40,
  num_mfcc: int = 13,
  lifter: float = 22.0,
  top_db: float | None = 80.0,
  amin: float = 1e-10,
) -> tuple[jax.Array, jax.Array]:
  """The values behind the pictures.

  Args:
    speech: int16 or floats in [-1, 1], `[B, S]`; only its shape counts, for
      each clip is brought to a peak of 1.
    speech_length: valid samples, int `[B]`.
    kind: 'mfcc' or 'mel'.
    windows: N.
    columns: frames of a window, spread over it, where `hop` is None.
    hop: seconds from one frame to the next; frames then vary with the clip's
      length, and memory grows with their number.
    sample_rate: in Hz.
    num_mels: mel bands.
    num_mfcc: coefficients kept, from the second on.
    lifter: length of the sine that weights higher coefficients; 0: none.
    top_db: nothing lies further than this below the clip's loudest band, as
      10 log10 counts; None: no such floor.
    amin: smaller powers count as this.

  Returns:
    20 log10 of the power in `num_mels` bands, or `num_mfcc` coefficients of
    it, float32 `[B, N, F, M]`; and the number of valid frames, int32 `[B]`,
    the same in every window of a clip.

  Raises:
    ValueError: unknown `kind`.
  """
  if kind not in KINDS:
    raise ValueError(f'kind is one of {", ".join(KINDS)}, not {kind!r}')
  waveform = _emphasize(features.to_waveform(speech), speech_length)
  size = round(FRAME_SECONDS * sample_rate)
  step = speech_length // (windows + 1)
  span = jnp.maximum(2 * step - size, 0)
  if hop is None:
    offsets = np.arange(columns) * span[:, None] // max(columns - 1, 1)
  else:
    longest = max(2 * (speech.shape[-1] // (windows + 1)) - size, 0)
    places = np.arange(1 + int(longest / (hop * sample_rate)))
    places = np.round(places * hop * sample_rate).astype(np.int32)
    offsets = jnp.broadcast_to(places, (len(speech_length), len(places)))
  valid = offsets <= span[:, None]
  starts = step[:, None, None] * np.arange(windows)[:, None] + offsets[:, None]
  power = _compute_power(waveform, starts, size)
  bank = spectral.make_mel_bank(
    sample_rate=sample_rate,
    n_fft=_choose_n_fft(size),
    num_mels=num_mels,
    htk=True,
    norm=None,
  )
  # GPUs would round the factors to TF32, three digits.
  power = jnp.matmul(power, bank, precision='highest')
  power = jnp.where(valid[:, None, :, None], power, 0)
  shape = power.shape
  # Each clip at once, of whose maximum the floor is counted.
  power = power.reshape(shape[0], -1, num_mels)
  values = 2 * spectral.power_to_db(power, amin=amin, top_db=top_db)
  if kind == 'mfcc':
    values = spectral.cepstrum(values, num_mfcc=1 + num_mfcc)[..., 1:]
    if lifter:
      sines = np.sin(np.pi * np.arange(num_mfcc) / lifter)
      values = values * (1 + lifter / 2 * sines).astype(np.float32)
  values = values.reshape(*shape[:3], -1)
  return values, valid.sum(-1).astype(jnp.int32)


def draw_waveform(
  waveform: np.ndarray,
  *,
  sample_rate: int = 16_000,
  windows: int = 1,
  size: int = 224,
  **options,
) -> np.ndarray:
  """The pictures of one sound of any length.

  Frames are at most 10 ms apart, however long the sound; a column shows the
  mean of those that fall into it.

  Args:
    waveform: int16 or floats in [-1, 1], `[S]`.
    sample_rate: in Hz.
    windows: N.
    size: H and W, pixels.
    **options: further ones of `draw`.

  Returns:
    uint8 `[N, H, W, 3]`, black without sound.
  """
  waveform = np.asarray(waveform)
  if not len(waveform):
    return np.zeros((windows, size, size, 3), np.uint8)
  seconds = 2 * len(waveform) / (windows + 1) / sample_rate
  options = {'columns': max(size, int(seconds / FINE_HOP) + 1)} | options
  compute = functools.partial(
    draw, sample_rate=sample_rate, windows=windows, size=size, **options
  )
  pictures = jax.jit(compute)(waveform[None], np.int32([len(waveform)]))
  return np.asarray(pictures[0])


def share_cells(count: int, size: int) -> np.ndarray:
  """What part of each of `size` cells each of `count` values fills.

  Both divide the same length evenly: the mean over the area of a cell.

  Returns:
    float64 `[size, count]`, whose rows sum to 1.
  """
  edges = np.arange(size + 1) * (count / size)
  values = np.arange(count)
  shared = np.minimum(edges[1:, None], values + 1)
  shared = shared - np.maximum(edges[:-1, None], values)
  return np.maximum(shared, 0) * (size / count)


def _share_frames(count: jax.Array, num_frames: int, size: int) -> jax.Array:
  """`share_cells` of the first frames of each clip, `[B, size, F]`."""
  width = count[:, None, None].astype(jnp.float32) / size
  left, values = np.arange(size)[:, None] * width, np.arange(num_frames)
  inside = jnp.minimum(values + 1, count[:, None, None])
  shared = jnp.minimum(left + width, inside) - jnp.maximum(left, values)
  return jnp.maximum(shared, 0) / width


def _emphasize(waveform: jax.Array, length: jax.Array) -> jax.Array:
  inside = np.arange(waveform.shape[-1]) < length[:, None]
  waveform = jnp.where(inside, waveform, 0)
  peak = jnp.max(jnp.abs(waveform), axis=-1, keepdims=True)
  waveform = waveform / jnp.where(peak > 0, peak, 1)
  before = jnp.pad(waveform[:, :-1], ((0, 0), (1, 0)))
  return jnp.where(inside, waveform - PREEMPHASIS * before, 0)


def _choose_n_fft(size: int) -> int:
  # At high rates a frame is longer than 512 samples, and would be cut.
  return max(N_FFT, 1 << (size - 1).bit_length())


def _compute_power(
  waveform: jax.Array, starts: jax.Array, size: int
) -> jax.Array:
  """Power spectra `[B, N, F, 1 + n_fft / 2]` of frames at `[B, N, F]`."""
  waveform = jnp.pad(waveform, ((0, 0), (0, size)))
  cut = lambda samples, start: jax.lax.dynamic_slice(samples, (start,), (size,))
  cut = jax.vmap(jax.vmap(jax.vmap(cut, (None, 0)), (None, 0)))
  n_fft = _choose_n_fft(size)
  window = np.hamming(size).astype(np.float32)
  spectrum = jnp.fft.rfft(cut(waveform, starts) * window, n_fft)
  return (spectrum.real**2 + spectrum.imag**2) / n_fft


def _stretch(
  values: jax.Array, count: jax.Array, axes: tuple[int, ...]
) -> jax.Array:
  """Values in [0, 1] by the least and greatest over the valid frames."""
  valid = np.arange(values.shape[2]) < count[:, None]
  valid = jnp.broadcast_to(valid[:, None, :, None], values.shape)
  low = jnp.min(values, axes, keepdims=True, where=valid, initial=jnp.inf)
  high = jnp.max(values, axes, keepdims=True, where=valid, initial=-jnp.inf)
  unit = (values - low) / jnp.maximum(high - low, MIN_WIDTH)
  return jnp.where(valid, unit, 0)
