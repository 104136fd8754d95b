"""Attention of heads, by the way that is fastest where it runs.

Axis letters: B batch, N tokens that ask, M tokens that answer, K heads,
d head width; n and m those of a block.
"""

import contextlib
import functools
import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from avemo import errors

IMPLEMENTATIONS = (None, 'xla', 'cudnn', 'blocks')

# Bytes of the logits of a block, over those of a core's second cache: the best
# of those tried on cores with 1 MiB (in blocks of 2.5) and with 2 MiB (of 5).
# Larger blocks spill, smaller ones make products too small: on cores with
# 512 KiB blocks of 2.5 MiB were faster than of half.
BLOCK_SHARE = 5 / 2
CACHE = pathlib.Path('/sys/devices/system/cpu/cpu0/cache/index2/size')
USUAL_CACHE = 2**20
# A system that tells of more tells of a cache that cores share.
LEAST_CACHE, MOST_CACHE = 2**20, 2**22

# Bytes of all logits below which writing them out is as fast.
SMALL_BYTES = 2**21

# What `checkpoint_name` calls the outputs, for a policy that keeps them.
NAME = 'attention'


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  num_valid: jax.Array | None = None,
  *,
  implementation: str | None = None,
) -> jax.Array:
  """Softmax attention, logits scaled by the root of the head width.

  Args:
    query: [B, N, K, d].
    key: [B, M, K, d].
    value: [B, M, K, d].
    num_valid: int [B] >= 1, the first keys, which alone count; None is all.
    implementation: 'xla' writes out all logits; 'blocks' never does, nor for
      the gradient; 'cudnn' neither, needs an NVIDIA GPU and a 16-bit dtype.
      None takes what is fastest on JAX's default backend.

  Returns:
    [B, N, K, d] in the dtype of the query.
  """
  if implementation not in IMPLEMENTATIONS:
    raise errors.AvemoError(
      f'unknown implementation {implementation!r} of attention; there are '
      f'{", ".join(filter(None, IMPLEMENTATIONS))}'
    )
  if implementation is None:
    implementation = choose_implementation(
      query.shape, key.shape[1], query.dtype
    )
  if implementation == 'blocks':
    return attend_by_blocks(query, key, value, num_valid)
  mixed = jax.nn.dot_product_attention(
    query,
    key,
    value,
    key_value_seq_lengths=num_valid,
    implementation=implementation,
  )
  return checkpoint_name(mixed, NAME)


def choose_implementation(
  shape: tuple[int, ...], num_keys: int, dtype: Any
) -> str:
  """What is fastest for queries [B, N, K, d] on the default backend."""
  batch, num_queries, num_heads, head_width = shape
  backend = jax.default_backend()
  if backend == 'cpu':
    logits = 4 * batch * num_heads * num_queries * num_keys
    return 'blocks' if logits > SMALL_BYTES else 'xla'
  if backend == 'gpu' and is_flash_supported(head_width, dtype):
    return 'cudnn'
  return 'xla'


def is_flash_supported(head_width: int, dtype: Any) -> bool:
  """Whether cuDNN's flash attention takes heads of this width and dtype."""
  # Of AMD's devices the capability is a name, such as gfx942.
  capability = str(getattr(jax.devices()[0], 'compute_capability', ''))
  try:
    recent = float(capability) >= 8
  except ValueError:
    return False
  half = dtype in (jnp.bfloat16, jnp.float16)
  return recent and half and head_width <= 128 and head_width % 8 == 0


def attend_by_blocks(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  num_valid: jax.Array | None = None,
  *,
  block_size: int | None = None,
) -> jax.Array:
  """`attend` one head and one block of queries at a time.

  The softmax of a block is whole, so nothing is approximated. The gradient
  makes the logits of each block anew from one number a query.

  Args:
    query: [B, N, K, d].
    key: [B, M, K, d].
    value: [B, M, K, d].
    num_valid: int [B] >= 1, the first keys, which alone count; None is all.
    block_size: queries of a block, and keys of one where the gradient is made;
      None takes what fits into a cache.
  """
  return _attend(block_size, query, key, value, num_valid)


@functools.cache
def find_block_bytes() -> int:
  """Bytes of the logits of a block, by the cache of this machine's cores."""
  size = USUAL_CACHE
  # Hosts may differ in it, and must not in their programs.
  if jax.process_count() == 1:
    # Other systems than Linux do not tell.
    with contextlib.suppress(OSError, ValueError):
      size = 1024 * int(CACHE.read_text().strip().removesuffix('K'))
  return int(BLOCK_SHARE * min(max(size, LEAST_CACHE), MOST_CACHE))


def choose_block_size(batch: int, size: int, others: int) -> int:
  """Rows a block, so that its logits fit, and the last block is full.

  Args:
    batch: B.
    size: number of queries, or of keys, that are divided.
    others: number of keys, or of queries, that each of them meets.
  """
  most = max(find_block_bytes() // (4 * batch * others), 1)
  least = math.ceil(size / most)
  for count in range(least, min(2 * least, size + 1)):
    if size % count == 0:
      return size // count
  return math.ceil(size / least)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(block_size, query, key, value, num_valid):
  return _forward(block_size, query, key, value, num_valid)[0]


def _forward(block_size, query, key, value, num_valid):
  query, key, value = map(_put_heads_first, (query, key, value))
  batch, num_queries = query.shape[1:3]
  size = block_size or choose_block_size(batch, num_queries, key.shape[2])

  def head(inputs):
    query, key, value = inputs

    def block(carry, query):
      logits = _product('bnd,bmd->bnm', query, key)
      if num_valid is not None:
        valid = _find_valid(key, num_valid)
        logits = jnp.where(valid[:, None], logits, -jnp.inf)
      top = logits.max(-1, keepdims=True)
      weights = jnp.exp(logits - top)
      total = weights.sum(-1, keepdims=True)
      # Divided after the product, which is smaller than the weights.
      mixed = _product('bnm,bmd->bnd', weights.astype(value.dtype), value)
      mixed = (mixed / total).astype(query.dtype)
      return carry, (mixed, (top + jnp.log(total))[..., 0])

    return _scan_blocks(block, size, None, _scale(query))[1]

  mixed, log_total = jax.lax.map(head, (query, key, value))
  # So that a policy that keeps outputs has no need to make them again.
  mixed = checkpoint_name(_put_heads_back(mixed), NAME)
  log_total = checkpoint_name(log_total, NAME)
  return mixed, (query, key, value, num_valid, mixed, log_total)


def _backward(block_size, residuals, gradient):
  query, key, value, num_valid, mixed, log_total = residuals
  inner = _product('bnkd,bnkd->kbn', mixed, gradient, precision='highest')
  gradient = _put_heads_first(gradient)
  batch, num_keys = key.shape[1:3]
  size = block_size or choose_block_size(batch, num_keys, query.shape[2])

  def head(inputs):
    query, key, value, inner, log_total, gradient = inputs
    scaled = _scale(query)

    # By blocks of keys: of the five products all but one then run over the last
    # axis of a factor, which takes CPUs two thirds of the time.
    def block(by_query, inputs):
      key, value, valid = inputs
      logits = _product('bmd,bnd->bmn', key, scaled)
      weights = jnp.exp(logits - log_total[:, None])
      if valid is not None:
        weights = jnp.where(valid[..., None], weights, 0)
      by_weights = _product('bmd,bnd->bmn', value, gradient)
      by_logits = weights * (by_weights - inner[:, None])
      by_logits = by_logits.astype(query.dtype)
      by_value = _product('bmn,bnd->bmd', weights.astype(value.dtype), gradient)
      by_key = _product('bmn,bnd->bmd', by_logits, scaled)
      by_query += _product('bmn,bmd->bnd', by_logits, key)
      return by_query, (by_key.astype(key.dtype), by_value.astype(value.dtype))

    zeros = jnp.zeros(query.shape, jnp.float32)
    # What fills up the last block counts for nothing either.
    is_whole = num_valid is None and num_keys % size == 0
    valid = None if is_whole else _find_valid(key, num_valid)
    by_query, by_others = _scan_blocks(block, size, zeros, (key, value, valid))
    return _scale(by_query).astype(query.dtype), *by_others

  grads = jax.lax.map(head, (query, key, value, inner, log_total, gradient))
  return *map(_put_heads_back, grads), None


_attend.defvjp(_forward, _backward)


def _put_heads_first(x: jax.Array) -> jax.Array:
  """From [B, N, K, d] to [K, B, N, d]: the outer loop goes over heads."""
  return x.transpose(2, 0, 1, 3)


def _put_heads_back(x: jax.Array) -> jax.Array:
  return x.transpose(1, 2, 0, 3)


def _scale(query: jax.Array) -> jax.Array:
  """Over the root of the head width, in the same dtype.

  Which rounds once more where the dtype is half, unless the root is a power of
  2, as of 64.
  """
  return (query / math.sqrt(query.shape[-1])).astype(query.dtype)


def _find_valid(key: jax.Array, num_valid: jax.Array | None) -> jax.Array:
  """Which keys [B, M, d] count, bool [B, M]."""
  batch, num_keys = key.shape[:2]
  if num_valid is None:
    return jnp.ones((batch, num_keys), bool)
  return jnp.arange(num_keys) < num_valid[:, None]


# Sums are float32, whatever is summed.
_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _scan_blocks(
  step: Callable[[Any, Any], tuple[Any, Any]],
  block_size: int,
  carry: Any,
  inputs: Any,
) -> tuple[Any, Any]:
  """Scans over blocks along axis 1 of all inputs, filled up with zeros."""
  size = jax.tree.leaves(inputs)[0].shape[1]
  if size <= block_size:
    return step(carry, inputs)
  count = math.ceil(size / block_size)

  def divide(leaf):
    widths = [(0, 0)] * leaf.ndim
    widths[1] = (0, count * block_size - size)
    leaf = jnp.pad(leaf, widths)
    shape = (leaf.shape[0], count, block_size, *leaf.shape[2:])
    return jnp.moveaxis(leaf.reshape(shape), 1, 0)

  def join(leaf):
    leaf = jnp.moveaxis(leaf, 0, 1)
    shape = (leaf.shape[0], count * block_size, *leaf.shape[3:])
    return leaf.reshape(shape)[:, :size]

  carry, outputs = jax.lax.scan(step, carry, jax.tree.map(divide, inputs))
  return carry, jax.tree.map(join, outputs)
