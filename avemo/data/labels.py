"""Label spaces: one union head over the emotions of the corpora in play."""

import dataclasses
import difflib
import itertools
import types
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from avemo import errors

UNLABELLED = -1

# Numbers of the action units, in the order in which they stand in records.
UNITS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)

EMOTION = 'emotion'
CONTINUOUS = ('valence_arousal', 'dominance')
ACTION_UNITS = 'action_units'
# What may be learned beside the emotion, and the columns of each.
VALUES = types.MappingProxyType(
  {
    'valence_arousal': ('valence', 'arousal'),
    'dominance': ('dominance',),
    ACTION_UNITS: tuple(f'au_{number}' for number in UNITS),
  }
)
TASKS = (EMOTION, *VALUES)


@dataclasses.dataclass(frozen=True)
class LabelSpace:
  """The classes of a head, in order.

  Attributes:
    names: canonical words, such as `anger`.
    renamed: words of a corpus that count as another word, as pairs
      (word, name in `names`).
  """

  names: tuple[str, ...]
  renamed: tuple[tuple[str, str], ...] = ()

  def __post_init__(self):
    if len(set(self.names)) != len(self.names):
      raise errors.AvemoError(f'label space {self.names}: a name stands twice')
    for word, name in self.renamed:
      if name not in self.names:
        raise errors.AvemoError(
          f'label map {word!r} to {name!r}: no such class; there are: '
          f'{", ".join(self.names)}'
        )

  @classmethod
  def of(cls, emotions: Sequence[str]) -> 'LabelSpace':
    """The space of one corpus, in its own order."""
    return cls(tuple(emotions))

  def __len__(self) -> int:
    return len(self.names)

  def index(self, word: str) -> int:
    """The class of a word; -1 for the empty word, which is no label.

    Raises:
      AvemoError: the word has no class.
    """
    if not word:
      return UNLABELLED
    name = dict(self.renamed).get(word, word)
    if name not in self.names:
      near = difflib.get_close_matches(word, self.names, n=1, cutoff=0.0)
      raise errors.AvemoError(
        f'label {word!r} has no class; the nearest is {near[0]!r}; map it or '
        'leave its clips out'
      )
    return self.names.index(name)

  def indices(self, words: Iterable[str]) -> np.ndarray:
    """Classes int32 [N] of words."""
    words = list(words)
    table = {word: self.index(word) for word in dict.fromkeys(words)}
    return np.array([table[word] for word in words], np.int32)

  def class_mask(self, emotions: Iterable[str]) -> np.ndarray:
    """Bool [C]: the classes that a corpus with these emotions annotates."""
    mask = np.zeros(len(self.names), bool)
    mask[self.indices(emotions)] = True
    return mask

  def class_masks(self, dataset) -> np.ndarray:
    """Bool [N, C]: the classes that each row of a dataset could have.

    Those that its corpus annotates, without those that a corpus's own column
    `classes` says the row's kind of recording was never acted in.

    Args:
      dataset: with `index` and `emotions`.
    """
    count = len(dataset.index['emotion'])
    masks = np.tile(self.class_mask(dataset.emotions), (count, 1))
    if 'classes' in dataset.index:
      acted = np.asarray(dataset.index['classes'], np.float32)
      masks &= acted @ self.votes_matrix(dataset.emotions) > 0
    return masks

  def votes_matrix(self, emotions: Sequence[str]) -> np.ndarray:
    """Float32 [V, C] that adds a corpus's votes up by class."""
    matrix = np.zeros((len(emotions), len(self.names)), np.float32)
    matrix[np.arange(len(emotions)), self.indices(emotions)] = 1
    return matrix

  def to_json(self) -> dict:
    return {'labels': list(self.names), 'renamed': dict(self.renamed)}

  @classmethod
  def from_json(cls, value: Mapping) -> 'LabelSpace':
    renamed = tuple(sorted(value.get('renamed', {}).items()))
    return cls(tuple(value['labels']), renamed)


def union(
  spaces: Iterable[LabelSpace], renamed: Mapping[str, str] | None = None
) -> LabelSpace:
  """One space over several: first come, first placed.

  Args:
    spaces: of the corpora, in the order in which they are listed.
    renamed: words that count as another, by word.
  """
  renamed = dict(renamed or {})
  words = itertools.chain.from_iterable(space.names for space in spaces)
  names = dict.fromkeys(renamed.get(word, word) for word in words)
  return LabelSpace(tuple(names), tuple(sorted(renamed.items())))
