"""What folds and seeds say together: means, deviations, pooled scores."""

import dataclasses
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo.evaluate import conditions, report, restore, summary, table
from avemo.experiment import best_on_test, results, trial

# Before the names of scores whose checkpoint is chosen on the test clips.
PREFIX = f'{best_on_test.FOLDER}/'
# Of films, figures that are averaged: they do not follow from the predictions.
EXTRAS = (*(f'{name}_unsmoothed' for name in report.MAIN), 'looked_at')


@dataclasses.dataclass(frozen=True)
class Part:
  """One training of a cross-validation."""

  fold: int
  seed: int
  folder: pathlib.Path


def list_overlaps(plan: Sequence[Part]) -> list[str]:
  """By part, who of its test clips was seen by weights that it starts from."""
  lines = []
  for part in plan:
    result = restore.read_json(part.folder / results.RESULT_FILE)
    scored = trial.find_scored(part.folder, result)
    metrics = restore.read_json(scored / 'metrics.json')
    lines += [
      f'{part.folder.name}: {line}' for line in metrics.get('overlap', ())
    ]
  return lines


def summarize(plan: Sequence[Part], about: Any) -> dict[str, Any]:
  """All that follows from the parts, each of which is whole.

  Args:
    plan: every fold with every seed.
    about: the protocol.

  Returns:
    `folds`, a row a part; `mean` over all parts, with that of `EXTRAS`; `sd`
    over the folds, each the mean of its seeds, and `sd_of_seeds` over the
    seeds, each the mean of its folds (None of one); `pooled`, metrics of the
    predictions of all parts together, with intervals by speaker;
    `pooled_by_seed`; `confusion`, pooled and averaged; `conditions`; `cost`.
    Scores whose checkpoint is chosen on test clips stand beside under
    `best_on_test/…`.
  """
  made = [restore.read_json(p.folder / results.RESULT_FILE) for p in plan]
  rows, clean, best = [], [], []
  for part, result in zip(plan, made, strict=True):
    scored = trial.find_scored(part.folder, result)
    clean.append(table.read(scored / 'predictions.csv'))
    row = {'fold': part.fold, 'seed': part.seed, **result['scores']['test']}
    row |= {'checkpoint': result['best_step'] or result['step']}
    if result['metric']:
      row[result['metric']] = result['best']
    # Choosing on test clips is what such a protocol does anyway.
    found = clean[-1] if about.test_is_validation else read_best(part.folder)
    if found is not None:
      best.append(found)
      scores = trial.pick_scores(summary.score_rows(found))
      del scores['num_examples']
      row |= {f'{PREFIX}{name}': value for name, value in scores.items()}
    cost = result.get('cost') or {}
    row['seconds'] = cost.get('training_seconds')
    rows.append(row)
  pooled = summary.score(table.join(clean))
  if len(best) == len(plan):
    add_best(pooled, summary.score_rows(table.join(best)))
  seeds = list(dict.fromkeys(part.seed for part in plan))
  by_seed = {
    str(seed): trial.pick_scores(
      summary.score_rows(table.join(pick(clean, plan, seed)))
    )
    | average_extras(pick(rows, plan, seed))
    for seed in seeds
  }
  return {
    'folds': rows,
    **find_spread(rows),
    'pooled': pooled,
    'pooled_by_seed': by_seed,
    **average_confusion(clean, pooled),
    'conditions': pool_conditions(plan, made),
    'cost': add_costs(plan, made),
  }


def pick(tables: Sequence[Any], plan: Sequence[Part], seed: int) -> list[Any]:
  pairs = zip(tables, plan, strict=True)
  return [found for found, part in pairs if part.seed == seed]


def read_best(folder: pathlib.Path) -> table.Predictions | None:
  """Of the checkpoint that would be chosen on test clips, where known."""
  path = folder / best_on_test.FOLDER / 'predictions.csv'
  return table.read(path) if path.is_file() else None


def add_best(pooled: dict[str, Any], best: Mapping[str, Any]) -> None:
  """Puts pooled scores of the other choice beside those of the honest one."""
  for name, value in trial.pick_scores(best).items():
    if name != 'num_examples':
      pooled[f'{PREFIX}{name}'] = value
  if pooled['intervals'] and best['intervals']:
    pooled['intervals'] |= {
      f'{PREFIX}{name}': ends for name, ends in best['intervals'].items()
    }


def find_spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """`mean`, `sd` and `sd_of_seeds` of the figures that every row has."""
  known = [f'{p}{name}' for p in ('', PREFIX) for name in report.MAIN]
  known += EXTRAS
  names = [n for n in known if all(row.get(n) is not None for row in rows)]
  found = {'mean': {}, 'sd': {}, 'sd_of_seeds': {}}
  for name in names:
    found['mean'][name] = statistics.mean(row[name] for row in rows)
    for kind, key in (('sd', 'fold'), ('sd_of_seeds', 'seed')):
      groups: dict[int, list[float]] = {}
      for row in rows:
        groups.setdefault(row[key], []).append(row[name])
      means = [statistics.mean(values) for values in groups.values()]
      sd = statistics.stdev(means) if len(means) > 1 else None
      found[kind][name] = sd
  return found


def average_extras(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Means of `EXTRAS`, of those that every row has."""
  return {
    name: statistics.mean(row[name] for row in rows)
    for name in EXTRAS
    if all(row.get(name) is not None for row in rows)
  }


def average_confusion(
  tables: Sequence[table.Predictions], pooled: Mapping[str, Any]
) -> dict[str, Any]:
  """`confusion`: `pooled` counts, and `averaged` shares of the true class.

  The average is over the parts in which a class occurs; one that occurs in
  none has a row of None.
  """
  if 'confusion' not in pooled:
    return {}
  shares = []
  for found in tables:
    counts = np.array(summary.score_rows(found)['confusion'], float)
    totals = counts.sum(1, keepdims=True)
    empty = np.full_like(counts, np.nan)
    shares.append(np.divide(counts, totals, out=empty, where=totals > 0))
  known = ~np.isnan(shares)
  number = known.sum(0)
  sums = np.nansum(shares, axis=0)
  averaged = [
    [float(s / n) if n else None for s, n in zip(*row, strict=True)]
    for row in zip(sums, number, strict=True)
  ]
  return {
    'confusion': {
      'labels': pooled['labels'],
      'pooled': pooled['confusion'],
      'averaged': averaged,
    }
  }


# What `Condition.describe` may say.
CONDITION = tuple(
  field.name for field in dataclasses.fields(conditions.Condition)
)


def pool_conditions(
  plan: Sequence[Part], results: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """Pooled scores under each condition that every part was scored under.

  With the condition itself, and the means of `EXTRAS`.
  """
  rows = []
  for name, about in results[0].get('conditions', {}).items():
    if any(name not in result.get('conditions', {}) for result in results):
      continue
    folders = [
      trial.find_scored(part.folder, result, name)
      for part, result in zip(plan, results, strict=True)
    ]
    tables = [table.read(folder / 'predictions.csv') for folder in folders]
    metrics = summary.score_rows(table.join(tables))
    row = {'condition': name, **trial.pick_scores(metrics)}
    row |= average_extras([result['conditions'][name] for result in results])
    row |= {key: about[key] for key in CONDITION if key in about}
    rows.append(row | {'intervals': metrics['intervals']})
  return rows


def add_costs(
  plan: Sequence[Part], results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Seconds of all parts, and what they have in common."""
  costs = []
  for part, result in zip(plan, results, strict=True):
    scored = trial.find_scored(part.folder, result)
    metrics = restore.read_json(scored / 'metrics.json')
    # What is scored knows the towers of films as well.
    costs.append((result.get('cost') or {}) | (metrics.get('cost') or {}))
  found: dict[str, Any] = {}
  seconds = [c['training_seconds'] for c in costs if 'training_seconds' in c]
  if seconds:
    found['training_seconds'] = sum(seconds)
    found['training_seconds_mean'] = statistics.mean(seconds)
  for name in ('parameters', 'gmacs', 'peak_memory'):
    values = [cost[name] for cost in costs if name in cost]
    if values:
      found[name] = max(values)
  for name in ('peak_memory_of', 'training_device', 'example'):
    if name in costs[0]:
      found[name] = costs[0][name]
  known = [c['inference_seconds'] for c in costs if 'inference_seconds' in c]
  if known:
    found['inference_seconds'] = statistics.median(known)
  return found
