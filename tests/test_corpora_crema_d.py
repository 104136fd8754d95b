"""CREMA-D: names, tables, and the quirks of its trees."""

import collections
import math
import os
import pathlib

import pytest
from corpus_trees import STUB, put

from avemo.corpora import crema_d


def find_real_data() -> pathlib.Path:
  folder = os.environ.get('AVEMO_REAL_DATA')
  if not folder:
    pytest.skip('AVEMO_REAL_DATA does not name the folder of real data')
  return pathlib.Path(folder) / 'crema_d'


def test_parses_a_name():
  name = crema_d.parse_name('1001_IEO_HAP_HI')
  assert name.clip_id == name.recording == '1001_IEO_HAP_HI'
  assert name.speaker == '1001'
  assert (name.emotion, name.intensity) == ('happiness', 'high')
  assert name.extra['sentence_text'] == "It's eleven o'clock"


def test_the_old_name_of_one_clip_is_known():
  assert crema_d.parse_name('1040_ITH_SAD_X').clip_id == '1040_ITH_SAD_XX'


@pytest.mark.parametrize(
  'stem',
  [
    '1041_ITH_SAD_X',
    '1000_DFA_ANG_XX',
    '1092_DFA_ANG_XX',
    '1001_DFA_CAL_XX',
    '1001_DFA_ANG_XX_2',
    '1001_ABC_ANG_XX',
    '03-01-05-01-02-01-18',
    '',
  ],
)
def test_other_names_are_none(stem):
  assert crema_d.parse_name(stem) is None


def test_counts_of_the_full_corpus():
  names = [crema_d.parse_name(n) for n in crema_d.all_names()]
  assert len(names) == 7442
  assert collections.Counter(n.emotion for n in names) == {
    'anger': 1271,
    'disgust': 1271,
    'fear': 1271,
    'happiness': 1271,
    'sadness': 1271,
    'neutral': 1087,
  }
  speakers = collections.Counter(n.speaker for n in names)
  assert sorted(speakers) == [str(x) for x in range(1001, 1092)]
  short = {k: n for k, n in speakers.items() if n != 82}
  assert short == {
    '1002': 81,
    '1076': 81,
    '1008': 76,
    '1009': 76,
    '1019': 76,
  }
  levels = collections.Counter(n.intensity for n in names)
  assert levels['low'] == levels['medium'] == levels['high'] == 455


# ------------------------------------------------------------------ the tree


def test_picture_from_the_film_sound_from_the_wav(tmp_path):
  film = put(tmp_path / 'VideoFlash' / '1001_DFA_ANG_XX.flv')
  sound = put(tmp_path / 'AudioWAV' / '1001_DFA_ANG_XX.wav')
  put(tmp_path / 'AudioMP3' / '1001_DFA_ANG_XX.mp3')
  (clip,), quarantined = crema_d.scan(tmp_path)
  assert clip.videos == (str(film),)
  # The film's own sound stands in where the WAV turns out to be unusable.
  assert clip.audios == (str(sound), str(film))
  assert clip.emotion == 'anger'
  assert quarantined == []


def test_a_copy_with_sound_alone(tmp_path):
  sound = put(tmp_path / 'AudioWAV' / '1001_DFA_ANG_XX.wav')
  (clip,), quarantined = crema_d.scan(tmp_path)
  assert (clip.video_path, clip.audio_path) == (None, str(sound))
  assert quarantined == []


def test_a_copy_with_films_alone(tmp_path):
  film = put(tmp_path / '1001_DFA_ANG_XX.flv')
  (clip,), _ = crema_d.scan(tmp_path)
  assert (clip.video_path, clip.audio_path) == (str(film), str(film))


def test_films_made_into_mp4_are_read(tmp_path):
  flash = put(tmp_path / '1001_DFA_ANG_XX.flv')
  made = put(tmp_path / '1001_DFA_ANG_XX.mp4')
  (clip,), _ = crema_d.scan(tmp_path)
  assert clip.videos == (str(flash), str(made))


def test_films_of_every_kind_are_read_the_published_one_first(tmp_path):
  order = ('.flv', '.mp4', '.m4v', '.mov', '.mkv', '.avi', '.webm')
  films = [
    str(put(tmp_path / suffix[1:] / f'1001_DFA_ANG_XX{suffix}'))
    for suffix in order
  ]
  sound = put(tmp_path / '1001_DFA_ANG_XX.wav')
  (clip,), quarantined = crema_d.scan(tmp_path)
  assert clip.videos == tuple(films)
  assert clip.audios == (str(sound), *films)
  assert quarantined == []


def test_other_sound_beside_a_wav_is_accounted_for(tmp_path):
  sound = put(tmp_path / '1001_DFA_ANG_XX.wav')
  other = put(tmp_path / '1001_DFA_ANG_XX.flac')
  put(tmp_path / '1001_DFA_ANG_XX.mp3')
  (clip,), quarantined = crema_d.scan(tmp_path)
  assert clip.audios == (str(sound),)
  reason = f'another rendering of this clip is used: {sound}'
  assert quarantined == [(str(other), reason, ())]


def test_mp3s_are_never_used(tmp_path):
  mp3 = put(tmp_path / 'AudioMP3' / '1001_DFA_ANG_XX.mp3')
  put(tmp_path / 'AudioMP3' / '1002_DFA_ANG_XX.mp3', STUB)
  put(tmp_path / 'AudioWAV' / '1002_DFA_ANG_XX.wav')
  clips, quarantined = crema_d.scan(tmp_path)
  assert [c.clip_id for c in clips] == ['1002_DFA_ANG_XX']
  assert [q.path for q in quarantined] == [str(mp3)]


def test_stubs_of_films_leave_the_sound(tmp_path):
  stub = put(tmp_path / 'VideoFlash' / '1001_DFA_ANG_XX.flv', STUB)
  sound = put(tmp_path / 'AudioWAV' / '1001_DFA_ANG_XX.wav')
  (clip,), quarantined = crema_d.scan(tmp_path)
  assert clip.videos == () and clip.audios == (str(sound),)
  assert [q.path for q in quarantined] == [str(stub)]


def test_old_and_new_name_are_one_clip(tmp_path):
  put(tmp_path / 'old' / '1040_ITH_SAD_X.wav')
  put(tmp_path / 'new' / '1040_ITH_SAD_XX.wav')
  put(tmp_path / 'old' / '1040_ITH_SAD_X.flv')
  clips, quarantined = crema_d.scan(tmp_path)
  assert [c.clip_id for c in clips] == ['1040_ITH_SAD_XX']
  assert clips[0].audio_path.endswith('1040_ITH_SAD_XX.wav')
  assert clips[0].video_path.endswith('1040_ITH_SAD_X.flv')
  assert quarantined == []


def test_clips_come_in_the_order_of_their_ids(tmp_path):
  for number, name in enumerate(reversed(crema_d.all_names()[:200])):
    put(tmp_path / str(number % 7) / f'{name}.wav')
  clips, _ = crema_d.scan(tmp_path)
  assert [c.clip_id for c in clips] == crema_d.all_names()[:200]


# ---------------------------------------------------------------- the tables

WORDS = ('Anger', 'Disgust', 'Fear', 'Happy', 'Neutral', 'Sad')
VOTES_HEADER = '"","A","D","F","H","N","S","fileName","numResponses",' + (
  ','.join(f'"mean{word}Resp"' for word in WORDS)
)


def write_tables(root):
  put(
    root / 'VideoDemographics.csv',
    b'"ActorID","Age","Sex","Race","Ethnicity"\n'
    b'1001,51,"Male","African American","Not Hispanic"\n',
  )
  put(
    root / 'processedResults' / 'summaryTable.csv',
    b'"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel",'
    b'"MultiModalVote","MultiModalLevel"\n'
    b'"9","1001_IEO_ANG_MD","A:D","37.2:58.6","A","45.5","N:S:F","1:2:3"\n',
  )
  rows = (
    '"100009",5,3,0,0,2,0,"1001_IEO_ANG_MD",10,37.2,58.6,-1,-1,40,-1',
    '"200009",9,0,0,1,0,0,"1001_IEO_ANG_MD",10,60,-1,-1,20,-1,-1',
    '"300009",4,1,1,1,2,1,"1001_IEO_ANG_MD",10,1,2,3,4,5,6',
  )
  text = '\n'.join((VOTES_HEADER, *rows)) + '\n'
  put(root / 'processedResults' / 'tabulatedVotes.csv', text.encode())


def scan_one(root):
  put(root / 'AudioWAV' / '1001_IEO_ANG_MD.wav')
  (clip,), quarantined = crema_d.scan(root)
  return clip, quarantined


def test_labels_come_from_the_tables(tmp_path):
  write_tables(tmp_path)
  clip, quarantined = scan_one(tmp_path)
  assert quarantined == []
  extra = clip.extra
  assert set(extra) == set(crema_d.EXTRA)
  assert (extra['age'], extra['sex']) == (51, 'male')
  assert (extra['race'], extra['ethnicity']) == (
    'African American',
    'Not Hispanic',
  )
  assert extra['votes_voice'] == [5, 3, 0, 0, 2, 0]
  assert extra['votes_face'] == [9, 0, 0, 1, 0, 0]
  assert extra['votes_both'] == [4, 1, 1, 1, 2, 1]
  assert extra['levels_voice'][:2] == [37.2, 58.6]
  # -1 says that nobody chose the emotion.
  assert [math.isnan(x) for x in extra['levels_voice']] == [
    False,
    False,
    True,
    True,
    False,
    True,
  ]
  assert extra['winner_voice'] == 'anger:disgust'
  assert extra['winner_face'] == 'anger'
  assert extra['winner_both'] == 'neutral:sadness:fear'


def test_without_tables_the_labels_are_unknown(tmp_path):
  clip, quarantined = scan_one(tmp_path)
  assert quarantined == []
  assert set(clip.extra) == set(crema_d.EXTRA)
  assert (clip.extra['age'], clip.extra['sex']) == (-1, '')
  assert clip.extra['votes_both'] == [0] * 6
  assert all(math.isnan(x) for x in clip.extra['levels_both'])
  assert clip.extra['winner_both'] == ''


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'"ActorID","Sex"\n1001,"Male"\n', "no column 'Age'"),
    (b'"ActorID","Age","Sex","Race","Ethnicity"\n1001,51\n', 'line 2'),
    (b'"ActorID","Age","Sex","Race","Ethnicity"\n1,x,"M","",""\n', "'x'"),
    (b'\xff\xfe\x00\x01', 'unreadable'),
    (STUB, 'git-LFS'),
    (b'', 'empty'),
  ],
)
def test_a_damaged_table_does_not_stop_the_scan(tmp_path, content, reason):
  write_tables(tmp_path)
  table = put(tmp_path / 'VideoDemographics.csv', content)
  clip, quarantined = scan_one(tmp_path)
  assert [q.path for q in quarantined] == [str(table)]
  assert reason in quarantined[0].reason
  assert clip.extra['age'] == -1
  assert clip.extra['votes_voice'] == [5, 3, 0, 0, 2, 0]


def test_a_vote_of_no_known_modality_is_refused(tmp_path):
  row = '"400009",5,3,0,0,2,0,"1001_IEO_ANG_MD",10,1,1,1,1,1,1'
  path = put(tmp_path / 'v.csv', f'{VOTES_HEADER}\n{row}\n'.encode())
  with pytest.raises(ValueError, match='400009'):
    crema_d.read_votes(path)


RESPONSES = (
  '"","localid","ttr","queryType","clipNum","clipName","respEmo","respLevel"',
  '"1","A",2000,1,9,"1001_IEO_ANG_MD","A",40',
  '"2","B",2000,1,9,"1001_IEO_ANG_MD","A",60',
  '"3","C",2000,1,9,"1001_IEO_ANG_MD","H",10',
  '"4","D",10001,1,9,"1001_IEO_ANG_MD","S",10',
  '"5","D",2000,2,7443,"1001_IEO_ANG_MD","S",10',
  '"6","D",2000,3,9,"1001_IEO_ANG_MD","Neutral",30',
)


def test_responses_stand_in_for_votes_that_nobody_counted(tmp_path):
  text = '\n'.join(RESPONSES).encode()
  put(tmp_path / 'finishedResponses.csv', text)
  clip, quarantined = scan_one(tmp_path)
  assert quarantined == []
  assert clip.extra['votes_voice'] == [2, 0, 0, 1, 0, 0]
  assert clip.extra['levels_voice'][0] == 50
  assert clip.extra['votes_face'] == [0] * 6
  assert clip.extra['votes_both'] == [0, 0, 0, 0, 1, 0]
  assert math.isnan(clip.extra['levels_both'][0])
  # Where votes are counted, what they are made of is not read.
  write_tables(tmp_path)
  put(tmp_path / 'finishedResponses.csv', b'damaged')
  clip, quarantined = scan_one(tmp_path)
  assert quarantined == []
  assert clip.extra['votes_voice'] == [5, 3, 0, 0, 2, 0]


def test_responses_of_no_known_emotion_are_refused(tmp_path):
  text = '\n'.join(RESPONSES).replace('"H"', '"X"').encode()
  table = put(tmp_path / 'finishedResponses.csv', text)
  clip, ((path, reason, _),) = scan_one(tmp_path)
  assert path == str(table) and "line 4: response 'X'" in reason
  assert clip.extra['votes_voice'] == [0] * 6


# ------------------------------------------------------------- the real data


def test_real_names_are_those_of_the_rule():
  folder = find_real_data()
  rows = crema_d.read_rows(folder / 'SentenceFilenames.csv', ('Filename',))
  assert sorted(row['Filename'] for row in rows) == crema_d.all_names()


def test_real_tables_parse_whole():
  folder = find_real_data()
  people = crema_d.read_demographics(folder / 'VideoDemographics.csv')
  assert sorted(people) == [str(x) for x in range(1001, 1092)]
  assert collections.Counter(p['sex'] for p in people.values()) == {
    'male': 48,
    'female': 43,
  }
  ages = [p['age'] for p in people.values()]
  assert (min(ages), max(ages)) == (20, 74)
  names = set(crema_d.all_names())
  votes = crema_d.read_votes(folder / 'processedResults' / 'tabulatedVotes.csv')
  assert set(votes) == names
  for clip, modalities in votes.items():
    assert set(modalities) == {'voice', 'face', 'both'}, clip
    for counts, levels in modalities.values():
      # A level is missing exactly where nobody voted.
      assert [n == 0 for n in counts] == [math.isnan(x) for x in levels], clip
      assert 4 <= sum(counts) <= 12, clip
  summary = crema_d.read_summary(
    folder / 'processedResults' / 'summaryTable.csv'
  )
  assert set(summary) == names
  ties = [c for c, winners in summary.items() if len(winners['both']) > 1]
  assert len(ties) == 420
  right = [
    clip
    for clip, winners in summary.items()
    if winners['both'] == (crema_d.parse_name(clip).emotion,)
  ]
  # 72.2 % of the corpus, as the corpus's readers have found.
  assert len(right) == 5374
