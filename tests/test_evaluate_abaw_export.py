"""Submissions to ABAW from predictions: what is written scores as predicted."""

import numpy as np
import pytest

from avemo import cli, errors
from avemo.data import labels
from avemo.evaluate import abaw, abaw_export, table
from avemo.metrics import abaw as metrics

# Video2 lacks frame 1; what is said of frame 0 stands for it.
ROWS = [('video1', 0), ('video1', 1), ('video2', 0), ('video2', 2)]
CLASSES = ('anger', 'neutral', 'calm')


@pytest.fixture
def predictions(tmp_path):
  units = np.zeros((4, len(labels.UNITS)))
  units[2, labels.UNITS.index(12)] = 0.9
  values = {
    'valence_arousal': np.array([[0.5, -0.5], [1, 0.25], [-1, 0], [0.125, 1]]),
    'action_units': units,
  }
  shares = [[0.2, 0.7, 0.1], [0.4, 0, 0.6], [1, 0, 0], [0, 1, 0]]
  unknown = {name: np.full_like(v, np.nan) for name, v in values.items()}
  made = table.Predictions(
    classes=CLASSES,
    clip_id=[name for name, _ in ROWS],
    segment=np.zeros(4, int),
    speaker=[''] * 4,
    label=[''] * 4,
    probabilities=np.array(shares),
    frame=np.array([frame for _, frame in ROWS]),
    values=values,
    truth=unknown,
  )
  return table.write(tmp_path / 'predictions.csv', made)


def write(folder, task, first, second):
  folder.mkdir()
  header = ','.join(abaw.files.COLUMNS[task])
  for name, lines in (('video1', first), ('VIDEO2', second)):
    (folder / f'{name}.txt').write_text('\n'.join([header, *lines]) + '\n')
  return folder


UNIT = ','.join('1' if n == 'AU12' else '0' for n in metrics.ACTION_UNITS)
NONE = ','.join('0' * 12)
WANTED = {
  'va': (
    ['0.5,-0.5', '1,0.25', '1,0.25'],
    ['-1,0', '-1,0', '0.125,1'],
  ),
  # Of 0.4 anger and 0.6 calm, which the challenge does not have: anger.
  'expr': (['0', '1', '1'], ['1', '1', '0']),
  'au': ([NONE] * 3, [UNIT, UNIT, NONE]),
}


@pytest.mark.parametrize('task', WANTED)
def test_what_is_written_is_complete_and_says_the_same(
  tmp_path, predictions, task, capsys
):
  annotations = write(tmp_path / 'annotations', task, *WANTED[task])
  out = tmp_path / 'submission'
  command = ['abaw', 'export', '--task', task, '--predictions']
  command += [str(predictions), '--out', str(out)]
  cli.main([*command, '--annotations', str(annotations)])
  assert '2 files in' in capsys.readouterr().out
  assert abaw.check(task, annotations, out) == {}
  score = abaw.score(task, annotations, out)['score']
  perfect = {'va': 1, 'expr': 2 / 8, 'au': 1 / 12}[task]
  assert score == pytest.approx(perfect)
  cli.main(command[:-1] + [str(tmp_path / 'own')])
  lines = (tmp_path / 'own/video1.txt').read_text().splitlines()
  assert len(lines) == 3


def test_the_file_of_several_tasks(tmp_path, predictions):
  out = tmp_path / 'mtl'
  (path,) = abaw_export.export('mtl', predictions, out)
  assert abaw.check('mtl', path, path) == {}
  lines = path.read_text().splitlines()
  assert lines[4] == f'video2/00003.jpg,0.125000,1.000000,0,{NONE}'
  path.write_text('\n'.join([*lines[:3], lines[2].replace('video1', 'x')]))
  with pytest.raises(errors.AvemoError, match='x: is annotated'):
    abaw_export.export('mtl', predictions, out, path)


def test_what_cannot_be_exported_is_one_line(tmp_path, predictions, capsys):
  text = predictions.read_text().splitlines()
  clip = tmp_path / 'clips.csv'
  clip.write_text('\n'.join([text[0], text[1].replace(',0,0,,', ',0,,,', 1)]))
  with pytest.raises(errors.AvemoError, match='no frames of films'):
    abaw_export.export('va', clip, tmp_path / 'out')
  with pytest.raises(SystemExit):
    cli.main(['abaw', 'export', '--task', 'va', '--out', 'x'])
  assert '--predictions is missing' in capsys.readouterr().err
  with pytest.raises(SystemExit):
    cli.main(['abaw', 'score', '--task', 'va', '--submission', 'x'])
  assert '--annotations is missing' in capsys.readouterr().err
