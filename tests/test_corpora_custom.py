"""Anyone's own folder: files, tables and folders become clips and folds."""

import pathlib

import pytest
from corpus_trees import STUB, put

from avemo import errors
from avemo.corpora import custom, folds, protocols, sheets


def tell(root, unusable):
  return {
    pathlib.Path(path).name if '/' not in path
    else pathlib.Path(path).relative_to(root).as_posix(): reason
    for path, reason, _ in unusable
  }  # fmt: skip


def make_row(clip_id, speaker='', split=''):
  return folds.Row(clip_id, speaker, clip_id, lists={'split': split})


def test_a_clip_is_a_path_without_its_suffix(tmp_path):
  for name in ('a/one.mp4', 'a/one.WAV', 'b/one.wav', 'two.mov', 'two.avi'):
    put(tmp_path / name, name.encode())
  put(tmp_path / 'notes.txt')
  put(tmp_path / 'empty.wav', b'')
  put(tmp_path / 'stub.mp4', STUB)
  clips, unusable = custom.scan(tmp_path)
  assert [c.clip_id for c in clips] == ['a/one', 'b/one', 'two']
  first, second, third = clips
  assert first.video_path.endswith('one.mp4')
  assert first.audio_path.endswith('one.WAV')
  assert second.videos == () and third.videos == third.audios
  assert [c.recording for c in clips] == [c.clip_id for c in clips]
  assert {c.speaker for c in clips} == {c.emotion for c in clips} == {''}
  told = tell(tmp_path, unusable)
  assert 'empty' in told['empty.wav'] and 'git-LFS' in told['stub.mp4']
  assert len(told) == 2 and custom.find_emotions(clips) == []


def test_folders_say_split_and_emotion_where_no_table_does(tmp_path):
  for name in (
    'Train/Joy/x.mp4', 'Train/deep/er/y.mp4', 'data/valid/anger/z.wav',
    'test/loose.wav', 'elsewhere/joy/w.wav',
  ):  # fmt: skip
    put(tmp_path / name, name.encode())
  clips, unusable = custom.scan(tmp_path)
  found = {
    c.clip_id: (c.extra['split'], c.emotion, c.extra['emotion_source'])
    for c in clips
  }
  assert not unusable and found == {
    'Train/Joy/x': ('train', 'joy', 'folder'),
    'Train/deep/er/y': ('train', 'deep', 'folder'),
    'data/valid/anger/z': ('val', 'anger', 'folder'),
    'test/loose': ('test', '', ''),
    'elsewhere/joy/w': ('', '', ''),
  }
  assert custom.find_emotions(clips) == ['anger', 'deep', 'joy']


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'cp1252'])
def test_a_table_of_a_spreadsheet_keeps_its_umlauts(tmp_path, encoding):
  root = tmp_path / 'raw'
  put(root / 'Müller-Größe.wav', b'sound')
  table = tmp_path / 'labels.csv'
  # Pairs of umlauts such as these are Chinese in GB 18030.
  lines = 'path,speaker,emotion\nMüller-Größe.wav,Jürgen Größe,Überdruß\n'
  table.write_text(lines, encoding=encoding)
  (one,), unusable = custom.scan(root, table)
  assert (one.speaker, one.emotion) == ('Jürgen Größe', 'überdruß')
  assert not unusable
  told = {'utf-8-sig': '', 'utf-16': 'UTF-16', 'cp1252': 'Windows-1252'}
  assert sheets.tell_encoding(table) == told[encoding]


def test_a_table_says_which_files_count(tmp_path):
  root = tmp_path / 'raw'
  for name in ('train/a.mp4', 'train/a.wav', 'test/b.wav', 'c.wav', 'é.wav'):
    put(root / name, name.encode())
  table = tmp_path / 'labels.csv'
  table.write_text(
    'path,speaker,Emotion,split\n'
    'train/a.mp4,anna,Joy,\n'
    'train\\a.wav,anna,Joy,\n'
    f'{root}/test/b.wav,ben,,val\n'
    'c.mp4,cleo,,\n'
    './é,NA,anger,\n'
    'gone.wav,dora,fear,\n',
    encoding='utf-8',
  )
  clips, unusable = custom.scan(root, table)
  said = {c.clip_id: (c.speaker, c.emotion, c.extra['split']) for c in clips}
  assert said == {
    'train/a': ('anna', 'joy', 'train'),
    # The table counts before the folder.
    'test/b': ('ben', '', 'val'),
    'é': ('NA', 'anger', ''),
  }
  assert custom.find_emotions(clips) == ['anger', 'joy']
  reasons = [reason for path, reason, _ in unusable if path == 'labels.csv']
  assert [r.split(':')[0] for r in reasons] == ['row 3', 'row 5', 'row 7']
  assert 'doubles row 2' in reasons[0]
  assert 'c.mp4: no usable file' in reasons[1]
  assert 'gone.wav: no usable file' in reasons[2]
  # Named by another suffix, so that no row is of it.
  assert tell(root, unusable)['c.wav'] == 'no row of labels.csv names it'


def test_a_table_of_other_files_is_one_line(tmp_path):
  put(tmp_path / 'raw/a.wav')
  table = tmp_path / 'labels.csv'
  table.write_text('path\nb.wav\n')
  with pytest.raises(errors.AvemoError, match='row 2 names .b.wav.') as caught:
    custom.scan(tmp_path / 'raw', table)
  assert '\n' not in str(caught.value)


def test_a_given_split_is_one_fold():
  rows = [
    make_row('a', 'anna', 'train'), make_row('b', 'ben', 'val'),
    make_row('c', 'cleo', 'test'), make_row('d', 'dora', ''),
  ]  # fmt: skip
  (fold,) = protocols.make_folds('custom_split', rows)
  assert (fold.train, fold.val, fold.test) == (('a',), ('b',), ('c',))
  assert protocols.find_flaws('custom_split', rows) == ()
  # The same rule serves every corpus.
  (same,) = protocols.make_folds('crema_d_labels_split', rows)
  assert same == fold


def test_a_split_without_validation_takes_it_from_training_speakers():
  rows = [make_row(f'{n:02d}', f's{n % 10}', 'train') for n in range(40)]
  rows += [make_row('t', 'tess', 'test')]
  (fold,) = protocols.make_folds('custom_split', rows)
  by_id = {row.clip_id: row.speaker for row in rows}
  chosen = {by_id[clip_id] for clip_id in fold.val}
  assert len(chosen) == 2 and len(fold.val) == 8 and len(fold.train) == 32
  assert not chosen & {by_id[clip_id] for clip_id in fold.train}
  # Whose hashes are smallest does not depend on who else is there.
  (less,) = protocols.make_folds('custom_split', rows[10:])
  assert set(less.val) < set(fold.val)


@pytest.mark.parametrize(
  'rows, words',
  [
    ([make_row('a', 'anna')], ['no clip here has a split', '--labels']),
    ([make_row('a', 'anna', 'test')], ['no clip is for train']),
    (
      [make_row('a', 'anna', 'train'), make_row('b', 'ben', 'val')],
      ['no clip is for test'],
    ),
    (
      [
        make_row('a', 'anna', 'train'),
        make_row('b', 'ben', 'val'),
        make_row('c', 'anna', 'test'),
      ],
      ['train and test share 1 of kind speaker, such as anna', 'one part'],
    ),
  ],
)
def test_splits_of_no_use_are_one_line(rows, words):
  with pytest.raises(errors.AvemoError) as caught:
    protocols.make_folds('custom_split', rows)
  for word in words:
    assert word in str(caught.value)


def test_unnamed_speakers_are_said():
  rows = [make_row(p, '', p) for p in ('train', 'val', 'test')]
  rows += [make_row('x', 'anna', 'train'), make_row('unused')]
  text = protocols.describe('custom_split', rows)
  assert 'warning: 3 of 4 clips name no speaker' in text
  assert 'in no part: 1 of 5 clips' in text
  (flaw,) = protocols.find_flaws('custom_split', rows)
  assert 'training and in test' in flaw


def test_speakers_are_dealt_to_five_folds():
  rows = [make_row(f'{n}', f's{n % 12}') for n in range(36)]
  rows += [make_row('nobody')]
  made = protocols.make_folds('custom_speaker_5fold', rows)
  assert [fold.index for fold in made] == list(range(5))
  tested = [clip_id for fold in made for clip_id in fold.test]
  assert sorted(tested) == sorted(str(n) for n in range(36))
  assert sorted(len(fold.test) for fold in made) == [6, 6, 6, 9, 9]
  assert protocols.make_folds('custom_speaker_5fold', rows[::-1]) == made
  assert protocols.find_flaws('custom_speaker_5fold', rows) == ()
  for fold, following in zip(made, made[1:] + made[:1], strict=True):
    assert fold.val == following.test
    assert not folds.find_leaks(fold, rows)


@pytest.mark.parametrize('speakers', [('',), ('', 'anna', 'ben')])
def test_too_few_speakers_are_said(speakers):
  rows = [make_row(str(n), name) for n, name in enumerate(speakers)]
  with pytest.raises(errors.AvemoError) as caught:
    protocols.make_folds('custom_speaker_5fold', rows)
  expected = 'names its speaker' if speakers == ('',) else 'need three'
  assert expected in str(caught.value)
