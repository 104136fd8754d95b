"""Anyone's own recordings: a folder of films and sounds, and a table of labels.

Nothing of them is known beforehand: a clip is a file, or a film and a sound
whose paths differ in the suffix alone; its id is that path from the folder on.
"""

import dataclasses
import math
import os
import pathlib

from avemo import errors, words
from avemo.corpora import clip, files, given, given_rows

# Those of the labels, see `find_emotions`.
EMOTIONS = ()
LONGEST_CLIP = math.inf
EXTRA = given.EXTRA
COLUMNS = ('speaker', *given.COLUMNS)
# What tells the emotion of a clip in a folder of its class.
FOLDER = 'folder'

LICENCE = 'that of the recordings'
CITATION = 'None: the recordings are the own ones of whoever prepares them.'
DESCRIPTION = "Anyone's own recordings, labelled by a table or by folders."


def canonical_stem(stem: str) -> str:
  """The one spelling of a clip's path, without its suffix."""
  return stem.replace('\\', '/').removeprefix('./')


def parse_name(stem: str) -> clip.Name | None:
  """What a path from the folder on, without its suffix, tells: the clip."""
  clip_id = canonical_stem(stem)
  return clip.Name(clip_id, '', clip_id, '', '', {}) if clip_id else None


def scan(
  root: str | os.PathLike, labels: str | os.PathLike | None = None
) -> tuple[list[clip.Clip], list[clip.Quarantined]]:
  """The clips under `root`, sorted by id, and what is of no use.

  With a table the clips are its rows: files without a row, rows without a
  file and all but the first row of a file are left out, and told. Folders
  `train`, `val` and `test` say what the table does not of splits. Without a
  table the folders below those three name the emotions.

  Args:
    root: the folder.
    labels: a table with the column `path` and some of COLUMNS.

  Raises:
    errors.AvemoError: `root` or the table cannot be read.
  """
  root = pathlib.Path(root).absolute()
  prefix = f'{root.as_posix()}/'

  def parse(stem):
    return parse_name(stem.removeprefix(prefix))

  found, unusable = files.find_media(
    root, parse, canonical_stem, 'custom', by_path=True
  )
  clips = [_make_clip(*item) for item in files.group(found).items()]
  if labels is None:
    return [_label_by_folder(one) for one in clips], sorted(unusable)
  paths = {f'{file.name.clip_id}{file.suffix}': file for file in found}
  told, notes = _read(pathlib.Path(labels), root, paths)
  for file in found:
    if file.name.clip_id not in told:
      reason = f'no row of {pathlib.Path(labels).name} names it'
      unusable.append(clip.Quarantined(str(file.path), reason))
  source = pathlib.Path(labels).name
  made = [
    _join(one, told[one.clip_id], source)
    for one in clips
    if one.clip_id in told
  ]
  return made, sorted(unusable + notes)


def find_emotions(clips: list[clip.Clip]) -> list[str]:
  """The words that clips and their frames are labelled with, sorted."""
  words = {one.emotion for one in clips}
  for one in clips:
    words |= set(one.given.expression if one.given else ())
  return sorted(words - {''})


def _make_clip(clip_id, found) -> clip.Clip:
  films = files.select(found, files.VIDEO_SUFFIXES)
  sounds = files.select(found, files.SOUND_SUFFIXES)
  return clip.make_clip(parse_name(clip_id), films, sounds + films)


def _find_folder(clip_id) -> tuple[str, str]:
  """Split and class that the folders of a clip name; '' where they do not."""
  folders = clip_id.split('/')[:-1]
  for place, folder in enumerate(folders):
    split = given_rows.SPLITS.get(folder.lower())
    if split:
      below = folders[place + 1 : place + 2]
      return split, below[0].strip().lower() if below else ''
  return '', ''


def _label_by_folder(one) -> clip.Clip:
  split, emotion = _find_folder(one.clip_id)
  joined = given.join(dataclasses.replace(one, emotion=emotion), None, '')
  extra = {
    **joined.extra,
    'emotion_source': FOLDER if emotion else '',
    'split': split,
  }
  return dataclasses.replace(joined, extra=extra)


def _join(one, said, source) -> clip.Clip:
  joined = given.join(one, said, source)
  split = joined.extra['split'] or _find_folder(one.clip_id)[0]
  return dataclasses.replace(
    joined,
    speaker=said.values.get('speaker', ''),
    extra={**joined.extra, 'split': split},
  )


def _read(path, root, paths):
  """What the table says, by clip, and notes on its rows."""
  rows, notes = given_rows.read(path, 'path', COLUMNS)
  clips = {file.name.clip_id for file in paths.values()}

  def resolve(row):
    name = canonical_stem(row.key)
    name = name.removeprefix(f'{root.as_posix()}/')
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in files.MEDIA_SUFFIXES:
      file = paths.get(f'{stem}{suffix.lower()}')
      return file and file.name.clip_id
    return name if name in clips else None

  told = given.collect(
    path, rows, resolve, f'no usable file of this name under {root.name}', notes
  )
  if not told:
    raise errors.AvemoError(
      f'{path}: none of its {words.count(len(rows), "row")} names a usable '
      f'file under {root}; row {rows[0].number} names {rows[0].key!r}; '
      'paths are from that folder on'
    )
  return told, notes
