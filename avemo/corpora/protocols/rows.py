"""Clips to divide, by their names alone: no media needed."""

import os
import pathlib

from avemo import corpora, errors, words
from avemo.corpora import clip, files, folds

# Lines of a list that are named when they are no clips.
_SHOWN = 5
_SUFFIXES = files.MEDIA_SUFFIXES | {'.jpg', '.jpeg', '.png'}


def rows_from_names(corpus: str, path: str | os.PathLike) -> list[folds.Row]:
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
  rows, strays = {}, []
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    name = _parse(module, line.strip())
    if name is None:
      strays.append((number, line.strip()))
      continue
    rows[name.clip_id] = _row(name)
  if strays:
    told = '; '.join(f'line {n}: {text!r}' for n, text in strays[:_SHOWN])
    rest = len(strays) - _SHOWN
    told += f' and {words.count(rest, "more line")}' if rest > 0 else ''
    is_none = 'is no clip' if len(strays) == 1 else 'are no clips'
    raise errors.AvemoError(f'{path}, {told}: {is_none} of {corpus}')
  return list(rows.values())


def _parse(module, text: str) -> clip.Name | None:
  """What a line tells; the name may be a file's, with its suffix."""
  stem, suffix = os.path.splitext(text)
  if suffix.lower() in _SUFFIXES:
    text = stem
  return module.parse_name(text)


def split_bare(
  corpus: str, root: str | os.PathLike, rows: list[folds.Row]
) -> tuple[list[folds.Row], list[str]]:
  """Rows of clips that have a medium, and the ids of the others.

  Where no medium at all is under `root`, as with lists alone, all rows are
  given.

  Args:
    corpus: its name.
    root: its folder.
    rows: of `rows_from_raw`.
  """
  there = {found.clip_id for found in corpora.get(corpus).scan(root)[0]}
  if not there:
    return rows, []
  bare = [row.clip_id for row in rows if row.clip_id not in there]
  return [row for row in rows if row.clip_id in there], bare


def rows_from_raw(corpus: str, root: str | os.PathLike) -> list[folds.Row]:
  """Rows from the corpus's own lists, or its files where it has none.

  Raises:
    AvemoError: no such folder, or nothing in it that tells.
  """
  module = corpora.get(corpus)
  if hasattr(module, 'list_rows'):
    rows = module.list_rows(root)
    what = 'no list or annotation'
  else:
    rows = [_row(found) for found in module.scan(root)[0]]
    what = 'no file'
  if not rows:
    raise errors.AvemoError(f'{root}: {what} of {corpus} is in it')
  return rows


def rows_of_corpus(corpus: str) -> list[folds.Row]:
  """Rows of the full corpus as published, made by its rule.

  Raises:
    AvemoError: no rule makes the names of this corpus.
  """
  module = corpora.get(corpus)
  if hasattr(module, 'list_rows'):
    raise errors.AvemoError(
      f'{corpus}: its folds are lists that come with it; name your copy by '
      '--raw DIR, or what is prepared from it by --data-dir DIR'
    )
  if not hasattr(module, 'all_names'):
    raise errors.AvemoError(
      f'{corpus}: no rule makes the names of its clips; give a list of them '
      'by --names FILE, or what is prepared by --data-dir DIR'
    )
  return [_row(module.parse_name(name)) for name in module.all_names()]


def _row(name: clip.Name | clip.Clip) -> folds.Row:
  split = name.extra.get('split')
  return folds.Row(
    clip_id=name.clip_id,
    speaker=name.speaker,
    recording=name.recording,
    emotion=name.emotion,
    lists={'split': split} if split else {},
  )
