"""Six ways to make one picture sequence of a face and of pictures of sound.

After Xiang et al., "MultiMAE-DER: Multimodal Masked Autoencoder for Dynamic
Emotion Recognition", 2024. Each maps frames F and pictures S, uint8
[B, T, H, W, 3] of any T and sides, to uint8 [B, count, size, size, 3]. Frames
are chosen evenly over the T given, the middle of each share.

  fslf  S0 S1 … F0 F1 …: sound first, then faces
  ffls  F0 F1 … S0 S1 …
  cfas  each F stacked above its S, both pressed to half their height
  ofos  F and S in turn
  sfas  the sum of each F and its S
  rfas  those of ofos, shuffled

Published options and ours: `run=1` gives ofos and rfas single frames in turn,
so that every tubelet of two frames is half face, half sound; `run=2` keeps a
tubelet to one of them. `saturate=False` lets sums of bytes wrap, as NumPy's
do; `saturate=True` stops them at 255.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np

from avemo import errors
from avemo.audio import picture


def fit(frames: jax.Array, count: int, size: int) -> jax.Array:
  """`count` frames spread over [B, T, H, W, 3], [B, count, size, size, 3]."""
  num_frames = frames.shape[1]
  if count != num_frames:
    places = (2 * np.arange(count) + 1) * num_frames // (2 * count)
    frames = frames[:, places]
  return resize(frames, size)


def resize(frames: jax.Array, size: int) -> jax.Array:
  """Pixels as means over their area, uint8 [B, T, size, size, 3]."""
  height, width = frames.shape[2:4]
  if height == width == size:
    return frames
  rows = picture.share_cells(height, size).astype(np.float32)
  columns = picture.share_cells(width, size).astype(np.float32)
  # GPUs would round the factors to TF32, which keeps no more than ten bits.
  frames = jnp.einsum(
    'bthwc,yh,xw->btyxc',
    frames.astype(jnp.float32),
    rows,
    columns,
    precision='highest',
  )
  return jnp.round(frames).astype(jnp.uint8)


def fslf(
  frames: jax.Array, pictures: jax.Array, *, count: int = 16, size: int = 224
) -> jax.Array:
  """Pictures of sound first, then frames; half of each."""
  halves = [fit(x, count // 2, size) for x in (pictures, frames)]
  return jnp.concatenate(halves, axis=1)


def ffls(
  frames: jax.Array, pictures: jax.Array, *, count: int = 16, size: int = 224
) -> jax.Array:
  """Frames first, then pictures of sound; half of each."""
  return fslf(pictures, frames, count=count, size=size)


def cfas(
  frames: jax.Array, pictures: jax.Array, *, count: int = 16, size: int = 224
) -> jax.Array:
  """Each frame above its picture of sound."""
  pair = [fit(x, count, size) for x in (frames, pictures)]
  return resize(jnp.concatenate(pair, axis=2), size)


def ofos(
  frames: jax.Array,
  pictures: jax.Array,
  *,
  count: int = 16,
  size: int = 224,
  run: int = 2,
) -> jax.Array:
  """Runs of frames and of pictures of sound in turn; half of each."""
  runs = count // (2 * run)
  pair = [
    fit(x, count // 2, size).reshape(-1, runs, run, size, size, 3)
    for x in (frames, pictures)
  ]
  joined = jnp.stack(pair, axis=2)
  return joined.reshape(-1, count, size, size, 3)


def sfas(
  frames: jax.Array,
  pictures: jax.Array,
  *,
  count: int = 16,
  size: int = 224,
  saturate: bool = True,
) -> jax.Array:
  """The sum of each frame and its picture of sound."""
  left, right = (fit(x, count, size) for x in (frames, pictures))
  if not saturate:
    return left + right
  total = left.astype(jnp.uint16) + right
  return jnp.minimum(total, 255).astype(jnp.uint8)


def rfas(
  frames: jax.Array,
  pictures: jax.Array,
  *,
  orders: jax.Array,
  count: int = 16,
  size: int = 224,
  run: int = 2,
) -> jax.Array:
  """The runs of `ofos` in other orders.

  Args:
    frames: [B, T, H, W, 3].
    pictures: likewise.
    orders: int [B, count / run]; the n-th run is that numbered so in `ofos`.
    count: of the sequence.
    size: of its pictures.
    run: frames of one kind in a row.
  """
  joined = ofos(frames, pictures, count=count, size=size, run=run)
  runs = joined.reshape(-1, count // run, run, size, size, 3)
  runs = jnp.take_along_axis(runs, orders[:, :, None, None, None, None], axis=1)
  return runs.reshape(joined.shape)


def draw_orders(keys: jax.Array, number: int) -> jax.Array:
  """Random orders of `number` runs, int [B, number], by the keys [B]."""
  return jax.vmap(lambda key: jax.random.permutation(key, number))(keys)


STRATEGIES = types.MappingProxyType(
  {
    'fslf': fslf,
    'ffls': ffls,
    'cfas': cfas,
    'ofos': ofos,
    'sfas': sfas,
    'rfas': rfas,
  }
)
# Those in which every frame stands beside a picture of sound, not instead.
PAIRED = ('cfas', 'sfas')
SHUFFLED = ('rfas',)
TAKING_TURNS = ('ofos', 'rfas')


def count_each(strategy: str, count: int) -> int:
  """How many frames, and as many pictures of sound, a sequence is made of."""
  return count if strategy in PAIRED else count // 2


def check(strategy: str, count: int, run: int) -> None:
  """Raises an AvemoError where a sequence cannot be divided so."""
  share = 1 if strategy in PAIRED else 2
  if strategy in TAKING_TURNS:
    share *= run
  if run < 1 or count < share or count % share:
    raise errors.AvemoError(
      f'{strategy}: count={count} cannot be divided into runs of run={run} '
      f'frames and as many pictures of sound; use a multiple of {max(share, 1)}'
    )
