"""Tables of spreadsheet programs: the forms in which they are written."""

import zipfile

import numpy as np
import pytest

from avemo.corpora import sheets
from avemo.simulate import workbook

MAIN = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main'
STRICT = 'http://purl.oclc.org/ooxml/spreadsheetml/main'
LINK = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'


def put(path, sheet, texts='', *, space=MAIN, target='worksheets/sheet1.xml'):
  """An XLSX of one sheet whose rows are given as XML."""
  book = (
    f'<workbook xmlns="{space}" xmlns:r="{LINK}"><sheets>'
    '<sheet name="Sheet1" sheetId="1" r:id="rId7"/>'
    '<sheet name="Other" sheetId="2" r:id="rId8"/></sheets></workbook>'
  )
  links = (
    '<Relationships xmlns="x"><Relationship Id="rId8" Target="none.xml"/>'
    f'<Relationship Id="rId7" Target="{target}"/></Relationships>'
  )
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('xl/workbook.xml', book)
    archive.writestr('xl/_rels/workbook.xml.rels', links)
    data = f'<worksheet xmlns="{space}"><sheetData>{sheet}</sheetData>'
    archive.writestr('xl/worksheets/sheet1.xml', f'{data}</worksheet>')
    if texts:
      shared = f'<sst xmlns="{space}">{texts}</sst>'
      archive.writestr('xl/sharedStrings.xml', shared)
  return path


def test_what_the_simulator_writes_is_read_back(tmp_path):
  path = tmp_path / 'a.xlsx'
  rows = [['clip', 'a<b&c'], ['00019', 0.5], [None, '人'], ['00020', 11]]
  workbook.write(path, rows)
  expected = [['clip', 'a<b&c'], ['00019', '0.5'], ['', '人'], ['00020', '11']]
  assert sheets.read(path) == expected
  first = path.read_bytes()
  workbook.write(path, rows)
  assert path.read_bytes() == first


@pytest.mark.parametrize('space', [MAIN, STRICT])
@pytest.mark.parametrize(
  'target', ['worksheets/sheet1.xml', '/xl/worksheets/sheet1.xml']
)
def test_strings_of_every_form(tmp_path, space, target):
  texts = (
    '<si><t>plain</t></si>'
    '<si><r><rPr/><t>two </t></r><r><t>runs</t></r></si>'
    '<si><t>漢字</t><rPh sb="0" eb="2"><t>かんじ</t></rPh></si>'
    '<si><t>a_x000D_b</t></si>'
  )
  sheet = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>'
    '<c r="C1" t="s"><v>2</v></c><c r="D1" t="s"><v>3</v></c></row>'
    '<row r="2"><c r="A2" t="inlineStr"><is><t>within</t></is></c>'
    '<c r="B2" t="str"><f>A1</f><v>computed</v></c>'
    '<c r="C2"><v>1.5</v></c><c r="D2"/></row>'
  )
  path = put(tmp_path / 'a.xlsx', sheet, texts, space=space, target=target)
  assert sheets.read(path) == [
    ['plain', 'two runs', '漢字', 'a\rb'],
    ['within', 'computed', '1.5', ''],
  ]


def test_empty_cells_and_rows_keep_their_places(tmp_path):
  sheet = (
    '<row r="2"><c r="B2"><v>1</v></c><c r="AA2"><v>2</v></c></row>'
    '<row><c><v>3</v></c><c><v>4</v></c></row>'
  )
  rows = sheets.read(put(tmp_path / 'a.xlsx', sheet))
  assert rows == [[], ['', '1', *[''] * 24, '2'], ['3', '4']]


def test_exported_tables_in_three_encodings(tmp_path):
  path = tmp_path / 'a.csv'
  for text, encoding in (
    ('clip,x\n00019,"a, b"\n', 'utf-8'),
    ('clip,x\n00019,人\n', 'utf-8-sig'),
    ('clip,x\n00019,人\n', 'gb18030'),
    ('clip,x\n00019,the persons’ own\n', 'cp1252'),
  ):
    path.write_bytes(text.encode(encoding))
    header, row = sheets.read(path)
    assert header == ['clip', 'x']
    assert row[1] == text.split(',', 2)[2].strip('"\n')


def test_what_is_no_table_is_a_value_error(tmp_path):
  path = tmp_path / 'a.xlsx'
  workbook.write(path, [['clip', 'single_label'], ['00019', 3]])
  whole = path.read_bytes()
  rng = np.random.default_rng(0)
  refused = 0
  for number in range(120):
    data = bytearray(whole)
    if number % 3 == 0:
      data = data[: rng.integers(len(data))]
    else:
      for place in rng.integers(0, len(data), rng.integers(1, 40)):
        data[place] = rng.integers(256)
    path.write_bytes(data)
    try:
      sheets.read(path)
    except ValueError as error:
      assert '\n' not in str(error) and str(error)
      refused += 1
  assert refused > 60
  path = tmp_path / 'a.csv'
  path.write_text('x' * (1 << 18))
  with pytest.raises(ValueError, match='not a table'):
    sheets.read(path)
  # A thousand million of nothing, packed small.
  bomb = put(tmp_path / 'bomb.xlsx', '')
  info = zipfile.ZipFile(bomb).getinfo('xl/worksheets/sheet1.xml')
  assert info.file_size < sheets._LARGEST
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sheets, '_LARGEST', 10)
    with pytest.raises(ValueError, match='larger than any table'):
      sheets.read(bomb)
