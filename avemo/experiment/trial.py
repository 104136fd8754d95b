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
    `scores`, and by condition those under it; `best_on_test` where watched.

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
  cleans = [(split, None) for split in splits if split not in result['scores']]
  seen = {*result['conditions'], *result['left_out']}
  others = [('test', one) for one in conditions if one.name not in seen]
  if not (is_new or cleans or others):
    return result
  for split, condition in cleans + others:
    if condition and not fits(config, condition):
      result['left_out'].append(condition.name)
      continue
    metrics = run.evaluate(workdir, split=split, data=data, condition=condition)
    scores = pick_scores(metrics)
    name = condition.name if condition else split
    result.setdefault('tables', {})[name] = {
      'folder': metrics['folder'],
      'sha256': hash_file(find_table(workdir, metrics['folder'])),
    }
    if condition:
      result['conditions'][condition.name] = condition.describe() | scores
    else:
      result['scores'][split] = scores
  result['cost'] = cost.read(workdir)
  text = json.dumps(result, indent=1) + '\n'
  page.write_text(workdir / results.RESULT_FILE, text)
  return result


def fits(
  config: Mapping[str, Any], condition: conditions_lib.Condition
) -> bool:
  """Whether a condition means anything to a config's model; says why not."""
  try:
    model = restore.find_model(config['model'])
    reads_cache = model is models.MODELS['sequence']
    if reads_cache and condition.changes_clips:
      raise errors.AvemoError('what the model reads is cached as it is')
    if condition.adaptive is not None and not reads_cache:
      raise errors.AvemoError('the model does not read features of frames')
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
  rate = metrics.get('frame_rate')
  if rate:
    found['looked_at'] = rate['looked_at'] / rate['frames']
  return found
