"""MAFW's names, tables, lists and folds."""

import collections
import csv
import os
import pathlib

import numpy as np
import pytest
from corpus_trees import STUB, put

from avemo.corpora import folds, mafw, protocols
from avemo.corpora import mafw_tables as tables
from avemo.simulate import workbook

# Clips that the official folds test, and those of each emotion.
SIZES = [1839, 1837, 1833, 1832, 1831]
COUNTS = (1390, 639, 625, 1242, 1138, 1470, 1072, 236, 916, 262, 182)
TRAINING = [7333, 7335, 7339, 7340, 7341]


def find_folds():
  """The official fold that tests each of the real clips."""
  folder = os.environ.get('AVEMO_REAL_DATA')
  if not folder:
    pytest.skip('AVEMO_REAL_DATA does not name the folder of real data')
  path = pathlib.Path(folder) / 'names/mafw_official_test_fold.csv'
  with path.open(encoding='utf-8', newline='') as file:
    return {row['clip']: int(row['fold']) for row in csv.DictReader(file)}


def write_lists(root, fold_by_clip, kind='single', form='no_caption'):
  """train.txt and test.txt of five folds, all of one emotion."""
  for number in range(1, 6):
    folder = root / 'Train & Test Set' / kind / form / f'set_{number}'
    for part in ('train', 'test'):
      lines = [
        f'{clip}.mp4 anger\n'
        for clip, fold in fold_by_clip.items()
        if (fold == number) == (part == 'test')
      ]
      if lines:
        put(folder / f'{part}.txt', ''.join(lines).encode())


def check_sizes(root):
  rows = protocols.rows_from_raw('mafw', root)
  made = protocols.make_folds('mafw_official_5fold_published', rows)
  assert [len(fold.test) for fold in made] == SIZES
  assert [len(fold.train) for fold in made] == TRAINING
  nested = protocols.make_folds('mafw_official_5fold', rows)
  for fold, original, following in zip(
    nested, made, nested[1:] + nested[:1], strict=True
  ):
    assert fold.test == original.test and fold.val == following.test
    assert set(fold.train) == set(original.train) - set(fold.val)
    assert not folds.find_leaks(fold, rows)
  return rows


def test_folds_of_the_published_sizes(tmp_path):
  assert sum(SIZES) == sum(COUNTS) == 9172
  fold_by_clip = {}
  for number, size in enumerate(SIZES, start=1):
    for _ in range(size):
      fold_by_clip[f'{2 * len(fold_by_clip) + 19:05d}'] = number
  write_lists(tmp_path, fold_by_clip)
  check_sizes(tmp_path)


def test_folds_of_the_real_lists(tmp_path):
  fold_by_clip = find_folds()
  assert len(fold_by_clip) == 9172
  assert all(mafw.parse_name(clip).clip_id == clip for clip in fold_by_clip)
  assert collections.Counter(fold_by_clip.values()) == dict(
    enumerate(SIZES, start=1)
  )
  assert (min(fold_by_clip), max(fold_by_clip)) == ('00019', '20098')
  write_lists(tmp_path, fold_by_clip)
  rows = check_sizes(tmp_path)
  assert {row.clip_id for row in rows} == set(fold_by_clip)


def test_names():
  assert mafw.parse_name('00025').clip_id == '00025'
  assert mafw.parse_name('00025.mp4').clip_id == '00025'
  for name in ('25', '000250', 'clip', '00025.avi', ''):
    assert mafw.parse_name(name) is None


def make_table(*rows):
  return [['clip', *tables.EMOTIONS, 'single_label'], *rows]


ZEROS = [0.0] * 11


@pytest.mark.parametrize('form', ['xlsx', 'csv', 'csv without header'])
def test_tables_by_name_and_by_place(tmp_path, form):
  rows = make_table(
    ['00019', *ZEROS, 1], ['00020', *ZEROS, 11], ['00021', *ZEROS, 0],
    ['00022', *ZEROS, 12], ['what', *ZEROS, 3], [23, *ZEROS, 4.0],
  )  # fmt: skip
  path = tmp_path / f'single-set.{form[:4].strip()}'
  if form == 'xlsx':
    workbook.write(path, rows)
  else:
    rows = rows[1:] if 'without' in form else rows
    with path.open('w', newline='') as file:
      csv.writer(file).writerows(rows)
  found, num_wrong = tables.read_single(path)
  # A spreadsheet that takes ids for numbers drops their zeros.
  assert found == {
    '00019': 'anger', '00020': 'disappointment', '00023': 'happiness',
  }  # fmt: skip
  assert num_wrong == 2


def test_columns_in_another_order(tmp_path):
  path = tmp_path / 'single-set.xlsx'
  for rows in (
    [['Single Label', 'Clip'], [2, '00019']],
    [['Clip', 'Single Label', 'x'], ['00019', 2, 7]],
  ):
    workbook.write(path, rows)
    assert tables.read_single(path) == ({'00019': 'disgust'}, 0)
  for rows in ([], [['Clip']], [['Clip'], ['what']]):
    workbook.write(path, rows)
    with pytest.raises(ValueError, match='empty|no row of it names a clip'):
      tables.read_single(path)


def test_several_labels_confidences_and_captions(tmp_path):
  path = tmp_path / 'multi-set.xlsx'
  workbook.write(
    path,
    [
      ['clip', *tables.EMOTIONS, 'multi_label'],
      ['00019', *ZEROS, '6,10'],
      ['00020', *ZEROS, '4，7'],
      ['00021', *ZEROS, '6,12'],
    ],
  )
  found, num_wrong = tables.read_several(path)
  assert found == {
    '00019': ('sadness', 'helplessness'),
    '00020': ('happiness', 'surprise'),
  }
  assert num_wrong == 1
  order = ['clip', 'invalid', *tables.EMOTIONS]
  values = [0.1 * n for n in range(11)]
  workbook.write(
    path, [order, ['00019', -1, *values], ['00020', 0, *['x'] * 11]]
  )
  found, num_wrong = tables.read_confidences(path)
  assert num_wrong == 1 and found['00019'][1] == -1
  np.testing.assert_allclose(found['00019'][0], values)
  # As published, without a header.
  workbook.write(path, [['00019', '一', 'one'], ['00020', '二', None]])
  assert tables.read_captions(path)[0] == {
    '00019': ('一', 'one'), '00020': ('二', ''),
  }  # fmt: skip
  text = put(tmp_path / 'gender.txt', b'00019: 1\n00020:0\n00021: 2\n\n')
  assert tables.read_sexes(text) == ({'00019': 'male', '00020': 'female'}, 1)


def test_lists_in_every_encoding_and_form(tmp_path):
  line = '09932.mp4\tsadness_surprise\t他在说话\tHe talks.\n'
  old = '03352.mp4 happiness 他在笑 He laughs a lot.\n'
  english = '00025.mp4\tanger\t\tThe persons’ own.\n'
  cases = (
    ('00025.mp4 anger\n', 'utf-8', ('00025', 'anger', '', '')),
    (line, 'gb18030', ('09932', 'sadness_surprise', '他在说话', 'He talks.')),
    (line, 'utf-8', ('09932', 'sadness_surprise', '他在说话', 'He talks.')),
    (english, 'cp1252', ('00025', 'anger', '', 'The persons’ own.')),
    (old, 'gb18030', ('03352', 'happiness', '他在笑', 'He laughs a lot.')),
  )
  for text, encoding, expected in cases:
    path = put(tmp_path / 'test.txt', text.encode(encoding))
    assert tables.read_list(path) == ([expected], 0)
  path = put(tmp_path / 'test.txt', b'00025.mp4 anger\n00026.mp4 joy\nx\n')
  assert tables.read_list(path)[1] == 2
  with pytest.raises(ValueError, match='no line of it'):
    tables.read_list(put(tmp_path / 'test.txt', b'hello\n'))


def test_contradictions_are_told(tmp_path):
  fold_by_clip = {f'{n:05d}': n % 5 + 1 for n in range(20, 40)}
  write_lists(tmp_path, fold_by_clip)
  base = tmp_path / 'Train & Test Set/single/no_caption'
  with (base / 'set_2/train.txt').open('a') as file:
    file.write('00099.mp4 anger\n')
  with (base / 'set_3/test.txt').open('a') as file:
    file.write('00020.mp4 anger\n')
  (base / 'set_4/train.txt').write_bytes(b'')
  put(tmp_path / 'Labels/annotation.xlsx', b'no table')
  labels, faults = tables.read(tmp_path)
  reasons = {
    pathlib.Path(path).relative_to(tmp_path).as_posix(): reason
    for path, reason, _ in faults
  }
  lists = 'Train & Test Set/single/no_caption'
  assert (
    'differs in 1 clip, such as 00099' in (reasons[f'{lists}/set_2/train.txt'])
  )
  assert 'tested by an earlier fold' in reasons[f'{lists}/set_3/test.txt']
  assert 'empty' in reasons[f'{lists}/set_4/train.txt']
  assert 'not a whole XLSX' in reasons['Labels/annotation.xlsx']
  assert labels.folds['single']['00020'] == 1
  assert labels.single['00021'] == 'anger' and not labels.confidences


def test_the_table_counts_before_the_lists(tmp_path):
  write_lists(tmp_path, {'00019': 1, '00020': 2})
  workbook.write(tmp_path / 'Single_Set.xlsx', make_table(['00019', *ZEROS, 5]))
  put(tmp_path / 'data/clips/00019.mp4')
  put(tmp_path / 'data/frames/00020/0001.png')
  clips, unusable = mafw.scan(tmp_path)
  assert not unusable
  assert [(c.clip_id, c.emotion) for c in clips] == [
    ('00019', 'neutral'), ('00020', 'anger'),
  ]  # fmt: skip
  first, second = clips
  assert first.videos == first.audios and not first.pictures
  assert second.pictures and not second.videos
  assert first.extra['official_single_fold'] == 1
  assert first.extra['official_compound_fold'] == -1
  assert first.speaker == '' and np.isnan(first.extra['confidences']).all()


def test_listed_clips_without_a_medium_are_noted(tmp_path):
  write_lists(tmp_path, {'00019': 1, '00020': 2, '00021': 2})
  workbook.write(tmp_path / 'single-set.xlsx', make_table(['00022', *ZEROS, 5]))
  put(tmp_path / 'data/clips/00019.mp4')
  stub = put(tmp_path / 'data/clips/00022.mp4', STUB)
  (one,), unusable = mafw.scan(tmp_path)
  assert one.clip_id == '00019'
  told = {pathlib.Path(x.path).name: x for x in unusable}
  assert told['single-set.xlsx'].clip_ids == ('00022',)
  assert 'sound of 00022' in told['single-set.xlsx'].reason
  assert told[stub.name].clip_ids == ('00022',)
  assert told['train.txt'].clip_ids == ('00020', '00021')
  assert 'sound of 2 clips, such as 00020' in told['train.txt'].reason
  assert len(unusable) == 3


def test_the_report_says_that_speakers_are_unknown():
  text = protocols.describe_all()
  line = next(x for x in text.splitlines() if x.startswith('mafw_official_5f'))
  assert 'speakers unknown' in line
  flaws = protocols.get('mafw_official_5fold').flaws
  assert 'names no speakers' in flaws[0]
  fold_by_clip = {f'{n:05d}': n % 5 + 1 for n in range(20, 40)}
  rows = [
    folds.Row(clip, '', clip, lists={'official_single_fold': fold})
    for clip, fold in fold_by_clip.items()
  ]
  text = protocols.describe('mafw_official_5fold', rows)
  assert "of this copy's own lists" in text
