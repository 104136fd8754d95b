"""Named folds of CREMA-D."""

import functools

import numpy as np

from avemo.corpora import folds
from avemo.corpora.protocols import entry

ACTORS = tuple(str(actor) for actor in range(1001, 1092))

# Four clips whose film is broken, and one that the authors' copy lacked.
_LEFT_OUT_BY_HICMAE = frozenset(
  {
    '1064_IEO_DIS_MD',
    '1064_TIE_SAD_XX',
    '1076_MTI_NEU_XX',
    '1076_MTI_SAD_XX',
    '1040_ITH_SAD_XX',
  }
)
# One of each pair with the same sound, and a clip under its old name.
_LEFT_OUT_BY_TFDS = frozenset(
  {'1006_TIE_NEU_XX', '1013_WSI_DIS_XX', '1017_IWW_FEA_XX', '1040_ITH_SAD_XX'}
)


def _assign_maedfer(row: folds.Row) -> int:
  """18 actors a fold by ascending id, 19 in the last."""
  return min((int(row.speaker) - 1001) // 18, 4)


def _assign_hicmae(row: folds.Row) -> int | None:
  """As MAE-DFER, without the broken clips."""
  return None if row.clip_id in _LEFT_OUT_BY_HICMAE else _assign_maedfer(row)


@functools.cache
def _divide_as_tfds() -> dict[str, str]:
  """Part by actor: 70, 10 and 20 % of all of them, shuffled.

  Of all 91, so that whoever has some of them has the same division.
  """
  actors = list(ACTORS)
  np.random.RandomState(0).shuffle(actors)
  # 0.7 + 0.1 lies below 0.8, and what TFDS adds up is cut, not rounded.
  first, second = int(0.7 * len(actors)), int((0.7 + 0.1) * len(actors))
  return (
    dict.fromkeys(actors[:first], 'train')
    | dict.fromkeys(actors[first:second], 'val')
    | dict.fromkeys(actors[second:], 'test')
  )


def _assign_tfds(row: folds.Row) -> str | None:
  if row.clip_id in _LEFT_OUT_BY_TFDS:
    return None
  return _divide_as_tfds()[row.speaker]


PROTOCOLS = (
  *entry.pair(
    'crema_d_hicmae_5fold',
    _assign_hicmae,
    corpus='crema_d',
    source=entry.HICMAE,
    description=(
      'actors 1001-1018, 1019-1036, 1037-1054, 1055-1072, 1073-1091; without '
      'four broken clips and one missing'
    ),
    num_folds=5,
    expected_sha256=(
      '47f291f6aea04d208beb243b1a820ce5aa71f7dbfec2b7abdb14f7cd46a0e37b'
    ),
    expected_sha256_published=(
      '8c0aec3e6e113204f8b1c81d45976cddbd289e09eeb23e35c64b9e15d8075d55'
    ),
  ),
  *entry.pair(
    'crema_d_maedfer_5fold',
    _assign_maedfer,
    corpus='crema_d',
    source=entry.MAE_DFER,
    description=(
      'actors 1001-1018, 1019-1036, 1037-1054, 1055-1072, 1073-1091; all clips'
    ),
    num_folds=5,
    expected_sha256=(
      '9ea4a24cb2dce19dc0d781fb77a55c00fd6b4f91abb9e1a1611dfec7684ffa9d'
    ),
    expected_sha256_published=(
      '3e443b4f51c15697bca1631e6897fb18528f18eb1157d3aed47477bca295d7d4'
    ),
  ),
  entry.Protocol(
    'crema_d_tfds_split',
    corpus='crema_d',
    source='TFDS, its dataset crema_d of the sound alone',
    description=(
      '63, 9 and 19 actors for training, validation and test, drawn once; '
      'without one clip of each pair with the same sound'
    ),
    rule=folds.fixed(_assign_tfds),
    num_folds=1,
    expected_sha256=(
      '24dc5d7c9d6ac3bb3ca47fef9c6cdd42ac94f15de583acc789e913ef6935ab9e'
    ),
  ),
)
