"""Aff-Wild2: films from the web, labelled by frame; the corpus of ABAW.

Kollias & Zafeiriou 2018 and later. A clip is one annotated person of one film:
`6-30-1920x1080_left` and `_right` are two people who share a film without
that ending. Training and validation sets are those of the user's own copy.
"""

import collections
import dataclasses
import functools
import itertools
import math
import os
import pathlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from avemo.corpora import aff_wild2_labels as labels
from avemo.corpora import clip, files, folds

# In the order of the labels 0 to 7.
EMOTIONS = labels.EXPRESSIONS

FILMS = files.order_videos('.mp4')

# Films of any length.
LONGEST_CLIP = math.inf

TASKS = (*labels.BY_FRAME, labels.MTL)

# Fields beyond those of every corpus: type, or (type, length). The set that
# the user's copy has the clip in, by task: train, val, test, or '' for none.
# Tasks differ in it, so that one task's train may hold another's val.
EXTRA = {f'official_{task}': str for task in TASKS}

LICENCE = 'EULA: academic and non-commercial use, no redistribution'
CITATION = (
  'Kollias, Zafeiriou: Aff-Wild2: Extending the Aff-Wild database for affect '
  'recognition. arXiv:1811.07770, 2018. Kollias: ABAW: Valence-Arousal '
  'Estimation, Expression Recognition, Action Unit Detection & Multi-Task '
  'Learning Challenges. CVPRW 2022. arXiv:2202.10659'
)
DESCRIPTION = (
  '594 films from the web, some 3 million frames, with valence and arousal, '
  'eight expressions and twelve action units by frame.'
)

# index | index-fps-WxH[-part] | videoN[_part], then which of two people.
NAME = re.compile(
  r'(?P<film>\d+(?:-(?P<fps>\d+)-\d+x\d+(?:-\d)?)?|video\d+(?:_\d)?)'
  r'(?:_(?P<side>left|right))?'
)
_PART = re.compile(r'(?<=\dx\d{3})-\d$|(?<=\dx\d{4})-\d$|(?<=\d)_\d$')

_TRAINING = re.compile(r'train', re.IGNORECASE)
_VALIDATION = re.compile(r'valid|^val(?:[ _-]?set)?(?:\.txt)?$', re.IGNORECASE)
_TEST_LIST = re.compile(r'test[ _-]?set', re.IGNORECASE)
# What tells a list's task, for it has no header.
_TASK_WORDS = {
  'mtl': re.compile(r'mtl|multi', re.IGNORECASE),
  'va': re.compile(r'valence|(?<![a-z])va(?![a-z])', re.IGNORECASE),
  'expr': re.compile(r'expr', re.IGNORECASE),
  'au': re.compile(r'action|(?<![a-z])au(?![a-z])', re.IGNORECASE),
}
_YEAR = re.compile(r'(\d+)(?:st|nd|rd|th)[ _-]*ABAW', re.IGNORECASE)
_YEAR_WORDS = ('first', 'second', 'third', 'fourth', 'fifth', 'sixth')


class Annotation(NamedTuple):
  """What one file says of one clip.

  Attributes:
    clip_id: the clip.
    path: the file.
    task: one of TASKS.
    part: 'train', 'val' or 'test', '' where no folder tells.
    year: number of the challenge, 0 where no folder tells.
    rows: the clip's lines of a multi-task file.
  """

  clip_id: str
  path: str
  task: str
  part: str
  year: int
  rows: labels.Rows | None = None


def canonical_stem(stem: str) -> str:
  """The one spelling of a clip's name."""
  return stem.lower()


def parse_name(stem: str) -> clip.Name | None:
  """What a name such as `video10_1` or `6-30-1920x1080_left` tells.

  Suffixes, as lists have them, are passed over. None if it is no clip.
  """
  stem, suffix = os.path.splitext(canonical_stem(stem))
  if suffix not in ('', '.txt', *files.VIDEO_SUFFIXES):
    return None
  match = NAME.fullmatch(stem)
  if match is None:
    return None
  return clip.Name(
    clip_id=stem,
    speaker='',
    recording=match['film'],
    emotion='',
    intensity='',
    extra={},
  )


def find_source(recording: str) -> str:
  """What films that differ in their part alone are taken from.

  That `122-60-1920x1080-1` to `-5` show the same people is an assumption.
  """
  return _PART.sub('', recording)


def scan(
  root: str | os.PathLike,
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The annotated clips under `root`, whatever the tree, by clip id.

  Pictures come from the folder of faces that bears the clip's name, aligned
  ones first, and from the film; the sound from the film, or a sound file of
  its name. Of several years' annotations the latest counts. Clips that lists
  of test sets name have no labels.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  faces = collections.defaultdict(list)

  def is_folder_of_faces(path):
    name = parse_name(path.name)
    if name is None or not files.holds_pictures(path):
      return False
    # Both walks come by.
    if path not in faces[name.clip_id]:
      faces[name.clip_id].append(path)
    return True

  annotations, unusable = find_annotations(root, is_folder_of_faces)
  found, strange = files.find_media(
    root, parse_name, canonical_stem, 'Aff-Wild2', skip=is_folder_of_faces
  )
  unusable += strange
  media = collections.defaultdict(list)
  for file in found:
    media[file.name.clip_id].append(file)
  clips, bare, named = [], collections.defaultdict(list), set()
  for clip_id, group in itertools.groupby(annotations, lambda a: a.clip_id):
    chosen, others = _choose(list(group))
    unusable += others
    name = parse_name(clip_id)
    own = media.get(clip_id) or media.get(name.recording, [])
    named |= {clip_id, *(file.name.clip_id for file in own)}
    if own or clip_id in faces:
      folders = sorted(faces.get(clip_id, ()), key=_rank_folder)
      clips.append(_make_clip(name, chosen, own, folders))
      continue
    for one in chosen.values():
      bare[one.path].append(clip_id)
  unusable += files.tell_bare(bare)
  strays = [
    f.path for c, group in media.items() if c not in named for f in group
  ]
  strays += [f for c, group in faces.items() if c not in named for f in group]
  reason = 'no annotation and no list names it'
  unusable += [clip.Quarantined(str(path), reason) for path in strays]
  return clips, sorted(unusable)


def list_rows(root: str | os.PathLike) -> list[folds.Row]:
  """What protocols need to know of the clips that the annotations name.

  No media are needed.

  Raises:
    errors.AvemoError: `root` cannot be read.
  """
  annotations, _ = find_annotations(
    root,
    lambda path: bool(parse_name(path.name)) and files.holds_pictures(path),
  )
  return [
    folds.Row(
      clip_id=clip_id,
      speaker='',
      recording=parse_name(clip_id).recording,
      lists=_find_parts(_choose(list(group))[0]),
    )
    for clip_id, group in itertools.groupby(annotations, lambda a: a.clip_id)
  ]


def find_annotations(
  root: str | os.PathLike, skip
) -> tuple[list[Annotation], list[clip.Quarantined]]:
  """What the text files under `root` say, by clip id, and the unusable ones.

  Args:
    root: the corpus folder.
    skip: folders for which it is true are not entered.
  """
  found, unusable = [], []
  for path in files.walk(root, skip):
    if path.suffix.lower() != '.txt':
      continue
    try:
      more, fault = _read_text(path, path.relative_to(root).parts)
    except OSError as error:
      more, fault = [], error.strerror
    found += more
    if fault:
      unusable.append(clip.Quarantined(str(path), fault))
  return sorted(found, key=lambda a: (a.clip_id, a.path)), unusable


def _read_text(path, parts) -> tuple[list[Annotation], str]:
  """What a text file says of clips, and what is wrong with it."""
  header = labels.read_header(path)
  part, year = _find_part(parts), _find_year(parts)
  parse = functools.cache(_parse_id)
  if header is not None and header.task == labels.MTL:
    rows, fault = labels.read_multi_task(path, parse)
    if _TEST_LIST.search(path.name):
      part = 'test'
    return [
      Annotation(clip_id, str(path), labels.MTL, part, year, lines)
      for clip_id, lines in rows.items()
    ], fault
  name = parse_name(path.stem)
  if name is not None:
    if header is None:
      return [], 'its first line is no header of annotations by frame'
    return [Annotation(name.clip_id, str(path), header.task, part, year)], ''
  if not _TEST_LIST.search(path.name):
    return [], ''  # Whatever it is, a licence perhaps.
  task = _find_task(parts)
  if task is None:
    return [], 'its name tells no task whose test set it lists'
  ids, fault = labels.read_list(path, parse)
  return [Annotation(i, str(path), task, 'test', year) for i in ids], fault


def _parse_id(text: str) -> str | None:
  name = parse_name(text)
  return None if name is None else name.clip_id


def _find_part(parts: Iterable[str]) -> str:
  # The innermost word counts.
  for text in reversed(list(parts)):
    if _VALIDATION.search(text):
      return 'val'
    if _TRAINING.search(text):
      return 'train'
  return ''


def _find_task(parts: Iterable[str]) -> str | None:
  for text in reversed(list(parts)):
    for task, word in _TASK_WORDS.items():
      if word.search(text):
        return task
  return None


def _find_year(parts: Iterable[str]) -> int:
  for text in parts:
    match = _YEAR.search(text)
    if match:
      return int(match[1])
    for number, word in enumerate(_YEAR_WORDS, start=1):
      if text.lower().startswith(f'{word} abaw'):
        return number
  return 0


def _rank_folder(path: pathlib.Path):
  """Aligned faces before those that are only cut out."""
  return 'aligned' not in path.parent.name.lower(), str(path)


def _choose(
  group: list[Annotation],
) -> tuple[dict[str, Annotation], list[clip.Quarantined]]:
  """The annotation of each task that counts, and the others' files."""
  chosen, others = {}, []
  # A list of a test set says less than labels.
  for one in sorted(group, key=lambda a: (a.part == 'test', -a.year, a.path)):
    used = chosen.setdefault(one.task, one)
    if used is not one and used.path != one.path and one.rows is None:
      reason = f'another annotation of {one.clip_id} is used: {used.path}'
      others.append(clip.Quarantined(one.path, reason))
  return chosen, others


def _find_parts(chosen: dict[str, Annotation]) -> dict[str, str]:
  return {
    f'official_{task}': chosen[task].part if task in chosen else ''
    for task in TASKS
  }


def _make_clip(name, chosen, media, folders) -> clip.Clip:
  match = NAME.fullmatch(name.clip_id)
  films = files.select(media, FILMS)
  made = clip.make_clip(
    name,
    films,
    files.select(media, files.SOUND_SUFFIXES) + films,
    **_find_parts(chosen),
  )
  sources = tuple(
    (task, chosen[task].path)
    for task in labels.BY_FRAME
    if task in chosen and chosen[task].part != 'test'
  )
  rows = chosen[labels.MTL].rows if labels.MTL in chosen else None
  return dataclasses.replace(
    made,
    pictures=tuple(map(str, folders)),
    fps=float(match['fps'] or 0),
    side=match['side'] or '',
    read_labels=functools.partial(labels.read, sources, rows),
  )
