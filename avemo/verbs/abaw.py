"""The verb `abaw`: its arguments and what it calls."""

import pathlib

from avemo import errors, words

SUMMARY = 'score, check or write a submission to an ABAW challenge'
DESCRIPTION = (
  "Scores a submission by the challenge's own rules; or lists what is wrong "
  'with it, file by file, and ends non-zero if anything is; or writes one of '
  'what a run has said of frames.'
)


def add_arguments(verb) -> None:
  verb.add_argument(
    'action', choices=('score', 'check', 'export'), help='what to do with it'
  )
  verb.add_argument(
    '--task',
    choices=('va', 'expr', 'au', 'mtl'),
    required=True,
    help="the challenge's task",
  )
  verb.add_argument(
    '--annotations',
    type=pathlib.Path,
    metavar='DIR',
    help='folder of the set, a text file a video; of mtl the file; export '
    'takes the names and lengths of videos from it',
  )
  verb.add_argument(
    '--submission',
    type=pathlib.Path,
    metavar='DIR',
    help='a text file a video, or one file with image_location first',
  )
  verb.add_argument(
    '--predictions',
    type=pathlib.Path,
    metavar='CSV',
    help='export: what `avemo evaluate` has left, eval/test/predictions.csv',
  )
  verb.add_argument(
    '--out', type=pathlib.Path, metavar='DIR', help='export: folder to write'
  )


def run(args) -> None:
  wanted = ('predictions', 'out')
  if args.action != 'export':
    wanted = ('annotations', 'submission')
  for name in wanted:
    if getattr(args, name) is None:
      raise errors.AvemoError(f'abaw {args.action}: --{name} is missing')
  if args.action == 'export':
    from avemo.evaluate import abaw_export

    made = abaw_export.export(
      args.task, args.predictions, args.out, args.annotations
    )
    print(f'{words.count(len(made), "file")} in {args.out}')
    return
  from avemo.evaluate import abaw

  files = args.task, args.annotations, args.submission
  for note in abaw.find_notes(args.task, args.annotations):
    print(f'note: {note}')
  if args.action == 'score':
    print(abaw.describe_score(args.task, abaw.score(*files)))
    return
  found = abaw.check(*files)
  if found:
    print(abaw.describe_check(found))
    raise errors.AvemoError(
      f'{args.submission}: '
      f'{words.count(sum(map(len, found.values())), "finding")} in '
      f'{words.count(len(found), "file")}'
    )
  print(f'{args.submission}: nothing is wrong')
