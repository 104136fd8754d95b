"""eNTERFACE'05: folders that tell, names that do not, trees."""

import collections
import os
import pathlib

import pytest
from corpus_trees import STUB, put

from avemo.corpora import enterface


def test_folders_tell_what_names_contradict():
  name = enterface.parse_name('subject 11/anger/sentence 1/s12_an_1')
  assert name.clip_id == 'subject_11/anger/sentence_1/s12_an_1'
  assert name.recording == 'subject_11/anger/sentence_1'
  assert (name.speaker, name.emotion) == ('11', 'anger')
  assert name.extra == {'sentence': 1}
  other = enterface.parse_name('subject 12/anger/sentence 1/s12_an_1')
  assert other.speaker == '12' and other.clip_id != name.clip_id


@pytest.mark.parametrize(
  'path',
  [
    'subject_11/anger/sentence_1/s12_an_1',
    'subject-11/anger/sentence-1/s12_an_1.avi',
    '/data/x/enterface database/Subject 11/Anger/Sentence 1/S12_AN_1.AVI',
    'subject11/anger/sentence1/s12_an_1',
    'copy\\subject 11\\anger\\sentence 1\\s12_an_1.avi',
  ],
)
def test_all_spellings_of_folders_are_one_clip(path):
  expected = 'subject_11/anger/sentence_1/s12_an_1'
  assert enterface.parse_name(path).clip_id == expected


@pytest.mark.parametrize(
  ('path', 'speaker', 'sentence'),
  [
    ('subject 3/fear/sentence 5/s_3_fe_5', '3', 5),
    ('subject 16/surprise/sentence 3/s16_su_3avi', '16', 3),
    # The names of these two are exchanged.
    ('subject 2/anger/sentence 1/s2_an_2', '2', 1),
    ('subject 6/anger/s6_an', '6', -1),
  ],
)
def test_odd_names_are_known(path, speaker, sentence):
  name = enterface.parse_name(path)
  assert (name.speaker, name.extra['sentence']) == (speaker, sentence)
  # A name of its own folders finds the file, and is a name again.
  assert enterface.parse_name(name.clip_id) == name


@pytest.mark.parametrize(
  'path',
  [
    's1_an_1',
    'anger/sentence 1/s1_an_1',
    'subject 45/anger/sentence 1/s45_an_1',
    'subject 0/anger/sentence 1/s0_an_1',
    'subject 1/neutral/sentence 1/s1_ne_1',
    'subject 1/anger/sentence 6/s1_an_6',
    'subject 1/anger/sentence 1/holiday',
    'subject 1/anger/sentence 1/s1_an_1.mp4',
    '1001_DFA_ANG_XX',
    '',
  ],
)
def test_other_paths_are_none(path):
  assert enterface.parse_name(path) is None


def count(names):
  emotions = collections.Counter(name.emotion for name in names)
  subjects = collections.Counter(int(name.speaker) for name in names)
  return emotions, subjects


def test_counts_of_the_full_corpus():
  names = [enterface.parse_name(n) for n in enterface.all_names()]
  assert len(names) == 1293
  cut = [name for name in names if name.extra['sentence'] > 0]
  emotions, subjects = count(cut)
  assert len(cut) == 1287
  assert emotions.pop('happiness') == 212
  assert set(emotions.values()) == {215} and len(emotions) == 5
  assert len(subjects) == 43 and subjects.pop(23) == 27
  assert set(subjects.values()) == {30}
  # Of the file names alone, 30 stand for two clips each.
  stems = collections.Counter(n.clip_id.rpartition('/')[2] for n in cut)
  assert sum(n - 1 for n in stems.values()) == 30


# ------------------------------------------------------------------ the tree


def test_picture_and_sound_from_the_film(tmp_path):
  folder = tmp_path / 'enterface database/subject 11/anger/sentence 1'
  film = put(folder / 's12_an_1.avi', b'11')
  other = put(
    tmp_path / 'enterface database/subject 12/anger/sentence 1/s12_an_1.avi'
  )
  clips, quarantined = enterface.scan(tmp_path)
  assert [c.speaker for c in clips] == ['11', '12']
  assert clips[0].videos == clips[0].audios == (str(film),)
  assert clips[1].videos == (str(other),)
  assert set(clips[0].extra) == set(enterface.EXTRA)
  assert quarantined == []


def test_a_subjects_folder_may_be_the_root(tmp_path, monkeypatch):
  folder = tmp_path / 'subject 1'
  put(folder / 'anger/sentence 1/s1_an_1.avi')
  assert len(enterface.scan(folder)[0]) == 1
  monkeypatch.chdir(folder)
  assert len(enterface.scan('.')[0]) == 1


def test_sound_cut_from_a_film_and_films_made_from_it(tmp_path):
  folder = tmp_path / 'subject_1/anger/sentence_1'
  film = str(put(folder / 's1_an_1.avi'))
  made = str(put(folder / 's1_an_1.mp4'))
  sound = str(put(folder / 's1_an_1.wav'))
  other = str(put(folder / 's1_an_1.flac'))
  (clip,), quarantined = enterface.scan(tmp_path)
  assert clip.videos == (film, made)
  assert clip.audios == (film, sound, made)
  assert [q.path for q in quarantined] == [other]


def test_both_spellings_of_a_name_are_one_clip(tmp_path):
  folder = tmp_path / 'subject 3/fear/sentence 5'
  put(folder / 's_3_fe_5.avi')
  put(folder / 's3_fe_5.avi', b'another')
  put(tmp_path / 'renamed/subject_3/fear/sentence_5/s3_fe_5.avi', b'another')
  (clip,), quarantined = enterface.scan(tmp_path)
  assert len(clip.videos) == 2 and quarantined == []


def test_what_cannot_be_used_is_accounted_for(tmp_path):
  uncut = put(tmp_path / 'subject 6/anger/s6_an.avi')
  flat = put(tmp_path / 's12_an_1.avi')
  stub = put(tmp_path / 'subject 1/fear/sentence 1/s1_fe_1.avi', STUB)
  sound = put(tmp_path / 'subject 1/fear/sentence 2/s1_fe_2.mp3')
  put(tmp_path / 'subject 6/anger/sentence 1/s6_an_1.avi')
  clips, quarantined = enterface.scan(tmp_path)
  # Whoever has cut subject 6 may use it.
  assert [c.clip_id for c in clips] == ['subject_6/anger/sentence_1/s6_an_1']
  reasons = {q.path: q.reason for q in quarantined}
  assert reasons.keys() == set(map(str, (uncut, flat, stub, sound)))
  assert 'not cut into sentences' in reasons[str(uncut)]
  assert 'in its folders' in reasons[str(flat)]
  assert 'git lfs pull' in reasons[str(stub)]


# ------------------------------------------------------------- the real data


def test_real_paths_are_those_of_the_rule():
  folder = os.environ.get('AVEMO_REAL_DATA')
  if not folder:
    pytest.skip('AVEMO_REAL_DATA does not name the folder of real data')
  path = pathlib.Path(folder) / 'names/enterface_paths.txt'
  names = [enterface.parse_name(x) for x in path.read_text().split('\n') if x]
  assert None not in names
  ids = {name.clip_id for name in names}
  assert len(names) == len(ids) == 1263
  absent = set(enterface.all_names()) - ids
  assert ids < set(enterface.all_names()) and len(absent) == 30
  assert {name.split('/')[0] for name in absent} == {'subject_12'}
  emotions, subjects = count([n for n in names if n.extra['sentence'] > 0])
  assert emotions == {
    'anger': 210, 'disgust': 210, 'fear': 210, 'happiness': 207,
    'sadness': 210, 'surprise': 210,
  }  # fmt: skip
  assert len(subjects) == 42 and subjects[23] == 27
