"""The figures of `metrics.json` as text, pictures and a page."""

import pathlib
from collections.abc import Mapping
from typing import Any

from avemo.evaluate import breakdown, page, plots
from avemo.runtime import writers

# The figures that a reader looks for first.
MAIN = (
  'uar',
  'war',
  'f1_macro',
  'ccc_valence',
  'ccc_arousal',
  'ccc_mean',
  'ccc_dominance',
  'f1_au',
)
CURVES = (
  'train/loss',
  'val/loss',
  'val/uar',
  'val/ccc_mean',
  'val/ccc_dominance',
  'val/f1_au',
)
# Speakers that the page lists; the file has all.
MOST_SPEAKERS = 15


def summarize(metrics: Mapping[str, Any]) -> str:
  """The main figures as lines of text."""
  lines, (unit, intervals) = [], find_intervals(metrics)
  for name in MAIN:
    if metrics.get(name) is None:
      continue
    line = f'{name:8s} {metrics[name]:.4f}'
    if name in intervals:
      low, high = intervals[name]
      line += f'  (95 % by {unit}: {low:.4f} to {high:.4f})'
    lines.append(line)
  for corpus, own in metrics.get('corpora', {}).items():
    figures = [
      f'{name} {own[name]:.4f}' for name in MAIN if own.get(name) is not None
    ]
    lines.append(f'{corpus}: {", ".join(figures) or "no labels"}')
  looked_at = share_looked_at(metrics)
  if looked_at is not None:
    lines.append(f'faces looked at: {100 * looked_at:.1f} %')
  frames = metrics.get('num_frames', 0)
  clips = metrics['num_examples'] - frames
  counts = [f'{clips} {metrics["split"]} clips'] if clips or not frames else []
  counts += [f'{frames} {metrics["split"]} frames'] if frames else []
  lines.append(
    f'{" and ".join(counts)} of {metrics["num_speakers"]} named speakers; '
    f'step {metrics["checkpoint"]}, chosen by {metrics["chosen_by"]}'
  )
  if metrics['intervals'] is None:
    lines.append(metrics['intervals_note'])
  lines += [f'warning: {warning}' for warning in metrics['warnings']]
  return '\n'.join(lines)


def find_intervals(
  metrics: Mapping[str, Any],
) -> tuple[str, Mapping[str, Any]]:
  """What intervals are by, and their ends by metric; empty of too few."""
  films = metrics.get('intervals_by_film')
  return ('film', films) if films else ('speaker', metrics['intervals'] or {})


def share_looked_at(metrics: Mapping[str, Any]) -> float | None:
  """Of the faces, those that a tower was run on; None where not known."""
  rate = metrics.get('frame_rate') or {}
  # Of an earlier version faces were not counted.
  faces = rate.get('faces', rate.get('frames'))
  return rate['looked_at'] / faces if faces else None


def write(
  directory: pathlib.Path, metrics: Mapping[str, Any], workdir: pathlib.Path
) -> None:
  """Writes `confusion.png`, where there are emotions, and `report.html`."""
  sections = [page.Section('Scores', text=summarize(metrics).splitlines())]
  if 'confusion' in metrics:
    png = plots.plot_confusion(metrics['confusion'], metrics['labels'])
    page.write_bytes(directory / 'confusion.png', png)
    figure = page.Figure(png, 'rows: true class')
    sections += [
      page.Section('By class', table=list_classes(metrics)),
      page.Section('Confusion', figures=[figure]),
    ]
  if 'action_units' in metrics:
    units = [[n, show(f)] for n, f in metrics['action_units'].items()]
    sections.append(
      page.Section('By action unit', table=page.Table(['unit', 'F1'], units))
    )
  if 'corpora' in metrics:
    rows = [{'corpus': k} | dict(v) for k, v in metrics['corpora'].items()]
    sections.append(
      page.Section('By corpus', table=list_figures(rows, ('corpus',)))
    )
  if len(metrics['speakers']) > 1 and breakdown.find_main(metrics['speakers']):
    sections.append(show_speakers(metrics['speakers']))
  curves = read_curves(workdir / 'metrics.jsonl')
  if curves:
    sections.append(
      page.Section('Training', figures=[page.Figure(plots.plot_curves(curves))])
    )
  page.write_page(
    directory / 'report.html',
    f'{metrics["protocol"]}, fold {metrics["fold"]}, {metrics["split"]}',
    sections,
    lead=f'{metrics["dataset"]}, checkpoint of step {metrics["checkpoint"]}',
  )


def show(value: Any) -> str:
  if value is None:
    return ''
  return f'{value:.3f}' if isinstance(value, float) else str(value)


def list_classes(metrics: Mapping[str, Any]) -> page.Table:
  return page.Table(
    ['class', 'examples', 'recall', 'precision', 'F1'],
    [
      [
        name,
        str(metrics['support'][name]),
        *(show(metrics[m][name]) for m in ('recall', 'precision', 'f1')),
      ]
      for name in metrics['labels']
    ],
  )


def list_figures(
  rows: list[dict[str, Any]], names: tuple[str, ...]
) -> page.Table:
  """The main figures of rows, those that any of them has."""
  figures = [
    name for name in MAIN if any(row.get(name) is not None for row in rows)
  ]
  columns = [*names, 'num_examples', *figures]
  return page.Table(
    [name.replace('num_examples', 'examples') for name in columns],
    [[show(row.get(name)) for name in columns] for row in rows],
  )


def show_speakers(
  rows: list[dict[str, Any]], file: str = 'metrics.json'
) -> page.Section:
  """The worst speakers, or films, and where they stand among all.

  Args:
    rows: of `breakdown`, the worst first.
    file: where all are.
  """
  names = tuple(
    name
    for name in ('speaker', 'film', 'corpus')
    if any(name in row for row in rows)
  )
  main = breakdown.find_main(rows)
  values = [row[main] for row in rows if main in row]
  what = 'speaker' if any('speaker' in row for row in rows) else 'film'
  worst = rows[:MOST_SPEAKERS]
  return page.Section(
    f'By {what}',
    text=[
      f'The {len(worst)} of {len(rows)} {what}s with the lowest {main}; '
      f'`{file}` has all.'
    ],
    table=list_figures(worst, names),
    figures=[
      page.Figure(
        plots.plot_spread(values, main),
        f'{main} of each {what}, the lowest first',
      )
    ],
  )


def read_curves(path: pathlib.Path) -> dict[str, tuple[list, list]]:
  """The curves worth a look out of `metrics.jsonl`; none without the file."""
  curves: dict[str, tuple[list, list]] = {}
  for row in writers.read_lines(path):
    for name in CURVES:
      if row.get(name) is not None:
        x, y = curves.setdefault(name, ([], []))
        x.append(row['step'])
        y.append(row[name])
  return curves
