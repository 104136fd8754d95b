"""What a folder of many trainings holds: systems, each with its seeds."""

import dataclasses
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from avemo import errors
from avemo.evaluate import conditions as conditions_lib
from avemo.evaluate import restore, table
from avemo.experiment import crossval, folders, grid, results, sweep, trial


@dataclasses.dataclass(frozen=True)
class Run:
  """One seed of a system, scored on its test clips.

  Attributes:
    name: of its folder.
    seed: of the training.
    scores: main figures by name.
    chosen: name and value of the metric that the checkpoint was chosen by,
      on validation clips; None where nothing was chosen.
    conditions: by condition its description and figures.
    cost: see `evaluate.cost`.
    files: of predictions on the test clips, which are read when needed.
    overlap: lines on whom of these clips the weights had seen before.
  """

  name: str
  seed: int
  scores: Mapping[str, Any]
  chosen: tuple[str, float] | None
  conditions: Mapping[str, Mapping[str, Any]]
  cost: Mapping[str, Any]
  files: tuple[pathlib.Path, ...]
  overlap: tuple[str, ...] = ()


@dataclasses.dataclass
class System:
  """What differs from the others but the seed.

  Attributes:
    name: of the system.
    overrides: what makes it; empty outside of a sweep.
    runs: those that are whole.
    missing: names of those that are not.
    failed: by name, why.
  """

  name: str
  overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
  runs: list[Run] = dataclasses.field(default_factory=list)
  missing: list[str] = dataclasses.field(default_factory=list)
  failed: dict[str, str] = dataclasses.field(default_factory=dict)

  def read_predictions(self) -> table.Predictions:
    """Of all seeds, one after another."""
    return table.join(
      [table.read(path) for run in self.runs for path in run.files]
    )


def find_systems(folder: pathlib.Path) -> list[System]:
  """The systems of a sweep, or of a folder of trainings.

  Raises:
    AvemoError: there are none.
  """
  if not folder.is_dir():
    raise errors.AvemoError(f'{folder}: no such folder')
  if (folder / sweep.NOTE_FILE).is_file():
    return read_sweep(folder)
  if (folder / crossval.NOTE_FILE).is_file():
    raise errors.AvemoError(
      f'{folder}: is one cross-validation, whose report.html has its table; '
      'name the folder that holds several'
    )
  found = []
  for child in sorted(folder.iterdir()):
    if (child / crossval.NOTE_FILE).is_file():
      found.append(read_cross_validation(child))
    elif (child / 'eval/test/metrics.json').is_file():
      found.append(System(child.name, runs=[read_training(child)]))
  if not found:
    raise errors.AvemoError(
      f'{folder}: no sweep, and no trainings that are scored; `avemo sweep`, '
      '`avemo cross-validate` and `avemo evaluate` leave what is collected'
    )
  return found


def read_sweep(folder: pathlib.Path) -> list[System]:
  """The systems of a sweep in the order of the grid."""
  found: dict[str, System] = {}
  for name, point in folders.read(folder / sweep.NOTE_FILE)['trials'].items():
    system = grid.find_system(point['overrides'])
    key = grid.hash_of(system)
    if key not in found:
      title = grid.make_name(system)
      # Keys that end alike have names that are alike.
      if title in {one.name for one in found.values()}:
        title = f'{title}-{key}'
      found[key] = System(title, spread(system))
    own = found[key]
    place = folder / name
    is_whole = results.is_whole(place, point['config'], of_any_data=True)
    if is_whole:
      own.runs.append(read_trial(place))
    # What is whole may have failed since, as under a condition.
    if (place / sweep.FAILED_FILE).is_file():
      own.failed[name] = folders.read(place / sweep.FAILED_FILE)['error']
    elif not is_whole:
      own.missing.append(name)
  return list(found.values())


def spread(overrides: Mapping[str, Any]) -> dict[str, Any]:
  """Overrides with what `get_config` takes among them."""
  rest = {k: v for k, v in overrides.items() if k != grid.ARG}
  return dict(overrides.get(grid.ARG) or {}) | rest


def read_trial(folder: pathlib.Path) -> Run:
  """A run out of `result.json`."""
  result = folders.read(folder / results.RESULT_FILE)
  # What has no classes is chosen by its own loss, and scored by nothing.
  is_scored = 'test' in result['scores']
  metrics = {}
  if is_scored:
    scored = trial.find_scored(folder, result)
    metrics = restore.read_json(scored / 'metrics.json')
  chosen = result['metric'] and result['best'] is not None
  return Run(
    folder.name,
    result['config']['seed'],
    result['scores'].get('test', {}),
    (result['metric'], result['best']) if chosen else None,
    result.get('conditions', {}),
    (result.get('cost') or {}) | (metrics.get('cost') or {}),
    (scored / 'predictions.csv',) if is_scored else (),
    tuple(metrics.get('overlap', ())),
  )


# What a clean score and one under a condition are both of.
SAME = ('dataset', 'protocol', 'fold', 'checkpoint')


def read_training(folder: pathlib.Path) -> Run:
  """A run that was trained and scored by hand."""
  if (folder / results.RESULT_FILE).is_file():
    return read_trial(folder)
  metrics = restore.read_json(folder / 'eval/test/metrics.json')
  config = restore.read_json(folder / 'config.json')
  conditions = {}
  for path in sorted(folder.glob('eval/test-*/metrics.json')):
    other = restore.read_json(path)
    # One corpus of a mixture has a folder of its own, and so has what was
    # moved aside.
    if 'condition' in other and all(
      other.get(key) == metrics.get(key) for key in SAME
    ):
      name = conditions_lib.Condition(**other['condition']).name
      conditions[name] = other['condition'] | trial.pick_scores(other)
  return Run(
    folder.name,
    config.get('seed', 0),
    trial.pick_scores(metrics),
    None,
    conditions,
    metrics.get('cost') or {},
    (folder / 'eval/test/predictions.csv',),
    tuple(metrics.get('overlap', ())),
  )


def read_cross_validation(folder: pathlib.Path) -> System:
  """A system whose scores are pooled over the folds, a run a seed."""
  found = System(folder.name)
  if not (folder / 'summary.json').is_file():
    found.missing.append(f'{folder.name}/summary.json')
    return found
  summary = restore.read_json(folder / 'summary.json')
  for seed in summary['seeds']:
    rows = [row for row in summary['folds'] if row['seed'] == seed]
    first = folders.read(folder / crossval.NOTE_FILE)['first_seed']
    places = [
      folder / crossval.name_part(row['fold'], seed, first) for row in rows
    ]
    metric = summary['chosen_by']
    values = [row[metric] for row in rows if row.get(metric) is not None]
    chosen = None
    if len(values) == len(rows):
      chosen = metric, statistics.mean(values)
    cost = dict(summary['cost'])
    cost['training_seconds'] = sum(row['seconds'] or 0 for row in rows)
    files = tuple(find_predictions(place) for place in places)
    overlap = [
      f'{file.relative_to(folder).parts[0]}: {line}'
      for file in files
      for line in restore.read_json(file.parent / 'metrics.json').get(
        'overlap', ()
      )
    ]
    found.runs.append(
      Run(
        folder.name,
        seed,
        summary['pooled_by_seed'][str(seed)],
        chosen,
        # Pooled over the seeds as well, and so the same of each.
        {row['condition']: row for row in summary['conditions']},
        cost,
        files,
        tuple(overlap),
      )
    )
  return found


def find_predictions(folder: pathlib.Path) -> pathlib.Path:
  result = folders.read(folder / results.RESULT_FILE)
  return trial.find_scored(folder, result) / 'predictions.csv'


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
  """None where there is nothing to take it of."""
  values = [value for value in values if value is not None]
  mean = statistics.mean(values) if values else None
  return mean, statistics.stdev(values) if len(values) > 1 else None
