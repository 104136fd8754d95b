"""Names with captures for whole numbers, and names told in errors."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence

# How many findings of one kind an error names, and among how many names it
# looks for a near one: both keep the line readable and its making quick.
SHOWN = 4
SEARCHED = 2000

CAPTURE = re.compile(r'\{([a-z_]\w*)\}')


def find_captures(name: str) -> frozenset[str]:
  """The captures in a name: {'i'} of 'blocks.{i}.norm1.weight'."""
  return frozenset(CAPTURE.findall(name))


def compile_pattern(name: str, wildcard: bool) -> re.Pattern:
  """The pattern of names that a name with captures stands for.

  Args:
    name: such as 'blocks.{i}.norm1.weight'.
    wildcard: '*' stands for any text.
  """
  seen: set[str] = set()
  parts = []
  # Odd parts are captures; one that stands twice must be the same twice.
  for index, part in enumerate(CAPTURE.split(name)):
    if index % 2 == 0:
      text = re.escape(part)
      parts.append(text.replace(r'\*', '.*') if wildcard else text)
    elif part in seen:
      parts.append(f'(?P={part})')
    else:
      seen.add(part)
      parts.append(f'(?P<{part}>0|[1-9][0-9]{{0,5}})')
  return re.compile(''.join(parts), re.DOTALL)


def substitute(template: str, captures: Mapping[str, int]) -> str:
  """The template with its captures filled in."""
  return CAPTURE.sub(lambda match: str(captures[match[1]]), template)


def tell_near(name: str, candidates: Sequence[str]) -> str:
  """The candidates that look like a name, in brackets; '' without any."""
  close = difflib.get_close_matches(name, candidates[:SEARCHED], n=2)
  return f' (near: {", ".join(close)})' if close else ''


def tell_first(names: Sequence[str], tell: Callable[[str], str]) -> list[str]:
  """The first few findings told in full, the others counted."""
  told = [tell(name) for name in names[:SHOWN]]
  if len(names) > SHOWN:
    told.append(f'{len(names) - SHOWN} more like these')
  return told
