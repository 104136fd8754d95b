"""Whom a run has learned from, itself and through the weights it starts from.

A workdir's `trained_on.json` is a list of entries, the run's own first, then
those of each run whose weights it took. An entry has the `path` of its run,
whether that had `labels`, and by corpus the speakers and clips that were
`trained` and `chosen` on.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo import errors, words
from avemo.corpora import protocols
from avemo.data import mixture
from avemo.data import parts as parts_lib

FILE = 'trained_on.json'
NOUNS = {'speaker': 'speaker', 'clip_id': 'clip'}
_VERBS = {
  ('trained', True): 'was trained on',
  ('trained', False): 'was trained without labels on',
  ('chosen', True): 'was chosen on',
  ('chosen', False): 'was chosen without labels on',
}

Entry = Mapping[str, Any]


def describe(
  path: str | os.PathLike,
  dataset: Any,
  train: np.ndarray,
  val: np.ndarray,
  *,
  has_labels: bool,
) -> dict[str, Any]:
  """The entry of a run.

  Args:
    path: of its workdir.
    dataset: a dataset or a mixture.
    train: records that are trained on.
    val: records that the checkpoint is chosen on.
    has_labels: whether labels are learned.
  """
  found: dict[str, Any] = {}
  for kind, records in (('trained', train), ('chosen', val)):
    for one, own in _divide(dataset, records):
      place = found.setdefault(one.corpus, {}).setdefault(kind, {})
      for name in NOUNS:
        known = {str(word) for word in np.unique(one.index[name][own])}
        place[name] = sorted(known.union(place.get(name, ())) - {''})
  return {'path': os.path.abspath(path), 'labels': has_labels, 'corpora': found}


def read(path: str | os.PathLike) -> list[Entry]:
  """The entries of a workdir; none where nobody is known, as of a conversion.

  Raises:
    AvemoError: the file is damaged.
  """
  path = pathlib.Path(path).expanduser() / FILE
  if not path.is_file():
    return []
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise errors.AvemoError(f'{path}: cannot be read ({error})') from error


def find_shared(
  entries: Sequence[Entry],
  parts: Sequence[parts_lib.Part],
  dataset: Any,
  records: np.ndarray,
  kind: str,
) -> list[tuple[Entry, str]]:
  """The entries that have seen some of the records, and in words how.

  Speakers count where the protocol keeps them apart, else clips alone.

  Args:
    entries: of a workdir.
    parts: of the dataset.
    dataset: a dataset or a mixture.
    records: that ought to be unseen.
    kind: 'trained' or 'chosen'.
  """
  found = []
  for part, (one, own) in zip(parts, _divide(dataset, records), strict=True):
    names = ['clip_id']
    if protocols.get(part.protocol).speaker_independent:
      names.insert(0, 'speaker')
    for entry in entries:
      seen = entry['corpora'].get(one.corpus, {}).get(kind, {})
      for name in names:
        shared = np.intersect1d(one.index[name][own], seen.get(name, ()))
        shared = shared[shared != '']
        if len(shared):
          count = words.count(len(shared), NOUNS[name])
          text = f'{count} of {one.corpus}, such as {shared[0]}'
          found.append((entry, f'{_VERBS[kind, entry["labels"]]} {text}'))
          break
  return found


def list_warnings(
  entries: Sequence[Entry],
  parts: Sequence[parts_lib.Part],
  dataset: Any,
  records: np.ndarray,
) -> list[str]:
  """What a reader of a score must know: who of the records was seen before.

  Args:
    entries: of the runs that the scored one starts from.
    parts: of the dataset.
    dataset: a dataset or a mixture.
    records: that are scored.
  """
  return [
    f'{entry["path"]}, whose weights this run starts from, {how}, of those '
    'scored here'
    for kind in ('trained', 'chosen')
    for entry, how in find_shared(entries, parts, dataset, records, kind)
  ]


def _divide(dataset: Any, records: np.ndarray) -> list[tuple[Any, np.ndarray]]:
  """Each part of a dataset, and which of its own rows the records are."""
  records = np.asarray(records, np.int64)
  numbers = mixture.find_parts(dataset, records)
  offsets = mixture.find_offsets(dataset)
  return [
    (one, records[numbers == number] - offsets[number])
    for number, one in enumerate(mixture.list_parts(dataset))
  ]
