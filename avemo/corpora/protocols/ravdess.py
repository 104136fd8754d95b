"""Named folds of RAVDESS."""

from avemo.corpora import folds
from avemo.corpora.protocols import entry


def _assign_hicmae(row: folds.Row) -> int | None:
  """Four actors a fold by ascending number, speech alone."""
  if not row.clip_id.startswith('01-'):
    return None
  return (int(row.speaker) - 1) // 4


PROTOCOLS = entry.pair(
  'ravdess_hicmae_6fold',
  _assign_hicmae,
  corpus='ravdess',
  source=entry.HICMAE,
  description='actors 1-4, 5-8, ... 21-24; speech',
  num_folds=6,
  expected_sha256=(
    'eeaf0be4b52851b99c5e380af4d7079c73994bd1700a0a4381c0e69ed2a2ac43'
  ),
  expected_sha256_published=(
    '6f71fbef489aae28f6cdea1dd5bfcbe8409b42388be3697e659dd207e1b41cf3'
  ),
)
