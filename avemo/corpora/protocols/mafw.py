"""Named folds of MAFW: the lists of the user's own copy."""

import dataclasses
from collections.abc import Sequence

from avemo import errors
from avemo.corpora import folds
from avemo.corpora.protocols import entry

_FLAWS = ('MAFW names no speakers: one person may be in training and in test',)


def _require(kind: str, rule: folds.Rule) -> folds.Rule:
  """The rule, with one line for rows that no list was read for."""

  def make(rows: Sequence[folds.Row]) -> list[folds.Fold]:
    if not any(_find_fold(kind, row) for row in rows):
      raise errors.AvemoError(
        f'mafw: none of these clips is in the official {kind} folds; name '
        'your copy, with its lists `Train & Test Set`, by --raw DIR, or '
        'prepare it with them'
      )
    return rule(rows)

  return make


def _find_fold(kind, row) -> int:
  """The fold from 1 that tests the clip, 0 for none."""
  return max(0, row.lists.get(f'official_{kind}_fold', 0))


def _assign(kind: str) -> folds.Assign:
  def assign(row):
    fold = _find_fold(kind, row)
    return fold - 1 if fold else None

  return assign


def _pair(name: str, kind: str, description: str):
  # The lists of the corpus alone tell what is in a fold: no hash is known.
  made = entry.pair(
    name,
    _assign(kind),
    corpus='mafw',
    source="MAFW's own lists (Liu et al. 2022), from the user's copy",
    description=description,
    num_folds=5,
    expected_sha256='',
    expected_sha256_published='',
    flaw_published=entry.NO_VALIDATION,
    flaws=_FLAWS,
    speaker_independent=None,
  )
  return tuple(
    dataclasses.replace(protocol, rule=_require(kind, protocol.rule))
    for protocol in made
  )


PROTOCOLS = (
  *_pair(
    'mafw_official_5fold',
    'single',
    'clips of one emotion, as set_1 to set_5 test them; validation is what '
    'the next set tests',
  ),
  *_pair(
    'mafw_official_compound_5fold',
    'compound',
    'clips of the 43 compound classes, as set_1 to set_5 test them; '
    'validation is what the next set tests',
  ),
)
