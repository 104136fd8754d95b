"""Aff-Wild2's names, annotation files, lists and sets."""

import collections
import os
import pathlib

import numpy as np
import pytest
from corpus_trees import put

from avemo import errors
from avemo.corpora import aff_wild2, protocols
from avemo.corpora import aff_wild2_labels as labels
from avemo.simulate import aff_wild2_files, trajectory

PUBLISHED = 'AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26'


def write(path, header, lines):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text('\n'.join([header, *lines]) + '\n')
  return str(path)


@pytest.mark.parametrize(
  'name, recording, side, source',
  [
    ('102.avi', '102', None, '102'),
    ('28-30-1280x720-1.mp4', '28-30-1280x720-1', None, '28-30-1280x720'),
    ('28-30-1280x720', '28-30-1280x720', None, '28-30-1280x720'),
    ('video45_1.mp4', 'video45_1', None, 'video45'),
    ('6-30-1920x1080_left.txt', '6-30-1920x1080', 'left', '6-30-1920x1080'),
    ('video10_1_right', 'video10_1', 'right', 'video10'),
    ('VIDEO5_Left', 'video5', 'left', 'video5'),
  ],
)
def test_names_of_every_form(name, recording, side, source):
  found = aff_wild2.parse_name(name)
  assert found.recording == recording and found.speaker == ''
  assert aff_wild2.NAME.fullmatch(found.clip_id)['side'] == side
  assert aff_wild2.find_source(found.recording) == source


@pytest.mark.parametrize(
  'name', ['', 'video', 'video5_middle', '1-2', '28-30-1280', 'x.mp4', '5.jpg']
)
def test_other_names_are_none(name):
  assert aff_wild2.parse_name(name) is None


def test_every_real_name_is_one():
  folder = os.environ.get('AVEMO_REAL_DATA')
  if not folder:
    pytest.skip('AVEMO_REAL_DATA does not name the folder of real data')
  path = pathlib.Path(folder) / 'names/aff_wild2_videos.txt'
  names = path.read_text().split()
  found = [aff_wild2.parse_name(name) for name in names]
  assert len(names) == 548 and None not in found
  assert len({name.clip_id for name in found}) == 548
  suffixes = collections.Counter(name.rsplit('.')[-1] for name in names)
  assert suffixes == {'mp4': 460, 'avi': 88}
  # Sided names are those of annotations, and of no film.
  assert {name.clip_id for name in found} == {n.recording for n in found}
  # Parts of one source: six sources have more than one.
  sources = collections.Counter(
    aff_wild2.find_source(name.recording) for name in found
  )
  assert len(sources) == 529
  assert sum(count > 1 for count in sources.values()) == 6


@pytest.mark.parametrize(
  'line, task, count',
  [
    ('valence,arousal', 'va', 0),
    (' Valence , Arousal, ', 'va', 0),
    ('Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise', 'expr', 7),
    ('Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other', 'expr', 8),
    (PUBLISHED, 'au', 12),
    ('AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25', 'au', 8),
    ('image,valence,arousal,expression,aus', 'mtl', 0),
  ],
)
def test_headers_of_every_year(line, task, count):
  header = labels.parse_header(line)
  assert header.task == task and len(header.columns) == count


@pytest.mark.parametrize(
  'line', ['', '0.1,0.2', 'AU1,x', 'Neutral', 'a licence']
)
def test_other_lines_are_no_headers(line):
  assert labels.parse_header(line) is None


def test_masks_and_impossible_values(tmp_path):
  va = write(
    tmp_path / 'va.txt',
    'valence,arousal',
    ['0.602,0.389', '-5,-5', '-5,0.1', '-1,1', '1.5,0.2', '-0.1,-0.2'],
  )
  expr = write(
    tmp_path / 'expr.txt',
    'Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other',
    ['0', '7', '-1', '8', '2.5', '3'],
  )
  au = write(
    tmp_path / 'au.txt',
    PUBLISHED,
    [','.join('01' * 6), ','.join(['-1'] * 12), ','.join(['2'] + ['1'] * 11)],
  )
  found, faults = labels.read([('va', va), ('expr', expr), ('au', au)])
  nan = np.nan
  np.testing.assert_allclose(
    found.valence, [0.602, nan, nan, -1, nan, -0.1], rtol=1e-6
  )
  np.testing.assert_allclose(
    found.arousal, [0.389, nan, 0.1, 1, 0.2, -0.2], rtol=1e-6
  )
  assert found.expression.tolist() == [0, 7, -1, -1, -1, 3]
  assert found.expression.dtype == np.int32
  np.testing.assert_array_equal(found.action_units[0], [0, 1] * 6)
  assert np.isnan(found.action_units[1]).all()
  np.testing.assert_array_equal(found.action_units[2], [nan] + [1] * 11)
  assert np.isnan(found.action_units[3:]).all()
  assert found.lines == {va: 6, expr: 6, au: 3}
  assert [fault.path for fault in faults] == [va, expr, au]
  reasons = [fault.reason for fault in faults]
  assert '1 of 6 lines are no labels, the first of them line 6' in reasons[0]
  assert '2 of 6 lines are no labels, the first of them line 5' in reasons[1]
  assert '1 of 3 lines' in reasons[2]


def test_a_damaged_line_keeps_its_place(tmp_path):
  path = write(
    tmp_path / 'a.txt',
    'valence, arousal,',
    ['0.1,0.2,', '', '0.3, 0.4 ,', 'x', '0.5', '0.6,0.7,0.8', 'nan,1', '0.9,1'],
  )
  found, (fault,) = labels.read([('va', path)])
  expected = [0.1, np.nan, 0.3, *[np.nan] * 4, 0.9]
  np.testing.assert_allclose(found.valence, expected, rtol=1e-6)
  assert '5 of 8 lines are no labels, the first of them line 3' in fault.reason


def test_labels_go_by_the_header_and_not_by_their_place(tmp_path):
  au = write(tmp_path / 'au.txt', 'AU25,AU1,AU20', ['1,0,1', '0,1,0'])
  expr = write(tmp_path / 'e.txt', 'Anger,Neutral', ['0', '1'])
  found, faults = labels.read([('au', au), ('expr', expr)])
  assert not faults and found.expression.tolist() == [1, 0]
  known = {labels.ACTION_UNITS[n] for n in range(12)} - {1, 25}
  column = labels.ACTION_UNITS.index
  assert found.action_units[:, column(25)].tolist() == [1, 0]
  assert found.action_units[:, column(1)].tolist() == [0, 1]
  for unit in known:
    assert np.isnan(found.action_units[:, column(unit)]).all()


def test_a_multi_task_file(tmp_path):
  lines = [
    f'video45_1/00001.jpg,0.1,0.2,3,{",".join("01" * 6)}',
    f'video45_1/00003.jpg,-5,-5,-1,{",".join(["-1"] * 12)}',
    f'video45_1/00003.jpg,0.5,0.5,1,{",".join("01" * 6)}',
    f'x_left/00001.jpg,0.1,0.2,3,{",".join("01" * 6)}',
    'video45_1/00004.jpg,0.1',
  ]
  path = write(tmp_path / 'train_set.txt', 'image,valence,arousal', lines)
  rows, fault = labels.read_multi_task(path, aff_wild2._parse_id)
  assert '2 of 5 lines are no labels, the first of them line 5' in fault
  assert '1 lines contradict' in fault
  assert list(rows) == ['video45_1']
  # Pictures count from 1, frames from 0.
  assert rows['video45_1'].frames.tolist() == [0, 2, 3]
  found, _ = labels.read([], rows['video45_1'])
  assert found.expression.tolist() == [3, -1, -1, -1]
  np.testing.assert_allclose(found.valence[0], 0.1, rtol=1e-6)
  assert np.isnan(found.valence[1:]).all() and not found.lines
  # A file of one task counts where there is one.
  va = write(tmp_path / 'va.txt', 'valence,arousal', ['0.9,0.9'] * 2)
  found, _ = labels.read([('va', va)], rows['video45_1'])
  assert found.valence[0] == np.float32(0.9) and len(found.valence) == 4
  assert found.expression[0] == 3


def test_the_test_list_of_several_tasks_has_names_alone(tmp_path):
  path = tmp_path / 'MTL_Challenge_test_set_release.txt'
  write(path, 'image', ['video7/00001.jpg', 'video7/00002.jpg'])
  put(tmp_path / 'batch1/video7.mp4')
  (clip,), unusable = aff_wild2.scan(tmp_path)
  assert not unusable and clip.extra['official_mtl'] == 'test'
  found, faults = clip.read_labels()
  assert not faults and np.isnan(found.valence).all()
  assert (found.expression == -1).all() and len(found.expression) == 2


def plant(root):
  """Annotations in the trees of three years, with films by name alone."""
  third = root / 'Third ABAW Annotations'
  sixth = root / '6th ABAW Annotations'
  va, line = 'valence,arousal', ['0.1,0.1']
  expr = 'Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other'
  write(third / 'VA_Estimation_Challenge/Train_Set/1-30-1280x720.txt', va, line)
  write(sixth / 'VA_Estimation_Challenge/Validation_Set/1-30-1280x720.txt',
        va, ['0.5,0.5'])  # fmt: skip
  write(sixth / 'EXPR_Recognition_Challenge/Train_Set/1-30-1280x720.txt',
        expr, ['2'])  # fmt: skip
  write(root / 'annotations/AU_Set/Validation_Set/5.txt', PUBLISHED,
        [','.join('01' * 6)])  # fmt: skip
  for side in ('left', 'right'):
    write(root / f'annotations/VA_Set/Training_Set/video2_{side}.txt', va, line)
  write(root / 'annotations/VA_Set/Training_Set/video2.txt', va, line)
  write(root / 'annotations/VA_Set/Training_Set/video3.txt', 'what', line)
  write(root / 'expression_test_set.txt', '7', ['8-30-1280x720', 'no name'])
  for name in ('1-30-1280x720.mp4', '5.avi', 'video2.mp4', '7.mp4', '9.mp4'):
    put(root / 'batch1' / name)
  put(root / 'cropped/5/00001.jpg')
  put(root / 'cropped_aligned_new_50_vids/5/00001.jpg')
  put(root / 'cropped_aligned/99/00001.jpg')
  put(root / 'licence.txt', b'sign here')


def test_trees_of_several_years(tmp_path):
  plant(tmp_path)
  clips, unusable = aff_wild2.scan(tmp_path)
  by_id = {clip.clip_id: clip for clip in clips}
  assert list(by_id) == [
    '1-30-1280x720', '5', '7', 'video2', 'video2_left', 'video2_right',
  ]  # fmt: skip
  one = by_id['1-30-1280x720']
  assert one.extra == {
    'official_va': 'val', 'official_expr': 'train', 'official_au': '',
    'official_mtl': '',
  }  # fmt: skip
  assert one.fps == 30 and by_id['5'].fps == 0
  found, _ = one.read_labels()
  assert found.valence.tolist() == [0.5] and found.expression.tolist() == [2]
  # Aligned faces before those that are only cut out; the film after them.
  assert [pathlib.Path(p).parent.name for p in by_id['5'].pictures] == [
    'cropped_aligned_new_50_vids', 'cropped',
  ]  # fmt: skip
  assert by_id['5'].videos and by_id['5'].extra['official_au'] == 'val'
  assert by_id['7'].extra['official_expr'] == 'test'
  assert not len(by_id['7'].read_labels()[0].valence)
  sides = [by_id[f'video2{side}'] for side in ('', '_left', '_right')]
  assert [clip.side for clip in sides] == ['', 'left', 'right']
  assert {clip.video_path for clip in sides} == {
    str(tmp_path / 'batch1/video2.mp4')
  }
  assert {clip.recording for clip in sides} == {'video2'}
  reasons = {
    pathlib.Path(path).relative_to(tmp_path).as_posix(): reason
    for path, reason, _ in unusable
  }
  assert 'another annotation' in reasons[
    'Third ABAW Annotations/VA_Estimation_Challenge/Train_Set/1-30-1280x720.txt'
  ]  # fmt: skip
  assert 'no header' in reasons['annotations/VA_Set/Training_Set/video3.txt']
  lists = [r for p, r, _ in unusable if p.endswith('expression_test_set.txt')]
  assert any("1 line names no clip, such as 'no name'" in r for r in lists)
  assert any('sound of 8-30-1280x720' in reason for reason in lists)
  assert 'no annotation' in reasons['batch1/9.mp4']
  assert 'no annotation' in reasons['cropped_aligned/99']
  assert 'licence.txt' not in reasons


@pytest.mark.parametrize('layout', aff_wild2_files.FOLDERS)
def test_simulated_trees_of_every_year(tmp_path, layout):
  shown = trajectory.Labels(
    np.full((20, 2), 0.25), np.arange(20) % 8, np.ones((20, 12), int)
  )
  names = [f'video{n}' for n in range(5, 25)]
  media = {'layout': layout, 'quirks': {}}
  for name in names:
    aff_wild2_files.write_annotations(tmp_path, name, shown, media)
    put(tmp_path / f'batch1/{name}.mp4')
  aff_wild2_files.finish(tmp_path, names, layout, odd=False)
  clips, unusable = aff_wild2.scan(tmp_path)
  assert not unusable and len(clips) == 20
  for clip in clips:
    for task in labels.BY_FRAME:
      part = aff_wild2_files.find_part(clip.clip_id, task)
      assert clip.extra[f'official_{task}'] == part
    found, faults = clip.read_labels()
    masked = aff_wild2_files.mask(shown)
    assert not faults
    if clip.extra['official_va'] in ('train', 'val'):
      expected = np.where(masked['va'] == -5, np.nan, masked['va'])
      np.testing.assert_array_equal(found.valence, expected[:, 0])
    if clip.extra['official_expr']:
      assert found.expression.tolist() == masked['expr'][:, 0].tolist()
  for task in labels.BY_FRAME:
    assert {clip.extra[f'official_{task}'] for clip in clips} >= {
      'train', 'val', '',
    } - ({''} if task == 'va' else set())  # fmt: skip


def test_official_sets_by_task_and_over_all(tmp_path):
  plant(tmp_path)
  rows = aff_wild2.list_rows(tmp_path)
  assert '8-30-1280x720' in {row.clip_id for row in rows}
  # There is one training clip of expressions, and nothing to test on.
  with pytest.raises(errors.AvemoError, match='no clip of the official val'):
    protocols.make_folds('aff_wild2_official_expr', rows)
  (fold,) = protocols.make_folds('aff_wild2_official_published', rows)
  assert fold.test == fold.val == ('1-30-1280x720', '5')
  assert fold.train == ('video2', 'video2_left', 'video2_right')
  (fold,) = protocols.make_folds('aff_wild2_official_va_published', rows)
  assert fold.test == ('1-30-1280x720',)


def make_rows(count):
  """Films, some of two people, some in parts; every fourth one is val."""
  rows = []
  for n in range(count):
    part = 'val' if n % 4 == 3 else 'train'
    names = [f'video{n}_{k}' for k in (1, 2)] if n % 5 == 0 else [f'video{n}']
    for name in names:
      for side in ('_left', '_right') if n % 3 == 0 else ('',):
        found = aff_wild2.parse_name(name + side)
        rows.append(
          aff_wild2.folds.Row(
            found.clip_id, '', found.recording, lists={'official_va': part}
          )
        )
  return rows


def test_validation_is_cut_from_training_by_film():
  rows = make_rows(60)
  (fold,) = protocols.make_folds('aff_wild2_official_va', rows)
  (other,) = protocols.make_folds('aff_wild2_official_va_published', rows)
  assert set(fold.train) | set(fold.val) == set(other.train)
  assert fold.test == other.test == other.val

  def sources(ids):
    return {
      aff_wild2.find_source(aff_wild2.parse_name(i).recording) for i in ids
    }

  assert not sources(fold.train) & sources(fold.val)
  assert len(sources(fold.val)) == 9 and len(sources(fold.train)) == 36
  (again,) = protocols.make_folds('aff_wild2_official_va', rows[::-1])
  assert again == fold
  leaks = aff_wild2.folds.find_leaks
  assert not leaks(fold, rows)
  planted = fold.__class__(0, fold.train, fold.val, fold.test + fold.train[:1])
  assert leaks(planted, rows)


@pytest.mark.parametrize('name', ['aff_wild2_official', 'mafw_official_5fold'])
def test_without_the_lists_there_is_one_clear_line(name, tmp_path):
  corpus = protocols.get(name).corpus
  with pytest.raises(errors.AvemoError, match='--raw DIR'):
    protocols.rows_of_corpus(corpus)
  with pytest.raises(errors.AvemoError, match='in it'):
    protocols.rows_from_raw(corpus, tmp_path)
  names = tmp_path / 'names'
  names.write_text('00019\n' if corpus == 'mafw' else 'video5\n')
  rows = protocols.rows_from_names(corpus, names)
  with pytest.raises(errors.AvemoError, match='--raw DIR') as caught:
    protocols.make_folds(name, rows)
  assert '\n' not in str(caught.value)
