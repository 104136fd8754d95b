"""Several corpora as one dataset: their records one after another.

Whatever reads a dataset by rows of its index reads a mixture alike. What is
a corpus's own (the classes it annotates, its folds, its share of the
examples) is asked of its part.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo import corpora, errors
from avemo.data import labels as labels_lib
from avemo.data import schema


class Source:
  """Random access to the records of several sources, one after another."""

  def __init__(self, sources: Sequence[Any]):
    self._sources = list(sources)
    self._ends = np.cumsum([len(source) for source in self._sources])

  def __len__(self) -> int:
    return int(self._ends[-1])

  def __getitem__(self, record: int) -> dict[str, Any]:
    part = int(np.searchsorted(self._ends, record, side='right'))
    before = int(self._ends[part - 1]) if part else 0
    return self._sources[part][record - before]


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Datasets as one; see `schema.Dataset` for what it has in common.

  Attributes:
    keys: what a config calls the parts.
    parts: open datasets.
  """

  keys: tuple[str, ...]
  parts: tuple[Any, ...]

  @functools.cached_property
  def source(self) -> Source:
    return Source([part.source for part in self.parts])

  @functools.cached_property
  def index(self) -> dict[str, np.ndarray]:
    """The columns that all parts have."""
    names = [
      name
      for name, column in self.parts[0].index.items()
      if all(
        name in part.index and part.index[name].shape[1:] == column.shape[1:]
        for part in self.parts
      )
    ]
    return {
      name: np.concatenate([part.index[name] for part in self.parts])
      for name in names
    }

  @property
  def name(self) -> str:
    return ' + '.join(part.name for part in self.parts)

  @property
  def corpus(self) -> str:
    return ' + '.join(part.corpus for part in self.parts)

  @property
  def emotions(self) -> tuple[str, ...]:
    """The words of all parts: first come, first placed."""
    return tuple(dict.fromkeys(w for part in self.parts for w in part.emotions))


def list_parts(dataset: Any) -> tuple[Any, ...]:
  """The parts of a mixture; a dataset is its own only part."""
  return dataset.parts if isinstance(dataset, Mixture) else (dataset,)


def list_keys(dataset: Any) -> tuple[str, ...]:
  """What the parts are called."""
  return dataset.keys if isinstance(dataset, Mixture) else (dataset.corpus,)


def find_offsets(dataset: Any) -> np.ndarray:
  """The first row of each part, and the number of all rows, int64 [P + 1]."""
  sizes = [len(part.source) for part in list_parts(dataset)]
  return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def find_parts(dataset: Any, records: Sequence[int]) -> np.ndarray:
  """The part of each record, int64 [N]."""
  ends = find_offsets(dataset)[1:]
  return np.searchsorted(ends, np.asarray(records, np.int64), side='right')


def make_space(
  dataset: Any, label_map: Mapping[str, str] | None = None
) -> labels_lib.LabelSpace:
  """The classes of one head over all parts.

  Args:
    dataset: a dataset or a mixture.
    label_map: words that count as another, by word; a word that stands for
      itself is a class of its own.

  Raises:
    AvemoError: a word of one corpus that no known corpus uses, and that is
      not mapped: it may mean what another corpus calls otherwise.
  """
  label_map = dict(label_map or {})
  parts = list_parts(dataset)
  words = {word for part in parts for word in part.emotions}
  known = {w for module in corpora.CORPORA.values() for w in module.EMOTIONS}
  for word in label_map:
    if word not in words:
      near = difflib.get_close_matches(word, words, 1, cutoff=0.0)
      hint = f'; did you mean {near[0]!r}?' if near else ''
      raise errors.AvemoError(
        f'data.label_map: no corpus labels with {word!r}{hint}'
      )
  for key, part in zip(list_keys(dataset), parts, strict=True):
    strange = [w for w in part.emotions if w not in known | label_map.keys()]
    if strange and len(parts) > 1:
      raise errors.AvemoError(
        f'{key}: labels with {strange[0]!r}, which may mean a class of another '
        f'corpus; set data.label_map.{strange[0]} to that class, or to '
        f'{strange[0]!r} itself'
      )
  spaces = [labels_lib.LabelSpace.of(part.emotions) for part in parts]
  renamed = {word: name for word, name in label_map.items() if word != name}
  if len(parts) == 1 and not renamed:
    return spaces[0]
  return labels_lib.union(spaces, renamed)


def identify(dataset: Any) -> str:
  """A sha256 of what the records are; see `schema.identify`."""
  if not isinstance(dataset, Mixture):
    return schema.identify(dataset)
  found = [[key, schema.identify(p)] for key, p in zip_parts(dataset)]
  return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def zip_parts(dataset: Any) -> list[tuple[str, Any]]:
  """Pairs of what a part is called and the part."""
  return list(zip(list_keys(dataset), list_parts(dataset), strict=True))
