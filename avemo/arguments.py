"""The command line: its verbs, and which words belong to a config."""

import argparse
from collections.abc import Sequence

import avemo
from avemo import parser as parser_lib
from avemo import verbs as verbs_lib


def build_parser() -> argparse.ArgumentParser:
  parser = parser_lib.Parser(
    prog='avemo',
    description="Emotion recognition from a speaker's face and voice.",
    epilog='`avemo VERB --help` says what a verb takes and leaves.',
  )
  parser.add_argument('--version', action='version', version=avemo.__version__)
  verbs = parser.add_subparsers(dest='verb', metavar='VERB', required=True)
  for name, module in verbs_lib.VERBS.items():
    verb = verbs.add_parser(
      name,
      help=module.SUMMARY,
      description=getattr(module, 'DESCRIPTION', module.SUMMARY),
      epilog=getattr(module, 'EPILOG', None),
      formatter_class=parser_lib.Formatter,
    )
    verb.add_argument(
      '--debug', action='store_true', help='show the traceback of an error'
    )
    module.add_arguments(verb)
  return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
  """Reads a command line; the words of a config are in `config_flags`."""
  module = verbs_lib.VERBS.get(arguments[0]) if arguments else None
  if not getattr(module, 'TAKES_CONFIG', False):
    return build_parser().parse_args(arguments)
  from avemo.experiment import configs

  own, config_flags = configs.split_flags(arguments)
  args = build_parser().parse_args(own + config_flags[:1])
  args.config_flags = config_flags
  return args
