"""Finds a protocol by name and makes its folds."""

import dataclasses
import difflib
from collections.abc import Sequence

from avemo import errors
from avemo.corpora import folds as folds_lib
from avemo.corpora.protocols import (
  aff_wild2,
  crema_d,
  custom,
  enterface,
  entry,
  given,
  mafw,
  msp_improv,
  ravdess,
)

# One file a corpus: its PROTOCOLS are all that is needed of it here.
PROTOCOLS = {
  protocol.name: protocol
  for corpus in (
    crema_d,
    ravdess,
    enterface,
    msp_improv,
    mafw,
    aff_wild2,
    custom,
    given,
  )
  for protocol in corpus.PROTOCOLS
}


def get(name: str) -> entry.Protocol:
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
      does not declare. Where speakers are unknown, one sound in two parts is
      no error, but a leak of `list_leaks`.
  """
  protocol = get(name)
  try:
    made = protocol.rule(rows)
  except errors.AvemoError as error:
    if name in str(error):
      raise
    raise errors.AvemoError(f'{name}: {error}') from error
  if protocol.speaker_independent is None:
    rows = [dataclasses.replace(r, audio_sha256=frozenset()) for r in rows]
  for fold in made:
    leaks = find_leaks(protocol, fold, rows)
    if leaks and protocol.speaker_independent is not False:
      raise errors.AvemoError(
        f'{name}, fold {fold.index}: {leaks[0]}; remove the doubled files from '
        'the corpus and prepare it again'
      )
  return made


def find_leaks(
  protocol: entry.Protocol, fold: folds_lib.Fold, rows: Sequence[folds_lib.Row]
) -> list[str]:
  return folds_lib.find_leaks(
    fold, rows, test_is_validation=protocol.test_is_validation
  )


def list_leaks(
  name: str, rows: Sequence[folds_lib.Row], made: Sequence[folds_lib.Fold]
) -> list[str]:
  """What parts share in folds that are used all the same, a line a finding."""
  protocol = get(name)
  return [
    f'{name}, fold {fold.index}: {leak}'
    for fold in made
    for leak in find_leaks(protocol, fold, rows)
  ]


def find_flaws(name: str, rows: Sequence[folds_lib.Row]) -> tuple[str, ...]:
  """What keeps figures over these clips from being honest estimates.

  Raises:
    AvemoError: as `make_folds`.
  """
  protocol = get(name)
  if not protocol.speaker_independent:
    return protocol.flaws
  divided = {
    clip_id
    for fold in make_folds(name, rows)
    for clip_id in (*fold.train, *fold.val, *fold.test)
  }
  unnamed = [r for r in rows if r.clip_id in divided and not r.speaker]
  if not unnamed:
    return protocol.flaws
  return (
    *protocol.flaws,
    f'{len(unnamed)} of {len(divided)} clips name no speaker: one person may '
    'be in training and in test',
  )


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
