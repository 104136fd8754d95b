"""A small tower over functionals, for corpora of a few hundred clips."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo.audio import functionals
from avemo.models import cnn


class Functionals(nn.Module):
  """Power spectra to functionals, standardised, to one hidden layer.

  It has no tokens along time, and cannot be fused early.

  Attributes:
    width: D, of the hidden layer.
    limit: standardised functionals are clipped to this, on either side.
    input_dropout: rate on the functionals, in training.
    dropout: rate on the hidden layer, in training.
    momentum: of the running statistics, once they are old enough.
    dtype: compute dtype of the layer.
  """

  # Power spectra and not a spectrogram, which others read.
  reads: ClassVar[str] = 'power'

  width: int = 256
  limit: float = 4.0
  input_dropout: float = 0.2
  dropout: float = 0.5
  momentum: float = 0.99
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    power: jax.Array,
    num_frames: jax.Array,
    mask: jax.Array | None = None,
    *,
    blend: Callable[[jax.Array], jax.Array] | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Maps power spectra to one token [B, 1, D].

    Args:
      power: [B, F, N], see `audio.functionals`.
      num_frames: int [B], frames before the clip's end.
      mask: bool [B], False where the example is padding; None is all True.
      blend: mixes the standardised functionals of the batch [B, D].
      train: whether to drop, and to move the running statistics.
    """
    if mask is None:
      mask = jnp.ones(len(power), bool)
    x = functionals.summarize(power, num_frames)
    x = Standardize(self.momentum, name='norm')(x, mask, train=train)
    x = jnp.clip(x, -self.limit, self.limit).astype(self.dtype)
    if blend is not None:
      x = blend(x)
    x = nn.Dropout(self.input_dropout, deterministic=not train)(x)
    x = nn.Dense(
      self.width,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
      name='hidden',
    )(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
    return x[:, None]

  def pool(
    self, tokens: jax.Array, num_frames: jax.Array | None = None
  ) -> jax.Array:
    """Maps the token [B, 1, D] to features, float32 [B, D]."""
    del num_frames
    return tokens[:, 0].astype(jnp.float32)


class Standardize(nn.Module):
  """Zero mean and unit variance by running statistics, in training as well.

  Inputs that no parameter reaches have the same statistics throughout, so
  that those of a single batch would only add noise.

  Attributes:
    momentum: share of the old statistics that is kept at a step. The first
      `1 / (1 - momentum)` steps count equally.
    epsilon: added to the variance.
  """

  momentum: float = 0.99
  epsilon: float = 1e-8

  @nn.compact
  def __call__(
    self, x: jax.Array, mask: jax.Array, *, train: bool = False
  ) -> jax.Array:
    """Standardises the columns of [B, D].

    Args:
      x: float32.
      mask: bool [B]; only True rows enter the statistics.
      train: whether to move the statistics; a batch without a True row
        leaves them.
    """
    width = x.shape[-1:]
    average = self.variable('batch_stats', 'mean', jnp.zeros, width)
    spread = self.variable('batch_stats', 'var', jnp.ones, width)
    steps = self.variable('batch_stats', 'steps', jnp.zeros, ())
    if train and not self.is_initializing():
      mean, variance = average.value, spread.value
      found, found_variance = cnn.measure(x, mask[:, None], mean, variance)
      seen = mask.any().astype(jnp.float32)
      rate = jnp.maximum(1 / (steps.value + 1), 1 - self.momentum) * seen
      new = mean + rate * (found - mean)
      # Of the old and the new rows together, means apart included.
      spread.value = (1 - rate) * (variance + jnp.square(mean - new)) + (
        rate * (found_variance + jnp.square(found - new))
      )
      average.value = new
      steps.value += seen
    return (x - average.value) * jax.lax.rsqrt(spread.value + self.epsilon)
