"""The collected table as text and as a page."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from avemo.evaluate import page, plots
from avemo.experiment.systems import System
from avemo.metrics import intervals


@dataclasses.dataclass(frozen=True)
class Table:
  """Systems that are scored alike.

  Attributes:
    rows: of `collect.describe`, one a system.
    systems: the same.
    about: their `metrics`, which not all may have, the `metric` by which they
      are compared, `against` which of them, and `notes`.
  """

  rows: Sequence[Mapping[str, Any]]
  systems: Sequence[System]
  about: Mapping[str, Any]


def summarize(table: Table) -> str:
  """The table as lines of text, and what is not in it."""
  columns, cells = list_cells(table.rows, table.about)
  widths = [
    max(len(row[place]) for row in [columns, *cells])
    for place in range(len(columns))
  ]
  lines = [
    '  '.join(
      cell.ljust(width) if place == 0 else cell.rjust(width)
      for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in [columns, *cells]
  ]
  notes = list_notes(table.rows, table.systems, table.about)
  return '\n'.join([*lines, *notes])


def list_cells(
  rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> tuple[list[str], list[list[str]]]:
  """Names of columns and cells, both as shown."""
  names = dict.fromkeys(name for row in rows for name in row)
  validation = [name for name in names if name.startswith('val/')]
  extras = {
    name: show_extra(name)
    for name in names
    if name.endswith('_unsmoothed') or name.split()[0] == 'looked_at'
  }
  columns = ['system', 'seeds', *validation, *about['metrics']]
  columns += extras.values()
  columns += ['seconds', 'parameters', 'GMACs', 'peak MiB', 'ms an example']
  compared = about['against'] and any(
    row.get('difference') is not None for row in rows
  )
  if compared:
    columns += [f'{about["metric"]} difference', '95 %', 'p (Holm)']
  cells = []
  for row in rows:
    mark = ' *' if row['chosen_by_validation'] else ''
    mark += ' !' if row['overlap'] else ''
    line = [row['system'] + mark, str(row['seeds'])]
    line += [show(row.get(name), '.3f') for name in validation]
    for name in about['metrics']:
      sd = row.get(f'{name}_sd')
      mean = show(row.get(name), '.3f')
      line.append(mean if sd is None else f'{mean} ± {sd:.3f}')
    line += [show(row.get(name), '.3f') for name in extras]
    line += [
      show(row['training_seconds'], '.0f'),
      show(row['parameters'], ',.0f'),
      show(row['gmacs'], '.3g'),
      show(row['peak_memory'], '.0f', 2**-20),
      show(row['inference_seconds'], '.3g', 1e3),
    ]
    if compared:
      line.append(show(row['difference'], '+.3f'))
      ends = [show(row[f'difference_{e}'], '+.3f') for e in ('low', 'high')]
      line += [' to '.join(filter(None, ends)), show(row['p_holm'], '.3f')]
    cells.append(line)
  return columns, cells


def show_extra(name: str) -> str:
  """A column's name as shown."""
  if name.endswith('_unsmoothed'):
    return f'{name.removesuffix("_unsmoothed")} unsmoothed'
  return name.replace('looked_at', 'faces looked at')


def show(value: float | None, form: str, factor: float = 1.0) -> str:
  return '' if value is None else format(value * factor, form)


def list_notes(
  rows: Sequence[Mapping[str, Any]],
  systems: Sequence[System],
  about: Mapping[str, Any],
) -> list[str]:
  """What must be known beside the table."""
  notes = []
  chosen = [row for row in rows if row['chosen_by_validation']]
  if chosen:
    notes.append(
      f'* {chosen[0]["system"]} is chosen by validation clips '
      f'({chosen[0]["chosen_by_validation"]}); every score is of test clips, '
      'by the checkpoint that validation clips chose'
    )
  else:
    notes.append(
      'no system is chosen: not all have a score on validation clips by one '
      'metric'
    )
  if any(row.get('difference') is not None for row in rows):
    notes.append(
      f'differences are from {about["against"]}, paired over the same '
      'speakers, or over films where nobody is named, '
      f'{intervals.NUM_RESAMPLES} resamples; p is two-sided, by exchanging the '
      'two for speakers (with S of them at least 2 / 2^S), by Holm for all of '
      'them'
    )
  elif about['against'] and len(systems) > 1:
    notes.append(
      'no differences: systems were scored on different clips, or on fewer '
      f'than {intervals.MIN_SPEAKERS} speakers, or films of unnamed ones'
    )
  notes += about['notes']
  for row in rows:
    if row['overlap']:
      notes.append(
        f'! {row["system"]} is no score of unseen speakers: {row["overlap"]}'
      )
  by_frame = [
    system.name
    for system in systems
    if any(run.cost.get('example') == 'frame' for run in system.runs)
  ]
  if by_frame:
    notes.append(
      f'{", ".join(by_frame)}: an example is a frame; parameters and GMACs are '
      'with the towers as far as a score has counted them, ms without'
    )
  for system in systems:
    notes += [f'missing: {name}' for name in system.missing]
    notes += [f'failed: {n}: {why}' for n, why in system.failed.items()]
  return notes


def write(folder: pathlib.Path, tables: Sequence[Table]) -> None:
  """Writes `report.html`."""
  systems = [system for table in tables for system in table.systems]
  page.write_page(
    folder / 'report.html',
    f'Collected: {folder.resolve().name}',
    [section for table in tables for section in show_table(table, len(tables))],
    lead=f'{len(systems)} systems, {sum(len(s.runs) for s in systems)} '
    'trainings',
  )


def show_table(table: Table, count: int) -> list[page.Section]:
  """The sections of one table of several."""
  rows, systems, about = table.rows, table.systems, table.about
  columns, cells = list_cells(rows, about)
  of_what = f' by {about["metric"]}' if count > 1 else ''
  return [
    page.Section(
      f'Systems{of_what}',
      text=list_notes(rows, systems, about),
      table=page.Table(columns, cells),
      figures=plot_scores(rows, about),
    ),
    *show_settings(rows),
    *show_conditions(rows, systems, about),
  ]


def plot_scores(
  rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> list[page.Figure]:
  """Differences with their intervals, and scores over what they cost."""
  figures, metric = [], about['metric']
  compared = {
    row['system']: tuple(
      row[name] for name in ('difference_low', 'difference', 'difference_high')
    )
    for row in rows
    if row.get('difference') is not None
  }
  if compared:
    text = f'difference in {metric} from {about["against"]}'
    png = plots.plot_intervals(compared, xlabel=text)
    figures.append(page.Figure(png, f'{text}, 95 %'))
  for cost, name in (('training_seconds', 'seconds of training'),
                     ('gmacs', 'GMACs of an example')):  # fmt: skip
    points = {
      row['system']: (row[cost], row[metric])
      for row in rows
      if metric and row.get(cost) and row.get(metric) is not None
    }
    if len(points) > 1:
      png = plots.plot_points(points, xlabel=name, ylabel=metric)
      figures.append(page.Figure(png, f'{metric} by {name}'))
  return figures


def show_settings(rows: Sequence[Mapping[str, Any]]) -> list[page.Section]:
  """What each system is made of."""
  keys = list(dict.fromkeys(k for r in rows for k in r if k[:4] == 'set '))
  if not keys:
    return []
  names = [key.removeprefix('set ') for key in keys]
  cells = [
    [row['system'], *(str(row.get(key, '')) for key in keys)] for row in rows
  ]
  table = page.Table(['system', *names], cells)
  return [page.Section('What was set', table=table)]


def show_conditions(
  rows: Sequence[Mapping[str, Any]],
  systems: Sequence[System],
  about: Mapping[str, Any],
) -> list[page.Section]:
  """The metric under worse conditions, where there are any."""
  metric = about['metric']
  known: dict[str, Mapping[str, Any]] = {}
  for system in systems:
    for run in system.runs:
      known |= dict(run.conditions)
  if not known or not metric:
    return []
  # The noisiest last.
  order = lambda name: (-known[name].get('snr', float('inf')), name)
  names = sorted(known, key=order)
  cells = [
    [row['system'], show(row.get(metric), '.3f')]
    + [show(row.get(f'{metric} {name}'), '.3f') for name in names]
    for row in rows
  ]
  noisy = [n for n in names if 'snr' in known[n] and 'without' not in known[n]]
  lines = {}
  for row in rows:
    points = [
      (known[name]['snr'], row[f'{metric} {name}'])
      for name in noisy
      if row.get(f'{metric} {name}') is not None
    ]
    if len(points) > 1:
      lines[row['system']] = tuple(zip(*sorted(points), strict=True))
  figures = []
  if lines:
    png = plots.plot_lines(lines, xlabel='SNR, dB', ylabel=metric)
    figures.append(page.Figure(png, f'{metric} by noise on the sound'))
  return [
    page.Section(
      f'{metric} under worse conditions',
      table=page.Table(['system', 'as they are', *names], cells),
      figures=figures,
    )
  ]
