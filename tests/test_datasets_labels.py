"""A user's own labels through preparation, into records, index and folds."""

import json

import numpy as np
import pytest
from fixtures_corpora import CUSTOM

from avemo import errors
from avemo.corpora import given, given_rows
from avemo.data import folds, schema
from datasets_tfds import prepare

NEUTRAL, HAPPY = '1006_TIE_NEU_XX', '1006_TIE_HAP_XX'


def build(name, raw, data_dir, **options):
  return prepare.prepare(
    name, raw, data_dir=data_dir, workers=0, progress=False, **options
  )


def read_reasons(directory):
  text = (directory / 'quarantine.jsonl').read_text(encoding='utf-8')
  return {(x['path'], x['reason']) for x in map(json.loads, text.splitlines())}


def test_own_recordings_are_records_of_what_the_table_says(tiny_custom):
  root, table, data_dir = tiny_custom
  report = build('custom', root, data_dir, labels=table)
  assert report.already_prepared and 'tiny_custom.csv' in str(report)
  assert (report.used, report.repaired, report.records) == (8, 0, 8)
  assert (report.quarantined, len(report.rows)) == (1, 4)
  assert 'labels: 4 rows of no use, or in part; e.g. 1 of its' in str(report)
  assert 'emotion: anger 3, disgust 2, sadness 3; 5 speakers' in str(report)
  assert 'clips by split: test 2, train 4, val 2' in str(report)
  told = dict(read_reasons(report.directory) - {('tiny_custom.csv', '')})
  assert 'no row of tiny_custom.csv' in told['unnamed.flv']
  rows = sorted(
    reason
    for path, reason in read_reasons(report.directory)
    if path == 'tiny_custom.csv'
  )
  assert '1 of its rows labels frames beyond the last' in rows.pop(0)
  assert [row.split(':')[0] for row in rows] == ['row 10', 'row 11', 'row 3']
  dataset = schema.open_dataset('custom_av', data_dir)
  assert dataset.corpus == 'custom'
  assert dataset.emotions == ('anger', 'disgust', 'sadness')
  index = dataset.index
  place = given_rows.ACTION_UNITS.index(12)
  assert len(dataset.source) == len(CUSTOM)
  assert index['num_samples'].all()
  for path, _, speaker, emotion, valence, unit, split in CUSTOM:
    (row,) = np.flatnonzero(index['clip_id'] == path.removesuffix('.flv'))
    assert index['speaker'][row] == speaker
    assert index['emotion'][row] == emotion.lower()
    assert index['split'][row] == (split or path.split('/')[0])
    # Of the values one is out of range.
    known = valence not in ('', '-1.5')
    assert np.isfinite(index['valence'][row]) == known
    assert index['valence_source'][row] == ('tiny_custom.csv' if known else '')
    record = dataset.source[int(row)]
    assert len(record['frames']) > 20
    units = record['frame_action_units']
    of_clip = index['action_units'][row]
    if unit and path != 'train/1.flv':
      # Nothing is said of its frames: a label of the clip stays one.
      assert not len(units) and of_clip[place] == float(unit)
      assert np.isnan(np.delete(of_clip, place)).all()
      assert index['action_units_source'][row] == 'tiny_custom.csv'
      continue
    assert np.isnan(of_clip).all()
    if unit:
      assert units.shape == (len(record['frames']), 12)
      assert (units[:, place] == float(unit)).all()
      assert np.isnan(np.delete(units, place, 1)).all()
      known = np.flatnonzero(np.isfinite(record['frame_valence']))
      assert known.tolist() == ([3] if path == 'train/1.flv' else [])
      assert len(record['frame_valence']) == len(units)
    else:
      assert not len(units)
  (row,) = np.flatnonzero(index['clip_id'] == 'train/1')
  record = dataset.source[int(row)]
  assert record['frame_valence'][3] == 0.75 and index['valence'][row] == -0.5
  assert record['frame_expression'][3] == dataset.emotions.index('sadness')
  assert index['frame_expression_counts'][row].sum() == 1
  assert index['frame_valence_source'].tolist().count('tiny_custom.csv') == 1
  split = folds.find_split(dataset, 'custom_split', 0)
  assert [len(split.get(name)) for name in folds.SPLITS] == [4, 2, 2]
  tested = [
    set(
      index['speaker'][
        folds.find_split(dataset, 'custom_speaker_5fold', n).test
      ]
    )
    for n in range(5)
  ]
  assert sorted(map(sorted, tested)) == [
    ['anna'], ['ben'], ['cleo'], ['dora'], ['emil'],
  ]  # fmt: skip


@pytest.fixture(scope='module')
def few_raw(tiny_crema_d, tmp_path_factory):
  root = tmp_path_factory.mktemp('few')
  for name in (NEUTRAL, HAPPY):
    path = tiny_crema_d / f'AudioWAV/{name}.wav'
    (root / path.name).write_bytes(path.read_bytes())
  return root


def test_labels_lie_on_top_of_a_corpus_and_are_part_of_its_origin(
  few_raw, tmp_path
):
  plain = build('crema_d', few_raw, tmp_path / 'plain')
  table = tmp_path / 'affect.csv'
  table.write_text(
    'clip_id,valence,arousal,emotion,split\n'
    f'{NEUTRAL},0.5,-0.25,,train\n'
    f'{HAPPY},,,disgust,test\n'
    '1001_DFA_ANG_XX,0,0,,\n'
  )
  report = build('crema_d', few_raw, tmp_path / 'data', labels=table)
  assert (report.used, len(report.rows)) == (2, 1)
  assert ('affect.csv', 'row 4: 1001_DFA_ANG_XX: no clip here has this id') in (
    read_reasons(report.directory)
  )
  dataset = schema.open_dataset('crema_d_av', tmp_path / 'data')
  index = {
    name: dict(zip(dataset.index['clip_id'], column, strict=True))
    for name, column in dataset.index.items()
  }
  assert (index['valence'][NEUTRAL], index['arousal'][NEUTRAL]) == (0.5, -0.25)
  assert index['emotion'] == {NEUTRAL: 'neutral', HAPPY: 'disgust'}
  assert index['emotion_source'] == {NEUTRAL: 'corpus', HAPPY: 'affect.csv'}
  assert index['valence_source'] == {NEUTRAL: 'affect.csv', HAPPY: ''}
  assert index['split'] == {NEUTRAL: 'train', HAPPY: 'test'}
  with pytest.raises(errors.AvemoError, match='no clip is for val'):
    folds.find_split(dataset, 'crema_d_labels_split', 0)
  before = schema.open_dataset('crema_d_av', tmp_path / 'plain').index
  assert set(dataset.index) - set(before) == set(given.EXTRA)
  assert plain.rows == () and 'labels' not in plain.origin

  # Other labels, changed ones and none are another origin.
  changed = table.read_text().replace('0.5', '0.75')
  for text, labels in ((changed, table), (changed, None)):
    table.write_text(text)
    with pytest.raises(errors.AvemoError, match='--overwrite') as caught:
      build('crema_d', few_raw, tmp_path / 'data', labels=labels)
    assert 'affect.csv' in str(caught.value)
  again = build(
    'crema_d', few_raw, tmp_path / 'data', labels=table, overwrite=True
  )
  index = schema.open_dataset('crema_d_av', tmp_path / 'data').index
  assert 0.75 in index['valence'] and again.origin['labels'] == str(table)
  with pytest.raises(errors.AvemoError, match=r'none\.csv: No such file'):
    build('crema_d', few_raw, tmp_path / 'x', labels=tmp_path / 'none.csv')


def test_a_missing_folder_is_named_though_a_dataset_is_there(few_raw, tmp_path):
  build('crema_d', few_raw, tmp_path)
  with pytest.raises(errors.AvemoError, match='nowhere: no such folder'):
    build('crema_d', tmp_path / 'nowhere', tmp_path)


def test_the_encoding_of_a_table_is_told_where_it_is_not_utf_8(tmp_path):
  table = tmp_path / 'mine.csv'
  for encoding, told in (('utf-8', False), ('cp1252', True)):
    table.write_text('path,emotion\nä.wav,böse\n', encoding=encoding)
    origin = prepare.describe_origin(tmp_path, None, table)
    text = prepare.tell_origin(origin)
    assert ('read as Windows-1252' in text) == told
    assert ('labels_encoding' in origin) == told
