"""Figures as PNG bytes. Matplotlib's object interface: no global state."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure as figures
from matplotlib.backends import backend_agg


def to_png(figure: figures.Figure) -> bytes:
  """Draws the figure; returns the bytes of a PNG file."""
  backend_agg.FigureCanvasAgg(figure)
  buffer = io.BytesIO()
  # Without the software's name the same figure gives the same bytes.
  figure.savefig(buffer, format='png', dpi=110, metadata={'Software': None})
  return buffer.getvalue()


def plot_confusion(confusion: np.ndarray, labels: Sequence[str]) -> bytes:
  """Counts and row shares of a confusion matrix.

  Args:
    confusion: [C, C] counts, rows true, columns predicted; of floats the
      shares alone are written.
    labels: C class names.
  """
  confusion = np.asarray(confusion)
  counted = np.issubdtype(confusion.dtype, np.integer)
  totals = confusion.sum(axis=1, keepdims=True)
  share = confusion / np.maximum(totals, 1) if counted else confusion
  size = 1.8 + 0.75 * len(labels)
  figure = figures.Figure(figsize=(size + 0.6, size), layout='constrained')
  axes = figure.add_subplot()
  image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  axes.set_xticks(range(len(labels)), labels, rotation=40, ha='right')
  axes.set_yticks(range(len(labels)), labels)
  axes.set_xlabel('predicted')
  axes.set_ylabel('true')
  for row, column in np.ndindex(confusion.shape):
    axes.text(
      column,
      row,
      f'{share[row, column]:.0%}'
      + (f'\n{confusion[row, column]}' if counted else ''),
      ha='center',
      va='center',
      fontsize=8,
      color='white' if share[row, column] > 0.55 else 'black',
    )
  figure.colorbar(image, ax=axes, shrink=0.8, label='share of the true class')
  return to_png(figure)


def plot_bars(
  values: Mapping[str, Mapping[str, float]], *, ylabel: str, chance: float
) -> bytes:
  """Groups of bars: `values[group][bar]`, fractions of 1."""
  groups = list(values)
  bars = list(dict.fromkeys(bar for group in groups for bar in values[group]))
  figure = figures.Figure(
    figsize=(2 + 1.4 * len(groups), 3.4), layout='constrained'
  )
  axes = figure.add_subplot()
  width = 0.8 / len(bars)
  for offset, bar in enumerate(bars):
    heights = [values[group].get(bar, 0.0) for group in groups]
    places = np.arange(len(groups)) + (offset - (len(bars) - 1) / 2) * width
    drawn = axes.bar(places, heights, width, label=bar)
    axes.bar_label(drawn, fmt='{:.2f}', fontsize=8)
  axes.axhline(chance, color='grey', linestyle='--', label='chance')
  axes.set_xticks(range(len(groups)), groups)
  axes.set_ylim(0, 1.1)
  axes.set_ylabel(ylabel)
  axes.legend(ncols=3, fontsize=8, loc='upper left')
  return to_png(figure)


def plot_lines(
  lines: Mapping[str, tuple[Sequence, Sequence]],
  *,
  xlabel: str,
  ylabel: str,
  level: tuple[str, float] | None = None,
) -> bytes:
  """Lines `name → (x, y)` in one panel, and a dashed one at a level."""
  figure = figures.Figure(figsize=(5.2, 3.2), layout='constrained')
  axes = figure.add_subplot()
  for name, (x, y) in lines.items():
    axes.plot(x, y, marker='o', label=name)
  if level:
    axes.axhline(level[1], color='grey', linestyle='--', label=level[0])
  axes.set_xlabel(xlabel)
  axes.set_ylabel(ylabel)
  axes.grid(alpha=0.3)
  axes.legend(fontsize=8)
  return to_png(figure)


def plot_points(
  points: Mapping[str, tuple[float, float]], *, xlabel: str, ylabel: str
) -> bytes:
  """Named points `name → (x, y)`; x is logarithmic where it spans much."""
  figure = figures.Figure(figsize=(7.5, 3.6), layout='constrained')
  axes = figure.add_subplot()
  # Named beside the axes: names within would lie over one another.
  for number, (name, (x, y)) in enumerate(points.items()):
    marker = 'os^Dv'[number // 10 % 5]
    axes.plot([x], [y], marker, color=f'C{number % 10}', label=name)
  figure.legend(loc='outside right upper', fontsize=8)
  places = [x for x, _ in points.values()]
  if max(places) > 5 * min(places):
    axes.set_xscale('log')
  axes.margins(0.1)
  axes.set_xlabel(xlabel)
  axes.set_ylabel(ylabel)
  axes.grid(alpha=0.3)
  return to_png(figure)


def plot_intervals(
  rows: Mapping[str, tuple[float, float, float]], *, xlabel: str
) -> bytes:
  """Values with their intervals, a line each: `rows[name]`: low, value, high.

  A dashed line stands at 0.
  """
  figure = figures.Figure(
    figsize=(7, 1 + 0.34 * len(rows)), layout='constrained'
  )
  axes = figure.add_subplot()
  for place, (low, value, high) in enumerate(rows.values()):
    axes.plot([low, high], [place, place], color='C0')
    axes.plot([value], [place], 'o', color='C0')
  axes.axvline(0, color='grey', linestyle='--')
  axes.set_yticks(range(len(rows)), list(rows))
  axes.invert_yaxis()
  axes.set_xlabel(xlabel)
  axes.grid(axis='x', alpha=0.3)
  return to_png(figure)


def plot_spread(values: Sequence[float], name: str) -> bytes:
  """A bar a value, in the order given, and a line at their median.

  Args:
    values: [N].
    name: of what they measure.
  """
  figure = figures.Figure(
    figsize=(min(3 + 0.12 * len(values), 9.5), 2.6), layout='constrained'
  )
  axes = figure.add_subplot()
  axes.bar(range(len(values)), values, width=0.8)
  axes.axhline(
    float(np.median(values)), color='grey', linestyle='--', label='median'
  )
  axes.set_xticks([])
  axes.set_xlabel('speakers')
  axes.set_ylabel(name)
  axes.legend(fontsize=8, loc='upper left')
  return to_png(figure)


def plot_curves(curves: Mapping[str, tuple[Sequence, Sequence]]) -> bytes:
  """Lines `name → (x, y)`, one panel a name."""
  count = len(curves)
  figure = figures.Figure(
    figsize=(4.2 * min(count, 3), 3 * -(-count // 3)), layout='constrained'
  )
  for place, (name, (x, y)) in enumerate(curves.items(), start=1):
    axes = figure.add_subplot(-(-count // 3), min(count, 3), place)
    axes.plot(x, y)
    axes.set_title(name, fontsize=10)
    axes.set_xlabel('step')
    axes.grid(alpha=0.3)
  return to_png(figure)
