"""OpenFace's table of a film: made by its program, or read where it is."""

import csv
import io
import os
import pathlib
from collections.abc import Callable, Sequence

from avemo import errors
from avemo.extract import settings as settings_lib
from avemo.media import decode, openface

VARIABLE = 'OPENFACE_PATH'


def open_maker(
  settings: settings_lib.Settings, files: Sequence[pathlib.Path]
) -> Callable[..., str]:
  """Finds the program, which every film needs and no table does.

  Raises:
    AvemoError: there are films, and no program.
  """
  place = settings.openface or os.environ.get(VARIABLE)
  program = None
  if place:
    program = openface.find_program(place)
  elif not any(is_table(path) for path in files):
    raise errors.AvemoError(lack_program(files[0]))

  def make(path, target, progress):
    del progress
    return make_table(path, target, program)

  return make


def is_table(path: pathlib.Path) -> bool:
  return path.suffix.lower() == '.csv'


def lack_program(path: pathlib.Path) -> str:
  return (
    f'{path}: without OpenFace a film has no table; name its program '
    f'{openface.PROGRAM} by --openface or ${VARIABLE}, or give the CSV files '
    'that it has written elsewhere'
  )


def make_table(
  path: pathlib.Path, target: pathlib.Path, program: pathlib.Path | None
) -> str:
  """Writes a table with plain names of columns, and says what is in it.

  Args:
    path: a film, or a table of OpenFace.
    target: the CSV file.
    program: which makes a table of a film; None where there is none.

  Raises:
    MediaError: the film or the table cannot be used.
    AvemoError: a film, and no program.
  """
  if is_table(path):
    table = openface.read(path)
  else:
    if program is None:
      raise errors.AvemoError(lack_program(path))
    if not decode.probe(path).has_video:
      raise errors.MediaError(path, 'has no pictures that OpenFace could read')
    table = openface.read(openface.run(program, path, target.parent))
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  writer.writerow(table.names)
  writer.writerows([f'{value:.10g}' for value in row] for row in table.values)
  target.write_text(buffer.getvalue(), encoding='utf-8')
  found = int((table.get('success') > 0).sum())
  line = f'{len(table.values)} rows, {found} with a face'
  if table.num_broken:
    line += f', {table.num_broken} more that could not be read'
  return line
