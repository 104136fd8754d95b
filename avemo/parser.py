"""How a command line is read: one line for what is wrong, and its help."""

import argparse
import difflib

from avemo import errors


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
  """Tells the default of an option that has one to tell."""

  def _get_help_string(self, action):
    if action.default in (None, False, []):
      return action.help
    return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
  """One clear line for a wrong command line, with the nearest right word."""

  def error(self, message):
    raise errors.AvemoError(f'{message}; see `{self.prog} --help`')

  def _get_value(self, action, arg_string):
    try:
      return super()._get_value(action, arg_string)
    except argparse.ArgumentError as error:
      # Python's own words; ours are said by the types themselves.
      if not error.message.startswith('invalid '):
        raise
      kind = 'whole number' if 'int' in action.type.__name__ else 'number'
      raise argparse.ArgumentError(
        action, f'{arg_string!r} is no {kind}'
      ) from error

  def _check_value(self, action, value):
    try:
      super()._check_value(action, value)
    except argparse.ArgumentError as error:
      near = difflib.get_close_matches(str(value), map(str, action.choices), 1)
      if not near:
        raise
      raise argparse.ArgumentError(
        action, f'unknown {value!r}; did you mean {near[0]!r}?'
      ) from error


def positive_int(text: str) -> int:
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f'{text} is below 1')
  return value


def positive_float(text: str) -> float:
  value = float(text)
  if not 0 < value < float('inf'):
    raise argparse.ArgumentTypeError(f'{text} is not above 0')
  return value


def fraction(text: str) -> float:
  value = float(text)
  if not 0 <= value <= 1:
    raise argparse.ArgumentTypeError(f'{text} is not within 0 and 1')
  return value


def words(text: str) -> list[str]:
  """Words with commas between; each once."""
  return list(dict.fromkeys(filter(None, text.split(','))))


def integers(text: str) -> list[int]:
  found = [int(word) for word in words(text)]
  if not found or min(found) < 0:
    raise argparse.ArgumentTypeError(f'{text!r}: numbers such as 0,1,2')
  return found


def numbers(text: str) -> list[float]:
  return [float(word) for word in words(text)]
