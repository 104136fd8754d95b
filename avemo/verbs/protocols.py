"""The verb `protocols`: its arguments and what it calls."""

import pathlib
import sys

from avemo import errors, words

SUMMARY = 'list the named folds, or the sizes and clips of the folds of one'


def add_arguments(verb) -> None:
  verb.add_argument(
    'name',
    nargs='?',
    metavar='NAME',
    help='one of them, or a corpus, whose own are listed; all when not given',
  )
  source = verb.add_mutually_exclusive_group()
  source.add_argument(
    '--data-dir',
    type=pathlib.Path,
    metavar='DIR',
    help='take the clips of the dataset prepared there; without it and '
    '--names, the full corpus as published',
  )
  source.add_argument(
    '--names',
    type=pathlib.Path,
    metavar='FILE',
    help='a text file, one clip name a line (for eNTERFACE its path, such as '
    'subject_1/anger/sentence_1/s1_an_1); no media needed',
  )
  source.add_argument(
    '--raw',
    type=pathlib.Path,
    metavar='DIR',
    help="the corpus as unpacked, whose own lists are read; MAFW's and "
    "Aff-Wild2's folds are such lists",
  )
  verb.add_argument(
    '--brief', action='store_true', help='leave out the clips of each fold'
  )
  verb.add_argument(
    '--json', action='store_true', help='print the folds for a program'
  )


def run(args) -> None:
  from avemo import corpora
  from avemo.corpora import protocols

  if args.name is None or args.name in corpora.CORPORA:
    print(protocols.describe_all(args.name))
    return
  corpus, source = protocols.get(args.name).corpus, ''
  if args.names:
    rows = protocols.rows_from_names(corpus, args.names)
  elif args.raw:
    rows = protocols.rows_from_raw(corpus, args.raw)
    rows, bare = protocols.split_bare(corpus, args.raw, rows)
    if bare:
      print(
        f'left out: {words.count(len(bare), "clip")} without film, faces or '
        f'sound under {args.raw}, such as {bare[0]}',
        file=sys.stderr,
      )
  elif args.data_dir:
    from avemo.data import folds, schema

    dataset = schema.open_dataset(f'{corpus}_av', args.data_dir)
    rows, source = folds.make_rows(dataset.index), f'{dataset.name}: '
  else:
    rows = protocols.rows_of_corpus(corpus)
  try:
    text = protocols.describe(
      args.name, rows, as_json=args.json, with_clips=not args.brief
    )
  except errors.AvemoError as error:
    raise errors.AvemoError(f'{source}{error}') from error
  print(text)
