"""Scores or checks a submission to an ABAW challenge, video by video.

Annotations are one text file a video: a header, then a line a frame, of which
the first belongs to picture `00001.jpg`. A submission is a folder of files of
the same form, or one file whose lines begin with the picture they belong to
(`image_location`), as later challenges want it. Of the multi-task challenge
both are one file (`image,valence,arousal,expression,aus`).
"""

import os
import pathlib
import re

import numpy as np

from avemo import errors, words
from avemo.evaluate import abaw_files as files
from avemo.metrics import abaw

TASKS = files.TASKS
_SIDE = re.compile(r'(_left|_right)$')


def score(
  task: str,
  annotations: str | os.PathLike,
  submission: str | os.PathLike,
) -> dict[str, float]:
  """The challenge's score, over all frames that are annotated.

  Args:
    task: 'va', 'expr', 'au' or 'mtl'.
    annotations: the folder of the set; of 'mtl' its file.
    submission: see the module.

  Returns:
    What `metrics.abaw.score_<task>` says.

  Raises:
    AvemoError: a file that is missing or wrong, the first of all.
  """
  truth = read_annotations(task, annotations)
  given, found = read_submission(task, submission, truth)
  own = {path.name for path in files.list_files(submission, False).values()}
  for name, problems in sorted(found.items()):
    # Videos that nobody asked for do not change the score.
    if problems and (name in truth or name in own):
      raise errors.AvemoError(
        f'{submission}, {name}: {problems[0]}; `avemo abaw check` lists all '
        'that is wrong'
      )
  names = sorted(truth)
  annotated = np.concatenate([truth[name].values for name in names])
  predicted = np.concatenate([given[name] for name in names])
  if task == 'expr':
    return abaw.score_expr(
      annotated[:, 0].astype(int),
      predicted[:, 0].astype(int),
      files.find_expressions(truth),
    )
  compute = {'va': abaw.score_va, 'au': abaw.score_au, 'mtl': abaw.score_mtl}
  return compute[task](annotated, predicted)


def check(
  task: str,
  annotations: str | os.PathLike,
  submission: str | os.PathLike,
) -> dict[str, list[str]]:
  """What is wrong with a submission, by file; nothing where all is well.

  Every annotated video must be there with as many lines as its annotation has,
  faces or not: the frames that are masked are not known to who submits.

  Args:
    task: 'va', 'expr', 'au' or 'mtl'.
    annotations: see `score`.
    submission: see the module.

  Raises:
    AvemoError: the annotations cannot be read, or there is no submission.
  """
  truth = read_annotations(task, annotations)
  _, found = read_submission(task, submission, truth)
  return {name: lines for name, lines in sorted(found.items()) if lines}


def find_notes(task: str, annotations: str | os.PathLike) -> list[str]:
  """What of the annotations themselves a reader of a score must know.

  Args:
    task: 'va', 'expr', 'au' or 'mtl'.
    annotations: see `score`.

  Raises:
    AvemoError: the annotations cannot be read.
  """
  truth = read_annotations(task, annotations)
  notes = [note for table in truth.values() for note in tell_doubles(table)]
  values = np.concatenate([table.values for table in truth.values()])
  place = {'expr': 0, 'mtl': 2}.get(task)
  if place is not None:
    known = len(files.find_expressions(truth)) if task == 'expr' else None
    known = known or len(abaw.EXPRESSIONS)
    absent = known - len(set(values[:, place]) - {abaw.UNKNOWN_CLASS})
    if absent:
      does = 'does' if absent == 1 else 'do'
      notes.append(
        f'{absent} of {known} expressions {does} not occur in the annotations'
      )
  return notes


def tell_doubles(table: files.Table) -> list[str]:
  """A note where a picture is annotated several times, and not alike."""
  first, contradicted = {}, {}
  for picture, row in zip(table.pictures, table.values, strict=False):
    if not np.array_equal(first.setdefault(picture, row), row):
      contradicted[picture] = None
  if not contradicted:
    return []
  pictures = words.count(len(contradicted), 'picture stands', 'pictures stand')
  return [
    f'{pictures} in the annotations several times, with labels that contradict '
    f'each other, such as {next(iter(contradicted))}; the score is over rows'
  ]


def read_annotations(
  task: str, path: str | os.PathLike
) -> dict[str, files.Table]:
  """Tables by name of the video; of 'mtl' one, by the name of its file."""
  tables = {}
  for name, file in files.list_files(path, task == 'mtl').items():
    table = files.read(file, task, masked=True)
    if table.problems:
      raise errors.AvemoError(f'{file}: {table.problems[0]}')
    tables[name] = table
  return tables


def read_submission(
  task: str, path: str | os.PathLike, truth: dict[str, files.Table]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
  """Predictions [n, k] in the annotations' order, and problems, by name."""
  if task == 'mtl':
    (file,) = files.list_files(path, True).values()
    ((name, table),) = truth.items()
    return match_pictures(name, table, files.read(file, task))
  found = files.list_files(path, False)
  expressions = files.find_expressions(truth) if task == 'expr' else None
  if len(found) == 1:
    (file,) = found.values()
    if files.is_flat(file):
      return split_pictures(file, task, truth, expressions)
  given, problems = {}, {}
  for name in sorted(truth.keys() | found.keys()):
    if name not in found:
      problems[name] = [explain_missing(name, truth, found)]
    elif name not in truth:
      problems[name] = [explain_extra(name, truth)]
    else:
      table = files.read(found[name], task, expressions=expressions)
      given[name] = table.values
      problems[name] = table.problems + compare_length(table, truth[name])
  return given, problems


def explain_missing(name: str, truth: dict, found: dict) -> str:
  plain = _SIDE.sub('', name)
  if plain != name and plain in found and plain not in truth:
    return (
      f'missing; {plain}.txt is there, but the people of {plain} are annotated '
      'apart, as _left and _right'
    )
  return 'missing'


def explain_extra(name: str, truth: dict) -> str:
  sides = [n for n in truth if _SIDE.sub('', n) == _SIDE.sub('', name)]
  hint = f'; annotated are {", ".join(sorted(sides))}' if sides else ''
  return f'no such video in the annotations{hint}'


def compare_length(table: files.Table, truth: files.Table) -> list[str]:
  given, wanted = len(table.values), len(truth.values)
  if given == wanted:
    return []
  what = 'missing' if given < wanted else 'too many'
  return [f'{given} frames for {wanted}: {abs(wanted - given)} {what}']


def split_pictures(
  file: pathlib.Path,
  task: str,
  truth: dict[str, files.Table],
  expressions: tuple[str, ...] | None,
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
  """One file of all videos' pictures into predictions by video."""
  table = files.read(file, task, expressions=expressions)
  problems = {name: [] for name in truth} | {file.name: list(table.problems)}
  given = {n: np.full(t.values.shape, np.nan) for n, t in truth.items()}
  for number, picture in enumerate(table.pictures):
    name, frame = files.parse_picture(picture)
    if name is None:
      problems[file.name].append(
        f'line {number + 2}: {picture!r} names no picture; write '
        'VIDEO/00001.jpg'
      )
    elif name not in truth:
      problems.setdefault(name, [explain_extra(name, truth)])
    elif not 1 <= frame <= len(given[name]):
      problems[name].append(
        f'{picture}: no such frame; there are {len(given[name])}, from 1'
      )
    elif not np.isnan(given[name][frame - 1]).any():
      problems[name].append(f'{picture}: stands twice')
    else:
      given[name][frame - 1] = table.values[number]
  for name, values in given.items():
    missing = int(np.isnan(values).any(1).sum())
    if missing == len(values):
      problems[name].append(explain_missing(name, truth, {}))
    elif missing:
      problems[name].append(f'{missing} of {len(values)} frames missing')
  return given, {n: files.shorten(lines) for n, lines in problems.items()}


def match_pictures(
  name: str, truth: files.Table, table: files.Table
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
  """Predictions of the multi-task challenge, looked up by picture.

  Pictures that stand several times in the annotations count as often.
  """
  places, problems = {}, list(table.problems)
  for number, picture in enumerate(table.pictures):
    if picture in places:
      problems.append(f'line {number + 2}: {picture} stands twice')
    places.setdefault(picture, number)
  wanted = dict.fromkeys(truth.pictures)
  extra = [picture for picture in places if picture not in wanted]
  missing = [picture for picture in wanted if picture not in places]
  if missing:
    many = words.count(len(missing), 'picture')
    problems.append(f'{many} missing, such as {missing[0]}')
  values = np.full(truth.values.shape, np.nan)
  for row, picture in enumerate(truth.pictures):
    if picture in places:
      values[row] = table.values[places[picture]]
  others = [f'{len(extra)}, such as {extra[0]}'] if extra else []
  return {name: values}, {
    name: files.shorten(problems),
    'pictures that are not annotated': others,
  }


def describe_score(task: str, found: dict[str, float]) -> str:
  """A table of the score and its parts, as text."""
  lines = [
    f'{name:18s} {value:.4f}' if isinstance(value, float) else
    f'{name:18s} {value}'
    for name, value in found.items()
    if name != 'score'
  ]  # fmt: skip
  return '\n'.join([*lines, f'{f"{task} score":18s} {found["score"]:.4f}'])


def describe_check(found: dict[str, list[str]]) -> str:
  """What is wrong, a line a finding, under the file it is in."""
  return '\n'.join(
    f'{name}: {line}' for name, lines in found.items() for line in lines
  )
