"""Fixed tables of positions."""

import functools

import numpy as np


@functools.cache
def sincos_table(num_tokens: int, width: int) -> np.ndarray:
  """VideoMAE's table: sines at even columns, cosines at odd ones.

  It counts tokens along one line, whatever grid they come from, so another
  grid has the table of its own number of tokens. Computed in float64, as the
  published weights were trained with, and rounded once.

  Args:
    num_tokens: N.
    width: D.

  Returns:
    float32 [N, D], read-only.
  """
  column = np.arange(width)
  period = np.power(10_000.0, 2 * (column // 2) / width)
  angle = np.arange(num_tokens)[:, None] / period
  table = np.where(column % 2 == 0, np.sin(angle), np.cos(angle))
  table = table.astype(np.float32)
  table.flags.writeable = False
  return table
