"""Named folds of eNTERFACE'05."""

from avemo.corpora import enterface, folds
from avemo.corpora.protocols import entry

# Test subjects of each fold: the first and the last.
_MAE_DFER = ((1, 10), (11, 19), (20, 28), (29, 37), (38, 44))


def _is_cut(row: folds.Row) -> bool:
  return int(row.speaker) != enterface.UNCUT_SUBJECT


def _assign_maedfer(row: folds.Row) -> int | None:
  """Nine subjects a fold by ascending number, seven in the last."""
  if not _is_cut(row):
    return None
  subject = int(row.speaker)
  return next(n for n, (_, last) in enumerate(_MAE_DFER) if subject <= last)


def _assign_mcn(row: folds.Row) -> str | None:
  """Our validation part: the last six of the training subjects."""
  if not _is_cut(row):
    return None
  subject = int(row.speaker)
  return 'train' if subject <= 24 else 'val' if subject <= 30 else 'test'


def _make_mcn_published(rows):
  (fold,) = folds.fixed(_assign_mcn)(rows)
  train = tuple(sorted(fold.train + fold.val))
  return [folds.Fold(0, train, fold.test, fold.test)]


PROTOCOLS = (
  *entry.pair(
    'enterface_maedfer_5fold',
    _assign_maedfer,
    corpus='enterface',
    source=entry.MAE_DFER,
    description=(
      'subjects 1-10, 11-19, 20-28, 29-37, 38-44; without subject 6'
    ),
    num_folds=5,
    expected_sha256=(
      'fb68d6250f508c9d4479f99161c340ceb947dae5fd9ef1f53ce0cd6de8f4eb40'
    ),
    expected_sha256_published=(
      '726a64245f8c26bcd8b097f6d4e5bbec3d9ef3273e69a4840b8524e65a9e5829'
    ),
  ),
  entry.Protocol(
    'enterface_mcn_split',
    corpus='enterface',
    source='mcnDatasets, with a validation part of our own',
    description=(
      'subjects 1-24 for training, 25-30 for validation, 31-44 for test; '
      'without subject 6'
    ),
    rule=folds.fixed(_assign_mcn),
    num_folds=1,
    expected_sha256=(
      '9ca6abb109b306fc280728bd20c40b33837226cc17acb8bc34b0aee06427a332'
    ),
  ),
  entry.Protocol(
    'enterface_mcn_split_published',
    corpus='enterface',
    source='mcnDatasets',
    description=(
      'subjects 1-30 for training, 31-44 for validation and test; without '
      'subject 6'
    ),
    rule=_make_mcn_published,
    num_folds=1,
    expected_sha256=(
      'aa5484f33a3d5cc7dbb55a2f9a10000c7a206f51f0217a935be581dd85af5dbf'
    ),
    test_is_validation=True,
    flaws=(entry.CHOSEN_ON_TEST,),
  ),
)
