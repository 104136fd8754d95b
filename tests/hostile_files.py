"""A watch on what reading a file does, and parts of hostile files."""

import codecs
import io
import pathlib
import struct
import sys
import zipfile

import numpy as np

from avemo import errors
from avemo.convert import readers

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'torch_files'
watched: list[str] | None = None
DOING = (
  'exec',
  'os.',
  'subprocess.',
  'socket.',
  'shutil.',
  'pickle.find_class',
  'marshal.',
  'ctypes.',
  'builtins.input',
  'builtins.breakpoint',
)
HARMLESS = ('os.listdir', 'os.scandir')


def watch(event, arguments):
  """Notes what only code that a file brought along would do."""
  if watched is None:
    return
  writes = event == 'open' and set(str(arguments[1])) & set('wax+')
  if writes or (event.startswith(DOING) and event not in HARMLESS):
    watched.append(f'{event} {arguments}')


sys.addaudithook(watch)


def read(path):
  """The error of a read, or its tensors; and looks at all of them."""
  global watched
  watched = []
  try:
    source = readers.read(path)
  except errors.AvemoError as error:
    text = str(error)
    assert '\n' not in text and text.isprintable() and len(text) < 800
    assert text.startswith(f'{path}: ') and len(text) > len(str(path)) + 12
    return text
  finally:
    done, watched = watched, None
    assert not done
  for name, array in source.tensors.items():
    assert isinstance(name, str) and isinstance(array, np.ndarray)
    with np.errstate(all='ignore'):
      array.sum()
  return dict(source.tensors)


def pack(path, pickled, members=None, compression=zipfile.ZIP_STORED):
  """Writes a file of torch around a pickle."""
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w', compression) as file:
    file.writestr('a/data.pkl', pickled)
    for name, data in (members or {'data/0': bytes(64)}).items():
      file.writestr(f'a/{name}', data)
  path.write_bytes(buffer.getvalue())


class Call:
  """Pickles as the call of a function."""

  def __init__(self, function, *arguments):
    self.function, self.arguments = function, arguments

  def __reduce__(self):
    return self.function, self.arguments


def touch(path):
  return f'touch {path}/canary'


def text(value):
  return b'X' + struct.pack('<I', len(value)) + value.encode()


# What is imported at first use is not a file's doing.
codecs.lookup('cp437')
for _name in ('state', 'legacy'):
  readers.read(GOLDEN / f'{_name}.pth')
