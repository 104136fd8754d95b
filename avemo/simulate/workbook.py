"""Writes a table as the XLSX that spreadsheet programs write."""

import os
import zipfile
from collections.abc import Sequence
from xml.sax import saxutils

_MAIN = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main'
_OFFICE = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
_PACKAGE = 'http://schemas.openxmlformats.org/package/2006'
_KIND = 'application/vnd.openxmlformats-officedocument.spreadsheetml'
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

_TYPES = (
  f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
  '<Default Extension="rels" ContentType='
  '"application/vnd.openxmlformats-package.relationships+xml"/>'
  '<Default Extension="xml" ContentType="application/xml"/>'
  '<Override PartName="/xl/workbook.xml" '
  f'ContentType="{_KIND}.sheet.main+xml"/>'
  '<Override PartName="/xl/worksheets/sheet1.xml" '
  f'ContentType="{_KIND}.worksheet+xml"/>'
  '<Override PartName="/xl/sharedStrings.xml" '
  f'ContentType="{_KIND}.sharedStrings+xml"/></Types>'
)
_ROOT = (
  f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
  f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" '
  'Target="xl/workbook.xml"/></Relationships>'
)
_BOOK = (
  f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
  '<sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
_LINKS = (
  f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
  f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" '
  'Target="worksheets/sheet1.xml"/>'
  f'<Relationship Id="rId2" Type="{_OFFICE}/sharedStrings" '
  'Target="sharedStrings.xml"/></Relationships>'
)


def write(
  path: str | os.PathLike, rows: Sequence[Sequence[str | float | None]]
):
  """Writes rows as the first sheet; the same rows give the same bytes.

  Args:
    path: the file.
    rows: texts, numbers, and None for cells that are empty.
  """
  texts: dict[str, int] = {}
  lines = [
    f'<row r="{number}">'
    + ''.join(_make_cell(*cell, texts) for cell in _name_cells(number, row))
    + '</row>'
    for number, row in enumerate(rows, start=1)
  ]
  sheet = (
    f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}'
    '</sheetData></worksheet>'
  )
  items = ''.join(
    f'<si><t xml:space="preserve">{saxutils.escape(text)}</t></si>'
    for text in texts
  )
  shared = f'{_HEAD}<sst xmlns="{_MAIN}">{items}</sst>'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in (
      ('[Content_Types].xml', _TYPES),
      ('_rels/.rels', _ROOT),
      ('xl/workbook.xml', _BOOK),
      ('xl/_rels/workbook.xml.rels', _LINKS),
      ('xl/worksheets/sheet1.xml', sheet),
      ('xl/sharedStrings.xml', shared),
    ):
      # A fixed time, for the bytes must not tell when they were written.
      info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
      info.compress_type = zipfile.ZIP_DEFLATED
      archive.writestr(info, content)


def _name_cells(number, row):
  for column, value in enumerate(row):
    if value is not None:
      yield f'{chr(ord("A") + column)}{number}', value


def _make_cell(reference, value, texts):
  if isinstance(value, str):
    place = texts.setdefault(value, len(texts))
    return f'<c r="{reference}" t="s"><v>{place}</v></c>'
  return f'<c r="{reference}"><v>{value}</v></c>'
