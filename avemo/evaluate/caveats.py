"""What a reader must know before believing a score."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo.corpora import protocols
from avemo.data import folds, mixture, seen
from avemo.data import parts as parts_lib
from avemo.evaluate import conditions, restore, scores, table


def list_warnings(
  metrics: Mapping[str, Any],
  found: table.Predictions,
  restored: restore.Restored,
  dataset: Any,
  parts: Sequence[parts_lib.Part],
  condition: conditions.Condition,
  overlaps: Sequence[str],
) -> list[str]:
  """All of them, each once.

  Args:
    metrics: of what was found, with `split` and `views`.
    found: what was said of the clips.
    restored: the model that said it.
    dataset: of the clips.
    parts: of the dataset.
    condition: under which they were seen and heard.
    overlaps: of `list_overlaps`.
  """
  section = restored.config['data']
  warnings = [
    *warn_of_condition(restored, condition),
    *warn_of_absent(metrics),
    *list_of_folds(section, parts, dataset, metrics['split']),
    *overlaps,
    *warn_of_data(restored, dataset, metrics),
  ]
  has_films = found.frame is not None and bool((found.frame >= 0).any())
  if metrics['views'] > 1 and has_films:
    warnings.append(
      'views are of clips: films that are labelled by frame were read once'
    )
  return list(dict.fromkeys(warnings))


def list_of_folds(
  section: dict[str, Any],
  parts: Sequence[parts_lib.Part],
  dataset: Any,
  split: str,
) -> list[str]:
  """What is wrong with the folds, of each corpus that is scored.

  Args:
    section: `data` of the run's config.
    parts: that are scored.
    dataset: of the parts.
    split: of their folds.
  """
  warnings = []
  for part, one in zip(parts, mixture.list_parts(dataset), strict=True):
    flaws = protocols.find_flaws(part.protocol, folds.make_rows(one.index))
    warnings += find_warnings(section, part, split, flaws)
    warnings += folds.list_leaks(one, part.protocol, part.fold)
  return warnings


def warn_of_absent(metrics: Mapping[str, Any]) -> list[str]:
  """Of classes that no example has, whose absence flatters a mean."""
  support = metrics.get('support') or {}
  absent = [name for name, count in support.items() if not count]
  if not absent:
    return []
  return [
    f'{len(absent)} of {len(support)} classes do not occur '
    f'({", ".join(absent)}): uar and f1_macro are means over the others'
  ]


def list_overlaps(
  workdir: pathlib.Path,
  config: Mapping[str, Any],
  parts: Sequence[parts_lib.Part],
  dataset: Any,
  records: np.ndarray,
) -> tuple[list[str], list[str]]:
  """Who of the records was seen by weights that a run starts from.

  Args:
    workdir: of the run.
    config: of the run.
    parts: of the dataset.
    dataset: a dataset or a mixture.
    records: that are scored.

  Returns:
    What is known of it, and of what nothing is known.
  """
  if not seen.list_sources(config):
    return [], []
  # The first entry is the run's own, for which its protocol answers.
  own, *others = seen.read(workdir) or [{}]
  entries = [own] if own.get('unknown') else others
  known = seen.list_warnings(entries, parts, dataset, records)
  return known, seen.list_unknown(entries)


def find_warnings(
  section: dict[str, Any],
  part: parts_lib.Part,
  split: str,
  flaws: tuple[str, ...],
) -> list[str]:
  """What a reader must know before believing the score."""
  warnings = [f'{part.protocol}: {flaw}' for flaw in flaws]
  if split != 'test':
    warnings.append(f'these are {split} clips, not unseen ones')
  if not section.get('mixture') and not section.get('protocol'):
    return warnings
  own = [(p.protocol, p.fold) for p in parts_lib.read(section)]
  if (part.protocol, part.fold) not in own:
    trained = '; '.join(f'{protocol}, fold {fold}' for protocol, fold in own)
    warnings.append(
      f'trained under {trained}: the clips scored here may have been trained on'
    )
  return warnings


def warn_of_data(
  restored: restore.Restored, dataset: Any, metrics: Mapping[str, Any]
) -> list[str]:
  """What a reader must know of the clips themselves."""
  warnings = []
  if not restored.dataset:
    warnings.append(
      'the weights were trained elsewhere, perhaps on these very clips'
    )
  elif not is_own_data(restored, dataset):
    warnings.append(
      f'trained on {restored.dataset}, which may hold clips of {dataset.name}'
    )
  if metrics['num_without_input']:
    warnings.append(
      f'{metrics["num_without_input"]} clips lack '
      f'{" and ".join(restored.options.use)}: nothing is said of them, and '
      'they are not scored'
    )
  for task in restored.tasks:
    if metrics.get(scores.NAMES[task][0]) is None:
      warnings.append(f'{task}: no labels here, and not scored')
  for task, name in restored.derived.items():
    warnings.append(
      f'{task}: learned in part from values derived from emotions by {name}, '
      'which are no ground truth; scored against labels alone'
    )
  return warnings


def warn_of_condition(
  restored: restore.Restored, condition: conditions.Condition
) -> list[str]:
  """That the clips were not seen or heard as they are."""
  warnings = []
  if condition.name:
    warnings.append(
      f'scored under the condition {condition.name}, not on the clips as they '
      'are'
    )
  if condition.without:
    augment = restored.config.get('augment') or {}
    dropped = augment.get('modality_dropout') or {}
    # What is not said is dropped at the rate of the augmentation itself.
    if 'modality_dropout' not in augment or not dropped.get(
      condition.without, 1
    ):
      warnings.append(
        f'the model was never trained without {condition.without}; see '
        'augment.modality_dropout'
      )
  return warnings


def is_own_data(restored: restore.Restored, dataset: Any) -> bool:
  """Whether a dataset is the one that the run was trained on, or one of."""
  own = {
    restored.dataset_sha256,
    *(p['dataset_sha256'] for p in restored.parts),
  }
  return mixture.identify(dataset) in own
