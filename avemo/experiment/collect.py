"""The table of many trainings: scores, their cost, and who is better."""

import csv
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from avemo import errors
from avemo.evaluate import page, report
from avemo.experiment import collect_report, compare
from avemo.experiment.systems import System, find_systems, mean_and_sd
from avemo.metrics import comparison
from avemo.train import settings

COSTS = (
  'training_seconds',
  'parameters',
  'gmacs',
  'peak_memory',
  'inference_seconds',
)


def collect(
  folder: str | pathlib.Path,
  *,
  baseline: str | None = None,
  metric: str | None = None,
) -> list[dict[str, Any]]:
  """Writes `table.csv` and `report.html` into a folder of trainings.

  Args:
    folder: of a sweep, of cross-validations, or of scored trainings.
    baseline: the system that the others are compared with; the one that
      validation clips choose when None.
    metric: by which they are compared; the first that all have when None.

  Returns:
    The rows of the table.

  Raises:
    AvemoError: nothing to collect, or an unknown baseline or metric.
  """
  folder = pathlib.Path(folder)
  systems = find_systems(folder)
  names = [system.name for system in systems]
  if baseline is not None and baseline not in names:
    settings_error('--baseline', baseline, names)
  parts = group(systems)
  known = {name for part in parts for name in find_metrics(part)}
  if metric is not None and metric not in known:
    settings_error('--metric', metric, sorted(known) or report.MAIN)
  tables = [make_table(part, baseline, metric) for part in parts]
  rows = [row for table in tables for row in table.rows]
  write_table(folder / 'table.csv', rows)
  collect_report.write(folder, tables)
  print('\n\n'.join(collect_report.summarize(table) for table in tables))
  print(f'table: {folder / "table.csv"}, report: {folder / "report.html"}')
  return rows


def group(systems: Sequence[System]) -> list[list[System]]:
  """Systems by what they are scored by: a grid may have several tasks.

  Those without a whole run stand with the first.
  """
  found: dict[tuple[str, ...], list[System]] = {}
  for system in systems:
    if system.runs:
      found.setdefault(tuple(find_metrics([system])), []).append(system)
  parts = list(found.values()) or [[]]
  names = [one.name for one in parts[0]]
  first = [one for one in systems if not one.runs or one.name in names]
  return [first, *parts[1:]]


def make_table(
  systems: Sequence[System], baseline: str | None, metric: str | None
) -> collect_report.Table:
  """The rows of systems that are scored alike, and their differences."""
  metrics = find_metrics(systems)
  if metric not in metrics:
    metric = metrics[0] if metrics else None
  rows = [describe(system, metrics) for system in systems]
  best = mark_chosen(rows, systems)
  is_here = baseline in [system.name for system in systems]
  against = baseline if is_here else best
  if metric and against:
    add_differences(rows, systems, against, metric)
  about = {'metric': metric, 'metrics': metrics, 'against': against}
  return collect_report.Table(rows, systems, about)


def settings_error(option: str, value: str, known: Sequence[str]) -> None:
  """Raises an AvemoError that names the nearest to a wrong value."""
  try:
    settings.check_value(option, value, list(known))
  except errors.AvemoError as error:
    text = str(error).removeprefix('config: ')
    raise errors.AvemoError(text) from error


def find_metrics(systems: Sequence[System]) -> list[str]:
  """The main figures that every run has."""
  runs = [run for system in systems for run in system.runs]
  return [
    name
    for name in report.MAIN
    if runs and all(run.scores.get(name) is not None for run in runs)
  ]


def find_extras(system: System, metrics: Sequence[str]) -> list[str]:
  """What is known of films beside the main figures."""
  names = [*(f'{name}_unsmoothed' for name in metrics), 'looked_at']
  return [n for n in names if any(n in run.scores for run in system.runs)]


def describe(system: System, metrics: Sequence[str]) -> dict[str, Any]:
  """A row: what the system is, its scores over seeds, its cost."""
  row: dict[str, Any] = {'system': system.name}
  row |= {f'set {key}': value for key, value in system.overrides.items()}
  row['seeds'] = len(system.runs)
  for name in metrics:
    mean, sd = mean_and_sd([run.scores[name] for run in system.runs])
    row |= {name: mean, f'{name}_sd': sd}
  for name in find_extras(system, metrics):
    row[name] = mean_and_sd([run.scores.get(name) for run in system.runs])[0]
  chosen = [run.chosen for run in system.runs if run.chosen]
  if chosen and len({name for name, _ in chosen}) == 1:
    row[chosen[0][0]] = mean_and_sd([value for _, value in chosen])[0]
  for name in COSTS:
    row[name] = mean_and_sd([run.cost.get(name) for run in system.runs])[0]
  shared = [set(run.conditions) for run in system.runs if run.conditions]
  for condition in sorted(set.union(*shared)) if shared else ():
    for name in (*metrics[:1], *find_looks(system, condition)):
      values = [
        run.conditions[condition].get(name)
        for run in system.runs
        if condition in run.conditions
      ]
      row[f'{name} {condition}'] = mean_and_sd(values)[0]
  row['missing'] = ' '.join(system.missing)
  row['failed'] = '; '.join(f'{k}: {v}' for k, v in system.failed.items())
  return row


def find_looks(system: System, condition: str) -> list[str]:
  """The share of faces looked at, where a condition is about it."""
  found = [run.conditions.get(condition, {}) for run in system.runs]
  return ['looked_at'] if any('adaptive' in one for one in found) else []


def mark_chosen(
  rows: Sequence[dict[str, Any]], systems: Sequence[System]
) -> str | None:
  """Marks the system with the best mean on validation clips; its name.

  None where systems were not chosen by one and the same metric, for what is
  best on test clips alone is nobody's choice.
  """
  names = {
    run.chosen and run.chosen[0] for system in systems for run in system.runs
  }
  for row in rows:
    row['chosen_by_validation'] = ''
  if len(names) != 1 or None in names:
    return None
  (name,) = names
  whole = [row for row in rows if row.get(name) is not None]
  sign = -1 if name.endswith('loss') else 1
  best = max(whole, key=lambda row: sign * row[name])
  best['chosen_by_validation'] = name
  return best['system']


def add_differences(
  rows: Sequence[dict[str, Any]],
  systems: Sequence[System],
  against: str,
  metric: str,
) -> None:
  """Adds to each row its difference from one system, and p by Holm."""
  tables = {s.name: s.read_predictions() for s in systems if s.runs}
  if against not in tables:
    raise errors.AvemoError(f'{against}: no run of it is whole to compare with')
  found: dict[str, comparison.Difference] = {}
  for name, predictions in tables.items():
    difference = None
    if name != against:
      difference = compare.compare(predictions, tables[against], metric)
    if difference:
      found[name] = difference
  corrected = comparison.holm({name: d.p for name, d in found.items()})
  for row in rows:
    difference = found.get(row['system'])
    for key, value in zip(
      ('difference', 'difference_low', 'difference_high', 'p'),
      difference or (None,) * 4,
      strict=True,
    ):
      row[key] = value
    row['p_holm'] = corrected.get(row['system'])


def write_table(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  columns = list(dict.fromkeys(name for row in rows for name in row))
  # As wide for every grid: what was set, then scores, then the rest.
  columns.sort(key=lambda name: not (name == 'system' or name[:4] == 'set '))
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  writer.writerow([name.removeprefix('set ') for name in columns])
  for row in rows:
    writer.writerow([show(row.get(name)) for name in columns])
  page.write_text(path, buffer.getvalue())


def show(value: Any) -> str:
  if value is None:
    return ''
  if isinstance(value, float):
    return f'{value:.6g}'
  return json.dumps(value) if isinstance(value, list | dict) else str(value)
