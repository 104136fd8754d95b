"""What blocks are made of, beside attention.

Gradients keep few arrays and make few passes through them, for what is kept is
written and read again in every layer. Those of `normalize` and `multiply_rows`
are of reverse mode alone.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp


def find_wide_dtype(x: jax.Array) -> Any:
  """float32, or that of x where it is wider, as when gradients are checked."""
  return jnp.promote_types(x.dtype, jnp.float32)


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
  """The exact GELU, x Phi(x), as published weights were trained; not tanh's.

  By erf: XLA's erfc, which `nn.gelu` takes, costs CPUs twice the time. What
  1 + erf loses below 0 is 6e-7 at most.
  """
  wide = x.astype(find_wide_dtype(x))
  return (wide * _normal_share(wide)).astype(x.dtype)


@gelu.defjvp
def _differentiate_gelu(primals, tangents):
  # So that one array of x's dtype is kept for the gradient, where derivatives
  # of each operation would keep three wide ones.
  (x,), (tangent,) = primals, tangents
  wide = x.astype(find_wide_dtype(x))
  density = jnp.exp(-jnp.square(wide) / 2) / math.sqrt(2 * math.pi)
  slope = (_normal_share(wide) + wide * density).astype(x.dtype)
  return gelu(x), slope * tangent


def _normal_share(x: jax.Array) -> jax.Array:
  """Phi: the share of a normal distribution that lies below x."""
  return (1 + jax.lax.erf(x / math.sqrt(2))) / 2


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize(
  x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, dtype: Any
) -> jax.Array:
  """Layer norm over the last axis, by the two-pass variance.

  Computed in float32, or wider where x is.

  For the gradient it keeps x itself, which what lies beside it may keep too,
  and two numbers a row; derivatives of each operation would keep three arrays.

  Args:
    x: [..., D].
    scale: float32 [D].
    bias: [D], of the scale's dtype.
    epsilon: added to the variance.
    dtype: of the output.

  Returns:
    [..., D].
  """
  return _normalize_and_keep(x, scale, bias, epsilon, dtype)[0]


def _normalize_and_keep(x, scale, bias, epsilon, dtype):
  wide = x.astype(find_wide_dtype(x))
  mean = wide.mean(-1, keepdims=True)
  centred = wide - mean
  variance = jnp.square(centred).mean(-1, keepdims=True)
  inverse = jax.lax.rsqrt(variance + epsilon)
  normal = centred * inverse * scale + bias
  return normal.astype(dtype), (x, mean, inverse, scale)


def _differentiate_normalize(epsilon, dtype, kept, gradient):
  del epsilon, dtype
  x, mean, inverse, scale = kept
  normal = (x.astype(mean.dtype) - mean) * inverse
  gradient = gradient.astype(mean.dtype)
  by_scale = gradient * normal
  along_mean = sum_products(gradient, scale) / x.shape[-1]
  along_spread = sum_products(by_scale, scale) / x.shape[-1]
  by_x = inverse * (gradient * scale - along_mean - normal * along_spread)
  rows = tuple(range(x.ndim - 1))
  return (
    by_x.astype(x.dtype),
    by_scale.sum(rows).astype(scale.dtype),
    gradient.sum(rows).astype(scale.dtype),
  )


normalize.defvjp(_normalize_and_keep, _differentiate_normalize)


def sum_products(x: jax.Array, weights: jax.Array) -> jax.Array:
  """Sums of [..., D] times weights [D] over the last axis, [..., 1]."""
  if jax.default_backend() == 'cpu':
    # XLA's sum of products takes CPUs six times as long as the product of a
    # matrix with a vector; elsewhere it fuses with what is around it.
    return jnp.matmul(x, weights[:, None], precision='highest')
  return (x * weights).sum(-1, keepdims=True)


def multiply_rows(
  x: jax.Array, kernel: jax.Array, dimensions: Any, **options: Any
) -> jax.Array:
  """`lax.dot_general` of a dense layer, as a product of two matrices.

  With more axes XLA would make the kernel's gradient from a transposed copy of
  all activations: a fifth of the layer's time on a CPU. For the gradient x and
  kernel are kept as they come, so that of several layers with one input it is
  kept once.

  Args:
    x: [..., *in].
    kernel: [*in, *out].
    dimensions: the last axes of x and the first of the kernel, and no batch.
    **options: of `lax.dot_general`.

  Returns:
    [..., *out].
  """
  (summed, _), _ = dimensions
  count = len(summed)
  own = tuple(range(x.ndim - count, x.ndim)), tuple(range(count))
  if dimensions != (own, ((), ())):
    raise ValueError(f'not the dimensions of a dense layer: {dimensions}')
  return _multiply(count, tuple(options.items()), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _multiply(count, options, x, kernel):
  """Sums over the last `count` axes of x."""
  return _multiply_and_keep(count, options, x, kernel)[0]


def _multiply_and_keep(count, options, x, kernel):
  shape = x.shape[:-count] + kernel.shape[count:]
  product = _dot(1, 0, options, *_flatten(count, x, kernel))
  return product.reshape(shape), (x, kernel)


def _differentiate_multiply(count, options, kept, gradient):
  x, kernel = kept
  rows, matrix = _flatten(count, x, kernel)
  gradient = gradient.reshape(rows.shape[0], matrix.shape[1])
  by_x = _dot(1, 1, options, gradient, matrix)
  by_kernel = _dot(0, 0, options, rows, gradient)
  return (
    by_x.reshape(x.shape).astype(x.dtype),
    by_kernel.reshape(kernel.shape).astype(kernel.dtype),
  )


_multiply.defvjp(_multiply_and_keep, _differentiate_multiply)


def _flatten(
  count: int, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Both as matrices: [rows, in] and [in, out]."""
  width = math.prod(kernel.shape[:count])
  return x.reshape(-1, width), kernel.reshape(width, -1)


def _dot(
  axis_of_x: int, axis_of_y: int, options: Any, x: jax.Array, y: jax.Array
) -> jax.Array:
  """The product of two matrices over an axis of each."""
  dimensions = (((axis_of_x,), (axis_of_y,)), ((), ()))
  return jax.lax.dot_general(x, y, dimensions, **dict(options))


def drop_path(key: jax.Array, branch: jax.Array, rate: jax.Array) -> jax.Array:
  """Drops the branch [B, ...] of whole examples and scales up the others."""
  shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
  keep = jax.random.bernoulli(key, 1 - rate, shape)
  return branch * (keep / (1 - rate)).astype(branch.dtype)
