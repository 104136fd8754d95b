"""The corpora that a config names, open and divided by their protocols."""

import dataclasses
import difflib
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo import errors
from avemo.data import folds, mixture, schema


@dataclasses.dataclass(frozen=True)
class Part:
  """One corpus of a config.

  Attributes:
    key: what the config calls it.
    name: of the dataset.
    protocol: of its folds.
    fold: published number.
    weight: its share in the examples, in proportion to the others'; None is as
      many as it has records, for all parts or for none.
  """

  key: str
  name: str
  protocol: str
  fold: int = 0
  weight: float | None = None


def read(data: Mapping[str, Any]) -> tuple[Part, ...]:
  """The corpora that a config's section `data` names, in alphabetical order.

  Raises:
    AvemoError: neither one nor several, or both; an unknown key; no protocol;
      a weight below 0, or weights of some parts alone.
  """
  several = data.get('mixture') or {}
  if not several:
    for key in ('name', 'protocol'):
      if not data.get(key):
        raise errors.AvemoError(f"config: 'data.{key}' is missing")
    name = data['name']
    return (Part(name, name, data['protocol'], data.get('fold') or 0),)
  for key in ('name', 'protocol', 'fold'):
    if data.get(key) is not None:
      raise errors.AvemoError(
        f'config: data.mixture names the corpora: leave data.{key} out'
      )
  # By name, as configs are sorted, so that classes stand in one order.
  parts = tuple(_read_part(key, several[key]) for key in sorted(several))
  weights = [part.weight for part in parts]
  if any(w is not None for w in weights):
    if any(w is None or not w >= 0 for w in weights) or not sum(weights) > 0:
      raise errors.AvemoError(
        'config: data.mixture: set the weight of every corpus, at least 0, '
        'and of one above 0; or of none'
      )
  return parts


def _read_part(key, section):
  place = f'data.mixture.{key}'
  known = [f.name for f in dataclasses.fields(Part) if f.name != 'key']
  for name in section:
    if name not in known:
      near = difflib.get_close_matches(name, known, 1, cutoff=0.0)[0]
      raise errors.AvemoError(
        f"config: unknown key '{place}.{name}'; did you mean {near!r}?"
      )
  if not section.get('protocol'):
    raise errors.AvemoError(f"config: '{place}.protocol' is missing")
  return Part(key, **({'name': f'{key}{schema.SUFFIX}'} | dict(section)))


def open_parts(
  parts: Sequence[Part], data_dir: str | os.PathLike | None
) -> Any:
  """The dataset of the parts, a mixture where there are several."""
  opened = tuple(schema.open_dataset(part.name, data_dir) for part in parts)
  if len(opened) == 1:
    return opened[0]
  return mixture.Mixture(tuple(part.key for part in parts), opened)


def find_split(dataset: Any, parts: Sequence[Part], split: str) -> np.ndarray:
  """The records of a split, each part's by its own protocol, int64.

  Raises:
    AvemoError: a fold does not fit its corpus.
  """
  offsets = mixture.find_offsets(dataset)
  return np.concatenate(
    [
      offset + folds.find_split(one, part.protocol, part.fold).get(split)
      for part, one, offset in zip(
        parts, mixture.list_parts(dataset), offsets, strict=False
      )
    ]
  )


def divide(
  dataset: Any, parts: Sequence[Part], *, refit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
  """Training and validation records, each part's by its own protocol.

  Args:
    dataset: of the parts.
    parts: the corpora.
    refit: whether validation records are trained on as well.

  Raises:
    AvemoError: the folds do not fit, or there is nothing to choose on.
  """
  opened, offsets = mixture.list_parts(dataset), mixture.find_offsets(dataset)
  splits = [
    folds.find_split(one, part.protocol, part.fold)
    for part, one in zip(parts, opened, strict=True)
  ]
  train, val = [], []
  for part, split, offset in zip(parts, splits, offsets, strict=False):
    if refit and np.intersect1d(split.val, split.test).size:
      raise errors.AvemoError(
        f'{part.protocol}: its validation clips are its test clips, which '
        'data.refit=True would train on; use the nested protocol'
      )
    if refit:
      train.append(offset + np.sort(np.concatenate([split.train, split.val])))
      continue
    if not len(split.val):
      raise errors.AvemoError(
        f'{part.protocol}, fold {part.fold}: no validation clips here to '
        'choose on; set data.refit=True to train without'
      )
    train.append(offset + split.train)
    val.append(offset + split.val)
  check_leaks(parts, opened, splits, refit=refit)
  none = np.zeros(0, np.int64)
  return np.concatenate(train), np.concatenate([none, *val])


def check_leaks(
  parts: Sequence[Part],
  opened: Sequence[Any],
  splits: Sequence[folds.Split],
  *,
  refit: bool,
) -> None:
  """Raises an AvemoError where one part trains on what another keeps unseen.

  Within a part its protocol answers for that. Speakers and recordings have
  their names in one corpus alone; identical sound is found in any.
  """
  for number, other in itertools.permutations(range(len(parts)), 2):
    trained = [splits[number].train] + [splits[number].val] * refit
    unseen = [splits[other].test] + [splits[other].val] * (not refit)
    kinds = ['audio_sha256']
    if opened[number].corpus == opened[other].corpus:
      kinds += ['speaker', 'recording']
    for kind in kinds:
      shared = np.intersect1d(
        opened[number].index[kind][np.concatenate(trained)],
        opened[other].index[kind][np.concatenate(unseen)],
      )
      shared = shared[shared != '']
      if len(shared):
        what = 'identical sound' if kind == 'audio_sha256' else kind
        raise errors.AvemoError(
          f'data.mixture.{parts[number].key} trains on what '
          f'{parts[other].key} is chosen or scored on: {len(shared)} of kind '
          f'{what}, such as {shared[0]}; choose folds that agree, or leave one '
          'of them out'
        )
