"""Face and sound as one sequence of pictures, for one video tower."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import core
from flax import linen as nn

from avemo import errors
from avemo.audio import picture
from avemo.models import layers, strategies

SHUFFLES = ('step', 'clip')


class PictureSequence(nn.Module):
  """Makes the pictures that the video tower reads; it has no parameters.

  Of one modality alone all pictures are its own. The pictures of a missing
  modality are black.

  Attributes:
    strategy: out of `strategies.STRATEGIES`; of no matter for one modality.
    count: pictures of a sequence.
    size: H and W, pixels.
    run: frames of one kind in a row, of 'ofos' and 'rfas': 2, a tubelet; 1 as
      published.
    saturate: of 'sfas', stop sums at 255; False, as published, lets them
      wrap.
    shuffle: of 'rfas': 'step' draws an order for each clip and step in
      training, and leaves that of 'ofos' in evaluation; 'clip', as published,
      draws one order for each clip of a dataset once and for all. Clips from
      elsewhere, which have no number, then share one.
    pictures: options of `audio.picture.draw`.
    dtype: not used: pictures are bytes.
  """

  strategy: str = 'fslf'
  count: int = 16
  size: int = 224
  run: int = 2
  saturate: bool = True
  shuffle: str = 'step'
  pictures: Any = None
  dtype: Any = jnp.float32

  def __post_init__(self):
    layers.check_names('strategy', [self.strategy], strategies.STRATEGIES)
    layers.check_names('shuffle', [self.shuffle], SHUFFLES)
    layers.check_names('option of pictures', self.pictures or (), OPTIONS)
    strategies.check(self.strategy, self.count, self.run)
    self.pictures = core.freeze(dict(self.pictures or {}))
    super().__post_init__()

  def __call__(
    self,
    batch: Mapping[str, jax.Array],
    present: Mapping[str, jax.Array],
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps a batch to sequences.

    Args:
      batch: see `emotion.Emotion`; of the modalities in `present`.
      present: bool [B] by modality in use.
      train: whether to shuffle (rng `dropout`).

    Returns:
      uint8 [B, count, size, size, 3].
    """
    each = strategies.count_each(self.strategy, self.count)
    if len(present) == 1:
      each = self.count
    parts = {}
    if 'video' in present:
      parts['video'] = to_bytes(batch['frames'])
    if 'audio' in present:
      parts['audio'] = picture.draw(
        batch['speech'],
        batch['speech_length'],
        windows=each,
        size=self.size,
        **self.pictures,
      )
    for name, value in parts.items():
      there = present[name][:, None, None, None, None]
      parts[name] = jnp.where(there, value, jnp.uint8(0))
    if len(parts) == 1:
      (only,) = parts.values()
      return strategies.fit(only, self.count, self.size)
    options = {}
    if self.strategy in strategies.TAKING_TURNS:
      options['run'] = self.run
    if self.strategy in strategies.SHUFFLED:
      options['orders'] = self._choose_orders(batch, train)
    if self.strategy == 'sfas':
      options['saturate'] = self.saturate
    join = strategies.STRATEGIES[self.strategy]
    return join(
      parts['video'],
      parts['audio'],
      count=self.count,
      size=self.size,
      **options,
    )

  def _choose_orders(
    self, batch: Mapping[str, jax.Array], train: bool
  ) -> jax.Array:
    batch_size, number = len(batch['has_video']), self.count // self.run
    if self.shuffle == 'clip':
      numbers = batch.get('record', jnp.zeros(batch_size, jnp.int32))
      fold = lambda number: jax.random.fold_in(jax.random.key(0), number)
      return strategies.draw_orders(jax.vmap(fold)(numbers), number)
    if train:
      keys = jax.random.split(self.make_rng('dropout'), batch_size)
      return strategies.draw_orders(keys, number)
    return jnp.broadcast_to(jnp.arange(number), (batch_size, number))


# Of `picture.draw` and `picture.compute_windows`, without what follows from
# the sequence.
OPTIONS = (
  'kind',
  'limits',
  'columns',
  'hop',
  'num_mels',
  'num_mfcc',
  'lifter',
  'top_db',
  'amin',
)


def to_bytes(frames: jax.Array) -> jax.Array:
  """Frames as uint8; floats are in [0, 1]."""
  if frames.dtype == jnp.uint8:
    return frames
  if not jnp.issubdtype(frames.dtype, jnp.floating):
    raise errors.AvemoError(f'frames are bytes or floats, not {frames.dtype}')
  return jnp.round(255 * jnp.clip(frames, 0, 1)).astype(jnp.uint8)
