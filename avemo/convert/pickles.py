"""Reads a pickle as data: nothing that it names is imported or called.

A pickle is a program for a stack machine. Here the machine builds records of
what the program would have made: a class or function is a `Global`, its call
an `Object`. What they mean is for the caller to say.
"""

import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from avemo.convert import refusal

# Those of published models have under 2e5 opcodes in 2 MB.
LARGEST = 16 << 20
MOST_OPCODES = 1_000_000
LONGEST_NUMBER = 256

NAME = re.compile(r'[^\W\d][\w.<>-]{0,255}')

# No model needs these: a file that names them was made to do harm. None of
# its names would be called in any case.
HARMFUL = frozenset(
  '_posixsubprocess asyncio code codeop commands ctypes importlib marshal nt '
  'os pdb pickle pip posix pty pydoc runpy shutil socket subprocess sys '
  'timeit urllib webbrowser'.split()
)
BUILTINS = frozenset({'builtins', '__builtin__'})
HARMFUL_BUILTINS = frozenset(
  '__import__ breakpoint compile delattr eval exec execfile exit globals input '
  'locals open quit setattr vars'.split()
)


class Global(NamedTuple):
  """The name of a class or function."""

  module: str
  name: str

  def __str__(self) -> str:
    return f'{self.module}.{self.name}'


class Reference(NamedTuple):
  """What the pickle leaves to whoever saved it, such as a storage."""

  key: Any


class Object:
  """What a call of a class or function would have made.

  Attributes:
    maker: what would have been called; `UNNAMED` where that has no name,
      being made by the pickle itself.
    arguments: of the call.
    state: given to it afterwards; None without.
    items: keys and values set in it.
    entries: appended or added to it.
  """

  __slots__ = ('arguments', 'entries', 'items', 'maker', 'state')

  def __init__(self, maker: Any, arguments: Any):
    self.maker = maker if type(maker) is Global else UNNAMED
    self.arguments = arguments if type(arguments) is tuple else ()
    self.state = None
    self.items: dict[Any, Any] = {}
    self.entries: list[Any] = []


UNNAMED = Global('', 'something unnamed')
SET = Global('builtins', 'set')


class _Machine:
  """The stack machine; fields as in the format's own description."""

  def __init__(self, data: memoryview, position: int):
    self.data = data
    self.position = position
    self.stack: list[Any] = []
    self.marks: list[list[Any]] = []
    self.memo: dict[int, Any] = {}

  def take(self, size: int) -> memoryview:
    found = self.data[self.position : self.position + size]
    if size < 0 or len(found) != size:
      raise refusal.Refusal('its pickle ends early; download it again')
    self.position += size
    return found

  def number(self, layout: str) -> Any:
    return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

  def line(self) -> str:
    start = bytes(self.data[self.position : self.position + 512])
    found, newline, _ = start.partition(b'\n')
    if not newline:
      raise refusal.Refusal('its pickle holds a name without an end')
    self.position += len(found) + 1
    return found.decode('utf-8')

  def pop_mark(self) -> list[Any]:
    found, self.stack = self.stack, self.marks.pop()
    return found

  def replace(self, count: int, make: Callable[..., Any]):
    """Replaces the topmost entries by what is made of them."""
    if len(self.stack) < count:
      raise refusal.Refusal('its pickle takes more than it gave')
    arguments = self.stack[len(self.stack) - count :]
    del self.stack[len(self.stack) - count :]
    self.stack.append(make(*arguments))


def load(data: memoryview, position: int = 0) -> tuple[Any, int]:
  """Reads one pickle, of protocol 2 to 5.

  Args:
    data: the bytes.
    position: where it begins.

  Returns:
    Its value, of plain values, `Global`, `Reference` and `Object`; and where
    it ends. Keys of dicts are texts, numbers and None: entries under others
    are left out.

  Raises:
    Refusal: it is broken, too long, of protocol 0 or 1, or made to do harm.
  """
  machine = _Machine(data[: position + LARGEST], position)
  for _ in range(MOST_OPCODES):
    opcode = machine.take(1)[0]
    if opcode == STOP:
      return machine.stack.pop(), machine.position
    operate = OPERATIONS.get(opcode)
    if operate is None:
      raise refusal.Refusal(
        f'its pickle holds the opcode {bytes([opcode])!r}, which no file of '
        'weights needs; use a file from its publisher'
      )
    operate(machine)
  raise refusal.Refusal('its pickle is longer than that of any weights')


def name_global(module: Any, name: Any) -> Global:
  """Raises Refusal for what is no name, and for names that do harm."""
  if not isinstance(module, str) or not isinstance(name, str):
    raise refusal.Refusal('its pickle names a class by what is no text')
  if not NAME.fullmatch(module) or not NAME.fullmatch(name):
    raise refusal.Refusal(
      f'its pickle names {refusal.shorten(f"{module} {name}", 60)!r}, which '
      'is no class or function'
    )
  if module.split('.')[0] in HARMFUL or (
    module in BUILTINS and name.split('.')[0] in HARMFUL_BUILTINS
  ):
    raise refusal.Refusal(
      f'it names {module}.{name}, which runs code and no weights need: it was '
      'made to do harm, and nothing of it was run; do not open it otherwise'
    )
  return Global('builtins' if module in BUILTINS else module, name)


def _push(value: Any) -> Callable[[_Machine], None]:
  return lambda machine: machine.stack.append(value)


def _create(make: Callable[[], Any]) -> Callable[[_Machine], None]:
  return lambda machine: machine.stack.append(make())


def _unpack(layout: str) -> Callable[[_Machine], None]:
  return lambda machine: machine.stack.append(machine.number(layout))


def _text(layout: str, encoding: str) -> Callable[[_Machine], None]:
  def read(machine):
    text = bytes(machine.take(machine.number(layout))).decode(encoding)
    machine.stack.append(text)

  return read


def _bytes(layout: str) -> Callable[[_Machine], None]:
  return lambda machine: machine.stack.append(
    bytes(machine.take(machine.number(layout)))
  )


def _long(layout: str) -> Callable[[_Machine], None]:
  def read(machine):
    size = machine.number(layout)
    if not 0 <= size <= LONGEST_NUMBER:
      raise refusal.Refusal('its pickle holds a number of too many digits')
    machine.stack.append(
      int.from_bytes(machine.take(size), 'little', signed=True)
    )

  return read


def _put(layout: str) -> Callable[[_Machine], None]:
  def put(machine):
    machine.memo[machine.number(layout)] = machine.stack[-1]

  return put


def _get(layout: str) -> Callable[[_Machine], None]:
  return lambda machine: machine.stack.append(
    machine.memo[machine.number(layout)]
  )


def _memoize(machine: _Machine):
  machine.memo[len(machine.memo)] = machine.stack[-1]


def _mark(machine: _Machine):
  machine.marks.append(machine.stack)
  machine.stack = []


def _tuple(count: int) -> Callable[[_Machine], None]:
  return lambda machine: machine.replace(count, lambda *values: values)


def _marked_tuple(machine: _Machine):
  values = tuple(machine.pop_mark())
  machine.stack.append(values)


def _frozenset(machine: _Machine):
  # Elements are never hashed: hashing nested tuples can take any time.
  values = machine.pop_mark()
  machine.stack.append(Object(SET, (values,)))


def _append(machine: _Machine):
  value = machine.stack.pop()
  _extend(machine.stack[-1], [value])


def _appends(machine: _Machine):
  values = machine.pop_mark()
  _extend(machine.stack[-1], values)


def _extend(target: Any, values: list[Any]):
  if type(target) is list:
    target += values
  elif type(target) is Object:
    target.entries += values
  else:
    raise refusal.Refusal('its pickle appends to what is no list')


def _set_item(machine: _Machine):
  value, key = machine.stack.pop(), machine.stack.pop()
  _set(machine.stack[-1], [key, value])


def _set_items(machine: _Machine):
  pairs = machine.pop_mark()
  _set(machine.stack[-1], pairs)


def _set(target: Any, pairs: list[Any]):
  if type(target) is Object:
    target = target.items
  elif type(target) is not dict:
    raise refusal.Refusal('its pickle sets items of what is no dict')
  for key, value in zip(pairs[::2], pairs[1::2], strict=True):
    if key is None or type(key) in (str, int, float, bool, bytes):
      target[key] = value


def _global(machine: _Machine):
  module = machine.line()
  machine.stack.append(name_global(module, machine.line()))


def _build(machine: _Machine):
  state = machine.stack.pop()
  target = machine.stack[-1]
  if type(target) is not Object or target.state is not None:
    raise refusal.Refusal('its pickle gives a state to what has none')
  target.state = state


def _proto(machine: _Machine):
  version = machine.number('<B')
  if not 2 <= version <= 5:
    raise refusal.Refusal(f'its pickle is of protocol {version}, not 2 to 5')


def _frame(machine: _Machine):
  machine.take(8)


STOP = ord('.')
OPERATIONS: dict[int, Callable[[_Machine], None]] = {
  ord('N'): _push(None),
  0x88: _push(True),
  0x89: _push(False),
  ord(')'): _push(()),
  ord(']'): _create(list),
  ord('}'): _create(dict),
  0x8F: _create(lambda: Object(SET, ())),
  ord('J'): _unpack('<i'),
  ord('K'): _unpack('<B'),
  ord('M'): _unpack('<H'),
  ord('G'): _unpack('>d'),
  0x8A: _long('<B'),
  0x8B: _long('<i'),
  ord('X'): _text('<I', 'utf-8'),
  0x8C: _text('<B', 'utf-8'),
  0x8D: _text('<Q', 'utf-8'),
  # Texts of Python 2.
  ord('T'): _text('<I', 'latin-1'),
  ord('U'): _text('<B', 'latin-1'),
  ord('B'): _bytes('<I'),
  ord('C'): _bytes('<B'),
  0x8E: _bytes('<Q'),
  0x96: _bytes('<Q'),
  ord('q'): _put('<B'),
  ord('r'): _put('<I'),
  0x94: _memoize,
  ord('h'): _get('<B'),
  ord('j'): _get('<I'),
  ord('('): _mark,
  ord('t'): _marked_tuple,
  0x85: _tuple(1),
  0x86: _tuple(2),
  0x87: _tuple(3),
  0x91: _frozenset,
  ord('a'): _append,
  ord('e'): _appends,
  0x90: _appends,
  ord('s'): _set_item,
  ord('u'): _set_items,
  ord('c'): _global,
  0x93: lambda machine: machine.replace(2, name_global),
  ord('R'): lambda machine: machine.replace(2, Object),
  0x81: lambda machine: machine.replace(2, Object),
  0x92: lambda machine: machine.replace(3, lambda a, b, _: Object(a, b)),
  ord('b'): _build,
  ord('Q'): lambda machine: machine.replace(1, Reference),
  ord('0'): lambda machine: machine.stack.pop(),
  ord('1'): lambda machine: machine.pop_mark(),
  0x80: _proto,
  0x95: _frame,
}
