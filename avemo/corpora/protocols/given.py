"""Splits that a user gives by a table or by folders: one protocol a corpus."""

import functools
import hashlib
from collections.abc import Sequence

from avemo import errors
from avemo.corpora import folds
from avemo.corpora.protocols import entry

# One in so many speakers, or clips, of training becomes validation.
_SHARE = 5

_HOW = (
  'say train, val or test of each clip in the column `split` of the table that '
  'prepare is given by --labels'
)


def find_split(row: folds.Row) -> str:
  return row.lists.get('split', '')


def divide(name: str, how: str, rows: Sequence[folds.Row]) -> list[folds.Fold]:
  """Training, validation and test as given; clips without a split are out.

  Where no clip is for validation, a fifth of training is: the speakers, or
  the clips of nobody, whose names have the smallest hashes.

  Args:
    name: of the protocol.
    how: what makes it usable.
    rows: the clips.

  Raises:
    errors.AvemoError: no split is given, a part is empty, or two parts share
      what they must not.
  """
  parts = {
    part: [row for row in rows if find_split(row) == part]
    for part in ('train', 'val', 'test')
  }
  if not any(parts.values()):
    raise errors.AvemoError(f'{name}: no clip here has a split; {how}')
  if not parts['val']:
    parts['train'], parts['val'] = _carve(parts['train'])
  for part, inside in parts.items():
    if not inside:
      raise errors.AvemoError(f'{name}: no clip is for {part}; {how}')
  fold = folds.Fold(
    0,
    *(tuple(sorted(row.clip_id for row in parts[part])) for part in parts),
  )
  leaks = folds.find_leaks(fold, rows)
  if leaks:
    raise errors.AvemoError(
      f'{name}: {leaks[0]}; put what belongs together into one part'
    )
  return [fold]


def _carve(train):
  def owner(row):
    return row.speaker or row.clip_id

  owners = sorted(
    {owner(row) for row in train},
    key=lambda word: hashlib.sha256(word.encode()).hexdigest(),
  )
  # One alone stays in training, and the part that is empty is told.
  chosen = set(owners[: -(-len(owners) // _SHARE)] if len(owners) > 1 else ())
  rest = [row for row in train if owner(row) not in chosen]
  return rest, [row for row in train if owner(row) in chosen]


def make_protocol(
  name: str,
  corpus: str,
  source: str,
  how: str = _HOW,
  speaker_independent: bool | None = True,
) -> entry.Protocol:
  """The protocol of a user's own split; arguments as in `Protocol`."""
  return entry.Protocol(
    name=name,
    corpus=corpus,
    source=source,
    description=(
      'training, validation and test as given; where no clip is for '
      'validation, a fifth of the training speakers (or clips, where speakers '
      'are unknown), by hash'
    ),
    rule=functools.partial(divide, name, how),
    num_folds=1,
    expected_sha256='',
    speaker_independent=speaker_independent,
  )


PROTOCOLS = tuple(
  make_protocol(
    f'{corpus}_labels_split',
    corpus,
    "the user's table, column `split`",
    speaker_independent=independent,
  )
  for corpus, independent in (
    ('crema_d', True),
    ('ravdess', True),
    ('enterface', True),
    ('msp_improv', True),
    # These two do not tell their people apart.
    ('mafw', None),
    ('aff_wild2', None),
  )
)
