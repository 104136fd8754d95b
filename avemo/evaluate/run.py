"""Scores a checkpoint on one part of a protocol's fold."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from avemo import errors
from avemo.data import dimensions, labels, mixture, pipeline, targets
from avemo.data import parts as parts_lib
from avemo.evaluate import (
  caveats,
  checks,
  conditions,
  cost,
  films,
  page,
  predictions,
  report,
  restore,
  rows,
  summary,
  table,
)
from avemo.evaluate import smooth as smooth_lib
from avemo.runtime import cost as cost_lib
from avemo.runtime import distributed


def evaluate(
  workdir: str | os.PathLike,
  *,
  checkpoint: str | int = 'best',
  split: str = 'test',
  data: str | None = None,
  protocol: str | None = None,
  fold: int | None = None,
  views: int | None = None,
  smooth: str | None = None,
  data_dir: str | os.PathLike | None = None,
  condition: conditions.Condition | None = None,
) -> dict[str, Any]:
  """Predicts the clips of a split, scores them and writes a report.

  Several processes share the clips; all return the same, and one writes.

  Args:
    workdir: of a training run; `eval/<split>/` in it gets `metrics.json`,
      `predictions.csv`, `confusion.png` (of emotions) and `report.html`.
    checkpoint: 'best', 'last' or a step.
    split: 'train', 'val' or 'test' of the fold.
    data: dataset, or what the run's mixture calls it; all that the training
      run has when None, like the next two.
    protocol: its name.
    fold: published number of the fold.
    views: test-time views of a clip, whose probabilities are averaged; as
      many as the run was trained on when None, and 1 where it was on none.
    smooth: of films labelled by frame: 'none', 'mean:S' or 'median:S', S in
      seconds, or 'chosen' by films of the training set that were held out; as
      the run's config says when None.
    data_dir: where datasets are; as in the training run when None.
    condition: under which the clips are seen and heard; its folder is
      `eval/<split>-<name>/`, so that nobody takes it for the clean score. So
      has one corpus of a mixture, `eval/<split>-<key>/`, beside the joint one.

  Returns:
    What `metrics.json` holds.

  Raises:
    AvemoError: no such run, checkpoint, dataset or fold, or an empty split.
  """
  workdir = pathlib.Path(workdir)
  condition = condition or conditions.Condition()
  restored = open_run(workdir, checkpoint, condition)
  section = restored.config['data']
  parts = choose_parts(workdir, section, data, protocol, fold)
  dataset, records = open_records(restored, parts, split, data_dir)
  views = views or restored.config.get('features', {}).get('views') or 1
  smooth = smooth or restored.config.get('evaluate', {}).get('smooth')
  smooth = smooth or 'none'
  smooth_lib.check(smooth)
  watch = cost_lib.Stopwatch(
    predictions.make_predict_step(restored.model, restored.mesh)
  )
  found = predict_rows(
    restored, dataset, records, watch, views=views, condition=condition
  )
  found, smoothed = films.smooth_rows(
    found,
    restored,
    dataset,
    parts,
    smooth,
    split,
    lambda held: predict_rows(restored, dataset, held, views=1),
  )
  found = make_rows(found, dataset, restored.labels.names, restored.tasks)
  about = describe_data(dataset, parts)
  rate = films.describe_rate(restored, dataset, records)
  overlap, unknown = caveats.list_overlaps(
    workdir, restored.config, parts, dataset, records
  )
  metrics = summary.score(found) | {
    'split': split,
    'folder': name_folder(section, parts, split, condition),
    **about,
    'views': views,
    **smoothed,
    **rate,
    'checkpoint': restored.step,
    'chosen_by': describe_choice(restored.config, checkpoint),
    'cost': cost.describe(workdir, restored, watch, **rate),
  }
  more = {
    'condition': condition.describe() if condition.name else None,
    'overlap': overlap,
    'classes_from': section.get('classes_from'),
    'derived': restored.derived,
  }
  metrics |= {name: value for name, value in more.items() if value}
  metrics['warnings'] = caveats.list_warnings(
    metrics, found, restored, dataset, parts, condition, [*overlap, *unknown]
  )
  if distributed.is_first():
    write(workdir, found, metrics, about)
  return metrics


def open_run(
  workdir: pathlib.Path, checkpoint: str | int, condition: conditions.Condition
) -> restore.Restored:
  """A checkpoint, ready to be scored under a condition.

  Raises:
    AvemoError: no such run or checkpoint, a condition that is not for it, or
      several processes that cannot share its clips.
  """
  restored = restore.restore(workdir, checkpoint=checkpoint)
  condition.check(restored.options.use)
  if condition.adaptive is not None:
    restored = films.set_adaptive(restored, workdir, condition.adaptive)
  if not distributed.is_alone():
    checks.check_sharing(workdir)
  return films.open_towers(restored)


def open_records(
  restored: restore.Restored,
  parts: Sequence[parts_lib.Part],
  split: str,
  data_dir: str | os.PathLike | None,
) -> tuple[Any, np.ndarray]:
  """The dataset of parts, and which of its records are of the split.

  Raises:
    AvemoError: no such dataset or fold, or an empty split.
  """
  dataset = parts_lib.open_parts(
    parts, data_dir or restored.config.get('data_dir')
  )
  dataset = dimensions.classify(
    dataset, restored.config['data'].get('classes_from')
  )
  records = parts_lib.find_split(dataset, parts, split)
  if not len(records):
    about = describe_data(dataset, parts)
    raise errors.AvemoError(
      f'{about["protocol"]}, fold {about["fold"]}: no {split} clips in '
      f'{dataset.name}'
    )
  return dataset, records


def write(
  workdir: pathlib.Path,
  found: table.Predictions,
  metrics: Mapping[str, Any],
  about: Mapping[str, Any],
) -> None:
  """Leaves what was found in the workdir, and says it."""
  directory = workdir / 'eval' / metrics['folder']
  keep_other_score(directory, about)
  table.write(directory / 'predictions.csv', found)
  page.write_text(
    directory / 'metrics.json', json.dumps(metrics, indent=1) + '\n'
  )
  report.write(directory, metrics, workdir)
  print(report.summarize(metrics))
  print(f'report: {directory / "report.html"}')


def choose_parts(
  workdir: pathlib.Path,
  section: Mapping[str, Any],
  data: str | None,
  protocol: str | None,
  fold: int | None,
) -> tuple[parts_lib.Part, ...]:
  """The corpora to score on: the run's own, unless others are named.

  Raises:
    AvemoError: nothing says which, or a protocol for several corpora at once.
  """
  own = ()
  if section.get('mixture') or section.get('name'):
    own = parts_lib.read(section)
  if data is None and protocol is None and fold is None and own:
    return own
  matching = [part for part in own if data in (part.key, part.name, None)]
  if len(matching) > 1:
    raise errors.AvemoError(
      f'{workdir}: trained on {", ".join(part.key for part in own)}; name one '
      'of them by --data'
    )
  if matching:
    part = matching[0]
    if fold is None:
      fold = part.fold
    changed = {'protocol': protocol or part.protocol, 'fold': fold}
    return (dataclasses.replace(part, **changed),)
  protocol = protocol or section.get('protocol')
  if data and own and not protocol:
    raise errors.AvemoError(
      f'{workdir}: trained on {", ".join(part.key for part in own)}, and '
      f'{data!r} is none of them; name its folds by --protocol'
    )
  if not data or not protocol:
    raise errors.AvemoError(
      f'{workdir}: trained on other data; name --data and --protocol'
      if own
      else f'{workdir}: converted weights know no corpus; name --data and '
      '--protocol'
    )
  fold = section.get('fold') or 0 if fold is None else fold
  return (parts_lib.Part(data, data, protocol, fold),)


def name_folder(
  section: Mapping[str, Any],
  parts: Sequence[parts_lib.Part],
  split: str,
  condition: conditions.Condition,
) -> str:
  """Where in `eval/` a score stands, such as `test-cut_2s`."""
  return '-'.join(
    filter(None, (split, find_part(section, parts), condition.name))
  )


def find_part(
  section: Mapping[str, Any], parts: Sequence[parts_lib.Part]
) -> str:
  """What a run's mixture calls the one corpus of it that is scored, or ''."""
  known = {
    part.key: part.name
    for part in (parts_lib.read(section) if section.get('mixture') else ())
  }
  alone = len(parts) == 1 < len(known)
  if alone and known.get(parts[0].key) == parts[0].name:
    return parts[0].key
  return ''


def describe_data(
  dataset: Any, parts: Sequence[parts_lib.Part]
) -> dict[str, Any]:
  """What was scored, by which protocol and fold; of several, joined."""
  numbers = [part.fold for part in parts]
  return {
    'dataset': dataset.name,
    'protocol': ' + '.join(part.protocol for part in parts),
    'fold': numbers[0] if len(parts) == 1 else numbers,
  }


def predict_rows(
  restored: restore.Restored,
  dataset: Any,
  records: np.ndarray,
  step: predictions.Step | None = None,
  *,
  views: int,
  condition: conditions.Condition | None = None,
) -> rows.RecordPredictions:
  """Predicts records of a dataset, with a progress bar.

  Classes that the dataset's corpus does not annotate get probability 0.
  """
  section, space = restored.config['data'], restored.labels
  # A multiple of the devices, whatever machine the training run had.
  devices = restored.mesh.size
  size = -(-section['batch_size'] // devices) * devices
  every = section.get('every', 1.0)
  features = films.open_features(restored, dataset, records)
  if features is None:
    total = len(
      pipeline.list_looks(
        dataset,
        records,
        targets.make_table(dataset, space, tasks=restored.tasks),
        options=restored.options,
        views=views,
        every=every,
      )
    )
  else:
    total = sum(features.count(record) for record in records)
  with tqdm.tqdm(
    total=total,
    unit='view' if features is None else 'frame',
    desc='predicting',
    disable=None if distributed.is_first() else True,
  ) as bar:
    return predictions.predict_records(
      step or predictions.make_predict_step(restored.model, restored.mesh),
      restored.variables,
      dataset,
      records,
      space,
      tasks=restored.tasks,
      options=restored.options,
      batch_size=size,
      mesh=restored.mesh,
      views=views,
      every=every,
      workers=section.get('workers', 0),
      progress=bar.update,
      change=condition.apply if condition and condition.changes_clips else None,
      features=features,
    )


def make_rows(
  found: predictions.RecordPredictions,
  dataset: Any,
  names: tuple[str, ...],
  tasks: Sequence[str],
) -> table.Predictions:
  """The table of what was said."""
  index, record = dataset.index, found.record
  keys = np.array(mixture.list_keys(dataset))
  corpus = list(keys[mixture.find_parts(dataset, record)])
  has_emotions = labels.EMOTION in tasks
  return table.Predictions(
    classes=names if has_emotions else (),
    clip_id=[str(word) for word in index['clip_id'][record]],
    segment=np.asarray(index['segment'])[record],
    speaker=[str(word) for word in index['speaker'][record]],
    label=[names[e] if e >= 0 and has_emotions else '' for e in found.emotion],
    probabilities=found.probabilities,
    frame=found.frame,
    corpus=[str(key) for key in corpus] if len(keys) > 1 else None,
    values=found.values,
    truth=found.truth,
  )


def keep_other_score(directory: pathlib.Path, about: Mapping[str, Any]) -> None:
  """Moves the score of other clips aside, which a new one would replace."""

  def find_place(about):
    words = '-'.join(map(str, (directory.name, *about.values())))
    return directory.with_name(re.sub(r'[^\w.]+', '-', words).strip('-'))

  if (directory / 'metrics.json').is_file():
    old = restore.read_json(directory / 'metrics.json')
    old = {name: old.get(name) for name in about}
    if old != about:
      place = find_place(old)
      shutil.rmtree(place, ignore_errors=True)
      directory.rename(place)
      print(f'the score of fold {old["fold"]} that stood there is in {place}')
  # What stood aside is about to be made anew.
  shutil.rmtree(find_place(about), ignore_errors=True)


def describe_choice(config: dict[str, Any], checkpoint: str | int) -> str:
  """In words, how the checkpoint came to be the one that is scored."""
  if not config['data'].get('protocol') and not config['data'].get('mixture'):
    return 'nobody: the weights are converted'
  if checkpoint != 'best':
    return 'the last step' if checkpoint == 'last' else 'named by the user'
  if config['data'].get('refit'):
    return 'the last step (trained on validation clips too)'
  return config.get('control', {}).get('metric', restore.DEFAULT_METRIC)
