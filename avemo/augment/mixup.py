"""Mixup and cutmix over a batch: pictures, speech and targets alike.

An example mixes with another only where both are real rows (`mask`), both
carry a label, their corpora annotate the same classes (`class_mask` equal)
and the same modalities are present: a mixed target then lies within the
classes over which its loss runs, and no modality is half missing. Values
(`x` with `x_mask`) are mixed alike, and known where both are. An example
without such a partner stays as it is. Each draws its own partner and its own
share; `emotion` keeps the example's own label.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from avemo import errors
from avemo.augment import pixels, sound

Batch = dict[str, Any]

# Shares are drawn from a table: rejection sampling of the Beta distribution
# takes seconds to compile.
NUM_QUANTILES = 4_096


def find_partners(key: jax.Array, batch: Batch) -> jax.Array:
  """A random fit partner for each example, else itself; int32 `[B]`."""
  target = batch['target']
  size = len(target)
  has_emotion = jnp.sum(target, axis=-1) > 0
  usable = has_emotion
  for name in list_values(batch):
    usable |= jnp.any(batch[f'{name}_mask'], axis=-1)
  usable &= batch.get('mask', True)
  classes = batch.get('class_mask', jnp.ones(target.shape, bool))
  fits = jnp.all(classes[:, None] == classes[None], axis=-1)
  fits &= usable[:, None] & usable[None] & ~np.eye(size, dtype=bool)
  fits &= has_emotion[:, None] == has_emotion[None]
  for name in ('has_video', 'has_audio'):
    if name in batch:
      fits &= batch[name][:, None] == batch[name][None]
  scores = jnp.where(fits, jax.random.uniform(key, fits.shape), -1)
  best = jnp.argmax(scores, axis=-1)
  return jnp.where(jnp.any(fits, axis=-1), best, np.arange(size))


@functools.cache
def _make_quantiles(alpha: float) -> np.ndarray:
  """Evenly spaced quantiles of Beta(alpha, alpha), rising."""
  places = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
  quantiles = scipy.special.betaincinv(alpha, alpha, places)
  return quantiles.astype(np.float32)


def _draw_share(
  key: jax.Array, partner: jax.Array, alpha: float, probability: float
) -> jax.Array:
  """The example's own share in the mixture, `[B]`; 1: it is not mixed."""
  share_key, chosen_key = jax.random.split(key)
  place = jax.random.randint(share_key, partner.shape, 0, NUM_QUANTILES)
  share = jnp.asarray(_make_quantiles(alpha))[place]
  chosen = jax.random.uniform(chosen_key, partner.shape) < probability
  chosen &= partner != np.arange(len(partner))
  return jnp.where(chosen, share, 1)


def _expand(share: jax.Array, array: jax.Array) -> jax.Array:
  return share.reshape(share.shape + (1,) * (array.ndim - 1))


def _blend(share: jax.Array, own: jax.Array, other: jax.Array) -> jax.Array:
  share = _expand(share, own)
  # A share of 1 leaves every bit.
  return jnp.where(share == 1, own, share * own + (1 - share) * other)


def list_values(batch: Batch) -> list[str]:
  """Names of the labels beside the target, each with a mask."""
  return [name for name in batch if f'{name}_mask' in batch]


def _mix_labels(share: jax.Array, batch: Batch, partner: jax.Array) -> Batch:
  """The labels of the mixtures, by name."""
  target = batch['target']
  mixed = {'target': _blend(share, target, target[partner])}
  for name in list_values(batch):
    values, known = batch[name], batch[f'{name}_mask']
    both = known & known[partner]
    known = jnp.where(_expand(share, known) == 1, known, both)
    values = _blend(share, values, values[partner])
    mixed |= {name: jnp.where(known, values, 0), f'{name}_mask': known}
  return mixed


def _mix_lengths(batch: Batch, partner: jax.Array, mixed: jax.Array):
  length = batch['speech_length']
  return jnp.where(mixed, jnp.maximum(length, length[partner]), length)


def mixup(
  key: jax.Array,
  batch: Batch,
  *,
  alpha: float = 0.4,
  probability: float = 1.0,
) -> Batch:
  """Blends an example with another by one share for all its arrays.

  Args:
    key: of JAX.
    batch: `target` float `[B, C]`, and those present of `frames`, `speech`
      with `speech_length`, `mask`, `class_mask`, `has_video`, `has_audio`.
    alpha: the share is drawn from Beta(alpha, alpha).
    probability: of an example.

  Returns:
    The batch with `frames`, `speech`, `speech_length` (the longer) and all
    labels replaced.
  """
  partner_key, share_key = jax.random.split(key)
  partner = find_partners(partner_key, batch)
  share = _draw_share(share_key, partner, alpha, probability)
  out = batch | _mix_labels(share, batch, partner)
  if 'frames' in batch:
    frames = pixels.to_unit(batch['frames'])
    out['frames'] = pixels.from_unit(
      _blend(share, frames, frames[partner]), batch['frames'].dtype
    )
  if 'speech' in batch:
    speech = sound.keep_valid(
      sound.to_unit(batch['speech']), batch['speech_length']
    )
    out['speech'] = sound.from_unit(
      _blend(share, speech, speech[partner]), batch['speech'].dtype
    )
    out['speech_length'] = _mix_lengths(batch, partner, share < 1)
  return out


def feature_mixup(
  key: jax.Array,
  batch: Batch,
  *,
  alpha: float = 0.4,
  probability: float = 1.0,
) -> Batch:
  """Blends targets here, and leaves the features for the model to `blend`.

  Args:
    key: of JAX.
    batch: see `mixup`.
    alpha: the share is drawn from Beta(alpha, alpha).
    probability: of an example.

  Returns:
    The batch with `target` replaced, and with `mix_with`, int32 `[B]`, and
    `mix_share`, float32 `[B]`.
  """
  partner_key, share_key = jax.random.split(key)
  partner = find_partners(partner_key, batch)
  share = _draw_share(share_key, partner, alpha, probability)
  mixed = _mix_labels(share, batch, partner)
  return batch | mixed | {'mix_with': partner, 'mix_share': share}


def blend(batch: Batch, features: jax.Array) -> jax.Array:
  """Blends features `[B, D]` as `feature_mixup` has drawn; else as they are."""
  if 'mix_with' not in batch:
    return features
  return _blend(batch['mix_share'], features, features[batch['mix_with']])


def _draw_spans(
  key: jax.Array, size: jax.Array | int, cut: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Start and end of a span of `cut` whole cells within `size`, `[B]`."""
  room = size - cut
  start = jnp.floor(jax.random.uniform(key, cut.shape) * (room + 1))
  start = jnp.minimum(start, room)
  return start, start + cut


def _inside(spans: tuple[jax.Array, jax.Array], size: int) -> jax.Array:
  cells = np.arange(size)
  return (cells >= spans[0][:, None]) & (cells < spans[1][:, None])


def cutmix(
  key: jax.Array,
  batch: Batch,
  *,
  alpha: float = 1.0,
  probability: float = 1.0,
) -> Batch:
  """Pastes a part of another example: a tube of pixels, a span of speech.

  The share is drawn from Beta(alpha, alpha), then made exact: it is that of
  the pixels kept (of the samples, without frames). The span of speech is the
  same share of the longer of the two clips, to the sample.

  Args:
    key: of JAX.
    batch: see `mixup`.
    alpha: of the Beta distribution.
    probability: of an example.

  Returns:
    The batch with `frames`, `speech`, `speech_length` (the longer) and
    `target` replaced.
  """
  partner_key, share_key, *keys = jax.random.split(key, 5)
  partner = find_partners(partner_key, batch)
  share = _draw_share(share_key, partner, alpha, probability)
  out = dict(batch)
  if 'frames' in batch:
    frames = batch['frames']
    height, width = frames.shape[2:4]
    side = jnp.sqrt(1 - share)
    rows = _draw_spans(keys[0], height, jnp.round(side * height))
    columns = _draw_spans(keys[1], width, jnp.round(side * width))
    cut = (rows[1] - rows[0]) * (columns[1] - columns[0])
    share = 1 - cut / (height * width)
    inside = _inside(rows, height)[:, :, None]
    inside &= _inside(columns, width)[:, None, :]
    out['frames'] = jnp.where(
      inside[:, None, :, :, None], frames[partner], frames
    )
  if 'speech' in batch:
    speech = sound.keep_valid(batch['speech'], batch['speech_length'])
    length = _mix_lengths(batch, partner, share < 1)
    cut = jnp.round((1 - share) * length)
    if 'frames' not in batch:
      share = 1 - cut / jnp.maximum(length, 1)
    inside = _inside(_draw_spans(keys[2], length, cut), speech.shape[-1])
    out['speech'] = jnp.where(inside, speech[partner], speech)
    out['speech_length'] = length
  return out | _mix_labels(share, batch, partner)


def mix(
  key: jax.Array, batch: Batch, options: dict[str, dict[str, Any]]
) -> Batch:
  """Applies `mixup` or `cutmix`, or, where both are asked, one an example."""
  if 'feature_mixup' in options:
    if len(options.keys() & {'mixup', 'cutmix', 'feature_mixup'}) > 1:
      raise errors.AvemoError(
        'augment: feature_mixup goes with neither mixup nor cutmix'
      )
    return feature_mixup(key, batch, **options['feature_mixup'])
  mixup_key, cutmix_key, first_key = jax.random.split(key, 3)
  mixed = []
  if 'mixup' in options:
    mixed.append(mixup(mixup_key, batch, **options['mixup']))
  if 'cutmix' in options:
    mixed.append(cutmix(cutmix_key, batch, **options['cutmix']))
  if len(mixed) < 2:
    return mixed[0] if mixed else batch
  first = jax.random.bernoulli(first_key, shape=(len(batch['target']),))
  out = dict(batch)
  changed = ['frames', 'speech', 'speech_length', 'target']
  for name in list_values(batch):
    changed += [name, f'{name}_mask']
  for name in changed:
    if name in batch:
      out[name] = jnp.where(
        _expand(first, batch[name]), mixed[0][name], mixed[1][name]
      )
  return out
