"""Blocks in which the tokens of two modalities attend to each other."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo.models import layers, operations, recompute, split


class Fusion(nn.Module):
  """Pairs of blocks, one a modality, that attend to the other's tokens.

  Attributes:
    depth: number of pairs.
    num_heads: K.
    epsilon: of all layer norms.
    drop_path: rate at the last pair, rising linearly from 0.
    remat: what the backward pass computes anew, see `recompute`.
    implementation: of the attention.
    dtype: compute dtype.
  """

  depth: int
  num_heads: int
  epsilon: float = layers.EPSILON
  drop_path: float = 0.0
  remat: bool | str = 'auto'
  implementation: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, video: jax.Array, audio: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, jax.Array]:
    """Maps tokens [B, N, D] and [B, M, D] to the same shapes."""
    pair = split.hold_whole(Pair)
    # A pair is two blocks of two attentions.
    pair = recompute.wrap(pair, self.remat, video, 4 * self.depth)
    pairs = nn.scan(
      pair,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      length=self.depth,
    )(
      self.num_heads,
      self.epsilon,
      train and self.drop_path > 0,
      self.implementation,
      self.dtype,
      name='blocks',
    )
    rates = jnp.linspace(0, self.drop_path, self.depth)
    (video, audio), _ = pairs((video, audio), rates)
    norm = functools.partial(layers.LayerNorm, self.epsilon, self.dtype)
    return norm(name='video_norm')(video), norm(name='audio_norm')(audio)


class Pair(nn.Module):
  """One block a modality; both read what the other was before.

  Attributes:
    num_heads: K.
    epsilon: of all layer norms.
    drop: whether to drop paths, at the rate given to the call.
    implementation: of the attention.
    dtype: compute dtype.
  """

  num_heads: int
  epsilon: float = layers.EPSILON
  drop: bool = False
  implementation: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, tokens: tuple[jax.Array, jax.Array], drop_path_rate: jax.Array
  ) -> tuple[tuple[jax.Array, jax.Array], None]:
    """Maps the tokens of both, as the body of a scan."""
    block = functools.partial(
      CrossBlock,
      self.num_heads,
      key_bias=False,
      epsilon=self.epsilon,
      drop=self.drop,
      implementation=self.implementation,
      dtype=self.dtype,
    )
    video, audio = tokens
    return (
      block(name='video')(video, audio, drop_path_rate),
      block(name='audio')(audio, video, drop_path_rate),
    ), None


class CrossBlock(nn.Module):
  """Attention to another modality's tokens, then a transformer block.

  Attributes:
    num_heads: K.
    key_bias: whether keys have a bias.
    epsilon: of all layer norms.
    drop: whether to drop paths, at the rate given to the call.
    implementation: of the attention.
    dtype: compute dtype.
  """

  num_heads: int
  key_bias: bool = False
  epsilon: float = layers.EPSILON
  drop: bool = False
  implementation: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, context: jax.Array, drop_path_rate: jax.Array
  ) -> jax.Array:
    """Maps tokens [B, N, D] to [B, N, D] by a context [B, M, any width]."""
    norm = functools.partial(layers.LayerNorm, self.epsilon, self.dtype)
    branch = layers.Attention(
      self.num_heads,
      self.key_bias,
      self.implementation,
      self.dtype,
      name='cross_attn',
    )(norm(name='cross_norm1')(x), norm(name='cross_norm2')(context))
    if self.drop:
      key = self.make_rng('dropout')
      branch = operations.drop_path(key, branch, drop_path_rate)
    block = layers.Block(
      self.num_heads,
      self.key_bias,
      self.epsilon,
      self.drop,
      self.implementation,
      self.dtype,
      name='block',
    )
    return block(x + branch, drop_path_rate)[0]
