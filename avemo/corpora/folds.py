"""Folds: lists of clips that share no speaker, and the check that they do.

A fold holds ids alone, so that it can be hashed, printed and compared with
what others published.
"""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from avemo import errors, words


@dataclasses.dataclass(frozen=True)
class Row:
  """What a protocol needs to know of a clip.

  Attributes:
    clip_id: unique within the corpus.
    speaker: speaker's id; empty when the corpus names none.
    recording: shared by the renderings of one recording.
    audio_sha256: hashes of the decoded sound, of every segment; empty when
      unknown.
    emotion: the label; empty when unknown.
    lists: what the corpus's own lists say of the clip, by the names of its
      fields that start with `official_`, and the user's, under `split`.
  """

  clip_id: str
  speaker: str
  recording: str = ''
  audio_sha256: frozenset[str] = frozenset()
  emotion: str = ''
  lists: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Fold:
  """One division of a corpus: sorted clip ids.

  Attributes:
    index: number of the fold as published, from 0.
    train: ids to train on.
    val: ids to choose on.
    test: ids to score.
  """

  index: int
  train: tuple[str, ...]
  val: tuple[str, ...]
  test: tuple[str, ...]


# From the rows of a corpus to its folds.
Rule = Callable[[Sequence[Row]], list[Fold]]
# The test fold of a clip; None when the protocol leaves it out.
Assign = Callable[[Row], int | None]


def _group(rows: Sequence[Row], assign: Assign) -> dict[int, list[str]]:
  groups: dict[int, list[str]] = collections.defaultdict(list)
  for row in rows:
    index = assign(row)
    if index is not None:
      groups[index].append(row.clip_id)
  return {index: sorted(groups[index]) for index in sorted(groups)}


def _collect(groups: Mapping[int, list[str]], left_out: Iterable[int]):
  left_out = set(left_out)
  return tuple(
    sorted(
      clip for index, ids in groups.items() if index not in left_out
      for clip in ids
    )
  )  # fmt: skip


def _ask_for_more(rows: Sequence[Row]) -> str:
  named = any(row.speaker for row in rows)
  return f'prepare more {"speakers" if named else "clips"}'


def nested(assign: Assign) -> Rule:
  """Validation is the test part of the next fold that has one, cyclic."""

  def make(rows: Sequence[Row]) -> list[Fold]:
    groups = _group(rows, assign)
    if len(groups) < 3:
      raise errors.AvemoError(
        f'clips of {words.count(len(groups), "fold")} alone: training, '
        f'validation and test need three; {_ask_for_more(rows)}'
      )
    order = list(groups)
    followers = dict(zip(order, order[1:] + order[:1], strict=True))
    return [
      Fold(
        index=index,
        train=_collect(groups, (index, followers[index])),
        val=tuple(groups[followers[index]]),
        test=tuple(groups[index]),
      )
      for index in order
    ]

  return make


def published(assign: Assign) -> Rule:
  """No validation part of its own: the test part doubles as one."""

  def make(rows: Sequence[Row]) -> list[Fold]:
    groups = _group(rows, assign)
    if len(groups) < 2:
      raise errors.AvemoError(
        f'clips of {words.count(len(groups), "fold")} alone: training and '
        f'test need two; {_ask_for_more(rows)}'
      )
    return [
      Fold(
        index=index,
        train=_collect(groups, (index,)),
        val=tuple(ids),
        test=tuple(ids),
      )
      for index, ids in groups.items()
    ]

  return make


def fixed(assign_part: Callable[[Row], str | None]) -> Rule:
  """One fold whose parts the corpus's clips belong to from the start.

  Args:
    assign_part: 'train', 'val' or 'test'; None leaves a clip out.
  """

  def make(rows: Sequence[Row]) -> list[Fold]:
    parts: dict[str | None, list[str]] = collections.defaultdict(list)
    for row in rows:
      parts[assign_part(row)].append(row.clip_id)
    for name in ('train', 'val', 'test'):
      if not parts[name]:
        raise errors.AvemoError(
          f'no clip of the {name} part; {_ask_for_more(rows)}'
        )
    train, val, test = (
      tuple(sorted(parts[name])) for name in ('train', 'val', 'test')
    )
    return [Fold(0, train, val, test)]

  return make


def compute_sha256(folds: Sequence[Fold]) -> str:
  """Hash of the canonical JSON of all folds, ids sorted."""
  content = [
    {part: sorted(getattr(fold, part)) for part in ('train', 'val', 'test')}
    for fold in folds
  ]
  text = json.dumps(content, sort_keys=True, separators=(',', ':'))
  return hashlib.sha256(text.encode()).hexdigest()


def find_leaks(
  fold: Fold, rows: Sequence[Row], *, test_is_validation: bool = False
) -> list[str]:
  """What two parts of a fold share that they must not.

  Args:
    fold: the fold.
    rows: the clips of the corpus; ids without a row are leaks as well, since
      nothing is known of them.
    test_is_validation: whether the protocol declares that its test part
      doubles as validation; only then is that no finding.

  Returns:
    One line a finding: speakers, recordings or identical sound on both sides,
    clips in both parts or twice in one, validation clips in the test part.
  """
  by_id = {row.clip_id: row for row in rows}
  leaks = []
  for part in ('train', 'val', 'test'):
    ids = getattr(fold, part)
    unknown = [clip for clip in ids if clip not in by_id]
    if unknown:
      leaks.append(
        f'{part}: {words.count(len(unknown), "unknown clip")}, such as '
        f'{unknown[0]}'
      )
    twice = [c for c, n in collections.Counter(ids).items() if n > 1]
    if twice:
      leaks.append(
        f'{part}: {words.count(len(twice), "clip")} twice, such as {twice[0]}'
      )
  pairs = [('train', 'test'), ('train', 'val')]
  if not test_is_validation:
    pairs.append(('val', 'test'))
  held = {
    part: _collect_values([by_id[c] for c in getattr(fold, part) if c in by_id])
    for part in ('train', 'val', 'test')
  }
  for first, second in pairs:
    for what in held[first]:
      shared = sorted((held[first][what] & held[second][what]) - {''})
      if shared:
        leaks.append(
          f'{first} and {second} share {len(shared)} of kind {what}, such as '
          f'{shared[0]}'
        )
  return leaks


def _collect_values(rows: Sequence[Row]) -> dict[str, set[str]]:
  """What no two parts may share, by kind."""
  return {
    'clip': {row.clip_id for row in rows},
    'speaker': {row.speaker for row in rows},
    'recording': {row.recording for row in rows},
    'identical sound': {s for row in rows for s in row.audio_sha256},
  }


def find_conflicts(rows: Sequence[Row]) -> list[tuple[str, ...]]:
  """Groups of clips with identical sound and different labels.

  Such clips cannot both be right for a model that only listens. They are kept,
  because published folds keep them, and reported.
  """
  groups: dict[str, list[Row]] = collections.defaultdict(list)
  for row in rows:
    for sound in row.audio_sha256:
      groups[sound].append(row)
  # Clips that share several segments are one finding.
  return sorted(
    {
      tuple(sorted(row.clip_id for row in group))
      for group in groups.values()
      if len({row.emotion for row in group}) > 1
    }
  )
