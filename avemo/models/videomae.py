"""VideoMAE's encoder: tubelets, a fixed position table, a plain transformer.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for
Self-Supervised Video Pre-Training", NeurIPS 2022.
"""

import types
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from avemo import errors
from avemo.models import layers, positions

VARIANTS = types.MappingProxyType(
  {
    'tiny': layers.Variant(128, 4, 4),
    # transformers' converter says 16 heads for small, which loads and is wrong.
    'small': layers.Variant(384, 12, 6),
    'base': layers.Variant(768, 12, 12),
    'large': layers.Variant(1024, 24, 16),
    'huge': layers.Variant(1280, 32, 16),
  }
)

# Of ImageNet's pictures in [0, 1], by which published weights were trained.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class VideoMAE(nn.Module):
  """Frames to tokens, and tokens to one feature a clip.

  Tokens are ordered by time, then row, then column.

  Attributes:
    variant: a name in `VARIANTS`.
    width: D, instead of the variant's.
    depth: L, instead of the variant's.
    num_heads: K, instead of the variant's.
    tubelet: frames, rows and columns of one token.
    epsilon: of the blocks' layer norms; 1e-12 in transformers' files.
    fc_epsilon: of the norm after pooling; 1e-5 in transformers' files.
    drop_path: rate at the last block, rising linearly from 0.
    frozen_blocks: number of blocks, from the first, that are not trained, nor
      is then the embedding before them.
    remat: what the backward pass computes anew, see `recompute`.
    implementation: of the attention.
    dtype: compute dtype.
  """

  variant: str = 'base'
  width: int | None = None
  depth: int | None = None
  num_heads: int | None = None
  tubelet: tuple[int, int, int] = (2, 16, 16)
  epsilon: float = layers.EPSILON
  fc_epsilon: float = layers.EPSILON
  drop_path: float = 0.0
  frozen_blocks: int = 0
  remat: bool | str = 'auto'
  implementation: str | None = None
  dtype: Any = jnp.float32

  def setup(self):
    width, depth, num_heads = layers.choose_variant(self, VARIANTS)
    self.patch_embed = layers.PatchEmbedding(
      (*self.tubelet, 3), width, self.dtype
    )
    self.encoder = layers.Encoder(
      width,
      depth,
      num_heads,
      key_bias=False,
      epsilon=self.epsilon,
      drop_path=self.drop_path,
      frozen_blocks=self.frozen_blocks,
      remat=self.remat,
      implementation=self.implementation,
      dtype=self.dtype,
    )
    self.fc_norm = layers.LayerNorm(self.fc_epsilon, jnp.float32)

  def __call__(
    self,
    frames: jax.Array,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps frames [B, T, H, W, 3], normalised, to tokens [B, N, D].

    Args:
      frames: see `normalize`.
      mask: not used: no row sees another.
      train: whether to drop paths.
    """
    del mask
    return self.encoder(self.embed(frames), train=train)

  def embed(self, frames: jax.Array) -> jax.Array:
    """The tokens [B, N, D] that the first block sees."""
    tokens = self.patch_embed(cut_tubelets(frames, self.tubelet))
    table = positions.sincos_table(*tokens.shape[1:])
    return tokens + table.astype(tokens.dtype)

  def pool(self, tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] to features, float32 [B, D]."""
    return self.fc_norm(tokens.astype(jnp.float32).mean(1))


def cut_tubelets(frames: jax.Array, tubelet: tuple[int, int, int]) -> jax.Array:
  """Cuts frames [B, T, H, W, C] into tubelets [B, N, t * h * w * C]."""
  sizes = frames.shape[1:4]
  if any(s % t or s < t for s, t in zip(sizes, tubelet, strict=True)):
    raise errors.AvemoError(
      f'a clip of {sizes[0]} frames of {sizes[1]}x{sizes[2]} cannot be cut '
      f'into tubelets of {"x".join(map(str, tubelet))}: use multiples'
    )
  t, h, w = tubelet
  return einops.rearrange(
    frames,
    'b (nt t) (nh h) (nw w) c -> b (nt nh nw) (t h w c)',
    t=t,
    h=h,
    w=w,
  )


def normalize(frames: jax.Array) -> jax.Array:
  """Frames [..., 3] in the range that the tower expects.

  Args:
    frames: uint8, or floats in [0, 1].

  Returns:
    float32 of the same shape.
  """
  if jnp.issubdtype(frames.dtype, jnp.integer):
    frames = frames.astype(jnp.float32) / 255
  return (frames.astype(jnp.float32) - np.float32(MEAN)) / np.float32(STD)
