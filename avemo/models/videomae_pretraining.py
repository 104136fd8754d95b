"""VideoMAE's pretraining: most of a clip is hidden, and painted back.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for
Self-Supervised Video Pre-Training", NeurIPS 2022. No labels are needed. What
is learned stands under `video`, as in `emotion.Emotion`, and is what a
fine-tuning starts from; the decoder beside it is thrown away.
"""

import math
import types
from collections.abc import Mapping
from typing import Any, ClassVar

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import core
from flax import linen as nn

from avemo import augment as augmentation
from avemo import errors
from avemo.models import layers, positions, sections, videomae

# By the variant of the encoder.
DECODERS = types.MappingProxyType(
  {
    'tiny': layers.Variant(64, 2, 2),
    'small': layers.Variant(192, 4, 3),
    'base': layers.Variant(384, 4, 6),
    'large': layers.Variant(512, 12, 8),
    'huge': layers.Variant(640, 12, 8),
  }
)

# Added to the standard deviation of a patch, which may be of one colour.
FLAT = 1e-6


class VisibleVideoMAE(videomae.VideoMAE):
  """The tower over the visible tokens alone, with a norm after its blocks."""

  def setup(self):
    super().setup()
    self.norm = layers.LayerNorm(self.epsilon, self.dtype)

  def __call__(
    self, patches: jax.Array, table: jax.Array, *, train: bool = False
  ) -> jax.Array:
    """Encodes some of a clip's tubelets.

    Args:
      patches: normalised pixels of the visible tubelets [B, V, P].
      table: their positions [B, V, D].
      train: whether to drop paths.

    Returns:
      Tokens [B, V, D].
    """
    tokens = self.patch_embed(patches)
    tokens = tokens + table.astype(tokens.dtype)
    return self.norm(self.encoder(tokens, train=train))


class Decoder(layers.Encoder):
  """Blocks over all tokens, and pixels for the last of them.

  Attributes, beside those of `layers.Encoder`:
    norm_epsilon: of the norm after the blocks; 1e-5 in transformers' files.
    num_pixels: P, values of one tubelet.
  """

  norm_epsilon: float = layers.EPSILON
  num_pixels: int = 0

  def setup(self):
    super().setup()
    self.norm = layers.LayerNorm(self.norm_epsilon, self.dtype)
    self.head = nn.Dense(
      self.num_pixels, kernel_init=layers.initialize_kernel, dtype=self.dtype
    )

  def paint(
    self, tokens: jax.Array, count: int, *, train: bool = False
  ) -> jax.Array:
    """Maps tokens [B, N, d] to pixels, float32 [B, count, P], of the last."""
    tokens = self(tokens, train=train)[:, -count:]
    return self.head(self.norm(tokens)).astype(jnp.float32)


class VideoMAEPretraining(nn.Module):
  """Paints hidden tubelets from visible ones, and measures how well.

  Parameters are `video/{patch_embed,encoder,norm}`, `encoder_to_decoder`,
  `mask_token` and `decoder/{blocks,norm,head}`.

  Attributes:
    use: the modalities that are read, which is ('video',).
    video: arguments of `videomae.VideoMAE`, as in `emotion.Emotion`.
    decoder: `width`, `depth` and `num_heads` instead of those that go with
      the tower's variant, see `DECODERS`, and other arguments of `Decoder`.
    mask_ratio: share of a picture's tubelets that is hidden, rounded down to
      a whole number of them.
    augment: the config's section, in which only pictures have a meaning.
    dtype: compute dtype, such as 'bfloat16'. Parameters, targets and loss
      stay float32.
  """

  use: tuple[str, ...] = ('video',)
  video: Any = sections.NO_OPTIONS
  decoder: Any = sections.NO_OPTIONS
  mask_ratio: float = 0.9
  augment: Any = sections.NO_OPTIONS
  dtype: Any = 'float32'

  # The outputs hold the loss: no labels are needed, and no classes are told.
  has_own_loss: ClassVar[bool] = True

  def __post_init__(self):
    # Flax clones a module when it binds it; a clone has its sections built.
    if isinstance(self.video, Mapping):
      self._build_sections()
    super().__post_init__()

  def _build_sections(self):
    if tuple(self.use) != ('video',):
      raise errors.AvemoError(
        f"model.use={tuple(self.use)}: videomae_pretraining reads ('video',)"
      )
    self.use = ('video',)
    # Sound is not read, and there are no targets to mix.
    layers.check_names(
      'augmentation of pictures', self.augment, augmentation.PIXELS
    )
    self.augment = core.freeze(augmentation.check(self.augment))
    towers = {'videomae': VisibleVideoMAE}
    make, options = sections.read_section('video', self.video, towers)
    dtype = jnp.dtype(options.pop('dtype', self.dtype))
    self.video = make(**options, dtype=dtype, parent=None)
    sizes = layers.choose(
      'decoder of variant', self.video.variant, DECODERS
    )._asdict()
    options = sections.check_options('decoder', Decoder, self.decoder)
    if options.get('frozen_blocks'):
      raise errors.AvemoError(
        'decoder.frozen_blocks: no gradient would reach the tower; leave it out'
      )
    self.decoder = Decoder(
      **{'key_bias': False, 'dtype': dtype} | sizes | options,
      num_pixels=math.prod(self.video.tubelet) * 3,
      parent=None,
    )

  def setup(self):
    self.encoder_to_decoder = nn.Dense(
      self.decoder.width,
      use_bias=False,
      kernel_init=layers.initialize_kernel,
      dtype=self.decoder.dtype,
    )
    self.mask_token = self.param(
      'mask_token', layers.initialize_embedding, (1, 1, self.decoder.width)
    )

  def __call__(
    self, batch: Mapping[str, jax.Array], train: bool = False
  ) -> dict[str, jax.Array]:
    """Maps a batch to its losses.

    Args:
      batch: `frames`, uint8 or floats in [0, 1] [B, T, H, W, 3]. In
        evaluation `record` and `view`, int [B], choose what is hidden; where
        they are absent, the number of the row does.
      train: whether to drop paths and to draw what is hidden (rng
        `dropout`). In evaluation the same is hidden in a record each time.

    Returns:
      `loss`: float32 [B], the mean squared error over the hidden tubelets'
      pixels.
    """
    frames = batch['frames']
    visible, masked = self._draw_tubes(batch, train)
    pixels = self.reconstruct(frames, visible, masked, train=train)
    targets = compute_targets(frames, masked, self.video.tubelet)
    return {'loss': jnp.square(pixels - targets).mean((1, 2))}

  def reconstruct(
    self,
    frames: jax.Array,
    visible: jax.Array,
    masked: jax.Array,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Paints the masked tubelets.

    Args:
      frames: uint8 or floats in [0, 1] [B, T, H, W, 3].
      visible: tokens that are seen, int [B, V].
      masked: tokens that are not, int [B, M]; the two are all N.
      train: whether to drop paths.

    Returns:
      Pixels, normalised as `compute_targets` does, float32 [B, M, P].
    """
    count = visible.shape[1] + masked.shape[1]
    patches = gather_tubelets(frames, visible, self.video.tubelet)
    seen = videomae.normalize(patches)
    seen = einops.rearrange(seen, 'b v p c -> b v (p c)')
    width = layers.choose_variant(self.video, videomae.VARIANTS).width
    tokens = self.video(seen, look_up(visible, count, width), train=train)
    tokens = self.encoder_to_decoder(tokens)
    # Each token carries its own position, so their order is free: those to be
    # painted come last.
    hidden = self.mask_token.astype(tokens.dtype)
    table = look_up(
      jnp.concatenate([visible, masked], 1), count, tokens.shape[2]
    )
    table = table.astype(tokens.dtype)
    border = visible.shape[1]
    tokens = jnp.concatenate(
      [tokens + table[:, :border], hidden + table[:, border:]], axis=1
    )
    return self.decoder.paint(tokens, masked.shape[1], train=train)

  def _draw_tubes(
    self, batch: Mapping[str, jax.Array], train: bool
  ) -> tuple[jax.Array, jax.Array]:
    grid = count_tubelets(batch['frames'].shape, self.video.tubelet)
    places = math.prod(grid[1:])
    size = len(batch['frames'])
    if train:
      noise = jax.random.uniform(self.make_rng('dropout'), (size, places))
    else:
      rows = jnp.arange(size)
      names = batch.get('record', rows), batch.get('view', jnp.zeros_like(rows))
      noise = jax.vmap(lambda *name: draw_fixed(name, places))(*names)
    return choose_tubes(noise, grid[0], self.mask_ratio)


def draw_fixed(name: tuple[jax.Array, ...], places: int) -> jax.Array:
  """Uniform numbers [places] that follow from whole numbers alone."""
  key = jax.random.key(0)
  for number in name:
    key = jax.random.fold_in(key, number)
  return jax.random.uniform(key, (places,))


def choose_tubes(
  noise: jax.Array, times: int, ratio: float
) -> tuple[jax.Array, jax.Array]:
  """Divides tokens: a place is hidden at all times of a clip, or at none.

  Pictures hardly change from one time to the next, so what is hidden at one
  time alone could be copied from another.

  Args:
    noise: one number a place [B, S]; the places of the largest are hidden.
    times: number of tokens along time.
    ratio: share of the places that is hidden, rounded down.

  Returns:
    Visible tokens, int32 [B, V], and masked ones, int32 [B, M], each in
    rising order; tokens count by time, then place.

  Raises:
    AvemoError: nothing would be hidden, or nothing seen.
  """
  places = noise.shape[1]
  num_masked = int(ratio * places)
  if not 0 < num_masked < places:
    raise errors.AvemoError(
      f'model.mask_ratio={ratio}: hides {num_masked} of the {places} places '
      'of a picture; some must be hidden and some seen'
    )
  order = jnp.argsort(noise, axis=1).astype(jnp.int32)
  border = places - num_masked
  starts = places * jnp.arange(times, dtype=jnp.int32)

  def repeat(chosen):
    tokens = starts[:, None] + jnp.sort(chosen, axis=1)[:, None, :]
    return einops.rearrange(tokens, 'b t s -> b (t s)')

  return repeat(order[:, :border]), repeat(order[:, border:])


def count_tubelets(
  shape: tuple[int, ...], tubelet: tuple[int, int, int]
) -> tuple[int, int, int]:
  """Tubelets along time, rows and columns of frames of a shape [B, T, H, W].

  What they leave over is `videomae.cut_tubelets`' to refuse.
  """
  sizes = zip(shape[1:4], tubelet, strict=True)
  return tuple(max(size // step, 1) for size, step in sizes)


def gather_tubelets(
  frames: jax.Array, tokens: jax.Array, tubelet: tuple[int, int, int]
) -> jax.Array:
  """Pixels of the chosen tubelets of frames [B, T, H, W, 3].

  Args:
    frames: of any dtype, which stays.
    tokens: int [B, N].
    tubelet: frames, rows and columns of one tubelet.

  Returns:
    [B, N, t * h * w, 3].
  """
  patches = videomae.cut_tubelets(frames, tubelet)
  chosen = jnp.take_along_axis(patches, tokens[:, :, None], axis=1)
  return einops.rearrange(chosen, 'b n (p c) -> b n p c', c=3)


def compute_targets(
  frames: jax.Array, masked: jax.Array, tubelet: tuple[int, int, int]
) -> jax.Array:
  """Pixels of the masked tubelets, each normalised by itself and by channel.

  Args:
    frames: uint8 or floats in [0, 1] [B, T, H, W, 3].
    masked: int [B, M].
    tubelet: frames, rows and columns of one tubelet.

  Returns:
    float32 [B, M, P], in the order frame, row, column, channel; with the
    deviation of a sample, not that of a population.
  """
  patches = gather_tubelets(frames, masked, tubelet)
  scale = 255 if jnp.issubdtype(patches.dtype, jnp.integer) else 1
  patches = patches.astype(jnp.float32) / scale
  centred = patches - patches.mean(2, keepdims=True)
  variance = jnp.square(centred).sum(2, keepdims=True)
  deviation = jnp.sqrt(variance / (patches.shape[2] - 1))
  normed = centred / (deviation + FLAT)
  return einops.rearrange(normed, 'b m p c -> b m (p c)')


def look_up(tokens: jax.Array, count: int, width: int) -> jax.Array:
  """Positions, float32 [B, N, width], of tokens [B, N] out of `count`."""
  table: np.ndarray = positions.sincos_table(count, width)
  return jnp.asarray(table)[tokens]
