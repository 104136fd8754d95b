"""Aff-Wild2's annotation files and lists, in the trees of several years."""

import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo.simulate import trajectory

# Of each year: the folder above, those of the tasks and of the sets, and what
# a list of a test set is called.
FOLDERS = {
  'release': (
    '6th ABAW Annotations',
    {
      'va': 'VA_Estimation_Challenge',
      'expr': 'EXPR_Recognition_Challenge',
      'au': 'AU_Detection_Challenge',
    },
    {'train': 'Train_Set', 'val': 'Validation_Set'},
    'Valence_Arousal_Estimation_Challenge_test_set_release.txt',
  ),
  'third': (
    'Third ABAW Annotations',
    {
      'va': 'VA_Estimation_Challenge',
      'expr': 'EXPR_Classification_Challenge',
      'au': 'AU_Detection_Challenge',
    },
    {'train': 'Train_Set', 'val': 'Validation_Set'},
    'Valence_Arousal_Estimation_Challenge_test_set_release.txt',
  ),
  'second': (
    'annotations',
    {'va': 'VA_Set', 'expr': 'Expression_Set', 'au': 'AU_Set'},
    {'train': 'Training_Set', 'val': 'Validation_Set'},
    'va_test_set.txt',
  ),
}

_HEADERS = {
  'va': 'valence,arousal',
  'expr': 'Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other',
  'au': ','.join(f'AU{unit}' for unit in trajectory.ACTION_UNITS),
}
_OLD_UNITS = (1, 2, 4, 6, 12, 15, 20, 25)

# Lines more, or fewer, than the film has pictures.
_EXTRA_LINES = {
  '6-30-1920x1080_left': 1,
  '10-60-1280x720': -2,
  '10-60-1280x720_right': -30,
  'video45_1': 40,
}
_SPACED_HEADER = '6-30-1920x1080_left'
_DAMAGED = '6-30-1920x1080_right'
_SEVERAL_YEARS = 'video45_2'
_SEVERAL_TASKS = '10-60-1280x720'
_WITHOUT_FILM, _WITHOUT_ANNOTATION = 'video98', 'video99'


def find_part(clip_id: str, task: str) -> str:
  """The set of a clip for a task; '' where it is not annotated.

  Tasks differ, as in the release: one's training is another's validation.
  """
  number = int(re.search(r'\d+', clip_id)[0])
  if is_tested(clip_id):
    return 'test' if task == 'va' else ''
  if number % 10 == 0 and task != 'va':
    return ''
  if (task, number % 9) == ('expr', 4) or (task, number % 8) == ('au', 4):
    return ''
  is_held = number % 5 == 2
  is_held |= (task, number % 10) == ('expr', 4)
  is_held |= (task, number % 9) == ('au', 0)
  return 'val' if is_held else 'train'


def is_tested(clip_id: str) -> bool:
  """Whether a clip is of the test set, and has no annotation."""
  number = int(re.search(r'\d+', clip_id)[0])
  return number % 8 == 2 and clip_id not in _EXTRA_LINES


def plan_quirks(clip_ids: list[str], layout: str) -> dict[str, str]:
  """What is unusual in a tree with quirks, by clip or path."""
  top = FOLDERS[layout][0]
  unusual = {
    clip_id: f'{count:+d} lines beside its pictures'
    for clip_id, count in _EXTRA_LINES.items()
  }
  unusual[_SPACED_HEADER] += '; spaces and a comma too many in headers'
  unusual[_DAMAGED] = 'two damaged lines among its expressions'
  unusual[_SEVERAL_YEARS] = (
    'annotated in several years, with eight units and seven expressions; half '
    'of its faces are missing'
  )
  unusual[f'{top}/MTL_Challenge'] = 'some rows are doubled'
  unusual[_WITHOUT_FILM] = 'annotated, and no film'
  unusual[_WITHOUT_ANNOTATION] = 'a film that nobody annotated'
  few = dict.fromkeys(clip_ids, 'a few faces are missing')
  return few | unusual


def find_missing(clip_id: str, count: int, odd: Mapping[str, str]) -> set[int]:
  """Frames of which no face was cut out."""
  if odd and clip_id == _SEVERAL_YEARS:
    return set(range(count // 2, count))
  return {0, *range(20, 26)} if odd else {30, 31}


def mask(labels: trajectory.Labels) -> dict[str, np.ndarray]:
  """The values of each task with stretches that nobody annotated.

  -5 stands for them in valence and arousal, -1 in the others.
  """
  place = np.arange(len(labels.expression))
  affect = labels.affect.round(3)
  affect[place // 9 % 7 == 3] = -5
  # One of the two may be missing alone.
  affect[5, 1] = -5
  expression = np.where(place // 11 % 6 == 2, -1, labels.expression)
  units = labels.action_units.copy()
  units[place // 13 % 5 == 1] = -1
  return {'va': affect, 'expr': expression[:, None], 'au': units}


def write_annotations(
  root: pathlib.Path,
  clip_id: str,
  labels: trajectory.Labels,
  media: Mapping[str, Any],
):
  """Writes the annotation files of one clip.

  Args:
    root: the tree.
    clip_id: the clip.
    labels: of its frames.
    media: 'layout' and 'quirks'.
  """
  odd, layout = media['quirks'], media['layout']
  for task, values in mask(labels).items():
    lines = [','.join(f'{x:g}' for x in row) for row in values]
    header = _HEADERS[task]
    if odd:
      lines += lines[-1:] * _EXTRA_LINES.get(clip_id, 0)
      lines = lines[: len(values) + _EXTRA_LINES.get(clip_id, 0)]
      if clip_id == _SPACED_HEADER:
        header = header.replace(',', ' , ') + ','
        lines = [f'{line},' for line in lines]
      if clip_id == _DAMAGED and task == 'expr':
        lines[5], lines[9] = 'x', ''
      if clip_id == _SEVERAL_YEARS:
        _write_old(root, clip_id, task, values)
        # The later years have valence and arousal alone.
        if task != 'va':
          continue
    _write(root, clip_id, task, layout, header, lines)


def _write(root, clip_id, task, layout, header, lines):
  top, tasks, sets, _ = FOLDERS[layout]
  part = sets.get(find_part(clip_id, task))
  if part is not None:
    path = root / top / tasks[task] / part / f'{clip_id}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([header, *lines]) + '\n', encoding='utf-8')


def _write_old(root, clip_id, task, values):
  """What the first years said, which counts where later ones say nothing."""
  header = _HEADERS[task]
  if task == 'va':
    values = np.zeros_like(values)
  elif task == 'expr':
    header = header.removesuffix(',Other')
    values = np.where(values == 7, -1, values)
  else:
    header = ','.join(f'AU{unit}' for unit in _OLD_UNITS)
    places = {unit: n for n, unit in enumerate(trajectory.ACTION_UNITS)}
    columns = [values[:, places.get(unit, 0)] for unit in _OLD_UNITS]
    values = np.stack(columns, axis=1)
  lines = [','.join(f'{x:g}' for x in row) for row in values]
  _write(root, clip_id, task, 'second', header, lines)


def finish(root: pathlib.Path, clip_ids: list[str], layout: str, odd: bool):
  """Writes the list of the test set, and the files of quirks."""
  top, tasks, _, name = FOLDERS[layout]
  tested = [clip_id for clip_id in clip_ids if is_tested(clip_id)]
  if tested:
    (root / top).mkdir(exist_ok=True)
    text = ''.join(f'{clip_id}\n' for clip_id in tested)
    (root / top / name).write_text(text, encoding='utf-8')
  if not odd:
    return
  source = root / top / tasks['va'] / 'Train_Set' / f'{_SEVERAL_TASKS}.txt'
  folder = root / top / 'MTL_Challenge' / 'Train_Set'
  folder.mkdir(parents=True)
  rows = source.read_text(encoding='utf-8').splitlines()[1:13]
  lines = [
    f'{_SEVERAL_TASKS}/{n:05d}.jpg,{row},{n % 8},' + ','.join('01' * 6)
    for n, row in enumerate(rows, start=1)
  ]
  # The same once more, and once otherwise.
  lines += [lines[0], lines[1].replace(',2,0', ',3,0')]
  text = '\n'.join(['image,valence,arousal,expression,aus', *lines]) + '\n'
  (folder / 'train_set.txt').write_text(text, encoding='utf-8')
  shutil.copyfile(source, source.with_name(f'{_WITHOUT_FILM}.txt'))
  film = next((root / 'batch1').glob('*.mp4'))
  shutil.copyfile(film, film.with_name(f'{_WITHOUT_ANNOTATION}.mp4'))
