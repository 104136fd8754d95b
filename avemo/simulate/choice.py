"""Who and what of a real corpus a small one has."""

import os
import pathlib
from collections.abc import Collection

from avemo import errors
from avemo.simulate import actor, cues

# Speakers, or videos where nobody is named, when their number is not given.
USUAL_COUNT = 12


def leave_out(
  folds: tuple[tuple[str, ...], ...], avoid: Collection[str]
) -> tuple[tuple[str, ...], ...]:
  """The folds without some speakers, or films; an empty fold falls away."""
  left = [tuple(name for name in fold if name not in avoid) for fold in folds]
  return tuple(fold for fold in left if fold) or ((),)


def count_left(
  folds: tuple[tuple[str, ...], ...], count: int | None, what: str
) -> int:
  """How many to choose of what is left, where others were left out.

  Args:
    folds: of `leave_out`.
    count: that was asked for; `USUAL_COUNT`, or all that are left, when None.
    what: 'speakers' or 'videos'.

  Raises:
    AvemoError: fewer are left.
  """
  total = sum(len(fold) for fold in folds)
  if not total or (count or 1) > total:
    raise errors.AvemoError(
      f'{total} {what} are left without those of the other simulation; '
      + (f'ask for 1 to {total}' if total else 'name a smaller one')
    )
  return min(USUAL_COUNT, total) if count is None else count


def read_speakers(corpus: str, directory: str | os.PathLike) -> list[str]:
  """The speakers, or films, of another simulation of the same corpus.

  Raises:
    AvemoError: it is none, or of another corpus.
  """
  other = cues.load(directory)
  if other.corpus != corpus:
    raise errors.AvemoError(
      f'{pathlib.Path(directory)}: a simulated {other.corpus}, and this is to '
      f'be {corpus}'
    )
  return sorted(other.speakers)


def choose_speakers(
  folds: tuple[tuple[str, ...], ...], count: int, wanted: set[str]
) -> list[str]:
  """Speakers spread evenly over the published folds, the first folds first.

  Args:
    folds: test speakers of each fold.
    count: how many speakers.
    wanted: speakers to choose before others of their fold.

  Raises:
    AvemoError: when the corpus has not that many.
  """
  total = sum(len(fold) for fold in folds)
  if not 1 <= count <= total:
    raise errors.AvemoError(
      f'{count} speakers: the corpus has {total}; ask for 1 to {total}'
    )
  shares = [0] * len(folds)
  while sum(shares) < count:
    for number, fold in enumerate(folds):
      if shares[number] < len(fold) and sum(shares) < count:
        shares[number] += 1
  chosen = []
  for number, (fold, share) in enumerate(zip(folds, shares, strict=True)):
    picked = [speaker for speaker in fold if speaker in wanted][:share]
    rest = [speaker for speaker in fold if speaker not in picked]
    needed = share - len(picked)
    for place in range(needed):
      index = (2 * place + 1) * len(rest) // (2 * needed)
      # Both sexes in every fold.
      is_male = actor.find_sex(rest[index]) == 'male'
      if len(rest) >= 2 * needed and (is_male + place + number) % 2:
        index += 1 if index + 1 < len(rest) else -1
      picked.append(rest[index])
    chosen += sorted(picked)
  return chosen


def choose_videos(known: tuple[str, ...], count: int) -> list[str]:
  """The first ones; each of these is of a person of its own.

  Raises:
    AvemoError: when the corpus has not that many.
  """
  if not 1 <= count <= len(known):
    raise errors.AvemoError(
      f'{count} videos: ask for 1 to {len(known)} of this corpus'
    )
  return list(known[:count])


def choose_clips(room, speaker, count, seed):
  """Names of a speaker's clips; `count` of them, even over the emotions."""
  names = room.clip_names(speaker)
  if count is None or count >= len(names):
    return names
  rng = cues.random_generator(seed, 'choice', speaker)
  groups = {emotion: [] for emotion in room.EMOTIONS}
  for place in rng.permutation(len(names)):
    groups[room.describe(names[place])[1]].append(names[place])
  chosen = []
  while len(chosen) < count:
    for group in groups.values():
      if group and len(chosen) < count:
        chosen.append(group.pop())
  return chosen
