"""Where the time of a tower's forward pass and step goes, part by part.

Every part is compiled and timed alone, at the tower's own shapes, so that the
parts' sum differs from the whole by what XLA fuses over their borders and by
what the scan copies.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from avemo.models import attention, layers, operations
from benchmarks import towers

REPEATS = 5


def measure_rate(dtype: str) -> float:
  """Floating-point operations a second of a large product."""
  size = 2048 if jax.default_backend() == 'cpu' else 8192
  draw = lambda seed: jax.random.normal(jax.random.key(seed), (size, size))
  inputs = [draw(seed).astype(dtype) for seed in range(2)]
  product = compile_alone(jnp.matmul, *inputs)
  return 2 * size**3 / time_alone(product, least=True)


def find_phases(
  modality: str, size: str, task: str, rate: float, **options: Any
) -> list[dict[str, Any]]:
  """Parts: `phase`, `times` a pass, `ms`, and `floor_ms` at the matrix rate."""
  shape = (towers.VIDEO if modality == 'video' else towers.AUDIO)[size]
  parts = list_parts(shape, towers.HEADS[size], **options)
  rows = []
  for name, (times, flops, make) in parts.items():
    seconds = time_alone(make(task == 'finetune'))
    # Two more products an operand for the gradient.
    flops *= 3 if task == 'finetune' else 1
    rows.append(make_row(name, times, seconds, flops / rate))
  if task == 'finetune':
    rows += find_whole_phases(modality, size, **options)
  return rows


def find_whole_phases(
  modality: str, size: str, **options: Any
) -> list[dict[str, Any]]:
  """The step's phases: the forward pass, and what the step takes beyond."""
  forward = time_alone(towers.make_forward(modality, size, **options).run)
  step = time_alone(towers.make_step(modality, size, **options).run)
  return [
    make_row('whole: forward', 1, forward),
    make_row('whole: backward, made anew, update', 1, step - forward),
  ]


def make_row(
  name: str, times: int, seconds: float, floor: float = 0.0
) -> dict[str, Any]:
  row = {'phase': name, 'times': times, 'ms': round(1e3 * seconds, 3)}
  return row | ({'floor_ms': round(1e3 * floor, 3)} if floor else {})


def list_parts(
  shape: towers.Shape,
  num_heads: int,
  *,
  dtype: str,
  batch_size: int,
  implementation: str | None = None,
  **others: Any,
) -> dict[str, tuple[int, float, Callable[[bool], Callable[[], Any]]]]:
  """By name: times a pass, operations, and what makes the part to be timed."""
  del others
  tokens, width, depth, patch = shape
  rows = batch_size * tokens
  head = (batch_size, tokens, num_heads, width // num_heads)

  def draw(*sizes):
    return jax.random.normal(jax.random.key(0), sizes).astype(dtype)

  def part(function, *inputs):
    def make(backward):
      call = differentiate(function) if backward else function
      return compile_alone(call, *inputs)

    return make

  def dense(width_in, width_out):
    inputs = draw(batch_size, tokens, width_in), draw(width_in, width_out)
    flops = 2 * rows * width_in * width_out
    dimensions = ((2,), (0,)), ((), ())
    multiply = lambda x, kernel: operations.multiply_rows(x, kernel, dimensions)
    return flops, part(multiply, *inputs)

  def attend(*inputs):
    return attention.attend(*inputs, implementation=implementation)

  def norm(x):
    return layers.LayerNorm(dtype=dtype).apply(
      {'params': {'scale': jnp.ones(width), 'bias': jnp.zeros(width)}}, x
    )

  x, wide = draw(batch_size, tokens, width), draw(batch_size, tokens, 4 * width)
  mixing = 4 * batch_size * tokens**2 * width
  return {
    'patches to tokens': (1, *dense(patch, width)),
    'layer norm': (2 * depth, 0.0, part(norm, x)),
    'query, key, value, out products': (4 * depth, *dense(width, width)),
    'attention': (depth, mixing, part(attend, *(draw(*head) for _ in '123'))),
    'first dense product': (depth, *dense(width, 4 * width)),
    'exact GELU': (depth, 0.0, part(operations.gelu, wide)),
    'second dense product': (depth, *dense(4 * width, width)),
    'residual sum': (2 * depth, 0.0, part(jnp.add, x, x)),
  }


def differentiate(function: Callable[..., Any]) -> Callable[..., Any]:
  """The output and the gradient by all inputs."""

  def call(*inputs):
    output, transpose = jax.vjp(function, *inputs)
    return output, transpose(output)

  return call


def compile_alone(
  function: Callable[..., Any], *inputs: jax.Array
) -> Callable[[], Any]:
  compiled = jax.jit(function).lower(*inputs).compile()
  return lambda: jax.block_until_ready(compiled(*inputs))


def time_alone(run: Callable[[], Any], *, least: bool = False) -> float:
  """Seconds of a run: the median, or the least."""
  run()
  seconds = []
  for _ in range(REPEATS):
    began = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - began)
  return min(seconds) if least else statistics.median(seconds)
