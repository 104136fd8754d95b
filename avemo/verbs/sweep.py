"""The verb `sweep`: its arguments and what it calls."""

import os
import pathlib

from avemo import errors
from avemo import parser as parser_lib
from avemo.verbs import options

SUMMARY = "train and score the trials of a config's get_sweep()"
DESCRIPTION = (
  'Trains every trial that get_sweep() beside get_config() lists, and scores '
  'it on validation and test clips by the checkpoint that validation chose. '
  'What is whole already is left as it is; a trial that fails stops no other. '
  '`avemo collect DIR` makes the table.'
)
EPILOG = (
  'What is set for all trials: --config.data_dir=DATA. get_sweep() returns a '
  'list of dicts, one a trial: what follows the colon of the config under '
  "'arg', fields by their dotted names beside it, such as "
  "{'arg': {'strategy': 'fslf'}, 'optim.lr': 1e-3, 'seed': 0}."
)
TAKES_CONFIG = True


def add_arguments(verb) -> None:
  options.add_config(verb)
  verb.add_argument(
    '--workdir',
    type=pathlib.Path,
    required=True,
    metavar='DIR',
    help='the folder of all trials, a workdir each',
  )
  verb.add_argument(
    '--launcher',
    choices=('local', 'slurm'),
    default='local',
    help='run the trials here, or submit them as an array of jobs',
  )
  verb.add_argument(
    '--parallel',
    type=parser_lib.positive_int,
    metavar='N',
    help='trials at a time; one here, and any number under Slurm',
  )
  verb.add_argument(
    '--launcher-option',
    action='append',
    default=[],
    metavar='NAME[=VALUE]',
    help='an option of sbatch, such as time=4:00:00; as often as needed',
  )
  verb.add_argument(
    '--dry-run',
    action='store_true',
    help='print what would be run, and run nothing',
  )
  verb.add_argument('--trial', metavar='NAME', help='run this one alone, here')
  options.add_conditions(verb)


def run(args) -> None:
  from avemo.runtime import cluster

  cluster.check_alone(os.environ, 'sweep')
  conditions = options.read_conditions(args)
  from avemo.experiment import grid

  trials = grid.load_trials(args.config_flags)
  chosen = [t for t in trials if args.trial in (None, t.name)]
  if not chosen:
    raise errors.AvemoError(
      f'no trial {args.trial!r} in the grid; there are: '
      f'{", ".join(t.name for t in trials)}'
    )

  from avemo.train import checks

  for trial in chosen:
    checks.check_config(trial.config, args.workdir / trial.name)

  from avemo.experiment import folders, slurm, sweep

  if args.trial:
    sweep.run_one(args.workdir, chosen[0], conditions)
    return
  words = options.write_conditions(args)
  if args.dry_run:
    missing = sweep.list_missing(args.workdir, trials, conditions)
    if args.launcher == 'slurm':
      print(
        slurm.make_script(
          args.workdir.absolute(),
          args.config_flags,
          [trial.name for trial in missing],
          parallel=args.parallel,
          launcher_options=args.launcher_option,
          options=words,
        )
      )
    for trial in missing:
      print(trial.name)
    return
  with folders.lock(args.workdir) as held:
    sweep.open_sweep(args.workdir, args.config_flags, trials)
    if args.launcher == 'local':
      failed = sweep.run_all(
        args.workdir,
        args.config_flags,
        trials,
        held,
        parallel=args.parallel or 1,
        conditions=conditions,
        options=words,
      )
      if failed:
        raise errors.AvemoError(
          f'{len(failed)} of {len(trials)} trials failed: '
          f'{", ".join(failed)}; log.txt in their folders has more, and the '
          'same command runs them again'
        )
      print(f'whole; the table: avemo collect {args.workdir}')
      return
    missing = sweep.list_missing(args.workdir, trials, conditions)
    if not missing:
      print(f'whole; the table: avemo collect {args.workdir}')
      return
    script = slurm.write_script(
      args.workdir,
      args.config_flags,
      missing,
      parallel=args.parallel,
      launcher_options=args.launcher_option,
      options=words,
    )
    print(f'{len(missing)} trials in {script}')
    print(slurm.submit(script))
