"""One HTML page that opens from disk: no network, figures inside the file."""

import base64
import dataclasses
import os
import pathlib
import urllib.parse
from collections.abc import Sequence

import jinja2

import avemo
from avemo import errors


@dataclasses.dataclass(frozen=True)
class Table:
  """Columns by name; cells are shown as given."""

  columns: Sequence[str]
  rows: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Figure:
  """A PNG picture, embedded in the page."""

  png: bytes
  caption: str = ''

  @property
  def data(self) -> str:
    return base64.b64encode(self.png).decode('ascii')


@dataclasses.dataclass(frozen=True)
class Video:
  """A film beside the page, by its path relative to the page."""

  path: str
  caption: str = ''

  @property
  def source(self) -> str:
    return urllib.parse.quote(self.path)


@dataclasses.dataclass(frozen=True)
class Section:
  """A heading with paragraphs, a table, figures and films below it."""

  heading: str = ''
  text: Sequence[str] = ()
  table: Table | None = None
  figures: Sequence[Figure] = ()
  videos: Sequence[Video] = ()


def write_page(
  path: str | os.PathLike,
  title: str,
  sections: Sequence[Section],
  *,
  lead: str = '',
) -> pathlib.Path:
  """Writes the page whole or not at all; returns its path.

  Raises:
    AvemoError: the folder cannot be written.
  """
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader('avemo.evaluate', ''),
    autoescape=True,
    trim_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  html = environment.get_template('page.html.jinja').render(
    title=title, lead=lead, sections=sections, version=avemo.__version__
  )
  return write_text(path, html)


def write_text(path: str | os.PathLike, text: str) -> pathlib.Path:
  """Writes a text file whole or not at all; returns its path.

  Raises:
    AvemoError: the folder cannot be written.
  """
  return write_bytes(path, text.encode('utf-8'))


def write_bytes(path: str | os.PathLike, content: bytes) -> pathlib.Path:
  """Writes a file whole or not at all; returns its path.

  Raises:
    AvemoError: the folder cannot be written.
  """
  path = pathlib.Path(path)
  partial = path.with_name(path.name + '.partial')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(content)
    partial.replace(path)
  except OSError as error:
    raise errors.AvemoError(
      f'{path}: cannot be written ({error.strerror}); free some room or '
      'choose another folder'
    ) from error
  return path
