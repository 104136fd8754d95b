"""The verb `simulate`: its arguments and what it calls."""

import pathlib

from avemo import parser as parser_lib
from avemo.verbs import options

SUMMARY = 'write a small corpus in the real layout, made from a seed'


def add_arguments(verb) -> None:
  verb.add_argument(
    'corpus',
    metavar='CORPUS',
    help='crema_d, ravdess, enterface, msp_improv, mafw or aff_wild2',
  )
  verb.add_argument(
    '--out',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder to make; must not exist, or be empty',
  )
  verb.add_argument(
    '--speakers',
    type=parser_lib.positive_int,
    metavar='N',
    help="how many of the corpus's, spread over its folds; 12 when not given",
  )
  verb.add_argument(
    '--videos',
    type=parser_lib.positive_int,
    metavar='N',
    help='in place of speakers, where the corpus names none: mafw, aff_wild2; '
    '12 when not given',
  )
  verb.add_argument(
    '--clips-per-speaker',
    type=parser_lib.positive_int,
    metavar='N',
    help='a subset spread evenly over the emotions; all when not given',
  )
  verb.add_argument(
    '--seed',
    type=int,
    default=0,
    metavar='S',
    help='of everything that is drawn',
  )
  verb.add_argument(
    '--quirks',
    action='store_true',
    help='add the oddities of the real corpus, on real files',
  )
  verb.add_argument(
    '--voice-evidence',
    type=parser_lib.fraction,
    metavar='P',
    help='probability that a voice shows its emotion; 0 for a control',
  )
  verb.add_argument(
    '--face-evidence',
    type=parser_lib.fraction,
    metavar='P',
    help='probability that a face shows its emotion; 0 for a control',
  )
  verb.add_argument(
    '--oracle',
    action='store_true',
    help='print the best score that the evidence allows',
  )
  verb.add_argument(
    '--affect',
    action='store_true',
    help='also leave affect.csv, valence and arousal by clip, for '
    'prepare --labels',
  )
  verb.add_argument(
    '--other-than',
    type=pathlib.Path,
    metavar='DIR',
    help='leave out the speakers, or films, of another simulation',
  )
  verb.add_argument(
    '--longer',
    type=float,
    default=1.0,
    metavar='TIMES',
    help='of aff_wild2: films so many times as long',
  )
  verb.add_argument(
    '--redraw',
    action='store_true',
    help='of aff_wild2: an expression, and a label, drawn anew for every '
    'frame; a control',
  )
  options.add_workers(verb)


def run(args) -> None:
  from avemo import simulate
  from avemo.simulate import affect

  out = simulate.simulate(
    args.corpus,
    args.out,
    speakers=args.speakers,
    clips_per_speaker=args.clips_per_speaker,
    videos=args.videos,
    seed=args.seed,
    quirks=args.quirks,
    workers=args.workers,
    affect=args.affect,
    redraw=args.redraw,
    longer=args.longer,
    other_than=args.other_than,
    **{
      name: getattr(args, name)
      for name in ('voice_evidence', 'face_evidence')
      if getattr(args, name) is not None
    },
  )
  print(f'wrote {out}')
  labels = f' --labels {out / affect.FILE}' if args.affect else ''
  print(
    f'next: avemo prepare {args.corpus} --raw {out} --data-dir DATA{labels}'
  )
  if args.oracle:
    best = simulate.oracle(out)
    print('best UAR that the evidence allows (sound, picture, both):')
    for name in ('audio', 'video', 'both'):
      print(f'  {name:5s} {best[name]:.4f}')
