"""How a file that is not read is told to the user."""

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator

from avemo import errors

# What parsing a broken or hostile file raises, apart from a `Refusal`.
# NotImplementedError: what zipfile does not know.
BROKEN = (
  ArithmeticError,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  NotImplementedError,
  RecursionError,
  RuntimeError,
  SyntaxError,
  TypeError,
  ValueError,
  struct.error,
  zipfile.BadZipFile,
  zlib.error,
)
LONGEST = 300


class Refusal(Exception):
  """Why a file is refused and the way out, without the file's path."""


@contextlib.contextmanager
def of(path: str | os.PathLike, kind: str) -> Iterator[None]:
  """Turns what reading a file raises into one line that names the file.

  Args:
    path: the file.
    kind: what it is read as, such as 'PyTorch file'.

  Raises:
    AvemoError: the block raised `Refusal`, or what broken files lead to.
  """
  try:
    yield
  except Refusal as error:
    raise errors.AvemoError(f'{path}: {shorten(str(error))}') from error
  except OSError as error:
    reason = error.strerror or shorten(str(error))
    raise errors.AvemoError(f'{path}: cannot be read: {reason}') from error
  except BROKEN as error:
    reason = shorten(f'{type(error).__name__} {error}'.strip())
    raise errors.AvemoError(
      f'{path}: not a whole {kind} ({reason}); download or copy it again'
    ) from error


def shorten(text: str, longest: int = LONGEST) -> str:
  """A text from a file as one printable line of bounded length."""
  if len(text) > longest:
    text = f'{text[: longest * 2 // 3]} … {text[-longest // 4 :]}'
  return ''.join(x if x.isprintable() else '?' for x in text)
