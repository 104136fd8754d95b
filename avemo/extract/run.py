"""From files to one artefact each, whatever the artefact is."""

import dataclasses
import os
import pathlib
import shutil
import types
from collections.abc import Callable, Sequence
from typing import NamedTuple

from avemo import errors
from avemo.extract import faces, features, openface, overlay, pictures
from avemo.extract.settings import Settings
from avemo.media import decode
from avemo.predict import files as files_lib

PathLike = str | os.PathLike


class Kind(NamedTuple):
  """An artefact.

  Attributes:
    suffix: of its name, after the file's stem.
    takes: the settings that it has a use for.
    open: from the settings and the files to what makes one artefact: from a
      file, where to write and a report of progress to a line about it.
    passes: over the film; 0 where they are another program's.
  """

  suffix: str
  takes: tuple[str, ...]
  open: Callable[[Settings, Sequence[pathlib.Path]], Callable[..., str]]
  passes: int = 1


KINDS = types.MappingProxyType(
  {
    'faces': Kind(
      '.faces', ('size', 'frames', 'fps', 'face_model'), faces.open_maker, 2
    ),
    'overlay': Kind(
      '.overlay.mp4', ('size', 'fps', 'face_model'), overlay.open_maker, 2
    ),
    'mfcc-picture': Kind(
      '.mfcc.png', ('size', 'frames'), pictures.open_mfcc_maker
    ),
    'mel-picture': Kind(
      '.mel.png', ('size', 'frames'), pictures.open_mel_maker
    ),
    'openface': Kind('.openface.csv', ('openface',), openface.open_maker, 0),
    'features': Kind(
      '.features.npz',
      ('weights', 'checkpoint', 'every', 'face_model'),
      features.open_maker,
      2,
    ),
  }
)


def extract_files(
  what: str,
  files: Sequence[PathLike],
  out: PathLike,
  settings: Settings,
) -> int:
  """Makes an artefact of each file.

  It is called by the file's stem; of two files with one stem the second is
  `<stem>-2`. It appears under its name when it is whole, in the place of an
  older one. A file of which none can be made costs a line, not the others.

  Args:
    what: a key of `KINDS`.
    files: films and sounds.
    out: the folder of the artefacts.
    settings: those that the kind takes; the others must be None.

  Returns:
    The number of files of which none could be made.

  Raises:
    AvemoError: what concerns every file.
  """
  kind = KINDS[what]
  check(what, settings)
  files = [pathlib.Path(path) for path in files]
  out = pathlib.Path(out)
  if out.exists() and not out.is_dir():
    raise errors.AvemoError(f'{out}: not a folder; choose another --out')
  if not any(path.exists() for path in files):
    raise errors.AvemoError(f'{files[0]}: no such file; check its name')
  make = kind.open(settings, files)
  out.mkdir(parents=True, exist_ok=True)

  def read(path, stem):
    target = out / f'{stem}{kind.suffix}'
    files_lib.protect(files, [target])
    check_replaceable(target)
    duration = decode.probe(path).duration if kind.passes else 0.0
    with (
      files_lib.make_staging(out) as staging,
      files_lib.show_progress(
        path.name, duration, max(kind.passes, 1)
      ) as progress,
    ):
      made = staging / target.name
      line = make(path, made, progress)
      if target.is_dir():
        shutil.rmtree(target)
      os.replace(made, target)
    return f'{files_lib.show_path(path)}: {line} -> {target}'

  return files_lib.read_each(files, read)


# What every kind may be told, for one command line serves several kinds.
SHARED = ('size', 'frames', 'fps')


def check(what: str, settings: Settings) -> None:
  """Tells of a size or rate that an artefact has no use for.

  Raises:
    AvemoError: any other setting that it has no use for.
  """
  for name, value in dataclasses.asdict(settings).items():
    if value is None or name in KINDS[what].takes:
      continue
    takes = ', '.join(f'--{n.replace("_", "-")}' for n in KINDS[what].takes)
    line = f'--{name.replace("_", "-")}: {what} has no use for it'
    if name not in SHARED:
      raise errors.AvemoError(f'{line}; it takes {takes}')
    print(line)


def check_replaceable(target: pathlib.Path) -> None:
  """Raises an AvemoError where something else stands under a name."""
  is_folder = target.suffix == faces.SUFFIX
  if not target.exists() or (target.is_file() and not is_folder):
    return
  if target.is_dir() and is_folder:
    if all(faces.NAME.fullmatch(path.name) for path in target.iterdir()):
      return
  raise errors.AvemoError(
    f'{target}: holds something else; remove it, or choose another --out'
  )
