"""The verb `protocols`: its arguments and what it calls."""

import pathlib

SUMMARY = 'list the named folds, or the clips of each fold of one'


def add_arguments(verb) -> None:
  verb.add_argument(
    'name', nargs='?', metavar='NAME', help='one of them; all when not given'
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
    '--json', action='store_true', help='print the folds for a program'
  )


def run(args) -> None:
  from avemo.corpora import protocols

  if args.name is None:
    print(protocols.describe_all())
    return
  corpus = protocols.get(args.name).corpus
  if args.names:
    rows = protocols.rows_from_names(corpus, args.names)
  elif args.raw:
    rows = protocols.rows_from_raw(corpus, args.raw)
  elif args.data_dir:
    from avemo.data import folds, schema

    dataset = schema.open_dataset(f'{corpus}_av', args.data_dir)
    rows = folds.make_rows(dataset.index)
  else:
    rows = protocols.rows_of_corpus(corpus)
  print(protocols.describe(args.name, rows, as_json=args.json))
