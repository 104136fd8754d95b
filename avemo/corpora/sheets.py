"""Tables as spreadsheets hold them: the first sheet of an XLSX, or a CSV.

An XLSX is a ZIP of XML; what a table of labels needs of it is little enough to
be read with the standard library, which is all that this room stands on.
"""

import codecs
import csv
import io
import os
import pathlib
import posixpath
import re
import xml.etree.ElementTree as etree
import zipfile
import zlib
from collections.abc import Iterator, Sequence

SUFFIXES = ('.xlsx', '.csv')

# The largest part of an XLSX that is read, unpacked: a bomb is larger.
_LARGEST = 512 << 20

# In the order in which they are tried. Of MAFW, whose files are in Chinese in
# part; the last one takes any byte.
MAFW_ENCODINGS = ('utf-8-sig', 'gb18030', 'cp1252', 'latin-1')
# Of a user's own tables: GB 18030 would take most that is in Windows-1252.
OWN_ENCODINGS = ('utf-16', 'utf-8-sig', 'cp1252')
_NAMES = {
  'utf-8-sig': 'UTF-8',
  'utf-16': 'UTF-16',
  'gb18030': 'GB 18030',
  'cp1252': 'Windows-1252',
  'latin-1': 'Latin-1',
}


def read(
  path: str | os.PathLike, encodings: Sequence[str] = MAFW_ENCODINGS
) -> list[list[str]]:
  """The rows of a table, every cell as text, '' where it is empty.

  Args:
    path: a file whose suffix is one of SUFFIXES.
    encodings: of a CSV, see `decode`.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no table, with the reason.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() not in SUFFIXES:
    raise ValueError('its name ends in neither .csv nor .xlsx')
  if not path.stat().st_size:
    raise ValueError('the file is empty')
  if path.suffix.lower() == '.csv':
    text = io.StringIO(decode(path.read_bytes(), encodings), newline='')
    try:
      return list(csv.reader(text))
    except csv.Error as error:
      raise ValueError(f'not a table parted by commas ({error})') from error
  try:
    with zipfile.ZipFile(path) as archive:
      texts = _read_texts(archive)
      return list(_read_sheet(archive, _find_first_sheet(archive), texts))
  except (zipfile.BadZipFile, etree.ParseError, KeyError, IndexError) as error:
    raise ValueError(f'not a whole XLSX table ({error})') from error
  except (EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
    raise ValueError(f'an XLSX that cannot be unpacked ({error})') from error


def decode(content: bytes, encodings: Sequence[str] = MAFW_ENCODINGS) -> str:
  """Text of bytes in the first of some encodings that takes them.

  UTF-16 is known by its mark alone.

  Raises:
    ValueError: none takes them.
  """
  return content.decode(_find_encoding(content, encodings))


def tell_encoding(path: str | os.PathLike) -> str:
  """The encoding of a user's own CSV where it is not UTF-8, else ''."""
  path = pathlib.Path(path)
  if path.suffix.lower() != '.csv':
    return ''
  try:
    found = _find_encoding(path.read_bytes(), OWN_ENCODINGS)
  except ValueError:
    return ''
  return '' if found == 'utf-8-sig' else _NAMES[found]


def _find_encoding(content, encodings) -> str:
  marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
  for encoding in encodings:
    if encoding == 'utf-16' and not marked:
      continue
    try:
      content.decode(encoding)
    except UnicodeDecodeError:
      continue
    return encoding
  raise ValueError('its bytes are no text; save it in UTF-8')


def _parse(archive, name) -> etree.Element:
  info = archive.getinfo(name)
  if info.file_size > _LARGEST:
    raise ValueError(f'an XLSX whose {name} is larger than any table')
  return etree.fromstring(archive.read(info))


def _local(element) -> str:
  # Two namespaces are in use, of the strict form and of the usual one.
  return element.tag.rpartition('}')[2]


def _children(element, name) -> list[etree.Element]:
  return [child for child in element if _local(child) == name]


def _text(element) -> str:
  """The text of a string, its runs joined, without hints of pronunciation."""
  parts = []
  for child in element:
    if _local(child) == 't':
      parts.append(child.text or '')
    elif _local(child) == 'r':
      parts += [t.text or '' for t in _children(child, 't')]
  return re.sub(
    '_x([0-9A-Fa-f]{4})_', lambda m: chr(int(m[1], 16)), ''.join(parts)
  )


def _read_texts(archive) -> list[str]:
  """The strings that cells refer to by number."""
  names = [n for n in archive.namelist() if n.lower() == 'xl/sharedstrings.xml']
  if not names:
    return []
  return [_text(item) for item in _children(_parse(archive, names[0]), 'si')]


def _find_first_sheet(archive) -> str:
  """The name in the archive of the sheet that stands first in the book."""
  book = _parse(archive, 'xl/workbook.xml')
  (sheets,) = _children(book, 'sheets')
  first = _children(sheets, 'sheet')[0].attrib.items()
  (reference,) = (value for key, value in first if key.endswith('}id'))
  links = _parse(archive, 'xl/_rels/workbook.xml.rels')
  targets = {link.get('Id'): link.get('Target', '') for link in links}
  # Relative to the book, or from the root where it starts with a slash.
  return posixpath.normpath(posixpath.join('/xl', targets[reference]))[1:]


def _read_sheet(archive, name, texts) -> Iterator[list[str]]:
  """Yields the rows of a sheet; empty ones between others have no cells."""
  (data,) = _children(_parse(archive, name), 'sheetData')
  expected = 1
  for row in _children(data, 'row'):
    number = int(row.attrib.get('r', expected))
    # More rows than this a sheet cannot have.
    for _ in range(min(number, 1 << 20) - expected):
      yield []
    expected = number + 1
    cells = []
    for cell in _children(row, 'c'):
      column = _find_column(cell.attrib.get('r', ''), len(cells))
      cells += [''] * (column - len(cells))
      cells.append(_read_cell(cell, texts))
    yield cells


def _find_column(reference: str, usual: int) -> int:
  """Column from 0 of a reference such as `AB12`."""
  letters = re.match('[A-Z]*', reference)[0]
  if not letters or len(letters) > 3:
    return usual
  number = 0
  for letter in letters:
    number = 26 * number + ord(letter) - ord('A') + 1
  return number - 1


def _read_cell(cell, texts) -> str:
  kind = cell.attrib.get('t', 'n')
  if kind == 'inlineStr':
    return ''.join(_text(item) for item in _children(cell, 'is'))
  values = _children(cell, 'v')
  value = (values[0].text or '') if values else ''
  if kind == 's' and value:
    return texts[int(value)]
  return value
