"""One training and its scores: what cross-validation and grids repeat."""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from avemo import errors, models
from avemo.data.clips import MODALITIES
from avemo.evaluate import conditions as conditions_lib
from avemo.evaluate import cost, page, report, restore, run
from avemo.experiment import best_on_test, results
from avemo.runtime import preemption
from avemo.train import loop


def run_trial(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  *,
  splits: Sequence[str] = ('test',),
  data: str | None = None,
  conditions: Sequence[conditions_lib.Condition] = (),
  watch: bool = False,
) -> dict[str, Any]:
  """Trains, or goes on, and scores what was chosen on validation clips.

  A trial that is whole is left as it is, but for scores that it lacks. Where
  `evaluate` has changed since, all scores are made anew.

  Args:
    config: a nested dict.
    workdir: of the training run; gets `result.json` beside.
    splits: to score.
    data: of a mixture, the corpus to score on.
    conditions: under which test clips are scored as well.
    watch: also find the checkpoint that would be chosen on test clips.

  Returns:
    What `result.json` holds: `config`, how training ended, by split the main
    `scores`, and by condition those under it; `best_on_test` where watched;
    under `data` what was trained on.

  Raises:
    AvemoError: as training and evaluation do.
    SystemExit: training was asked to stop, and has saved.
  """
  config = json.loads(json.dumps(config))
  result = results.read(workdir, config)
  is_new = result is None
  if is_new:
    watcher = best_on_test.Watcher(workdir, data) if watch else None
    summary = loop.train(config, workdir, after_evaluation=watcher)
    if summary['stopped'] == 'signal':
      raise SystemExit(preemption.EXIT_STATUS)
    names = ('stopped', 'step', 'best_step', 'metric', 'best')
    result = {'config': config, 'scores': {}, 'conditions': {}, 'left_out': []}
    result |= {name: summary[name] for name in names}
    if watcher:
      result['best_on_test'] = watcher.finish()
  if models.has_own_loss(restore.find_model(config['model'])):
    splits, result['left_out'] = (), [one.name for one in conditions]
  cleans = [split for split in splits if split not in result['scores']]
  seen = {*result['conditions'], *result['left_out']}
  others = [one for one in conditions if one.name not in seen]
  if not (is_new or cleans or others):
    return result
  result['data'] = results.describe_data(workdir, config)
  result['cost'] = cost.read(workdir)
  for split in cleans:
    metrics = run.evaluate(workdir, split=split, data=data)
    result['scores'][split] = note_scores(result, workdir, split, metrics)
  # Now, for a condition that fails costs no clean score.
  save(workdir, result)
  if not others:
    return result
  towers = restore.read_json(workdir / 'labels.json').get('towers', ())
  for one in others:
    if not fits(config, one, towers):
      result['left_out'].append(one.name)
      continue
    metrics = run.evaluate(workdir, data=data, condition=one)
    scores = note_scores(result, workdir, one.name, metrics)
    result['conditions'][one.name] = one.describe() | scores
    save(workdir, result)
  save(workdir, result)
  return result


def note_scores(
  result: dict[str, Any],
  workdir: pathlib.Path,
  name: str,
  metrics: Mapping[str, Any],
) -> dict[str, Any]:
  """The main figures; notes in the result which table they are of."""
  result.setdefault('tables', {})[name] = {
    'folder': metrics['folder'],
    'sha256': hash_file(find_table(workdir, metrics['folder'])),
  }
  return pick_scores(metrics)


def save(workdir: pathlib.Path, result: Mapping[str, Any]) -> None:
  text = json.dumps(result, indent=1) + '\n'
  page.write_text(workdir / results.RESULT_FILE, text)


def fits(
  config: Mapping[str, Any],
  condition: conditions_lib.Condition,
  towers: Sequence[Mapping[str, Any]] = (),
) -> bool:
  """Whether a condition means anything to a run's model; says why not.

  Args:
    config: of the run.
    condition: under which it is to be scored.
    towers: of the run's `labels.json`.
  """
  try:
    reads_cache = bool(towers)
    if reads_cache and condition.changes_clips:
      raise errors.AvemoError('what the model reads is cached as it is')
    if condition.adaptive is not None:
      if 'video' not in {one['modality'] for one in towers}:
        raise errors.AvemoError(
          'the model does not read features of faces, frame by frame'
        )
    condition.check(tuple(config['model'].get('use') or MODALITIES))
  except errors.AvemoError as error:
    print(f'{condition.name}: left out, {error}')
    return False
  return True


def find_scored(
  workdir: pathlib.Path, result: Mapping[str, Any], name: str = 'test'
) -> pathlib.Path:
  """The folder of what a trial has scored: a split, or a condition.

  Raises:
    AvemoError: something else was scored into it since.
  """
  about = result['tables'][name]
  table = find_table(workdir, about['folder'])
  if not table.is_file() or hash_file(table) != about['sha256']:
    raise errors.AvemoError(
      f'{table}: is not what the trial has scored, but of a later evaluation; '
      f'remove {workdir / results.RESULT_FILE} and run the same command again'
    )
  return table.parent


def find_table(workdir: pathlib.Path, folder: str) -> pathlib.Path:
  return workdir / 'eval' / folder / 'predictions.csv'


def hash_file(path: pathlib.Path) -> str:
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def pick_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
  """The main figures of `metrics.json`.

  Of films those before smoothing as well, as `<name>_unsmoothed`, and the share
  of the faces that was looked at.
  """
  names = (*report.MAIN, 'num_examples')
  found = {n: metrics[n] for n in names if metrics.get(n) is not None}
  plain = (metrics.get('smoothing') or {}).get('unsmoothed') or {}
  found |= {f'{n}_unsmoothed': plain[n] for n in found.keys() & plain.keys()}
  if metrics.get('frame_rate'):
    found['looked_at'] = report.share_looked_at(metrics)
  return found
