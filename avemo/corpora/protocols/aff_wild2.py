"""Named folds of Aff-Wild2: the sets of the user's own copy.

The labels of the official test sets are not public, so what can be tested is
the official validation set, as papers do.
"""

import functools
import hashlib
from collections.abc import Sequence

from avemo import errors
from avemo.corpora import aff_wild2, folds
from avemo.corpora.protocols import entry

# One in so many training films becomes validation.
_SHARE = 5

_SOURCE = "the official sets of ABAW (Kollias 2022), from the user's copy"
_FLAWS = (
  'films are told apart, people are not: that sets share nobody is the word of '
  'those who made them',
)


def _divide(
  tasks: tuple[str, ...], is_published: bool, rows: Sequence[folds.Row]
) -> list[folds.Fold]:
  """Training, validation and test clips.

  Test is the official validation set of any of the tasks. A film of it, with
  whomever is seen, is in no other part, whatever set another task has it in.
  Unless the published form is asked for, validation is a fifth of what
  remains: the films, parts of one together, whose names have the smallest
  hashes.

  Raises:
    AvemoError: a set has no clip.
  """

  def sets(row):
    return {row.lists.get(f'official_{task}', '') for task in tasks}

  test = [row for row in rows if 'val' in sets(row)]
  tested = {row.recording for row in test}
  rest = [
    row for row in rows if 'train' in sets(row) and row.recording not in tested
  ]
  sources = sorted(
    {aff_wild2.find_source(row.recording) for row in rest},
    key=lambda source: hashlib.sha256(source.encode()).hexdigest(),
  )
  chosen = set(sources[: -(-len(sources) // _SHARE)])
  held = [r for r in rest if aff_wild2.find_source(r.recording) in chosen]
  if is_published:
    held = []
  train = [row for row in rest if row not in held]
  if not test or not train:
    lacking = 'validation' if not test else 'training'
    raise errors.AvemoError(
      f'aff_wild2: no clip of the official {lacking} set for '
      f'{" or ".join(tasks)}; name your copy, with its annotations, by --raw '
      'DIR, or prepare it with them'
    )
  parts = (train, test if is_published else held, test)
  return [
    folds.Fold(0, *(tuple(sorted(r.clip_id for r in part)) for part in parts))
  ]


def _make_pair(name, tasks, what):
  for is_published in (False, True):
    yield entry.Protocol(
      name=f'{name}_published' if is_published else name,
      corpus='aff_wild2',
      source=_SOURCE,
      description=(
        f'test is the official validation set {what}, since the labels of the '
        'official test set are not public; '
        + (
          'training as published'
          if is_published
          else 'validation is a fifth of the training films, by hash'
        )
      ),
      rule=functools.partial(_divide, tasks, is_published),
      num_folds=1,
      # The lists of the corpus alone tell what is in a set.
      expected_sha256='',
      speaker_independent=None,
      test_is_validation=is_published,
      flaws=((entry.CHOSEN_ON_TEST,) if is_published else ()) + _FLAWS,
    )


PROTOCOLS = (
  *_make_pair('aff_wild2_official', aff_wild2.TASKS, 'of any task'),
  *_make_pair('aff_wild2_official_va', ('va',), 'of valence and arousal'),
  *_make_pair('aff_wild2_official_expr', ('expr',), 'of expressions'),
  *_make_pair('aff_wild2_official_au', ('au',), 'of action units'),
)
