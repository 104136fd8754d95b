"""What a computation costs: multiplications, memory, time."""

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax


def count_macs(function: Callable[..., Any], *arguments: Any) -> int:
  """Multiply-accumulates of the matrix products and convolutions of a call.

  Counted from what is traced, before any compiler: XLA's own analysis counts
  the body of a loop once, however often it runs, and our encoders are loops
  over layers. All else (norms, softmax, Fourier transforms) is left out, as
  the field's counters do.

  Args:
    function: to be traced, not run.
    *arguments: arrays, or their shapes.

  Returns:
    The sum; of branches the dearest counts, of a loop without a known end one
    turn.
  """
  return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> int:
  return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
  name, params = equation.primitive.name, equation.params
  if name == 'dot_general':
    (contracted, _), _ = params['dimension_numbers']
    left = equation.invars[0].aval.shape
    depth = math.prod(left[axis] for axis in contracted)
    return depth * math.prod(equation.outvars[0].aval.shape)
  if name == 'conv_general_dilated':
    kernel = equation.invars[1].aval.shape
    # Output features, then input features of a group, then space.
    _, *others = params['dimension_numbers'].rhs_spec
    depth = math.prod(kernel[axis] for axis in others)
    return depth * math.prod(equation.outvars[0].aval.shape)
  inside = [_count(jaxpr) for jaxpr in _find_jaxprs(params)]
  if name == 'cond':
    return max(inside, default=0)
  return sum(inside) * (params['length'] if name == 'scan' else 1)


def _find_jaxprs(params: dict[str, Any]) -> list[Any]:
  found = []
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      # A closed one wraps the other.
      item = getattr(item, 'jaxpr', item)
      if hasattr(item, 'eqns'):
        found.append(item)
  return found


def measure_peak_memory() -> dict[str, Any]:
  """The most memory since the process began, bytes, and whose it is.

  Returns:
    `peak_memory`, and `peak_memory_of`: 'device', the fullest of this
    process's, where devices count; else 'process'.
  """
  peaks = []
  for device in jax.local_devices():
    stats = device.memory_stats() or {}
    if 'peak_bytes_in_use' in stats:
      peaks.append(stats['peak_bytes_in_use'])
  if peaks:
    return {'peak_memory': int(max(peaks)), 'peak_memory_of': 'device'}
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  # Kilobytes, but on macOS bytes.
  unit = 1 if sys.platform == 'darwin' else 1024
  return {'peak_memory': peak * unit, 'peak_memory_of': 'process'}


class Stopwatch:
  """Calls a step as it is, and keeps how long each call took.

  Attributes:
    last: arguments of the last call; None before the first.
  """

  def __init__(self, step: Callable[..., Any]):
    self._step = step
    self.last: tuple[Any, ...] | None = None
    self._seconds: list[float] = []

  def __call__(self, *arguments: Any) -> Any:
    began = time.perf_counter()
    found = jax.block_until_ready(self._step(*arguments))
    self._seconds.append(time.perf_counter() - began)
    self.last = arguments
    return found

  def lower(self, *arguments: Any) -> Any:
    """As of the step itself, to compile it before it is called."""
    return self._step.lower(*arguments)

  def measure(self, repeats: int = 3) -> float | None:
    """Seconds of a call once compiled, the median; None without any call.

    With too few calls the last is repeated.
    """
    if self.last is None:
      return None
    while len(self._seconds) <= repeats:
      self(*self.last)
    # The first call compiles.
    return statistics.median(self._seconds[1:])
