"""VGGish: patches of sound to embeddings, and AudioSet's form of them.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification",
ICASSP 2017.
"""

import types
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.audio import vggish as front_end
from avemo.models import cnn, layers, positions

# Samples under a patch, and from one to the next.
PATCH_SAMPLES = front_end.PATCH_SAMPLES
PATCH_HOP = front_end.PATCH * front_end.HOP

# Embeddings are clipped to this, on either side, before they become bytes.
LIMIT = 2.0


class Variant(NamedTuple):
  """Channels of the four stages, of the dense layers and of the embedding."""

  widths: tuple[int, int, int, int]
  hidden: int
  width: int


VARIANTS = types.MappingProxyType(
  {
    'tiny': Variant((4, 6, 8, 10), 24, 16),
    'base': Variant((64, 128, 256, 512), 4096, 128),
  }
)


class VGGish(nn.Module):
  """Patches of a clip to one token each, and tokens to one feature a clip.

  Attributes:
    variant: a name in `VARIANTS`.
    final_relu: whether tokens are rectified: False as in TensorFlow's VGGish,
      True as in torchvggish.
    dtype: compute dtype; tokens are float32.
  """

  # Patches of `audio.vggish`.
  reads: ClassVar[str] = 'vggish'

  variant: str = 'base'
  final_relu: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    patches: jax.Array,
    num_patches: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps patches [B, N, 96, 64] to tokens, float32 [B, N, D].

    Args:
      patches: see `audio.vggish.cut_patches`.
      num_patches: int [B], those that the clip fills; None is N.
      mask: not used: no row sees another.
      train: not used: nothing is dropped.

    Returns:
      Tokens along time, 0 after the clip's last patch.
    """
    del mask, train
    variant = layers.choose('variant', self.variant, VARIANTS)
    x = patches.reshape(-1, *patches.shape[2:], 1).astype(self.dtype)
    for stage, width in enumerate(variant.widths, start=1):
      names = (f'conv{stage}_1', f'conv{stage}_2')
      for name in names if stage > 2 else (f'conv{stage}',):
        x = nn.relu(
          nn.Conv(width, (3, 3), padding='SAME', dtype=self.dtype, name=name)(x)
        )
      x = cnn.max_pool(x)
    # Time, mel band, channel: TensorFlow's order, and that of its files.
    x = x.reshape(len(x), -1)
    for name in ('fc1_1', 'fc1_2'):
      x = nn.relu(nn.Dense(variant.hidden, dtype=self.dtype, name=name)(x))
    x = nn.Dense(variant.width, dtype=self.dtype, name='fc2')(x)
    x = (nn.relu(x) if self.final_relu else x).astype(jnp.float32)
    tokens = x.reshape(*patches.shape[:2], -1)
    return jnp.where(find_valid(tokens, num_patches)[..., None], tokens, 0)

  def begin(
    self,
    patches: jax.Array,
    num_patches: jax.Array | None = None,
    mask: jax.Array | None = None,
    *,
    stop: int,
    train: bool = False,
  ) -> jax.Array:
    """Tokens with positions [B, N, D]; the tower always runs as a whole."""
    del stop
    tokens = self(patches, num_patches, mask, train=train)
    table = positions.sincos_table(*tokens.shape[1:])
    return tokens + table.astype(tokens.dtype)

  def pool(
    self, tokens: jax.Array, num_patches: jax.Array | None = None
  ) -> jax.Array:
    """Maps tokens [B, N, D] to features, float32 [B, D].

    Args:
      tokens: of the tower.
      num_patches: int [B], those that the clip fills; None is N.

    Returns:
      The mean over filled patches; 0 for a clip too short for one.
    """
    weight = find_valid(tokens, num_patches)[..., None].astype(jnp.float32)
    total = (tokens.astype(jnp.float32) * weight).sum(1)
    return total / jnp.maximum(weight.sum(1), 1)


def find_valid(tokens: jax.Array, num_patches: jax.Array | None) -> jax.Array:
  """Bool [B, N]: the tokens [B, N, D] of patches that the clip fills."""
  if num_patches is None:
    return jnp.ones(tokens.shape[:2], bool)
  return cnn.is_before(num_patches, tokens.shape[1])


def postprocess(
  embeddings: jax.Array,
  eigen_vectors: jax.Array,
  means: jax.Array,
  *,
  rounding: str = 'truncate',
) -> jax.Array:
  """Whitens embeddings and scales them to bytes, as AudioSet publishes them.

  Args:
    embeddings: [..., D], without the final ReLU.
    eigen_vectors: `pca_eigen_vectors` of the published file [E, D].
    means: `pca_means` of it [D].
    rounding: 'truncate' as TensorFlow's VGGish, 'round' as torchvggish.

  Returns:
    Whole numbers of 0 to 255, uint8 [..., E].

  Raises:
    AvemoError: unknown `rounding`.
  """
  layers.check_names('rounding', (rounding,), ('truncate', 'round'))
  if means.shape != embeddings.shape[-1:]:
    raise errors.AvemoError(
      f'pca_means has the shape {means.shape}, but embeddings have '
      f'{embeddings.shape[-1]} columns'
    )
  whitened = jnp.matmul(
    embeddings - means, eigen_vectors.T, precision='highest'
  )
  scaled = (jnp.clip(whitened, -LIMIT, LIMIT) + LIMIT) * (255 / (2 * LIMIT))
  scaled = jnp.round(scaled) if rounding == 'round' else jnp.floor(scaled)
  return scaled.astype(jnp.uint8)
