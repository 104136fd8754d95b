"""Transformer blocks, scanned over their depth.

Axis letters, here and in every tower: B batch, T frames, H W C picture,
N tokens, D width, K heads, d head width, L blocks.
"""

import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from avemo import errors
from avemo.models import attention, operations, recompute, split

# VideoMAE writes 1e-6; other sources of the same weights write other values.
EPSILON = 1e-6

initialize_kernel = nn.initializers.xavier_uniform()
initialize_embedding = nn.initializers.truncated_normal(0.02)


class Variant(NamedTuple):
  """Width D, depth L and number of heads K of an encoder."""

  width: int
  depth: int
  num_heads: int


def choose_variant(tower: nn.Module, variants: Mapping[str, Any]) -> Any:
  """The tower's variant, with what its own fields put in the place of it.

  Args:
    tower: its `variant` is a name in the table; each field of a variant is a
      field of the tower too, None where the variant decides.
    variants: a `Variant`, or a named tuple of more, by name.
  """
  variant = choose('variant', tower.variant, variants)
  own = {name: getattr(tower, name) for name in variant._fields}
  return variant._replace(**{k: v for k, v in own.items() if v is not None})


def choose(kind: str, name: str, table: Mapping[str, Any]) -> Any:
  """The entry of a table, or an error that names the nearest one.

  Args:
    kind: what the table lists, in the singular.
    name: the entry asked for.
    table: entries by name.

  Raises:
    AvemoError: the table has no such entry.
  """
  check_names(kind, (name,), table)
  return table[name]


def check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
  """Raises an AvemoError that names the nearest known name to a wrong one.

  Args:
    kind: what the names are of, in the singular.
    names: to check.
    known: every right name.
  """
  known = list(known)
  for name in names:
    if name not in known:
      near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
      raise errors.AvemoError(
        f'unknown {kind} {name!r}: did you mean {near[0]!r}? '
        f'There are: {", ".join(known)}'
      )


class LayerNorm(nn.Module):
  """Layer norm with float32 statistics and the two-pass variance.

  Attributes:
    epsilon: added to the variance.
    dtype: dtype of the output.
  """

  epsilon: float = EPSILON
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (width,))
    bias = self.param('bias', nn.initializers.zeros, (width,))
    return operations.normalize(x, scale, bias, self.epsilon, self.dtype)


class Attention(nn.Module):
  """Multi-head attention of BND tokens to themselves or to others.

  Attributes:
    num_heads: K; each head is D // K wide.
    key_bias: False as in VideoMAE, whose weights carry no key bias.
    implementation: see `attention.attend`.
    dtype: compute dtype. Parameters stay float32.
  """

  num_heads: int
  key_bias: bool = True
  implementation: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    context: jax.Array | None = None,
    num_valid: jax.Array | None = None,
  ) -> jax.Array:
    """Maps tokens [B, N, D] to [B, N, D].

    Args:
      x: tokens that ask.
      context: tokens [B, M, any width] that they attend to; None is x.
      num_valid: int [B] >= 1, the first tokens of the context, which alone
        count; None is all.
    """
    context = x if context is None else context
    width = x.shape[-1]
    project = functools.partial(
      nn.DenseGeneral,
      (self.num_heads, width // self.num_heads),
      kernel_init=initialize_kernel,
      dtype=self.dtype,
      dot_general=operations.multiply_rows,
    )
    query = project(name='query')(x)  # BNKd
    key = project(name='key', use_bias=self.key_bias)(context)
    value = project(name='value')(context)
    mixed = attention.attend(
      query, key, value, num_valid, implementation=self.implementation
    )
    return nn.DenseGeneral(
      width,
      axis=(-2, -1),
      kernel_init=initialize_kernel,
      dtype=self.dtype,
      dot_general=operations.multiply_rows,
      name='out',
    )(mixed)


class Block(nn.Module):
  """Transformer block: attention, then two dense layers.

  Attributes:
    num_heads: K.
    key_bias: whether keys have a bias.
    epsilon: of both layer norms.
    drop: whether to drop paths, at the rate given to the call.
    implementation: of the attention.
    dtype: compute dtype.
    post_norm: norms follow the sums; otherwise they open the branches.
    collect: give the scan the tokens as an output too.
  """

  num_heads: int
  key_bias: bool = True
  epsilon: float = EPSILON
  drop: bool = False
  implementation: str | None = None
  dtype: Any = jnp.float32
  post_norm: bool = False
  collect: bool = False

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    drop_path_rate: jax.Array,
    num_valid: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array | None]:
    """Maps tokens [B, N, D] to [B, N, D], as the body of a scan."""
    norm1 = LayerNorm(self.epsilon, self.dtype, name='norm1')
    norm2 = LayerNorm(self.epsilon, self.dtype, name='norm2')
    dense = functools.partial(
      nn.Dense,
      kernel_init=initialize_kernel,
      dtype=self.dtype,
      dot_general=operations.multiply_rows,
    )
    attend = Attention(
      self.num_heads,
      self.key_bias,
      self.implementation,
      self.dtype,
      name='attn',
    )
    branch = attend(x if self.post_norm else norm1(x), num_valid=num_valid)
    x = x + self._drop_path(branch, drop_path_rate)
    x = norm1(x) if self.post_norm else x
    branch = x if self.post_norm else norm2(x)
    branch = dense(4 * x.shape[-1], name='fc1')(branch)
    branch = operations.gelu(branch)
    branch = dense(x.shape[-1], name='fc2')(branch)
    x = x + self._drop_path(branch, drop_path_rate)
    x = norm2(x) if self.post_norm else x
    return x, x if self.collect else None

  def _drop_path(self, branch: jax.Array, rate: jax.Array) -> jax.Array:
    if not self.drop:
      return branch
    return operations.drop_path(self.make_rng('dropout'), branch, rate)


class Encoder(nn.Module):
  """Blocks in one stack of parameters with leaves [L, ...], scanned.

  Any range of the blocks can be run, so that towers may meet midway. The
  first `frozen_blocks` run as in evaluation; no gradient reaches them, nor
  what lies before them.

  Attributes:
    width: D.
    depth: L; 0 makes the encoder the identity without parameters.
    num_heads: K.
    key_bias: whether keys have a bias.
    epsilon: of the blocks' layer norms.
    drop_path: rate at the last block, rising linearly from 0 at the first.
    frozen_blocks: number of blocks, from the first, that are not trained.
    remat: what the backward pass computes anew, see `recompute`.
    implementation: of the attention.
    dtype: compute dtype.
    post_norm: norms follow the sums; otherwise they open the branches.
  """

  width: int
  depth: int
  num_heads: int
  key_bias: bool = True
  epsilon: float = EPSILON
  drop_path: float = 0.0
  frozen_blocks: int = 0
  remat: bool | str = 'auto'
  implementation: str | None = None
  dtype: Any = jnp.float32
  post_norm: bool = False

  def setup(self):
    if not 0 <= self.frozen_blocks <= self.depth:
      raise errors.AvemoError(
        f'frozen_blocks={self.frozen_blocks}: the encoder has '
        f'{self.depth} blocks'
      )
    if self.width % self.num_heads:
      raise errors.AvemoError(
        f'width={self.width} cannot be split into {self.num_heads} heads'
      )
    if self.depth:
      self.blocks = self.param('blocks', self._initialize_blocks)

  def __call__(
    self,
    x: jax.Array,
    *,
    train: bool = False,
    start: int = 0,
    stop: int | None = None,
    num_valid: jax.Array | None = None,
    collect: bool = False,
  ) -> jax.Array:
    """Runs the blocks from `start` up to, not including, `stop`.

    Args:
      x: tokens [B, N, D].
      train: whether to drop paths.
      start: first block.
      stop: block after the last; None is the depth.
      num_valid: int [B] >= 1, the tokens before a clip's end, which alone are
        attended to; None is all.
      collect: return what every block makes.

    Returns:
      Tokens [B, N, D], or those after each block, [blocks, B, N, D].
    """
    stop = self.depth if stop is None else stop
    if not 0 <= start <= stop <= self.depth:
      raise errors.AvemoError(
        f'blocks {start} to {stop}: the encoder has {self.depth}'
      )
    border = min(max(self.frozen_blocks, start), stop)
    each = []
    for first, last in ((start, border), (border, stop)):
      if last > first:
        frozen = last <= self.frozen_blocks
        x, made = self._run(
          x, first, last, num_valid, train=train and not frozen, collect=collect
        )
        x, made = jax.lax.stop_gradient((x, made)) if frozen else (x, made)
        each.append(made)
    return jnp.concatenate(each) if collect else x

  def _run(
    self,
    x: jax.Array,
    start: int,
    stop: int,
    num_valid: jax.Array | None,
    *,
    train: bool,
    collect: bool,
  ) -> tuple[jax.Array, jax.Array | None]:
    drop = train and self.drop_path > 0
    rates = jnp.linspace(0, self.drop_path, self.depth)[start:stop]
    params = jax.tree.map(lambda leaf: leaf[start:stop], self.blocks)
    rngs = {'dropout': self.make_rng('dropout')} if drop else {}
    block = split.hold_whole(Block)
    return self._scanned(x, stop - start, drop, collect, block).apply(
      {'params': params}, x, rates, num_valid, rngs=rngs
    )

  def _scanned(
    self,
    x: jax.Array,
    length: int,
    drop: bool = False,
    collect: bool = False,
    block: Callable[..., nn.Module] = Block,
  ) -> nn.Module:
    block = recompute.wrap(block, self.remat, x, length)
    # Detached: its parameters are handed to it as a slice of the stack.
    return nn.scan(
      block,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=(0, nn.broadcast),
      length=length,
    )(
      self.num_heads,
      self.key_bias,
      self.epsilon,
      drop,
      self.implementation,
      self.dtype,
      self.post_norm,
      collect,
      parent=None,
    )

  def _initialize_blocks(self, key: jax.Array) -> dict[str, Any]:
    tokens = jnp.zeros((1, 1, self.width), self.dtype)
    variables = self._scanned(tokens, self.depth).init(
      key, tokens, jnp.zeros(self.depth), None
    )
    return variables['params']


class PatchEmbedding(nn.Module):
  """Kernel and bias of a convolution, applied to patches already cut.

  A matrix product over patches is faster than the convolution and the same;
  the kernel keeps the convolution's layout, that of published weights.

  Attributes:
    shape: of the kernel without its last axis, such as [T, H, W, C].
    width: D.
    dtype: compute dtype.
  """

  shape: tuple[int, ...]
  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, patches: jax.Array) -> jax.Array:
    """Maps patches [B, N, product of shape] to tokens [B, N, D]."""
    kernel = self.param(
      'kernel', self._initialize_kernel, (*self.shape, self.width)
    )
    bias = self.param('bias', nn.initializers.zeros, (self.width,))
    kernel = jnp.asarray(kernel.reshape(-1, self.width), self.dtype)
    tokens = jnp.asarray(patches, self.dtype) @ kernel
    return tokens + jnp.asarray(bias, self.dtype)

  def _initialize_kernel(self, key: jax.Array, shape: tuple[int, ...]):
    flat = (math.prod(shape[:-1]), shape[-1])
    return initialize_kernel(key, flat).reshape(shape)
