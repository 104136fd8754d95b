"""Attention of heads, by the way that is fastest where it runs.

Axis letters: B batch, N tokens that ask, M tokens that answer, K heads,
d head width, L blocks of queries, n queries of a block.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from avemo import errors

IMPLEMENTATIONS = (None, 'xla', 'cudnn', 'blocks')

# Bytes of the logits of a block: more than a core's own cache holds runs out of
# the one that cores share, and less makes products too small.
BLOCK_BYTES = 5 * 2**19

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
    block_size: queries of a block; None takes what fits into a cache.
  """
  batch, num_queries = query.shape[:2]
  if block_size is None:
    block_size = choose_block_size(batch, num_queries, key.shape[1])
  # Heads first: they are what the outer loop goes over.
  heads = [x.transpose(2, 0, 1, 3) for x in (query, key, value)]
  mixed = _attend(block_size, *heads, num_valid)
  return mixed.transpose(1, 2, 0, 3)


def choose_block_size(batch: int, num_queries: int, num_keys: int) -> int:
  """Queries a block, so that its logits fit, and the last block is full."""
  most = max(BLOCK_BYTES // (4 * batch * num_keys), 1)
  least = math.ceil(num_queries / most)
  for count in range(least, min(2 * least, num_queries + 1)):
    if num_queries % count == 0:
      return num_queries // count
  return math.ceil(num_queries / least)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(block_size, query, key, value, num_valid):
  """All of [K, B, N or M, d]."""
  return _forward(block_size, query, key, value, num_valid)[0]


def _forward(block_size, query, key, value, num_valid):
  def head(inputs):
    query, key, value = inputs

    def block(query):
      logits = _make_logits(query, key, num_valid)
      top = logits.max(-1, keepdims=True)
      weights = jnp.exp(logits - top)
      total = weights.sum(-1, keepdims=True)
      # Divided after the product, which is smaller than the weights.
      mixed = _product('bnm,bmd->bnd', weights.astype(value.dtype), value)
      return (mixed / total).astype(query.dtype), (top + jnp.log(total))[..., 0]

    return _map_blocks(block, block_size, query)

  mixed, log_total = jax.lax.map(head, (query, key, value))
  # So that a policy that keeps outputs has no need to make them again.
  mixed = checkpoint_name(mixed, NAME)
  log_total = checkpoint_name(log_total, NAME)
  return mixed, (query, key, value, num_valid, mixed, log_total)


def _backward(block_size, residuals, gradient):
  query, key, value, num_valid, mixed, log_total = residuals
  scale = _scale(query)

  def head(inputs):
    query, key, value, mixed, log_total, gradient = inputs

    def block(carry, inputs):
      query, mixed, log_total, gradient = inputs
      logits = _make_logits(query, key, num_valid)
      weights = jnp.exp(logits - log_total[..., None])
      inner = (mixed.astype(jnp.float32) * gradient).sum(-1, keepdims=True)
      by_weights = _product('bnd,bmd->bnm', gradient, value)
      by_logits = (weights * (by_weights - inner)).astype(query.dtype)
      weights = weights.astype(value.dtype)
      by_key = carry[0] + _product('bnm,bnd->bmd', by_logits, query)
      by_value = carry[1] + _product('bnm,bnd->bmd', weights, gradient)
      by_query = scale * _product('bnm,bmd->bnd', by_logits, key)
      return (by_key, by_value), by_query.astype(query.dtype)

    zeros = jnp.zeros(key.shape, jnp.float32)
    (by_key, by_value), by_query = _scan_blocks(
      block, block_size, (zeros, zeros), (query, mixed, log_total, gradient)
    )
    by_key = (scale * by_key).astype(key.dtype)
    return by_query, by_key, by_value.astype(value.dtype)

  grads = jax.lax.map(head, (query, key, value, mixed, log_total, gradient))
  return *grads, None


_attend.defvjp(_forward, _backward)


def _scale(query: jax.Array) -> float:
  return 1 / math.sqrt(query.shape[-1])


def _make_logits(
  query: jax.Array, key: jax.Array, num_valid: jax.Array | None
) -> jax.Array:
  """Scaled logits of [B, n, d] and [B, M, d], float32 [B, n, M]."""
  logits = _scale(query) * _product('bnd,bmd->bnm', query, key)
  if num_valid is None:
    return logits
  valid = jnp.arange(key.shape[1]) < num_valid[:, None]
  return jnp.where(valid[:, None], logits, -jnp.inf)


# Sums are float32, whatever is summed.
_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _map_blocks(
  function: Callable[[jax.Array], Any], block_size: int, queries: jax.Array
) -> Any:
  """Maps over blocks [B, n, d] of [B, N, d]; results are [B, N, ...]."""

  def step(carry, inputs):
    return carry, function(*inputs)

  return _scan_blocks(step, block_size, None, (queries,))[1]


def _scan_blocks(
  step: Callable[[Any, Any], tuple[Any, Any]],
  block_size: int,
  carry: Any,
  inputs: Any,
) -> tuple[Any, Any]:
  """Scans over blocks along the axis of queries, filled up with zeros."""
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
