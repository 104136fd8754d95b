"""The registry of named folds: published ones, and our nested form of each."""

import dataclasses
import difflib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from avemo import corpora, errors
from avemo.corpora import clip
from avemo.corpora import folds as folds_lib


@dataclasses.dataclass(frozen=True)
class Protocol:
  """A named way to divide a corpus.

  Attributes:
    name: `<corpus>_<source>_<n>fold`, with `_published` for the original.
    corpus: name of the corpus.
    source: who published it.
    description: who is tested when, in a line.
    rule: from the corpus's rows to folds.
    num_folds: over the full corpus.
    expected_sha256: hash of the folds over the full corpus.
    speaker_independent: whether no speaker is on two sides.
    test_is_validation: whether checkpoints are chosen on the test part.
    flaws: what keeps its figures from being honest estimates.
  """

  name: str
  corpus: str
  source: str
  description: str
  rule: folds_lib.Rule
  num_folds: int
  expected_sha256: str
  speaker_independent: bool = True
  test_is_validation: bool = False
  flaws: tuple[str, ...] = ()


# Four clips whose film is broken, and one that the authors' copy lacked.
_CREMA_D_LEFT_OUT = frozenset(
  {
    '1064_IEO_DIS_MD',
    '1064_TIE_SAD_XX',
    '1076_MTI_NEU_XX',
    '1076_MTI_SAD_XX',
    '1040_ITH_SAD_XX',
  }
)


def _assign_crema_d_hicmae(row: folds_lib.Row) -> int | None:
  """18 actors a fold by ascending id, 19 in the last."""
  if row.clip_id in _CREMA_D_LEFT_OUT:
    return None
  return min((int(row.speaker) - 1001) // 18, 4)


def _assign_ravdess_hicmae(row: folds_lib.Row) -> int | None:
  """Four actors a fold by ascending number, speech alone."""
  if not row.clip_id.startswith('01-'):
    return None
  return (int(row.speaker) - 1) // 4


_CHOSEN_ON_TEST = (
  'the checkpoint is chosen on the clips that it is scored on, so the score is '
  'too high',
)
_HICMAE = 'HiCMAE (Sun et al. 2024), its published fold lists'


def _pair(
  name: str,
  assign: folds_lib.Assign,
  *,
  expected_sha256: str,
  expected_sha256_published: str,
  **kwargs: Any,
) -> tuple[Protocol, Protocol]:
  """The nested protocol and the original."""
  return (
    Protocol(
      name=name,
      rule=folds_lib.nested(assign),
      expected_sha256=expected_sha256,
      **kwargs,
    ),
    Protocol(
      name=f'{name}_published',
      rule=folds_lib.published(assign),
      expected_sha256=expected_sha256_published,
      test_is_validation=True,
      flaws=_CHOSEN_ON_TEST,
      **kwargs,
    ),
  )


_ALL = (
  *_pair(
    'crema_d_hicmae_5fold',
    _assign_crema_d_hicmae,
    corpus='crema_d',
    source=_HICMAE,
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
  *_pair(
    'ravdess_hicmae_6fold',
    _assign_ravdess_hicmae,
    corpus='ravdess',
    source=_HICMAE,
    description='actors 1-4, 5-8, ... 21-24; speech',
    num_folds=6,
    expected_sha256=(
      'eeaf0be4b52851b99c5e380af4d7079c73994bd1700a0a4381c0e69ed2a2ac43'
    ),
    expected_sha256_published=(
      '6f71fbef489aae28f6cdea1dd5bfcbe8409b42388be3697e659dd207e1b41cf3'
    ),
  ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}


def get(name: str) -> Protocol:
  """The protocol of that name.

  Raises:
    AvemoError: no such protocol; names the nearest.
  """
  if name in PROTOCOLS:
    return PROTOCOLS[name]
  near = difflib.get_close_matches(name, PROTOCOLS, 1, cutoff=0)
  raise errors.AvemoError(
    f'unknown protocol {name!r}; did you mean {near[0]!r}? '
    '`avemo protocols` lists them'
  )


def make_folds(
  name: str, rows: Sequence[folds_lib.Row]
) -> list[folds_lib.Fold]:
  """The folds of a protocol over the clips at hand.

  With part of a corpus, folds without a test clip are left out; `Fold.index`
  stays the published number.

  Raises:
    AvemoError: unknown protocol, too few speakers, or a leak that the protocol
      does not declare.
  """
  protocol = get(name)
  made = protocol.rule(rows)
  for fold in made:
    leaks = folds_lib.find_leaks(
      fold, rows, test_is_validation=protocol.test_is_validation
    )
    if leaks and protocol.speaker_independent:
      raise errors.AvemoError(
        f'{name}, fold {fold.index}: {leaks[0]}; remove the doubled files from '
        'the corpus and prepare it again'
      )
  return made


def make_fold(
  name: str, rows: Sequence[folds_lib.Row], index: int
) -> folds_lib.Fold:
  """One fold of a protocol, by its published number.

  Raises:
    AvemoError: as `make_folds`, and when the fold has no clips here.
  """
  made = {fold.index: fold for fold in make_folds(name, rows)}
  if index not in made:
    raise errors.AvemoError(
      f'{name} has no fold {index} over these clips; it has '
      f'{", ".join(map(str, made))}'
    )
  return made[index]


def rows_from_names(
  corpus: str, path: str | os.PathLike
) -> list[folds_lib.Row]:
  """Rows from a text file with one clip name a line; no media needed.

  Raises:
    AvemoError: no such file, or a line that is no name of the corpus.
  """
  module = corpora.get(corpus)
  try:
    lines = pathlib.Path(path).read_text(encoding='utf-8-sig').splitlines()
  except OSError as error:
    raise errors.AvemoError(f'{path}: {error.strerror}') from error
  except UnicodeDecodeError as error:
    raise errors.AvemoError(f'{path}: not a text file in UTF-8') from error
  rows = {}
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    name = module.parse_name(line.strip())
    if name is None:
      raise errors.AvemoError(
        f'{path}, line {number}: {line.strip()!r} is no clip of {corpus}'
      )
    rows[name.clip_id] = _row(name)
  return list(rows.values())


def rows_of_corpus(corpus: str) -> list[folds_lib.Row]:
  """Rows of the full corpus as published, made by its rule."""
  module = corpora.get(corpus)
  return [_row(module.parse_name(name)) for name in module.all_names()]


def _row(name: clip.Name) -> folds_lib.Row:
  return folds_lib.Row(
    clip_id=name.clip_id,
    speaker=name.speaker,
    recording=name.recording,
    emotion=name.emotion,
  )


def describe_all() -> str:
  """A table of all protocols."""
  lines = []
  for protocol in PROTOCOLS.values():
    marks = [
      'speaker-independent'
      if protocol.speaker_independent
      else 'SPEAKERS ON BOTH SIDES',
      *(['TEST IS VALIDATION'] if protocol.test_is_validation else []),
    ]
    lines += [
      f'{protocol.name}  ({", ".join(marks)})',
      f'  {protocol.description}',
      f'  source: {protocol.source}',
      *(f'  warning: {flaw}' for flaw in protocol.flaws),
    ]
  return '\n'.join(lines)


def describe(name: str, rows: Sequence[folds_lib.Row], *, as_json=False) -> str:
  """The folds of a protocol over the clips at hand, to read or as JSON.

  Raises:
    AvemoError: as `make_folds`.
  """
  protocol = get(name)
  made = make_folds(name, rows)
  present = {fold.index for fold in made}
  skipped = [i for i in range(protocol.num_folds) if i not in present]
  sha256 = folds_lib.compute_sha256(made)
  if as_json:
    content = {
      'protocol': protocol.name,
      'speaker_independent': protocol.speaker_independent,
      'test_is_validation': protocol.test_is_validation,
      'source': protocol.source,
      'flaws': list(protocol.flaws),
      'sha256': sha256,
      'expected_sha256': protocol.expected_sha256,
      'skipped': skipped,
      'folds': [
        {
          'index': fold.index,
          'train': list(fold.train),
          'val': list(fold.val),
          'test': list(fold.test),
        }
        for fold in made
      ],
    }
    return json.dumps(content, indent=1)
  full = sha256 == protocol.expected_sha256
  lines = [
    f'fold {fold.index} {part}: {" ".join(getattr(fold, part))}'
    for fold in made
    for part in ('train', 'val', 'test')
  ]
  # Last, so that it stays on the screen.
  lines += [
    f'{protocol.name}: {protocol.description}',
    f'source: {protocol.source}',
    f'sha256: {sha256} '
    + ('(the full corpus)' if full else '(NOT the full corpus)'),
    *(f'warning: {flaw}' for flaw in protocol.flaws),
    'fold  train    val   test',
    *(
      f'{fold.index:4d} {len(fold.train):6d} {len(fold.val):6d} '
      f'{len(fold.test):6d}'
      for fold in made
    ),
  ]
  for clips in folds_lib.find_conflicts(rows):
    lines.append(
      f'warning: one sound under several labels: {", ".join(clips)}; kept, as '
      'in the published folds'
    )
  if skipped:
    lines.append(f'skipped, no test clips: fold {", ".join(map(str, skipped))}')
  return '\n'.join(lines)
