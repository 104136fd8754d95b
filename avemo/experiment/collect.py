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
# As columns are headed that do not say their unit.
UNITS = {'peak_memory': 'peak_memory_bytes'}


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
    metric: by which they are compared; when None the one that checkpoints
      were chosen by, or else the first that all have.

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
  parts = group(systems, metric)
  known = {name for system in systems for name in find_metrics([system])}
  if metric is not None and metric not in known:
    settings_error('--metric', metric, sorted(known) or report.MAIN)
  tables = [make_table(part, baseline, metric) for part in parts]
  rows = [row for table in tables for row in table.rows]
  write_table(folder / 'table.csv', rows)
  collect_report.write(folder, tables)
  print('\n\n'.join(collect_report.summarize(table) for table in tables))
  print(f'table: {folder / "table.csv"}, report: {folder / "report.html"}')
  return rows


def group(
  systems: Sequence[System], metric: str | None = None
) -> list[list[System]]:
  """Systems that have a main figure in common: a grid may have several tasks.

  Those without a whole run stand with the first.

  Args:
    systems: all of them.
    metric: a figure whose systems stand together.
  """
  shared: list[list[str]] = []
  places: dict[str, int] = {}
  for system in systems:
    own = find_metrics([system])
    if not system.runs:
      continue
    for place, names in enumerate(shared):
      common = [name for name in names if name in own]
      if (metric in names) == (metric in own) and (common or names == own):
        shared[place], places[system.name] = common, place
        break
    else:
      places[system.name] = len(shared)
      shared.append(own)
  return [
    [one for one in systems if places.get(one.name, 0) == place]
    for place in range(max(len(shared), 1))
  ]


def make_table(
  systems: Sequence[System], baseline: str | None, metric: str | None
) -> collect_report.Table:
  """The rows of systems that are scored alike, and their differences."""
  shared, notes = find_metrics(systems), []
  wanted, metric = metric, metric if metric in shared else None
  metric = metric or find_chosen_metric(systems, shared)
  if wanted not in (None, metric):
    notes.append(
      f'--metric={wanted} is not known of these systems, which are compared by '
      f'{metric}'
    )
  own = {system.name: find_metrics([system]) for system in systems}
  rows = [describe(system, own[system.name]) for system in systems]
  best = mark_chosen(rows, systems)
  is_here = baseline in own
  if baseline is not None and not is_here:
    notes.append(
      f'--baseline={baseline} shares no score with these systems, and is in '
      'another table'
    )
  against = baseline if is_here else best
  if metric and against:
    add_differences(rows, systems, against, metric)
  about = {
    'metric': metric,
    'metrics': [
      n for n in report.MAIN if any(n in known for known in own.values())
    ],
    'against': against,
    'notes': notes,
  }
  return collect_report.Table(rows, systems, about)


def find_chosen_metric(
  systems: Sequence[System], shared: Sequence[str]
) -> str | None:
  """The figure by which checkpoints were chosen, else the first of `shared`."""
  chosen = {run.chosen and run.chosen[0] for s in systems for run in s.runs}
  if len(chosen) == 1 and None not in chosen:
    name = chosen.pop().rpartition('/')[2]
    if name in shared:
      return name
  return shared[0] if shared else None


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
  row |= describe_conditions(system, metrics)
  row['overlap'] = '; '.join(list_overlaps(system))
  row['missing'] = ' '.join(system.missing)
  row['failed'] = '; '.join(f'{k}: {v}' for k, v in system.failed.items())
  return row


def describe_conditions(
  system: System, metrics: Sequence[str]
) -> dict[str, float | None]:
  """Main figures under each condition: None where a run lacks them.

  A mean over fewer seeds than the clean score's is none to set beside it.
  """
  found: dict[str, float | None] = {}
  names = {name for run in system.runs for name in run.conditions}
  for condition in sorted(names):
    for name in (*metrics, *find_looks(system, condition)):
      values = [
        run.conditions.get(condition, {}).get(name) for run in system.runs
      ]
      found[f'{name} {condition}'] = (
        None if None in values else mean_and_sd(values)[0]
      )
  return found


def list_overlaps(system: System) -> list[str]:
  """Who of the test clips was seen before by what its runs start from."""
  return list(
    dict.fromkeys(line for run in system.runs for line in run.overlap)
  )


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
  writer.writerow([UNITS.get(n, n).removeprefix('set ') for n in columns])
  for row in rows:
    writer.writerow([show(row.get(name)) for name in columns])
  page.write_text(path, buffer.getvalue())


def show(value: Any) -> str:
  if value is None:
    return ''
  if isinstance(value, float):
    return f'{value:.6g}'
  return json.dumps(value) if isinstance(value, list | dict) else str(value)
