"""Simulated Aff-Wild2 and MAFW, quirks included, to records; frame by frame."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
import small_run

from avemo import errors, simulate
from avemo.corpora import aff_wild2, protocols
from avemo.data import folds, schema
from avemo.evaluate import run, table
from avemo.media import decode
from avemo.simulate import corpus
from avemo.train import loop
from datasets_tfds import prepare

UNITS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
WORDS = [
  'Neutral', 'Anger', 'Disgust', 'Fear', 'Happiness', 'Sadness', 'Surprise',
  'Other',
]  # fmt: skip
LATEST = '6th ABAW Annotations'


def build(name, raw, data_dir, config='face'):
  return prepare.prepare(
    name, raw, data_dir=data_dir, config=config, workers=0, progress=False
  )


def read_reasons(report):
  text = (report.directory / 'quarantine.jsonl').read_text(encoding='utf-8')
  lines = [json.loads(line) for line in text.splitlines()]
  return {line['path']: line['reason'] for line in lines}


@pytest.fixture(scope='module')
def films(tmp_path_factory):
  """A tree of Aff-Wild2 with quirks: four plain clips, six odd ones."""
  root = tmp_path_factory.mktemp('raw') / 'aff_wild2'
  return corpus.simulate(
    'aff_wild2', root, videos=4, quirks=True, progress=False
  )


@pytest.fixture(scope='module')
def data(films, tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  return folder, build('aff_wild2', films, folder)


@pytest.fixture(scope='module')
def records(data):
  """The records of each video, in order."""
  found = {}
  for record in schema.open_dataset('aff_wild2_av', data[0]).source:
    assert record['video_id'] == record['clip_id']
    found.setdefault(record['video_id'].decode(), []).append(record)
  for video in found.values():
    assert [r['segment'] for r in video] == list(range(len(video)))
    assert {r['num_segments'] for r in video} == {len(video)}
  return found


def join(video, field):
  return np.concatenate([record[field] for record in video])


def read_annotation(root, clip_id, folder):
  """Lines of a file as numbers, NaN where masked; nothing shared with avemo."""
  paths = sorted(root.glob(f'*/{folder}/*/{clip_id}.txt'))
  if not paths:
    return None, None
  # Of several years the one whose folder has a number.
  path = min(paths, key=lambda p: not p.parts[-4][0].isdigit())
  header, *lines = path.read_text().splitlines()
  names = [word for word in re.split(r'[ ,]+', header) if word]
  rows = []
  for line in lines:
    try:
      row = [float(word) for word in line.rstrip(',').split(',')]
    except ValueError:
      row = [np.nan] * (1 if 'Anger' in names else len(names))
    rows.append([np.nan if x in (-5, -1) else x for x in row])
  rows = np.array(rows)
  return names, rows


def check(found, expected):
  """Equal as far as there are lines, masked beyond."""
  count = len(expected)
  assert len(found) >= count
  np.testing.assert_allclose(found[:count], expected, atol=1e-6)
  assert np.isnan(found[count:]).all()


@pytest.mark.parametrize('folder', ['*VA*', '*EXPR*', '*AU_*'])
def test_every_label_is_that_of_its_line(films, records, folder):
  pattern = folder if folder != '*EXPR*' else '*EX*'
  seen = 0
  for clip_id, video in records.items():
    names, rows = read_annotation(films, clip_id, pattern)
    if rows is None and folder == '*EXPR*':
      names, rows = read_annotation(films, clip_id, 'Expression_Set')
    if rows is None or clip_id == '10-60-1280x720' and folder != '*VA*':
      continue
    seen += 1
    if folder == '*VA*':
      check(join(video, 'frame_valence'), rows[:, 0])
      check(join(video, 'frame_arousal'), rows[:, 1])
    elif folder == '*EXPR*':
      assert names == WORDS[: len(names)]
      labels = join(video, 'frame_expression').astype(float)
      check(np.where(labels < 0, np.nan, labels), rows[:, 0])
    else:
      whole = np.full((len(rows), 12), np.nan)
      for column, name in enumerate(names):
        unit = int(name[2:])
        if unit in UNITS:
          whole[:, UNITS.index(unit)] = rows[:, column]
      check(join(video, 'frame_action_units'), whole)
  assert seen >= 5
  # Masks are there, and so are labels.
  values = np.concatenate([join(v, 'frame_valence') for v in records.values()])
  assert 0.05 < np.isnan(values).mean() < 0.5


def test_fields_by_frame_are_aligned_and_whole(records):
  for clip_id, video in records.items():
    index = join(video, 'frame_index')
    np.testing.assert_array_equal(index, np.arange(len(index)), clip_id)
    times = join(video, 'frame_time')
    assert (np.diff(times) > 0).all()
    for record in video:
      count = len(record['frame_index'])
      assert len(record['frames']) in (0, count)
      for field in ('face', 'box', 'landmarks', 'frame_valence',
                    'frame_arousal', 'frame_expression',
                    'frame_action_units'):  # fmt: skip
        assert len(record[field]) == count, field
      seconds = record['frame_time'] - record['start']
      assert -1e-3 <= seconds.min() and seconds.max() < schema.MAX_SECONDS
      assert len(record['speech']) <= 2 * 10.01 * 16_000


def test_official_faces_are_stored_as_they_are(films, records):
  folders = sorted((films / 'cropped_aligned').iterdir())
  assert len(folders) >= 6
  for folder in folders:
    video = records[folder.name]
    shown = [jpeg for record in video for jpeg in record['frames']]
    face = join(video, 'face')
    for number, jpeg in enumerate(shown):
      path = folder / f'{number + 1:05d}.jpg'
      assert face[number] == path.exists(), path
      if path.exists():
        assert jpeg == path.read_bytes(), path
      else:
        near = number - 1 if number else 1
        assert jpeg == shown[near]
    box = join(video, 'box')
    assert (box[face > 0] == [0, 0, 112, 112]).all()
    assert not box[face == 0].any()
  # Half of its faces are missing, and a whole segment shows none.
  first, second = records['video45_2']
  assert len(first['frames']) and not len(second['frames'])
  assert len(second['frame_index']) > 50 and not second['face'].any()
  assert np.isfinite(second['frame_valence']).any()


def test_lines_and_pictures_are_joined_whatever_their_numbers(data, records):
  reasons = read_reasons(data[1])

  def find(clip_id):
    path = f'{LATEST}/VA_Estimation_Challenge/Train_Set/{clip_id}.txt'
    return reasons[path], len(join(records[clip_id], 'frame_index'))

  for clip_id, difference, is_worse in (
    ('6-30-1920x1080_left', 1, False),
    ('10-60-1280x720', -2, False),
    ('10-60-1280x720_right', -30, True),
    ('video45_1', 40, True),
  ):
    reason, count = find(clip_id)
    lines, shown = map(int, re.findall(r'\d+', reason))
    assert lines - shown == difference
    assert ('more apart' in reason) == is_worse
    assert count == max(lines, shown)
    face = join(records[clip_id], 'face')
    # Lines beyond the last picture are there, and tell that it has no face.
    assert not face[shown:].any() and face[:shown].mean() > 0.8


def test_two_people_in_one_film_are_cut_out_apart(films, records):
  """Their film was looked at, for no faces of it were shipped."""
  clip_ids = ('10-60-1280x720', '10-60-1280x720_right')
  left, right = (records[clip_id][0] for clip_id in clip_ids)
  assert left['speech'] == right['speech'] != b''
  assert left['recording'] == right['recording'] == b'10-60-1280x720'
  film = next(films.glob('batch*/10-60-1280x720.*'))
  frames = [frame.image for frame in decode.read_frames(film)]
  for record, low, high in ((left, 0, 0.5), (right, 0.5, 1)):
    image = frames[5]
    face = cv2.imdecode(np.frombuffer(record['frames'][5], np.uint8), 1)
    inside = cv2.cvtColor(face, cv2.COLOR_BGR2RGB)
    side = round(0.5 * inside.shape[0])
    middle = inside[side // 2 : side // 2 + side, side // 2 : side // 2 + side]
    match = cv2.matchTemplate(image, middle, cv2.TM_CCOEFF_NORMED)
    _, score, _, (x, _) = cv2.minMaxLoc(match)
    assert score > 0.95
    assert low <= (x + side / 2) / image.shape[1] <= high


def test_the_latest_year_counts_and_the_rest_is_told(films, data, records):
  reasons = read_reasons(data[1])
  older = 'annotations/VA_Set/Training_Set/video45_2.txt'
  assert 'another annotation of video45_2 is used: 6th' in reasons[older]
  # The older file says zero throughout.
  assert np.nanmax(np.abs(join(records['video45_2'], 'frame_valence'))) > 0.1
  damaged = f'{LATEST}/EXPR_Recognition_Challenge/Train_Set/'
  assert (
    '2 of 109 lines are no labels, the first of them line 7'
    in (reasons[f'{damaged}6-30-1920x1080_right.txt'])
  )
  assert 'nobody' not in reasons['batch1/video99.mp4']
  assert 'no annotation and no list' in reasons['batch1/video99.mp4']
  lost = f'{LATEST}/VA_Estimation_Challenge/Train_Set/video98.txt'
  assert 'neither film, faces nor sound of video98' == reasons[lost]
  several = f'{LATEST}/MTL_Challenge/Train_Set/train_set.txt'
  assert '1 lines contradict' in reasons[several]


def test_a_multi_task_file_fills_what_no_other_says(records):
  (record,) = records['10-60-1280x720']
  expected = np.arange(1, 13) % 8
  np.testing.assert_array_equal(record['frame_expression'][:12], expected)
  assert (record['frame_expression'][12:] == -1).all()
  units = record['frame_action_units']
  np.testing.assert_array_equal(units[:12], [[0, 1] * 6] * 12)
  assert np.isnan(units[12:]).all()


def test_the_index_says_what_is_labelled_and_by_whom(films, data, records):
  dataset = schema.open_dataset('aff_wild2_av', data[0])
  assert dataset.emotions == aff_wild2.EMOTIONS
  index = dataset.index
  for place, record in enumerate(dataset.source):
    affect = record['frame_valence'] + record['frame_arousal']
    assert index['frame_affect_count'][place] == np.isfinite(affect).sum()
    assert index['frame_expression_counts'][place].sum() == (
      np.sum(record['frame_expression'] >= 0)
    )
  parts = dict(zip(index['clip_id'], index['official_va'], strict=True))
  assert parts['video7'] == 'val' and parts['video9'] == 'train'
  assert parts['10-30-1280x720'] == 'test'
  # A clip of the test set has its frames, and no labels.
  video = records['10-30-1280x720']
  assert len(join(video, 'frame_index')) > 30
  assert np.isnan(join(video, 'frame_valence')).all()
  assert (join(video, 'frame_expression') == -1).all()


@pytest.mark.parametrize('form', ['', '_published'])
@pytest.mark.parametrize('task', ['', '_va', '_expr', '_au'])
def test_official_sets_over_a_copy_and_over_what_is_prepared(
  films, data, task, form
):
  name = f'aff_wild2_official{task}{form}'
  rows = protocols.rows_from_raw('aff_wild2', films)
  # Clips without media are named as well.
  rows = [row for row in rows if row.clip_id != 'video98']
  dataset = schema.open_dataset('aff_wild2_av', data[0])
  try:
    (fold,) = protocols.make_folds(name, rows)
  except errors.AvemoError as error:
    pytest.fail(str(error))
  assert protocols.make_folds(name, folds.make_rows(dataset.index)) == [fold]
  split = folds.find_split(dataset, name, 0)
  assert len(split.train) and len(split.val) and len(split.test)


def test_whole_pictures_come_from_the_film(films, tmp_path):
  film = next(films.glob('batch*/video9.*'))
  text = next(films.glob('*/VA*/*/video9.txt'))
  faces = films / 'cropped_aligned' / 'video9'
  raw = tmp_path / 'raw'
  raw.mkdir()
  for path in (film, text, faces):
    (raw / path.name).symlink_to(path)
  build('aff_wild2', raw, tmp_path, 'frame')
  (record,) = schema.open_dataset('aff_wild2_av/frame', tmp_path).source
  for frame, jpeg in zip(
    decode.read_frames(film), record['frames'], strict=True
  ):
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)[..., ::-1]
    assert image.shape == frame.image.shape
    assert np.abs(image.astype(float) - frame.image).mean() < 4
  assert record['face'].all()


def test_a_copy_without_films_keeps_faces_and_labels(films, tmp_path):
  raw = tmp_path / 'raw'
  raw.mkdir()
  (raw / LATEST).symlink_to(films / LATEST)
  (raw / 'cropped_aligned').symlink_to(films / 'cropped_aligned')
  build('aff_wild2', raw, tmp_path)
  dataset = schema.open_dataset('aff_wild2_av', tmp_path)
  place = dataset.index['clip_id'].tolist().index('8-30-1280x720')
  record = dataset.source[place]
  # Nobody tells the rate but the name.
  assert not record['speech'] and record['fps'] == 30
  assert len(record['frames']) == len(record['frame_valence']) > 30
  assert record['face'].sum() == len(record['face']) - 7


def test_faces_that_are_cut_short_count_as_missing(films, tmp_path):
  raw = tmp_path / 'raw'
  faces = raw / 'cropped_aligned' / 'video9'
  shutil.copytree(films / 'cropped_aligned' / 'video9', faces)
  (raw / LATEST).symlink_to(films / LATEST)
  for number, kept in ((5, 0.6), (6, 0.0), (7, 0.9)):
    path = faces / f'{number:05d}.jpg'
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
  report = build('aff_wild2', raw, tmp_path)
  reasons = read_reasons(report)
  assert reasons['cropped_aligned/video9'] == (
    'used in part: 3 of its pictures cannot be read'
  )
  (record,) = schema.open_dataset('aff_wild2_av', tmp_path).source
  assert record['face'][:8].tolist() == [0, 1, 1, 1, 0, 0, 0, 1]
  assert record['frames'][6] == record['frames'][3]


def test_no_best_score_is_stated_for_labels_by_frame(films):
  with pytest.raises(errors.AvemoError, match='by frame'):
    simulate.oracle(films)
  with pytest.raises(errors.AvemoError, match='say how many videos'):
    corpus.plan('aff_wild2', speakers=3)
  with pytest.raises(errors.AvemoError, match='say how many speakers'):
    corpus.plan('crema_d', videos=3)


# ----------------------------------------------------------------------- MAFW


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
  root = tmp_path_factory.mktemp('raw') / 'mafw'
  return corpus.simulate('mafw', root, videos=11, quirks=True, progress=False)


@pytest.fixture(scope='module')
def clip_data(clips, tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  return folder, build('mafw', clips, folder)


def test_mafw_clips_carry_all_that_is_said_of_them(clips, clip_data):
  folder, report = clip_data
  assert (report.used, report.repaired) == (10, 0)
  # Named by tables and lists alone.
  assert report.left_out == 1 and '1 clip left out' in str(report)
  named = 'Train & Test Set/compound/no_caption/set_1/train.txt'
  assert read_reasons(report) == {
    'data/clips/holiday.mp4': 'not a file name of MAFW',
    named: 'neither film, faces nor sound of 00028',
  }
  index = schema.open_dataset('mafw_av', folder).index
  row = {name: place for place, name in enumerate(index['clip_id'].tolist())}
  # In their order: no sound, invalid, label 0, without film, faces cut out.
  assert '00028' not in row
  assert index['num_samples'][row['00019']] == 0
  assert index['emotion'][row['00022']] == '' == index['emotion'][row['00025']]
  invalid = index['invalid'][[row[n] for n in ('00022', '00034', '00037')]]
  np.testing.assert_allclose(invalid, [-1, 0.93, 0], rtol=1e-6)
  cues = json.loads((clips / 'simulation.json').read_text())['clips']
  for clip in cues:
    if clip['clip_id'] == '00028':
      continue
    place = row[clip['clip_id']]
    assert index['emotion'][place] == clip['emotion']
    if clip['emotion']:
      best = index['confidences'][place].argmax()
      names = schema.open_dataset('mafw_av', folder).emotions
      assert names[best] == clip['emotion']
      assert index['compound'][place].split('_')[0] == clip['emotion']
      assert index['official_single_fold'][place] in range(1, 6)
    if index['several'][place]:
      assert index['several'][place] == (
        index['compound'][place].replace('_', ':')
      )
  told = row['00046']
  assert index['caption_english'][told] == 'The person in clip 00046 talks.'
  assert index['caption_chinese'][told] == '第00046段，有人在说话。'
  assert index['sex'][told] == 'female' and index['sex'][row['00019']] == 'male'
  assert {bool(s) for s in index['several'].tolist()} == {True, False}


def test_mafw_faces_that_are_cut_out_already_are_taken(clips, clip_data):
  dataset = schema.open_dataset('mafw_av', clip_data[0])
  place = dataset.index['clip_id'].tolist().index('00031')
  record = dataset.source[place]
  paths = sorted((clips / 'data/frames/00031').iterdir())
  assert len(record['frames']) == len(paths) + 1
  assert record['face'].tolist().count(0) == 1 and record['face'][2] == 0
  for path in paths:
    jpeg = record['frames'][int(path.stem) - 1]
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)
    assert np.abs(image.astype(float) - cv2.imread(str(path))).mean() < 3
  assert record['speech']


def test_mafw_folds_over_a_copy_and_over_what_is_prepared(clips, clip_data):
  rows = protocols.rows_from_raw('mafw', clips)
  dataset = schema.open_dataset('mafw_av', clip_data[0])
  for name in ('mafw_official_5fold', 'mafw_official_compound_5fold_published'):
    made = protocols.make_folds(name, rows)
    tested = [clip for fold in made for clip in fold.test]
    assert len(made) == 5 and len(tested) == len(set(tested)) == 9
    for number, fold in enumerate(made, start=1):
      kind = 'compound' if 'compound' in name else 'single'
      lists = clips / 'Train & Test Set' / kind / 'no_caption' / f'set_{number}'
      for part, ids in (
        ('test', fold.test),
        ('train', set(fold.train) | set(fold.val) - set(fold.test)),
      ):
        lines = (lists / f'{part}.txt').read_text().split('\n')
        assert {line[:5] for line in lines if line} == set(ids)
    prepared = protocols.make_folds(name, folds.make_rows(dataset.index))
    assert [set(f.test) for f in prepared] == [
      set(f.test) - {'00028'} for f in made
    ]


def test_the_best_score_on_mafw_is_stated(clips):
  best = simulate.oracle(clips)
  assert 0 < best['audio'] < 1 and best['both'] >= best['video'] > 0


def test_a_short_training_on_mafw_is_scored_on_its_official_fold(
  clip_data, tmp_path
):
  config = small_run.make_config(
    steps=2,
    data_dir=str(clip_data[0]),
    data={
      'name': 'mafw_av',
      'protocol': 'mafw_official_5fold',
      'fold': 0,
      'batch_size': 8,
    },
    optim={'warmup': 0},
  )
  loop.train(config, tmp_path)
  run.evaluate(tmp_path)
  metrics = json.loads((tmp_path / 'eval/test/metrics.json').read_text())
  found = table.read(tmp_path / 'eval/test/predictions.csv')
  dataset = schema.open_dataset('mafw_av', clip_data[0])
  tested = dataset.index['official_single_fold'] == 1
  assert set(found.clip_id) == set(dataset.index['clip_id'][tested])
  # A listener says nothing of the clip without sound.
  assert metrics['num_examples'] == len(found.clip_id) - 1 > 0
  # Nobody is named.
  assert set(found.speaker) == {''} and metrics['intervals'] is None
