"""The course of probabilities over a film, as a figure."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import figure as figures

from avemo.data import labels
from avemo.evaluate import plots
from avemo.predict import estimate

# Beyond this a page is no longer read; the table has everybody.
MAX_PANELS = 8


def plot_timeline(
  estimates: Sequence[estimate.Estimate],
  classes: Sequence[str],
  duration: float,
) -> bytes:
  """Lines of the classes over time, a panel a person; one for nobody.

  Without classes they are those of valence and arousal, or of action units.

  Args:
    estimates: in the order of time.
    classes: C names.
    duration: of the film in seconds.
  """
  tracks = choose_tracks(estimates)
  every = find_distance(estimates)
  figure = figures.Figure(
    figsize=(9.5, 0.9 + 2.0 * len(tracks)), layout='constrained'
  )
  panels = figure.subplots(len(tracks), sharex=True, squeeze=False)[:, 0]
  colours = matplotlib.colormaps['tab10'].colors
  for track, axes in zip(tracks, panels, strict=True):
    group = [one for one in estimates if one.track == track]
    names, series, least = choose_series(group, classes)
    times, values = break_lines(group, series, every)
    for column, name in enumerate(names):
      axes.plot(
        times,
        values[:, column],
        color=colours[column % len(colours)],
        linestyle=('-', '--', ':')[column // len(colours) % 3],
        # A line needs two points; few estimates are shown one by one.
        marker='.' if len(group) < 60 else None,
        label=name,
      )
    axes.set_title(name_panel(track, tracks), fontsize=10, loc='left')
    axes.set_ylim(least - 0.03, 1.03)
    axes.set_ylabel('value' if least < 0 else 'probability')
    axes.grid(alpha=0.3)
  panels[-1].set_xlim(0, max(duration, 1e-3))
  panels[-1].set_xlabel('time in s')
  handles, names = panels[0].get_legend_handles_labels()
  figure.legend(
    handles, names, loc='outside upper center', ncols=min(len(names), 8)
  )
  return plots.to_png(figure)


def choose_tracks(
  estimates: Sequence[estimate.Estimate],
) -> list[int | None]:
  """Who gets a panel: those with the most estimates; nobody stands last."""
  counts = {}
  for one in estimates:
    counts[one.track] = counts.get(one.track, 0) + 1
  chosen = sorted(counts, key=counts.get, reverse=True)[:MAX_PANELS]
  return sorted(chosen, key=lambda track: (track is None, track or 0))


def name_panel(track: int | None, tracks: Sequence[int | None]) -> str:
  if track is None:
    return 'no face'
  return 'the face' if len(set(tracks) - {None}) == 1 else f'face {track}'


def find_distance(estimates: Sequence[estimate.Estimate]) -> float:
  """Seconds between two times."""
  times = np.unique([one.time for one in estimates])
  return float(np.diff(times).min()) if len(times) > 1 else 1.0


def name_series(classes: Sequence[str]) -> str:
  """What is shown, in words."""
  if classes:
    return 'Probability of each emotion'
  return 'Valence and arousal, or probability of each action unit,'


def choose_series(
  group: Sequence[estimate.Estimate], classes: Sequence[str]
) -> tuple[Sequence[str], np.ndarray, float]:
  """Names, values [M, K] and the least value of what is shown."""
  if classes:
    return classes, np.stack([one.probabilities for one in group]), 0.0
  pair = np.stack([one.valence_arousal for one in group])
  if len(group[0].action_units) and np.isnan(pair).all():
    names = labels.VALUES[labels.ACTION_UNITS]
    return names, np.stack([one.action_units for one in group]), 0.0
  return labels.VALUES['valence_arousal'], pair, -1.0


def break_lines(
  group: Sequence[estimate.Estimate], values: np.ndarray, every: float
) -> tuple[np.ndarray, np.ndarray]:
  """Times [M] and values [M, K], with NaN rows where some are left out.

  Without them a line would lead over the time in which a face was away.
  """
  times = np.array([one.time for one in group])
  holes = np.flatnonzero(np.diff(times) > 1.5 * every) + 1
  times = np.insert(times, holes, times[holes - 1])
  return times, np.insert(values, holes, np.nan, axis=0)
