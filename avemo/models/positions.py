"""Tables of positions: a fixed one, and learned ones for another size."""

import functools

import numpy as np

from avemo import errors


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


def resize_band_major(
  table: np.ndarray, old: tuple[int, int], new: tuple[int, int]
) -> np.ndarray:
  """AST's table for a spectrogram of another size.

  Along each axis, fewer positions are cut from the middle, more are linearly
  interpolated, as AST does from AudioSet and from pictures.

  Args:
    table: [1, S + N, D], of S summary tokens, which stay, and N patches, band
      after band.
    old: patches along the mel bands and along time, N in all.
    new: the same for the table asked for.

  Returns:
    float32 [1, S + N', D].

  Raises:
    AvemoError: the table is not one of so many patches.
  """
  num_summary = _count_summary(table, old)
  grid = np.asarray(table[0, num_summary:], np.float64).reshape(*old, -1)
  for axis in range(2):
    grid = _resize_axis(grid, axis, new[axis])
  patches = grid.reshape(1, new[0] * new[1], -1).astype(np.float32)
  return np.concatenate([table[:, :num_summary], patches], axis=1)


def cut_time_major(
  table: np.ndarray, old: tuple[int, int], new: tuple[int, int]
) -> np.ndarray:
  """AudioMAE's table for a shorter spectrogram: its first positions.

  That table was made for patches in another order than they have, so it does
  not follow the grid and nothing between its rows has a meaning.

  Args:
    table: [1, S + N, D], of S summary tokens and N patches, time after time.
    old: patches along the mel bands and along time, N in all.
    new: the same for the table asked for; as many bands, at most as many times.

  Returns:
    float32 [1, S + N', D].

  Raises:
    AvemoError: the table is not one of so many patches, or cannot be cut so.
  """
  num_summary = _count_summary(table, old)
  if new[0] != old[0] or new[1] > old[1]:
    raise errors.AvemoError(
      f'positions of {old[0]}x{old[1]} patches (bands x times) cannot serve '
      f'{new[0]}x{new[1]}: keep the mel bands and no more time frames'
    )
  return np.asarray(table[:, : num_summary + new[0] * new[1]], np.float32)


def _count_summary(table: np.ndarray, grid: tuple[int, int]) -> int:
  count = table.shape[1] - grid[0] * grid[1]
  if not 0 <= count <= 2:
    raise errors.AvemoError(
      f'a table of {table.shape[1]} positions is not one of '
      f'{grid[0]}x{grid[1]} patches (bands x times) and up to two summary '
      'tokens'
    )
  return count


def _resize_axis(grid: np.ndarray, axis: int, size: int) -> np.ndarray:
  old = grid.shape[axis]
  if size <= old:
    start = old // 2 - size // 2
    return np.take(grid, range(start, start + size), axis)
  # Centres of the new cells, on the scale of the old ones.
  place = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
  before = np.floor(place).astype(int)
  after = np.minimum(before + 1, old - 1)
  share = np.expand_dims(place - before, tuple(range(1, grid.ndim - axis)))
  return (
    np.take(grid, before, axis) * (1 - share)
    + np.take(grid, after, axis) * share
  )
