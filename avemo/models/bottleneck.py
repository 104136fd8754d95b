"""Fusion through a few tokens that both towers read and write.

Nagrani et al., "Attention Bottlenecks for Multimodal Fusion", NeurIPS 2021.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import layers


class Bottleneck(nn.Module):
  """Runs two encoders side by side; between blocks they share a few tokens.

  In each block from `join_at` on, a modality attends to its own tokens and to
  the shared ones. What the modalities make of these is averaged, and goes to
  the next block. A missing modality has no share in that average, so nothing
  of it reaches the other.

  Attributes:
    tokens: number of shared tokens; 4 as published.
    join_at: blocks that each tower runs of its own before; 8 of 12 as
      published.
    dtype: compute dtype.
  """

  tokens: int = 4
  join_at: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    streams: dict[str, jax.Array],
    encoders: dict[str, layers.Encoder],
    present: dict[str, jax.Array],
    trains: dict[str, bool],
  ) -> dict[str, jax.Array]:
    """Maps tokens after `join_at` blocks to those after all.

    Args:
      streams: [B, N, D] by modality.
      encoders: bound, by modality, of as many blocks and one width.
      present: bool [B] by modality.
      trains: by modality, whether to drop paths (rng `dropout`).

    Returns:
      [B, N, D] by modality.

    Raises:
      AvemoError: the encoders differ in width or depth, or have not so many
        blocks.
    """
    check_encoders(encoders, self.join_at)
    width = next(iter(encoders.values())).width
    shared = self.param(
      'tokens', layers.initialize_embedding, (self.tokens, width)
    )
    batch_size = len(next(iter(streams.values())))
    shared = jnp.broadcast_to(
      shared.astype(self.dtype), (batch_size, *shared.shape)
    )
    drops = {
      name: trains[name] and encoder.drop_path > 0
      for name, encoder in encoders.items()
    }
    key = self.make_rng('dropout') if any(drops.values()) else None
    blocks = {
      name: cut_blocks(encoder, self.join_at, drops[name])
      for name, encoder in encoders.items()
    }
    return exchange(
      streams,
      shared,
      blocks,
      present,
      key=key,
      remat=any(e.remat not in (False, 'none') for e in encoders.values()),
    )


def check_encoders(encoders: dict[str, layers.Encoder], join_at: int) -> None:
  sizes = {name: (e.width, e.depth) for name, e in encoders.items()}
  if len(set(sizes.values())) > 1:
    found = ', '.join(
      f'{name}: width {width}, depth {depth}'
      for name, (width, depth) in sizes.items()
    )
    raise errors.AvemoError(
      f'fusion.kind=bottleneck needs towers of one width and depth ({found}); '
      'set them alike, or use fusion.kind=cross_attention'
    )
  for name, encoder in encoders.items():
    if join_at >= encoder.depth:
      raise errors.AvemoError(
        f'fusion.bottleneck.join_at={join_at}: the {name} tower has '
        f'{encoder.depth} blocks, and one at least must follow'
      )
    if encoder.frozen_blocks > join_at:
      raise errors.AvemoError(
        f'{name}.frozen_blocks={encoder.frozen_blocks}: no gradient would '
        f'reach the shared tokens, which join at block {join_at}; freeze at '
        f'most {join_at} or raise fusion.bottleneck.join_at'
      )


def cut_blocks(
  encoder: layers.Encoder, start: int, drop: bool
) -> tuple[nn.Module, Any, jax.Array]:
  """A block without parameters, those of blocks from `start`, their rates."""
  block = layers.Block(
    encoder.num_heads,
    encoder.key_bias,
    encoder.epsilon,
    drop,
    encoder.implementation,
    encoder.dtype,
    encoder.post_norm,
    parent=None,
  )
  params = jax.tree.map(lambda leaf: leaf[start:], encoder.blocks)
  rates = jnp.linspace(0, encoder.drop_path, encoder.depth)[start:]
  return block, params, rates


def exchange(
  streams: dict[str, jax.Array],
  shared: jax.Array,
  blocks: dict[str, tuple[nn.Module, Any, jax.Array]],
  present: dict[str, jax.Array],
  *,
  key: jax.Array | None,
  remat: bool,
) -> dict[str, jax.Array]:
  """Runs the blocks of all modalities in step, scanned over their depth."""
  seen = {name: value[:, None, None] for name, value in present.items()}
  count = jnp.maximum(
    sum(value.astype(shared.dtype) for value in seen.values()), 1
  )
  depth = len(next(iter(blocks.values()))[2])

  def body(carry, xs):
    streams, shared = carry
    number, layer = xs
    streams, written = dict(streams), []
    for place, (name, (block, _, _)) in enumerate(blocks.items()):
      params, rate = layer[name]
      rngs = {}
      if key is not None:
        own = jax.random.fold_in(key, number * len(blocks) + place)
        rngs = {'dropout': own}
      both = [streams[name], shared.astype(streams[name].dtype)]
      both = jnp.concatenate(both, axis=1)
      both, _ = block.apply({'params': params}, both, rate, rngs=rngs)
      streams[name] = both[:, : -shared.shape[1]]
      # Selected, not multiplied: what a missing modality gave may be infinite.
      written.append(jnp.where(seen[name], both[:, -shared.shape[1] :], 0))
    mean = (sum(written) / count).astype(shared.dtype)
    return (streams, mean), None

  layered = {
    name: (params, rates) for name, (_, params, rates) in blocks.items()
  }
  body = jax.checkpoint(body, prevent_cse=False) if remat else body
  (streams, _), _ = jax.lax.scan(
    body, (streams, shared), (jnp.arange(depth), layered)
  )
  return streams
