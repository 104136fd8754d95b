"""Configs: loaded by path, overridden by flags, refused in one line."""

import pathlib
import re
import sys
from collections.abc import Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

import avemo
from avemo import errors

ARGUMENTS = (
  '(what the file itself takes follows a colon: FILE:name=value; FILE:help '
  'lists it)'
)


def load(arguments: Sequence[str]) -> ml_collections.ConfigDict:
  """The config that `--config=FILE[:arg] --config.a.b=v …` describe.

  Raises:
    AvemoError: no such file, a file that fails, an unknown key (names the
      nearest), a value of the wrong type.
  """
  path = next(
    (a.split('=', 1)[1] for a in arguments if a.startswith('--config=')), ''
  )
  path = path.split(':')[0]
  if not pathlib.Path(path).is_file():
    raise errors.AvemoError(
      f'{path or "--config"}: no such config; the ready ones are in '
      f'{pathlib.Path(avemo.__file__).parent.parent / "configs"}'
    )
  # A config imports `configs.common` from beside it, wherever we are.
  root = str(pathlib.Path(path).resolve().parent.parent)
  if root not in sys.path:
    sys.path.append(root)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    'config',
    flag_values=values,
    lock_config=True,
    sys_argv=['avemo', *arguments],
  )
  try:
    rest = values(['avemo', *arguments])[1:]
    config = values.config
  except errors.AvemoError:
    raise
  except Exception as error:  # The file is the user's: anything may happen.
    raise errors.AvemoError(f'{path}: {explain(error)}') from error
  if rest:
    raise errors.AvemoError(f'unknown argument {rest[0]!r}')
  return config


def explain(error: Exception) -> str:
  """One line for what a config's file or its flags raised."""
  text = str(error)
  near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text)
  if near:
    return (
      f'no key {near[2]!r} in the config; did you mean {near[1]!r}? {ARGUMENTS}'
    )
  number = re.search(
    r'(?:flag (\S+?)=.*: )?(?:could not convert string to (float)|'
    r'invalid literal for int\(\).*): (.+)$',
    text,
  )
  if number:
    kind = 'number' if number[2] else 'whole number'
    place = f'{number[1]}: ' if number[1] else ''
    return f'{place}{number[3]} is no {kind}'
  if isinstance(error, (KeyError, AttributeError)):
    name = text.strip(chr(34) + chr(39))
    return f'no key {name} in the config {ARGUMENTS}'
  return ' '.join(text.split())


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
  """Takes `--config …` and `--config.a.b …` out of a command line.

  Returns:
    The other words, and the config's flags, each as `--name=value`, the file
    first.
  """
  own, found = [], []
  words = list(arguments)
  while words:
    word = words.pop(0)
    name = word.split('=', 1)[0]
    if name == '--config' or name.startswith('--config.'):
      following = words[:1]
      if '=' not in word and following and not following[0].startswith('--'):
        word = f'{word}={words.pop(0)}'
      found.append(word)
    else:
      own.append(word)
  found.sort(key=lambda word: not word.startswith('--config='))
  return own, found
