"""Named folds of RAVDESS's speech; nobody published folds of its songs."""

from avemo.corpora import folds
from avemo.corpora.protocols import entry

# Test actors of each fold.
_EMOBOX = (
  (1, 11, 20, 21),
  (4, 10, 12, 14),
  (8, 9, 19, 23),
  (3, 5, 7, 24),
  (2, 15, 16, 18),
  (6, 13, 17, 22),
)
_LUNA = (
  (2, 5, 14, 15, 16),
  (3, 6, 7, 13, 18),
  (10, 11, 12, 19, 20),
  (8, 17, 21, 23, 24),
  (1, 4, 9, 22),
)


def _is_speech(row: folds.Row) -> bool:
  return row.clip_id.startswith('01-')


def _assign_hicmae(row: folds.Row) -> int | None:
  """Four actors a fold by ascending number."""
  return (int(row.speaker) - 1) // 4 if _is_speech(row) else None


def _by_actor(groups: tuple[tuple[int, ...], ...]) -> folds.Assign:
  fold = {actor: n for n, group in enumerate(groups) for actor in group}
  return lambda row: fold[int(row.speaker)] if _is_speech(row) else None


def _describe(groups: tuple[tuple[int, ...], ...]) -> str:
  listed = ', '.join('+'.join(map(str, group)) for group in groups)
  return f'actors {listed}; speech'


PROTOCOLS = (
  *entry.pair(
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
  ),
  *entry.pair(
    'ravdess_emobox_6fold',
    _by_actor(_EMOBOX),
    corpus='ravdess',
    source=entry.EMOBOX,
    description=_describe(_EMOBOX),
    num_folds=6,
    flaw_published=entry.NO_VALIDATION,
    expected_sha256=(
      '3d3242a68b430ebe2dc1bc0604a35ee9c7ea70e7022c1dda5658a81a1a8afc00'
    ),
    expected_sha256_published=(
      '0ea7b7a02635659e094ea082afda9caaa34c8e49ab7b19181743d2ddd3e212ad'
    ),
  ),
  *entry.pair(
    'ravdess_luna_5fold',
    _by_actor(_LUNA),
    corpus='ravdess',
    source='Luna-Jimenez et al. 2021, MMEmotionRecognition, its README',
    description=_describe(_LUNA),
    num_folds=5,
    expected_sha256=(
      '9f06d6bb122ad2826a0d33c8c16ecef67a3f72180e26a1d2a08b7e4099f8ef8c'
    ),
    expected_sha256_published=(
      'ec99690640703aa1232e28093bdb9bc6493a621b4d3464d1ce434618a8e4ad67'
    ),
  ),
)
