"""The verb `convert`: its arguments and what it calls."""

import pathlib

SUMMARY = 'published weights to a directory that trains, evaluates and predicts'
EPILOG = 'A config starts a tower from it by --config.init.video=DIR.'


def add_arguments(verb) -> None:
  verb.add_argument(
    'family',
    metavar='FAMILY',
    help='videomae, ast, audiomae, hicmae, efficientnet, vggish or wav2vec2',
  )
  verb.add_argument(
    'path',
    type=pathlib.Path,
    metavar='PATH',
    help='the file as published; its format is recognised',
  )
  verb.add_argument(
    '--out',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of the converted weights',
  )
  verb.add_argument(
    '--verify',
    action='store_true',
    help='also run the figures that are published for these weights',
  )


def run(args) -> None:
  from avemo.experiment import conversion

  conversion.convert(args.family, args.path, args.out, verify=args.verify)
