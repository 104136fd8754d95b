"""Find a corpus's files in whatever tree its user has."""

import dataclasses
import errno
import filecmp
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from avemo import errors
from avemo.corpora import clip

LFS_FIRST_LINE = b'version https://git-lfs.github.com/spec/v1'
# A pointer has three short lines; real media are never this small.
LFS_LARGEST = 1024

VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.mkv', '.avi', '.webm', '.flv')
SOUND_SUFFIXES = ('.wav', '.flac', '.m4a', '.aac', '.ogg', '.mp3')
MEDIA_SUFFIXES = frozenset(VIDEO_SUFFIXES + SOUND_SUFFIXES)

# A face that a corpus ships cut out, one file a frame of a film.
PICTURE = re.compile(r'(\d+)\.(?:jpe?g|png)', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Found:
  """One media file of a corpus.

  Attributes:
    path: where it lies.
    name: what its name tells.
    stem: its canonical stem, without the suffix; with folders where they are
      part of the name.
    suffix: lower case, with the dot.
  """

  path: pathlib.Path
  name: clip.Name
  stem: str
  suffix: str


def walk(
  root: str | os.PathLike,
  skip: Callable[[pathlib.Path], bool] | None = None,
) -> Iterator[pathlib.Path]:
  """Every visible file under `root`, in one fixed order.

  Links to folders are followed, since many keep the media on another disk;
  a folder that has been entered already is not entered again.

  Args:
    root: the corpus folder.
    skip: folders for which it is true are not entered.

  Raises:
    errors.AvemoError: `root` is not a folder that can be read.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    what = 'not a folder' if root.exists() else 'no such folder'
    raise errors.AvemoError(f'{root}: {what}; --raw names the corpus folder')
  seen = set()
  for folder, names, files in os.walk(root, followlinks=True, onerror=_fail):
    identity = os.stat(folder)
    if (identity.st_dev, identity.st_ino) in seen:
      names.clear()
      continue
    seen.add((identity.st_dev, identity.st_ino))
    names[:] = sorted(
      name
      for name in names
      if is_visible(name) and not (skip and skip(pathlib.Path(folder, name)))
    )
    yield from (pathlib.Path(folder, f) for f in sorted(files) if is_visible(f))


def _fail(error: OSError):
  if error.errno == errno.ENOENT:
    return  # Removed while we looked.
  raise errors.AvemoError(f'{error.filename}: {error.strerror}') from error


def holds_pictures(path: pathlib.Path) -> bool:
  """Whether a folder is one of PICTUREs; beside them may be other files."""
  try:
    with os.scandir(path) as entries:
      few = itertools.islice(entries, 8)
      return any(PICTURE.fullmatch(entry.name) for entry in few)
  except OSError:
    return False


def is_visible(name: str) -> bool:
  """False for what systems leave behind: `._x.wav`, `.git`, `__MACOSX`."""
  return not name.startswith('.') and name != '__MACOSX'


def is_lfs_stub(path: str | os.PathLike) -> bool:
  """Whether the file is the text that git-LFS leaves in place of a medium."""
  if os.path.getsize(path) > LFS_LARGEST:
    return False
  with open(path, 'rb') as file:
    return file.read(len(LFS_FIRST_LINE)) == LFS_FIRST_LINE


def find_media(
  root: str | os.PathLike,
  parse: Callable[[str], clip.Name | None],
  canonical_stem: Callable[[str], str],
  corpus: str,
  *,
  unused: tuple[str, ...] = (),
  by_path: bool = False,
  skip: Callable[[pathlib.Path], bool] | None = None,
) -> tuple[list[Found], list[clip.Quarantined]]:
  """The media files of a corpus.

  Copies are common (an archive ships its tree twice): of several files with
  one stem, suffix and content one is given. Files that share stem and suffix
  alone are all given, for which of them is damaged only reading tells.

  Args:
    root: the corpus folder.
    parse: stem → what it tells, None when it is no name of this corpus.
    canonical_stem: stem → its one spelling.
    corpus: for the messages.
    unused: suffixes of renderings that are never opened, so that it does not
      matter whether they could be.
    by_path: the folders are part of the name: both functions are then given
      the whole path without the suffix, its parts joined by `/`.
    skip: as in `walk`.

  Returns:
    The files in the order of stem and suffix, the least nested first, and
    the unusable ones.
  """
  candidates, quarantined = {}, []
  for path in walk(root, skip):
    suffix = path.suffix.lower()
    if suffix not in MEDIA_SUFFIXES:
      continue
    stem = tell_path(path) if by_path else path.stem
    name = parse(stem)
    reason = None if name else f'not a file name of {corpus}'
    if name and suffix not in unused:
      reason = find_fault(path)
    if reason:
      own = (name.clip_id,) if name else ()
      quarantined.append(clip.Quarantined(str(path), reason, own))
      continue
    stem = canonical_stem(stem)
    found = Found(path, name, stem, suffix)
    candidates.setdefault((stem, suffix), []).append(found)
  kept = []
  for key in sorted(candidates):
    distinct = []
    # The least nested first: nested copies are the accident.
    for found in sorted(
      candidates[key], key=lambda f: (len(f.path.parts), str(f.path))
    ):
      if not any(have_same_bytes(found.path, f.path) for f in distinct):
        distinct.append(found)
    kept += distinct
  return kept, quarantined


def tell_path(path: pathlib.Path) -> str:
  """The whole path without its suffix, parts joined by `/`."""
  return path.absolute().with_suffix('').as_posix()


def have_same_bytes(one: pathlib.Path, other: pathlib.Path) -> bool:
  """Whether two files are one and the same, for all that can be read."""
  try:
    if one.stat().st_size != other.stat().st_size:
      return False
    return filecmp.cmp(one, other, shallow=False)
  except OSError:
    return False


def order_videos(published: str) -> tuple[str, ...]:
  """Suffixes of films in order of preference, the published one first."""
  others = (suffix for suffix in VIDEO_SUFFIXES if suffix != published)
  return (published, *others)


def select(found: Sequence[Found], suffixes: Sequence[str]) -> list[str]:
  """Paths of the files with one of the suffixes, in the suffixes' order."""
  return [str(f.path) for s in suffixes for f in found if f.suffix == s]


def find_unused(
  found: Sequence[Found],
  used: Sequence[str],
  *,
  unused: tuple[str, ...] = (),
) -> list[clip.Quarantined]:
  """The files of a clip that no list of its files names, and why.

  Args:
    found: the clip's files.
    used: paths of those that are read, the best first.
    unused: suffixes of renderings that are left out on purpose.
  """
  reason = f'another rendering of this clip is used: {used[0]}'
  return [
    clip.Quarantined(str(file.path), reason)
    for file in found
    if str(file.path) not in used and file.suffix not in unused
  ]


def tell_bare(bare: Mapping[str, Sequence[str]]) -> list[clip.Quarantined]:
  """Notes on clips that have labels and no medium.

  Args:
    bare: ids of such clips, by the file that names them.
  """
  return [
    clip.Quarantined(
      path,
      'neither film, faces nor sound of '
      + (ids[0] if len(ids) == 1 else f'{len(ids)} clips, such as {ids[0]}'),
      tuple(ids),
    )
    for path, ids in bare.items()
  ]


def find_fault(path: pathlib.Path) -> str | None:
  """Why a file cannot be used, as far as a look at its size tells."""
  try:
    if not path.is_file():
      return 'not a file (a broken link?)'
    if path.stat().st_size == 0:
      return 'the file is empty'
    if is_lfs_stub(path):
      return 'a git-LFS stub, not the medium; fetch it with `git lfs pull`'
  except OSError as error:
    return error.strerror
  return None


def group(found: list[Found]) -> dict[str, list[Found]]:
  """Files by recording, in the order of recordings."""
  groups = {}
  for file in found:
    groups.setdefault(file.name.recording, []).append(file)
  return dict(sorted(groups.items()))


def find_table(root: str | os.PathLike, name: str) -> pathlib.Path | None:
  """The least nested file called `name`, whatever its case; None if none."""
  matches = [p for p in walk(root) if p.name.lower() == name.lower()]
  return min(matches, key=lambda p: (len(p.parts), str(p)), default=None)
