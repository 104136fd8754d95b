"""Scores a checkpoint on one part of a protocol's fold."""

import json
import os
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import tqdm

from avemo import errors
from avemo.corpora import protocols
from avemo.data import folds, schema
from avemo.evaluate import page, plots, predictions, restore, table
from avemo.metrics import classification, intervals
from avemo.runtime import writers


def evaluate(
  workdir: str | os.PathLike,
  *,
  checkpoint: str | int = 'best',
  split: str = 'test',
  data: str | None = None,
  protocol: str | None = None,
  fold: int | None = None,
  views: int | None = None,
  data_dir: str | os.PathLike | None = None,
) -> dict[str, Any]:
  """Predicts the clips of a split, scores them and writes a report.

  Args:
    workdir: of a training run; `eval/<split>/` in it gets `metrics.json`,
      `predictions.csv`, `confusion.png` and `report.html`.
    checkpoint: 'best', 'last' or a step.
    split: 'train', 'val' or 'test' of the fold.
    data: dataset; the training run's when None, like the next two.
    protocol: its name.
    fold: published number of the fold.
    views: test-time views of a clip, whose probabilities are averaged; 1.
    data_dir: where datasets are; as in the training run when None.

  Returns:
    What `metrics.json` holds.

  Raises:
    AvemoError: no such run, checkpoint, dataset or fold, or an empty split.
  """
  workdir = pathlib.Path(workdir)
  restored = restore.restore(workdir, checkpoint=checkpoint)
  section = restored.config['data']
  data = data or section.get('name')
  protocol = protocol or section.get('protocol')
  if not data or not protocol:
    raise errors.AvemoError(
      f'{workdir}: converted weights know no corpus; name --data and --protocol'
    )
  dataset = schema.open_dataset(
    data, data_dir or restored.config.get('data_dir')
  )
  fold = section.get('fold', 0) if fold is None else fold
  records = folds.find_split(dataset, protocol, fold).get(split)
  if not len(records):
    raise errors.AvemoError(
      f'{protocol}, fold {fold}: no {split} clips in {dataset.name}'
    )
  found = predict(restored, dataset, records, views=views or 1)
  directory = workdir / 'eval' / split
  about = {'dataset': dataset.name, 'protocol': protocol, 'fold': fold}
  keep_other_score(directory, about)
  table.write(directory / 'predictions.csv', found)
  flaws = protocols.get(protocol).flaws
  metrics = score(found) | {
    'split': split,
    **about,
    'views': views or 1,
    'checkpoint': restored.step,
    'chosen_by': describe_choice(restored.config, checkpoint),
    'warnings': find_warnings(section, protocol, fold, split, flaws),
  }
  if not restored.dataset:
    metrics['warnings'].append(
      'the weights were trained elsewhere, perhaps on these very clips'
    )
  elif not is_own_data(restored, dataset):
    metrics['warnings'].append(
      f'trained on {restored.dataset}, which may hold clips of {dataset.name}'
    )
  if metrics['num_without_input']:
    metrics['warnings'].append(
      f'{metrics["num_without_input"]} clips lack '
      f'{" and ".join(restored.options.use)}: nothing is said of them, and '
      'they are not scored'
    )
  page.write_text(
    directory / 'metrics.json', json.dumps(metrics, indent=1) + '\n'
  )
  report(directory, metrics, workdir)
  print(summarize(metrics))
  print(f'report: {directory / "report.html"}')
  return metrics


def predict(
  restored: restore.Restored, dataset: Any, records: np.ndarray, *, views: int
) -> table.Predictions:
  """Predicts records of a dataset, with a progress bar.

  Classes that the dataset's corpus does not annotate get probability 0.
  """
  section = restored.config['data']
  # A multiple of the devices, whatever machine the training run had.
  devices = restored.mesh.size
  size = -(-section['batch_size'] // devices) * devices
  with tqdm.tqdm(
    total=len(records) * views, unit='view', desc='predicting', disable=None
  ) as bar:
    found = predictions.predict_records(
      predictions.make_predict_step(restored.model, restored.mesh),
      restored.variables,
      dataset,
      records,
      restored.labels,
      options=restored.options,
      batch_size=size,
      mesh=restored.mesh,
      views=views,
      workers=section.get('workers', 0),
      progress=bar.update,
    )
  names = restored.labels.names
  index = dataset.index
  return table.Predictions(
    classes=names,
    clip_id=[str(index['clip_id'][r]) for r in records],
    segment=np.asarray(index['segment'])[records],
    speaker=[str(index['speaker'][r]) for r in records],
    label=[names[e] if e >= 0 else '' for e in found.emotion],
    probabilities=found.probabilities,
  )


def score(found: table.Predictions) -> dict[str, Any]:
  """Metrics of a table of predictions, with intervals by speaker.

  Clips without a label count in `num_unlabelled` alone, and those that lack
  every modality in use in `num_without_input`.
  """
  index = {name: number for number, name in enumerate(found.classes)}
  label = np.array([index.get(label, -1) for label in found.label])
  prediction = np.array([index.get(name, -1) for name in found.prediction])
  truth = np.where(prediction < 0, -1, label)
  counts = classification.confusion(truth, prediction, len(found.classes))
  metrics = classification.summarize(counts, found.classes)
  # The counts stand under `confusion`, their order under `labels`.
  metrics['confusion'] = counts.tolist()
  metrics['labels'] = list(found.classes)
  metrics['num_unlabelled'] = int((label < 0).sum())
  metrics['num_without_input'] = int((prediction < 0).sum())
  speakers = {s for s, t in zip(found.speaker, truth, strict=True) if t >= 0}
  metrics['num_speakers'] = len(speakers)
  bounds = intervals.classification_intervals(
    truth, prediction, found.speaker, len(found.classes)
  )
  metrics['intervals'] = bounds and {
    name: [interval.low, interval.high] for name, interval in bounds.items()
  }
  if bounds is None:
    metrics['intervals_note'] = (
      f'no intervals: {len(speakers)} speakers, 8 are needed'
    )
  return metrics


def is_own_data(restored: restore.Restored, dataset: Any) -> bool:
  """Whether a dataset is the one that the run was trained on."""
  return restored.dataset_sha256 == schema.identify(dataset)


def keep_other_score(directory: pathlib.Path, about: Mapping[str, Any]) -> None:
  """Moves the score of other clips aside, which a new one would replace."""

  def find_place(about):
    words = map(str, (directory.name, *about.values()))
    return directory.with_name(re.sub(r'[^\w.]+', '-', '-'.join(words)))

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
  if 'protocol' not in config['data']:
    return 'nobody: the weights are converted'
  if checkpoint != 'best':
    return 'the last step' if checkpoint == 'last' else 'named by the user'
  if config['data'].get('refit'):
    return 'the last step (trained on validation clips too)'
  return config.get('control', {}).get('metric', restore.DEFAULT_METRIC)


def find_warnings(
  section: dict[str, Any],
  protocol: str,
  fold: int,
  split: str,
  flaws: tuple[str, ...],
) -> list[str]:
  """What a reader must know before believing the score."""
  warnings = [f'{protocol}: {flaw}' for flaw in flaws]
  if split != 'test':
    warnings.append(f'these are {split} clips, not unseen ones')
  own = section.get('protocol'), section.get('fold', 0)
  if own[0] and (protocol, fold) != own:
    warnings.append(
      f'trained under {section["protocol"]}, fold {section.get("fold", 0)}: '
      'the clips scored here may have been trained on'
    )
  return warnings


def summarize(metrics: dict[str, Any]) -> str:
  """The main figures as lines of text."""
  lines = []
  for name in ('uar', 'war', 'f1_macro'):
    line = f'{name:8s} {metrics[name]:.4f}'
    if metrics['intervals']:
      low, high = metrics['intervals'][name]
      line += f'  (95 % by speaker: {low:.4f} to {high:.4f})'
    lines.append(line)
  lines.append(
    f'{metrics["num_examples"]} {metrics["split"]} clips of '
    f'{metrics["num_speakers"]} speakers; step {metrics["checkpoint"]}, '
    f'chosen by {metrics["chosen_by"]}'
  )
  if metrics['intervals'] is None:
    lines.append(metrics['intervals_note'])
  lines += [f'warning: {warning}' for warning in metrics['warnings']]
  return '\n'.join(lines)


def report(
  directory: pathlib.Path, metrics: dict[str, Any], workdir: pathlib.Path
) -> None:
  """Writes `confusion.png` and `report.html`."""
  png = plots.plot_confusion(metrics['confusion'], metrics['labels'])
  page.write_bytes(directory / 'confusion.png', png)
  show = lambda value: '' if value is None else f'{value:.3f}'
  classes = page.Table(
    ['class', 'clips', 'recall', 'precision', 'F1'],
    [
      [
        name,
        str(metrics['support'][name]),
        *(show(metrics[m][name]) for m in ('recall', 'precision', 'f1')),
      ]
      for name in metrics['labels']
    ],
  )
  curves = read_curves(workdir / 'metrics.jsonl')
  sections = [
    page.Section('Scores', text=summarize(metrics).splitlines()),
    page.Section('By class', table=classes),
    page.Section('Confusion', figures=[page.Figure(png, 'rows: true class')]),
  ]
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


def read_curves(path: pathlib.Path) -> dict[str, tuple[list, list]]:
  """The curves worth a look out of `metrics.jsonl`; none without the file."""
  curves: dict[str, tuple[list, list]] = {}
  for row in writers.read_lines(path):
    for name in ('train/loss', 'val/loss', 'val/uar'):
      if row.get(name) is not None:
        x, y = curves.setdefault(name, ([], []))
        x.append(row['step'])
        y.append(row[name])
  return curves
