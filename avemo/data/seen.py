"""Whom a run has learned from, itself and through the weights it starts from.

A workdir's `trained_on.json` is a list of entries, the run's own first, then
those of each run whose weights it took. An entry has the `path` of its run,
whether that had `labels`, and by corpus the speakers, clips, recordings and
hashes of sound that were `trained` and `chosen` on. Of a run that has left no
such file nothing is known, and its entry is `unknown`.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo import errors, words
from avemo.corpora import protocols
from avemo.data import folds, mixture
from avemo.data import parts as parts_lib

FILE = 'trained_on.json'
NOUNS = {
  'speaker': 'speaker',
  'clip_id': 'clip',
  'recording': 'recording',
  'audio_sha256': 'sound',
}
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
        known = set(map(str, _find_values(one, name, own)))
        place[name] = sorted(known.union(place.get(name, ())))
  return {'path': os.path.abspath(path), 'labels': has_labels, 'corpora': found}


def read(path: str | os.PathLike) -> list[Entry]:
  """The entries of a workdir; none where nobody is known, as of a conversion.

  Raises:
    AvemoError: the file is damaged.
  """
  root = pathlib.Path(path).expanduser()
  path = root / FILE
  if not path.is_file():
    if root.is_dir() and not (root / 'config.json').is_file():
      return []
    about = {'path': os.path.abspath(root), 'labels': True, 'unknown': True}
    return [about | {'corpora': {}}]
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise errors.AvemoError(f'{path}: cannot be read ({error})') from error


def list_sources(config: Mapping[str, Any]) -> dict[str, str]:
  """By key of the config, the folders whose weights a run starts from."""
  init = config.get('init') or {}
  found = {f'init.{tower}': init.get(tower) for tower in ('video', 'audio')}
  towers = (config.get('features') or {}).get('towers') or {}
  for name, one in towers.items():
    found[f'features.towers.{name}'] = (one or {}).get('path')
  return {key: path for key, path in found.items() if path}


def list_unknown(entries: Sequence[Entry]) -> list[str]:
  """A line for each run of which it is not known what it learned from."""
  return [
    f'{entry["path"]}: not known what it learned from, it has left no {FILE}; '
    'clips of validation or test may be among it'
    for entry in entries
    if entry.get('unknown')
  ]


def find_shared(
  entries: Sequence[Entry],
  parts: Sequence[parts_lib.Part],
  dataset: Any,
  records: np.ndarray,
  kind: str,
) -> list[tuple[Entry, str]]:
  """The entries that have seen some of the records, and in words how.

  Speakers count where the protocol keeps them apart; clips and recordings
  always; identical sound in whichever corpus. For recordings and sound that
  the fold itself has on both sides its protocol answers.

  Args:
    entries: of a workdir.
    parts: of the dataset.
    dataset: a dataset or a mixture.
    records: that ought to be unseen.
    kind: 'trained' or 'chosen'.
  """
  found = []
  for part, (one, own) in zip(parts, _divide(dataset, records), strict=True):
    names = ['clip_id', 'recording', 'audio_sha256']
    if protocols.get(part.protocol).speaker_independent:
      names.insert(0, 'speaker')
    unseen = {name: _find_values(one, name, own) for name in names}
    if len(own):
      split = folds.find_split(one, part.protocol, part.fold)
      rest = np.setdiff1d(np.concatenate([split.train, split.val]), own)
      for name in ('recording', 'audio_sha256'):
        shared = _find_values(one, name, rest)
        unseen[name] = np.setdiff1d(unseen[name], shared)
    for entry in entries:
      for name in names:
        seen = _list_seen(entry, one.corpus, kind, name)
        shared = np.intersect1d(unseen[name], seen)
        if len(shared):
          count = words.count(len(shared), NOUNS[name])
          text = f'{count} of {one.corpus}, such as {shared[0][:40]}'
          found.append((entry, f'{_VERBS[kind, entry["labels"]]} {text}'))
          break
  return found


def _find_values(one: Any, name: str, rows: np.ndarray) -> np.ndarray:
  """What records say under a name; unknown is nothing."""
  values = np.unique(np.asarray(one.index[name])[rows].astype(str))
  return values[values != '']


def _list_seen(entry: Entry, corpus: str, kind: str, name: str) -> list[str]:
  """What an entry knows of a corpus; of sound, of any."""
  own = entry['corpora']
  known = own.values() if name == 'audio_sha256' else [own.get(corpus, {})]
  return [word for one in known for word in one.get(kind, {}).get(name, ())]


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
