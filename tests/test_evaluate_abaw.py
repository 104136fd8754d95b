"""Submissions to ABAW: scored, and what is wrong with them found."""

import numpy as np
import pytest

from avemo import cli, errors
from avemo.evaluate import abaw
from avemo.metrics import abaw as metrics

HEADERS = {
  'va': 'valence,arousal',
  'expr': ','.join(metrics.EXPRESSIONS),
  'au': ','.join(metrics.ACTION_UNITS),
}
ANNOTATED = {
  'va': {
    'video5_left': ['0.1,0.2', '-5,-5', '0.5,-0.25'],
    'video5_right': ['-0.3,0.4', '0.2,0.6'],
  },
  'expr': {'1': ['0', '4', '-1', '4'], '10-30-1280x720': ['7', '1']},
  'au': {
    '1': ['1,0,0,0,0,0,0,0,0,0,1,0', '-1,' * 11 + '-1'],
    '2': ['0,1,0,0,0,0,0,0,0,0,0,1'],
  },
}


def write(folder, task, videos, header=None):
  folder.mkdir(exist_ok=True)
  for name, lines in videos.items():
    text = '\n'.join([header or HEADERS[task], *lines])
    (folder / f'{name}.txt').write_text(text + '\n')
  return folder


def predict(task):
  """A valid prediction of every line, right where it is annotated."""
  unknown = {'va': '0.0,0.0', 'expr': '2', 'au': ','.join('0' * 12)}[task]
  return {
    name: [unknown if line.startswith(('-5', '-1')) else line for line in lines]
    for name, lines in ANNOTATED[task].items()
  }


@pytest.fixture(params=list(ANNOTATED))
def task(request):
  return request.param


@pytest.fixture
def annotations(tmp_path, task):
  return write(tmp_path / 'annotations', task, ANNOTATED[task])


def test_a_right_submission_is_complete(tmp_path, task, annotations, capsys):
  submission = write(tmp_path / 'submission', task, predict(task))
  assert abaw.check(task, annotations, submission) == {}
  found = abaw.score(task, annotations, submission)
  occurring = {'va': 1, 'expr': 4 / 8, 'au': 4 / 12}[task]
  assert found['score'] == pytest.approx(occurring)
  words = ['--task', task, '--annotations', str(annotations)]
  words += ['--submission', str(submission)]
  cli.main(['abaw', 'check', *words])
  cli.main(['abaw', 'score', *words])
  assert f'{task} score' in capsys.readouterr().out


def test_one_file_of_all_pictures_is_read_too(tmp_path, task, annotations):
  lines = [
    f'{name}/{number:05d}.jpg,{line}'
    for name, predicted in predict(task).items()
    for number, line in enumerate(predicted, start=1)
  ]
  header = f'image_location,{HEADERS[task]}'
  # The order of pictures is not that of the annotations.
  folder = write(tmp_path / 'flat', task, {'predictions': lines[::-1]}, header)
  apart = write(tmp_path / 'apart', task, predict(task))
  assert abaw.check(task, annotations, folder) == {}
  assert abaw.score(task, annotations, folder) == abaw.score(
    task, annotations, apart
  )
  write(folder, task, {'predictions': lines}, 'image_location,a,b')
  with pytest.raises(errors.AvemoError, match='header'):
    abaw.score(task, annotations, folder)
  write(folder, task, {'predictions': [*lines[1:], lines[1], 'x/y,z']}, header)
  found = abaw.check(task, annotations, folder)
  text = abaw.describe_check(found)
  assert 'stands twice' in text and 'frames missing' in text
  assert 'names no picture' in text
  with pytest.raises(errors.AvemoError, match='abaw check'):
    abaw.score(task, annotations, folder)


WRONG = {
  'va': [
    (['1.5,0', '0,0', '0,0'], 'line 2: a value is outside'),
    (['0,0', '-5,-5', '0,0'], 'line 3: a value is outside'),
    (['0,0', 'nan,0', '0,0'], 'line 3: a value is NaN'),
    (['0,0', 'x,0', '0'], 'line 3: a value is no number'),
    (['0,0', '0,0', '0'], 'line 4: 1 values where 2'),
    (['0,0', '0,0'], '2 frames for 3: 1 missing'),
    (['0,0'] * 5, '5 frames for 3: 2 too many'),
    ([], '0 frames for 3: 3 missing'),
  ],
  'expr': [
    (['8', '0', '0', '0'], 'line 2: an expression is not one of'),
    (['0', '0.5', '-1', '0'], 'lines 3, 4: an expression is not'),
  ],
  'au': [
    ([','.join('2' * 12)] * 2, 'lines 2, 3: an action unit is not one of 0, 1'),
    ([','.join('0' * 11)] * 2, 'lines 2, 3: 11 values where 12'),
  ],
}


@pytest.mark.parametrize(
  'task, lines, message',
  [(task, *case) for task, cases in WRONG.items() for case in cases],
)
def test_wrong_lines_are_named(tmp_path, annotations, task, lines, message):
  videos = predict(task)
  name = next(iter(videos))
  submission = write(tmp_path / 's', task, videos | {name: lines})
  found = abaw.check(task, annotations, submission)
  assert list(found) == [name]
  assert any(line.startswith(message) for line in found[name]), found
  with pytest.raises(errors.AvemoError, match=name):
    abaw.score(task, annotations, submission)


def test_files_and_headers_are_checked(tmp_path, task, annotations, capsys):
  videos = predict(task)
  name = sorted(videos)[0]
  submission = write(tmp_path / 's', task, videos | {'others': videos[name]})
  (submission / f'{name}.txt').unlink()
  found = abaw.check(task, annotations, submission)
  assert found[name] == ['missing']
  assert found['others'][0].startswith('no such video')
  write(submission, task, {name: videos[name]}, header='a,b')
  assert abaw.check(task, annotations, submission)[name][0].startswith('header')
  with pytest.raises(SystemExit) as stop:
    cli.main(
      ['abaw', 'check', '--task', task, '--annotations', str(annotations)]
      + ['--submission', str(submission)]
    )
  assert stop.value.code == 1
  streams = capsys.readouterr()
  assert f'{name}: header' in streams.out
  assert '2 findings in 2 files' in streams.err


def test_a_wrong_header_is_refused_whatever_the_file_is_called(tmp_path):
  annotations = write(tmp_path / 'annotations', 'va', ANNOTATED['va'])
  lines = [
    f'{name}/{number:05d}.jpg,{line}'
    for name, predicted in predict('va').items()
    for number, line in enumerate(predicted, start=1)
  ]
  path = tmp_path / 'submission.csv'
  # Columns that stand the other way round.
  text = ['image_location,arousal,valence', *lines, 'more/00001.jpg,0,0']
  path.write_text('\n'.join(text))
  with pytest.raises(errors.AvemoError, match=r'submission.csv: header'):
    abaw.score('va', annotations, path)
  path.write_text('\n'.join(['image_location,valence,arousal', *text[1:]]))
  assert abaw.score('va', annotations, path)['score'] == pytest.approx(1)


def test_people_annotated_apart_need_files_apart(tmp_path):
  annotations = write(tmp_path / 'a', 'va', ANNOTATED['va'])
  submission = write(tmp_path / 's', 'va', {'video5': ['0,0'] * 3})
  found = abaw.check('va', annotations, submission)
  assert 'annotated apart' in found['video5_left'][0]
  assert 'video5_left, video5_right' in found['video5'][0]


def test_seven_expressions_of_the_first_challenges(tmp_path):
  header = ','.join(metrics.EXPRESSIONS[:7])
  annotations = write(tmp_path / 'a', 'expr', {'1': ['0', '1']}, header)
  submission = write(tmp_path / 's', 'expr', {'1': ['0', '1']}, header)
  found = abaw.score('expr', annotations, submission)
  assert found['score'] == pytest.approx(2 / 7)
  write(submission, 'expr', {'1': ['0', '7']}, header)
  assert 'not one of' in abaw.check('expr', annotations, submission)['1'][0]


def test_annotations_that_cannot_be_used_are_one_line(tmp_path):
  folder = write(tmp_path / 'Train_Set', 'va', {'1': ['0,0']})
  with pytest.raises(errors.AvemoError, match='Train_Set'):
    abaw.check('va', tmp_path, folder)
  with pytest.raises(errors.AvemoError, match='no such folder'):
    abaw.check('va', tmp_path / 'none', folder)
  (tmp_path / 'empty').mkdir()
  with pytest.raises(errors.AvemoError, match='no text files'):
    abaw.score('va', folder, tmp_path / 'empty')
  eight = write(
    tmp_path / 'au', 'au', {'1': ['0' + ',0' * 7]}, 'AU1' + ',x' * 7
  )
  with pytest.raises(errors.AvemoError, match='8 action units'):
    abaw.score('au', eight, eight)
  (folder / '1.txt').write_bytes(b'\xff\xfe\x00')
  with pytest.raises(errors.AvemoError, match='UTF-8'):
    abaw.score('va', folder, folder)


# --------------------------------------------------------------- multi-task


HEADER = 'image,valence,arousal,expression,aus'


def make_mtl():
  rng = np.random.default_rng(0)
  values = np.concatenate(
    [
      rng.uniform(-1, 1, (12, 2)).round(3),
      rng.integers(0, 8, (12, 1)),
      rng.integers(0, 2, (12, 12)),
    ],
    axis=1,
  )
  pictures = [f'video{n % 3}/{n + 1:05d}.jpg' for n in range(12)]
  # A picture may stand twice.
  return [*pictures, pictures[3]], np.concatenate([values, values[3:4]])


def write_mtl(path, pictures, values, header=HEADER):
  lines = [
    ','.join([picture, *(f'{value:g}' for value in row)])
    for picture, row in zip(pictures, values, strict=True)
  ]
  path.write_text('\n'.join([header, *lines]) + '\n')
  return path


def test_multi_task_files_are_joined_by_picture(tmp_path):
  pictures, values = make_mtl()
  annotated = values.copy()
  annotated[0, :2] = -5
  annotated[1, 2] = -1
  annotated[2, 3:] = -1
  annotations = write_mtl(tmp_path / 'validation_set.txt', pictures, annotated)
  predicted = values.copy()
  predicted[5, :2] = 0.5
  submission = write_mtl(
    tmp_path / 'predictions.txt', pictures[11::-1], predicted[11::-1]
  )
  assert abaw.check('mtl', annotations, submission) == {}
  found = abaw.score('mtl', annotations, submission)
  whole = np.concatenate([predicted[:12], predicted[3:4]])
  assert found == metrics.score_mtl(annotated, whole)
  assert found['num_frames_va'] == 12 and found['score'] < 3


def test_multi_task_findings(tmp_path):
  pictures, values = make_mtl()
  annotations = write_mtl(tmp_path / 'validation_set.txt', pictures, values)
  given = [*pictures[:11], 'video9/00001.jpg', pictures[0]]
  bad = values.copy()
  bad[1, 0], bad[2, 2] = 2, 9
  submission = write_mtl(tmp_path / 'predictions.txt', given, bad)
  text = abaw.describe_check(abaw.check('mtl', annotations, submission))
  for part in (
    'line 3: a value is outside',
    'line 4: an expression is not',
    'line 14: video0/00001.jpg stands twice',
    '1 picture missing, such as video2/00012.jpg',
    'not annotated: 1, such as video9/00001.jpg',
  ):
    assert part in text, text
  write_mtl(submission, pictures[:12], values[:12], header='valence,arousal')
  text = abaw.describe_check(abaw.check('mtl', annotations, submission))
  assert 'header: the first column must be image' in text


def test_annotations_that_contradict_each_other_are_noted(tmp_path, capsys):
  pictures, values = make_mtl()
  changed = values.copy()
  changed[-1, 2] = (changed[-1, 2] + 1) % 8
  annotations = write_mtl(tmp_path / 'validation_set.txt', pictures, changed)
  submission = write_mtl(tmp_path / 'own.txt', pictures[:12], values[:12])
  words = ['--annotations', str(annotations), '--submission', str(submission)]
  for action in ('score', 'check'):
    cli.main(['abaw', action, '--task', 'mtl', *words])
    out = capsys.readouterr().out
    assert '1 picture stands' in out and 'such as video0/00004.jpg' in out
  # As often as it stands: the two rows cannot both be right.
  score = abaw.score('mtl', annotations, submission)
  rows = metrics.score_mtl(changed, values)
  assert score == rows
  # What doubles another row says nothing new.
  write_mtl(annotations, pictures, values)
  assert not [
    n for n in abaw.find_notes('mtl', annotations) if 'contradict' in n
  ]


def test_expressions_that_do_not_occur_are_counted(tmp_path):
  folder = write(tmp_path / 'a', 'expr', {'1': ['0', '-1', '0']})
  (note,) = abaw.find_notes('expr', folder)
  assert note == '7 of 8 expressions do not occur in the annotations'


def test_a_missing_header_is_one_finding(tmp_path, task, annotations):
  lines = predict(task)
  folder = tmp_path / 'submission'
  write(folder, task, {n: v[1:] for n, v in lines.items()}, 'x')
  for name, video in lines.items():
    (folder / f'{name}.txt').write_text('\n'.join(video) + '\n')
  found = abaw.check(task, annotations, folder)
  assert found.keys() == lines.keys()
  for (problem,) in found.values():
    assert (
      problem == f'header: missing; the first line is to be {HEADERS[task]}'
    )
  flat = tmp_path / 'flat'
  pictures = [
    f'{name}/{number:05d}.jpg,{line}'
    for name, video in lines.items()
    for number, line in enumerate(video, start=1)
  ]
  write(flat, task, {'predictions': pictures[1:]}, pictures[0])
  (found,) = abaw.check(task, annotations, flat).values()
  assert found == [
    f'header: missing; the first line is to be image_location,{HEADERS[task]}'
  ]
