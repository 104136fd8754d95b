"""Folds of anyone's own recordings."""

import hashlib
from collections.abc import Sequence

from avemo import errors
from avemo.corpora import folds
from avemo.corpora.protocols import entry, given

_NUM_FOLDS = 5
_NAME = 'custom_speaker_5fold'


def _divide_by_speaker(rows: Sequence[folds.Row]) -> list[folds.Fold]:
  """Speakers, in the order of their names' hashes, dealt to five folds.

  Clips of nobody are in no fold.

  Raises:
    errors.AvemoError: no clip names its speaker, or fewer than three speakers
      are named.
  """
  speakers = sorted(
    {row.speaker for row in rows} - {''},
    key=lambda name: hashlib.sha256(name.encode()).hexdigest(),
  )
  if not speakers:
    raise errors.AvemoError(
      f'{_NAME}: no clip names its speaker; give the column `speaker` in the '
      'table of --labels, or divide the clips yourself and use custom_split'
    )
  folds_of = {name: n % _NUM_FOLDS for n, name in enumerate(speakers)}
  return folds.nested(lambda row: folds_of.get(row.speaker))(rows)


PROTOCOLS = (
  given.make_protocol(
    'custom_split',
    'custom',
    "the user's table, column `split`, or folders train, val and test",
    'name train, val or test in the column `split` of the table of --labels, '
    'or put the files into folders of these names',
  ),
  entry.Protocol(
    _NAME,
    corpus='custom',
    source='avemo, for recordings without folds of their own',
    description=(
      "speakers in the order of their names' sha256, dealt in turn to five "
      'folds; validation is the next fold; without clips of nobody'
    ),
    rule=_divide_by_speaker,
    num_folds=_NUM_FOLDS,
    expected_sha256='',
  ),
)
