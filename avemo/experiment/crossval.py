"""Every fold of a protocol: trained, scored, pooled."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avemo import errors, models
from avemo.corpora import folds as folds_lib
from avemo.corpora import protocols
from avemo.data import folds, parts, schema
from avemo.evaluate import conditions as conditions_lib
from avemo.evaluate import restore
from avemo.experiment import crossval_report, folders, pooling, results, trial
from avemo.experiment.progress import Progress

NOTE_FILE = 'cross_validation.json'


def cross_validate(
  config: Any,
  protocol: str,
  workdir: str | pathlib.Path,
  *,
  seeds: Sequence[int] | None = None,
  fold: int | None = None,
  watch: bool = True,
  conditions: Sequence[conditions_lib.Condition] = (),
) -> dict[str, Any] | None:
  """Trains and scores every fold, or one, then all that can be said of them.

  Folds that are whole are left as they are, and one that was cut off goes on.

  Args:
    config: a ConfigDict or a nested dict; its protocol, fold and seed are set
      here.
    protocol: its name.
    workdir: gets a workdir a fold, `summary.json` and `report.html`.
    seeds: one training each; the summary holds those of earlier calls too.
      Those alone, or else the config's own, when None.
    fold: published number of the one to run; the summary follows once all
      are there.
    watch: also find the checkpoints that would be chosen on test clips.
    conditions: under which test clips are scored as well.

  Returns:
    What `summary.json` holds; None while folds are missing.

  Raises:
    AvemoError: unknown protocol, a fold without test clips, or a workdir that
      holds something else.
  """
  config = config.to_dict() if hasattr(config, 'to_dict') else dict(config)
  config = json.loads(json.dumps(config))
  if models.has_own_loss(restore.find_model(config['model'])):
    raise errors.AvemoError(
      f'{config["model"]["name"]} knows no classes: cross-validate a '
      'classifier that starts from it'
    )
  about = protocols.get(protocol)
  key, config = set_protocol(config, protocol)
  workdir = pathlib.Path(workdir)
  made, flaws, sha256 = find_folds(config, key, protocol)
  numbers = [one.index for one in made]
  if fold is not None and fold not in numbers:
    raise errors.AvemoError(
      f'{protocol} has no fold {fold} over these clips; it has '
      f'{", ".join(map(str, numbers))}'
    )
  # A call that goes on must not divide other clips.
  note = {'protocol': protocol, 'sha256': sha256}
  note['config'] = set_fold(config, key, 0) | {'seed': None}
  seeds, note = claim_seeds(workdir, note, seeds, config['seed'])
  for line in describe(about, made, flaws, seeds):
    print(line, flush=True)
  reason = find_unwatched(config)
  if watch and reason:
    print(f'best_on_test is left out: {reason}')
    watch = False
  plan = [
    pooling.Part(
      number, seed, workdir / name_part(number, seed, note['first_seed'])
    )
    for seed in note['seeds']
    for number in numbers
  ]
  run_parts(
    [part for part in plan if part.seed in seeds and fold in (None, part.fold)],
    config,
    key,
    watch=watch and not about.test_is_validation,
    conditions=conditions,
  )
  missing = [
    part
    for part in plan
    if not results.is_whole(part.folder, make_config(config, key, part))
  ]
  if missing:
    names = ', '.join(part.folder.name for part in missing)
    print(f'still missing, and no summary before they are there: {names}')
    return None
  with folders.lock(workdir):
    summary = describe_run(about, made, flaws, sha256, config, key)
    summary |= {'seeds': note['seeds']} | pooling.summarize(plan, about)
    summary['warnings'] += pooling.list_overlaps(plan)
    folders.write(workdir, 'summary.json', summary)
    crossval_report.write(workdir, summary)
  print(crossval_report.summarize(summary))
  print(f'report: {workdir / "report.html"}')
  return summary


def claim_seeds(
  workdir: pathlib.Path,
  note: Mapping[str, Any],
  seeds: Sequence[int] | None,
  usual: int,
) -> tuple[list[int], dict[str, Any]]:
  """Takes the folder; the seeds of this call, and the note of all calls.

  Args:
    workdir: of the cross-validation.
    note: what all calls share.
    seeds: that were asked for; None goes on with those of earlier calls.
    usual: where there are none.

  Raises:
    AvemoError: the folder holds something else.
  """
  with folders.lock(workdir):
    old = folders.claim(workdir, NOTE_FILE, 'cross-validation', note)
    known = old.get('seeds', [])
    seeds = list(dict.fromkeys(seeds or known or [usual]))
    # The first seed of all has the folders with the short names.
    first = old.get('first_seed', seeds[0])
    note = {**note, 'seeds': sorted({*known, *seeds}), 'first_seed': first}
    folders.write(workdir, NOTE_FILE, note)
  return seeds, note


def find_unwatched(config: Mapping[str, Any]) -> str:
  """Why no checkpoint can be chosen on test clips for comparison, or ''."""
  if (config.get('features') or {}).get('cache'):
    return 'what is cached while training holds no test clips'
  way = (config.get('evaluate') or {}).get('smooth') or 'none'
  if way != 'none':
    return f'scores are smoothed ({way}), and those beside them would not be'
  return ''


def run_parts(
  plan: Sequence[pooling.Part],
  config: Mapping[str, Any],
  key: str | None,
  **options: Any,
) -> None:
  """Trains and scores what is missing of a plan."""
  settings = [(part, make_config(config, key, part)) for part in plan]
  whole = [part for part, own in settings if results.is_whole(part.folder, own)]
  for part in whole:
    print(f'{part.folder.name}: whole, left as it is')
  progress = Progress(len(plan), len(whole))
  for part, own in settings:
    trial.run_trial(own, part.folder, data=key, **options)
    if part not in whole:
      progress.finish(part.folder.name)


def make_config(
  config: Mapping[str, Any], key: str | None, part: pooling.Part
) -> dict[str, Any]:
  """The config of one fold and seed."""
  return set_fold(config, key, part.fold) | {'seed': part.seed}


def name_part(fold: int, seed: int, first_seed: int) -> str:
  return f'fold_{fold}' if seed == first_seed else f'fold_{fold}_seed_{seed}'


def set_protocol(
  config: Mapping[str, Any], protocol: str
) -> tuple[str | None, dict[str, Any]]:
  """The config under a protocol, and of a mixture the corpus it divides.

  Raises:
    AvemoError: none of the config's corpora is the protocol's.
  """
  corpus = protocols.get(protocol).corpus
  data = config['data']
  if not data.get('mixture'):
    return None, {**config, 'data': {**data, 'protocol': protocol}}
  for part in parts.read(data):
    if protocols.get(part.protocol).corpus == corpus:
      own = {**data['mixture'][part.key], 'protocol': protocol}
      mixture = {**data['mixture'], part.key: own}
      return part.key, {**config, 'data': {**data, 'mixture': mixture}}
  raise errors.AvemoError(
    f'protocol {protocol} divides {corpus}, which is not in data.mixture'
  )


def set_fold(
  config: Mapping[str, Any], key: str | None, fold: int
) -> dict[str, Any]:
  data = config['data']
  if key is None:
    return {**config, 'data': {**data, 'fold': fold}}
  own = {**data['mixture'][key], 'fold': fold}
  mixture = {**data['mixture'], key: own}
  return {**config, 'data': {**data, 'mixture': mixture}}


def find_folds(
  config: Mapping[str, Any], key: str | None, protocol: str
) -> tuple[list[folds_lib.Fold], tuple[str, ...], str]:
  """The folds that have test clips, what is wrong with them, their hash."""
  (part,) = [p for p in parts.read(config['data']) if key in (None, p.key)]
  dataset = schema.open_dataset(part.name, config.get('data_dir'))
  # Says it where the protocol is another corpus's.
  corpus = protocols.get(protocol).corpus
  if corpus != dataset.corpus:
    raise errors.AvemoError(
      f'protocol {protocol} divides {corpus}, and {dataset.name} holds '
      f'{dataset.corpus}; `avemo protocols` lists the others'
    )
  rows = folds.make_rows(dataset.index)
  made = [one for one in protocols.make_folds(protocol, rows) if one.test]
  flaws = protocols.find_flaws(protocol, rows)
  return made, flaws, folds_lib.compute_sha256(made)


def find_skipped(about: Any, made: Sequence[folds_lib.Fold]) -> list[int]:
  present = {one.index for one in made}
  return [n for n in range(about.num_folds) if n not in present]


def describe(about, made, flaws, seeds) -> Iterator[str]:
  """What is about to be run, in lines."""
  tests = sum(len(one.test) for one in made)
  yield (
    f'{about.name}: {len(made)} folds, {tests} test clips, '
    f'{len(seeds)} seeds ({", ".join(map(str, seeds))})'
  )
  for flaw in flaws:
    yield f'warning: {flaw}'
  skipped = find_skipped(about, made)
  if skipped:
    yield f'skipped, no test clips: fold {", ".join(map(str, skipped))}'


def describe_run(about, made, flaws, sha256, config, key) -> dict[str, Any]:
  """What `summary.json` says of the folds."""
  control = config.get('control') or {}
  refit = config['data'].get('refit')
  return {
    'protocol': about.name,
    'source': about.source,
    'dataset': config['data'].get('name') or key,
    'speaker_independent': about.speaker_independent,
    'test_is_validation': about.test_is_validation,
    'chosen_by': 'the last step (trained on validation clips too)'
    if refit
    else control.get('metric', restore.DEFAULT_METRIC),
    'sha256': sha256,
    'expected_sha256': about.expected_sha256,
    'skipped': find_skipped(about, made),
    'warnings': list(flaws),
  }
