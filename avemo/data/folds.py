"""The fold of a protocol as rows of a dataset's index."""

import dataclasses

import numpy as np

from avemo import errors
from avemo.corpora import folds, protocols
from avemo.data import dimensions

SPLITS = ('train', 'val', 'test')


@dataclasses.dataclass(frozen=True)
class Split:
  """Rows of the index, int64, in their order; every segment of a clip."""

  train: np.ndarray
  val: np.ndarray
  test: np.ndarray

  def get(self, name: str) -> np.ndarray:
    if name not in SPLITS:
      raise errors.AvemoError(f'split {name!r}: use one of {", ".join(SPLITS)}')
    return getattr(self, name)


def make_rows(index: dict[str, np.ndarray]) -> list[folds.Row]:
  """One row a clip, from the index's rows, which are one a segment."""
  rows, sounds = {}, {}
  # Protocols go by the corpus's own emotions, whatever else is learned.
  own = dimensions.OWN if dimensions.OWN in index else 'emotion'
  # What the corpus's own lists say, for the protocols that go by them.
  official = [n for n in index if n.startswith('official_') or n == 'split']
  for number, (clip_id, speaker, recording, sound, emotion) in enumerate(
    zip(
      *(
        map(str, index[name])
        for name in (
          'clip_id',
          'speaker',
          'recording',
          'audio_sha256',
          own,
        )
      ),
      strict=True,
    )
  ):
    if clip_id not in rows:
      lists = {name: index[name][number].item() for name in official}
      rows[clip_id] = folds.Row(
        clip_id, speaker, recording, emotion=emotion, lists=lists
      )
    # Of every segment: a copy may hold any of them.
    sounds.setdefault(clip_id, set()).add(sound)
  return [
    dataclasses.replace(row, audio_sha256=frozenset(sounds[clip_id] - {''}))
    for clip_id, row in rows.items()
  ]


def list_leaks(dataset, protocol: str, fold: int) -> list[str]:
  """What the parts of a fold share that is used all the same; see registry."""
  rows = make_rows(dataset.index)
  made = protocols.make_fold(protocol, rows, fold)
  return protocols.list_leaks(protocol, rows, [made])


def find_split(dataset, protocol: str, fold: int) -> Split:
  """The records of one fold.

  Args:
    dataset: with `index`, `corpus` and `name`.
    protocol: its name.
    fold: its published number.

  Raises:
    AvemoError: an unknown protocol, one of another corpus, or a fold without
      clips here.
  """
  corpus = protocols.get(protocol).corpus
  if corpus != dataset.corpus:
    raise errors.AvemoError(
      f'protocol {protocol} divides {corpus}, and {dataset.name} holds '
      f'{dataset.corpus}; `avemo protocols` lists the others'
    )
  found = protocols.make_fold(protocol, make_rows(dataset.index), fold)
  clip_id = dataset.index['clip_id']
  return Split(
    *(
      np.flatnonzero(np.isin(clip_id, list(getattr(found, name))))
      for name in SPLITS
    )
  )
