"""The verb `abaw`: its arguments and what it calls."""

import pathlib

from avemo import errors, words

SUMMARY = 'score or check a submission to an ABAW challenge'
DESCRIPTION = (
  "Scores a submission by the challenge's own rules, or lists what is wrong "
  'with it, file by file; ends non-zero if anything is.'
)


def add_arguments(verb) -> None:
  verb.add_argument(
    'action', choices=('score', 'check'), help='what to do with it'
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
    required=True,
    metavar='DIR',
    help='folder of the set, a text file a video; of mtl the file',
  )
  verb.add_argument(
    '--submission',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='a text file a video, or one file with image_location first',
  )


def run(args) -> None:
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
