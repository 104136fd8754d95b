"""MSP-IMPROV: names, ratings, and the turns that are left out."""

import collections
import math
import os
import pathlib

import pytest
from corpus_trees import STUB, put

from avemo.corpora import msp_improv
from avemo.data import schema

TURN = 'MSP-IMPROV-S01A-F01-S-FM01'
HEAD = 'UTD-IMPROV-S01A-F01-S-FM01.avi; N; A:4.8; V:3.5; D:2.0 ; N:3.6;'


def test_parses_a_name():
  name = msp_improv.parse_name('MSP-IMPROV-S10N-M02-S-MF03')
  assert name.clip_id == name.recording == 'MSP-IMPROV-S10N-M02-S-MF03'
  assert name.speaker == 'M02'
  # The letter of the scene is what it aims at, and no label.
  assert name.emotion == ''
  assert name.extra == {
    'session': 2,
    'sentence': 10,
    'target': 'neutral',
    'condition': 'improvised',
    'scene': 'MF',
    'turn': 3,
  }


def test_the_speaker_is_not_whose_scene_it_is():
  for scene in ('FM', 'MF'):
    name = msp_improv.parse_name(f'MSP-IMPROV-S08A-F05-S-{scene}02')
    assert (name.speaker, name.extra['scene']) == ('F05', scene)


def test_both_prefixes_are_one_turn():
  film = msp_improv.parse_name('UTD-IMPROV-S01A-F01-S-FM01.avi')
  assert film == msp_improv.parse_name('msp-improv-s01a-f01-s-fm01')
  assert film.clip_id == TURN


@pytest.mark.parametrize(
  'stem',
  [
    'MSP-IMPROV-S21A-F01-S-FM01',
    'MSP-IMPROV-S00A-F01-S-FM01',
    'MSP-IMPROV-S01X-F01-S-FM01',
    'MSP-IMPROV-S01A-F07-S-FM01',
    'MSP-IMPROV-S01A-F01-Q-FM01',
    'MSP-IMPROV-S01A-F01-S-FX01',
    'MSP-IMPROV-S01A-F01-S-FM1',
    'MSP-PODCAST_0001_0001',
    '',
  ],
)
def test_other_names_are_none(stem):
  assert msp_improv.parse_name(stem) is None


# ------------------------------------------------------------------ the tree


@pytest.mark.parametrize(
  ('sound', 'film'),
  [
    ('session1/S01A/S', 'session1/S01A/S'),
    ('Audio/session1/S01A/S', 'Video/session1/S01A/S'),
  ],
)
def test_sound_from_the_wav_picture_from_the_film(tmp_path, sound, film):
  sound = str(put(tmp_path / sound / f'{TURN}.wav'))
  film = str(put(tmp_path / film / f'{TURN}.avi'))
  put(tmp_path / 'Evalution.txt', HEAD.encode())
  (clip,), quarantined = msp_improv.scan(tmp_path)
  assert clip.videos == (film,) and clip.audios == (sound, film)
  assert clip.needs_both and quarantined == []
  assert set(clip.extra) == set(msp_improv.EXTRA)


def test_a_copy_of_one_kind_is_used_as_it_is(tmp_path):
  put(tmp_path / 'a' / f'{TURN}.wav')
  put(tmp_path / 'b' / f'{TURN.replace("MSP-", "UTD-")}.avi')
  for folder in ('a', 'b'):
    (clip,), _ = msp_improv.scan(tmp_path / folder)
    assert clip.clip_id == TURN and not clip.needs_both
  (clip,), _ = msp_improv.scan(tmp_path)
  assert clip.needs_both


def test_without_the_label_file_no_turn_has_a_label_and_that_is_said(tmp_path):
  put(tmp_path / f'{TURN}.wav')
  (clip,), ((path, reason, _),) = msp_improv.scan(tmp_path)
  assert path == str(tmp_path) and 'Evalution.txt or Evaluation.txt' in reason
  assert (clip.emotion, clip.extra['consensus']) == ('', '')
  assert math.isnan(clip.arousal) and math.isnan(clip.extra['dominance'])


@pytest.mark.parametrize(
  ('content', 'reason'), [(STUB, 'git-LFS'), (b'', 'empty')]
)
def test_a_label_file_that_is_none(tmp_path, content, reason):
  put(tmp_path / f'{TURN}.wav')
  put(tmp_path / 'Evaluation.txt', content)
  (clip,), ((path, told, _),) = msp_improv.scan(tmp_path)
  assert path.endswith('Evaluation.txt') and reason in told
  assert clip.emotion == ''


# ---------------------------------------------------------------- the ratings


def read(tmp_path, *lines):
  path = put(tmp_path / 'Evalution.txt', '\n'.join(lines).encode('latin-1'))
  return msp_improv.read_evaluation(path)


@pytest.mark.parametrize('spelling', ['Evalution.txt', 'evaluation.TXT'])
def test_activation_is_stored_inverted(tmp_path, spelling):
  put(tmp_path / 'labels' / spelling, b'\xef\xbb\xbf' + HEAD.encode())
  put(tmp_path / f'{TURN}.wav')
  (clip,), quarantined = msp_improv.scan(tmp_path)
  assert quarantined == []
  assert clip.emotion == clip.extra['consensus'] == 'neutral'
  # 4.8 of 5 is nearly asleep.
  assert clip.arousal == pytest.approx(-0.9)
  assert clip.valence == pytest.approx(0.25)
  assert clip.extra['dominance'] == pytest.approx(-0.5)
  assert clip.extra['raw_activation'] == 4.8
  assert clip.extra['raw_naturalness'] == 3.6


def test_raters_become_votes_and_each_counts_once(tmp_path):
  ratings, faults = read(
    tmp_path,
    HEAD,
    'w-1_a; Neutral; Neutral,Happy; A:5.0; V:3.0; D:1.0; N:4.0;',
    'w-1_a; Neutral; Neutral,Happy; A:5.0; V:3.0; D:1.0; N:4.0;',
    'w2; Happy; Happy,Excit\xe9; A:4.0; V:4.0; D:NaN; N:NaN;',
    'w3; Neutral; ; A:3; V:4;',
    'w4; Other; Concerned; A:3.0; V:2.0; D:3.0; N:3.0;',
    'w5; Sad; Sad; A:3.0; V:2.0; D:3.0 ; N:3.0;',
  )
  assert faults == []
  values = msp_improv.describe_rating(ratings[TURN])
  assert values['num_raters'] == 5
  # In the order of anger, happiness, neutral, sadness.
  assert values['votes'] == [0, 1, 2, 1] and values['votes_other'] == 1
  assert values['votes_secondary'] == [0, 2, 1, 1]
  assert values['spread_activation'] == pytest.approx(0.8)
  assert values['spread_dominance'] == pytest.approx(math.sqrt(8 / 9))
  for name, value in values.items():
    kind = msp_improv.EXTRA[name]
    assert isinstance(value, (list if isinstance(kind, tuple) else kind))
    assert type(schema.unknown(kind)) is type(value)


def test_what_is_no_emotion_of_four_is_no_label(tmp_path):
  names = [f'{TURN[:-2]}{n:02d}' for n in range(1, 7)]
  ratings, faults = read(
    tmp_path,
    *(
      line
      for name, code in zip(names, 'AHSNOX', strict=True)
      for line in (f'{name}.avi; {code}; A:3; V:NaN; D:NaN ;', '')
    ),
  )
  assert faults == []
  words = ['anger', 'happiness', 'sadness', 'neutral', 'other', 'no agreement']
  assert [ratings[name].consensus for name in names] == words
  for name in names:
    put(tmp_path / f'{name}.wav')
  clips, _ = msp_improv.scan(tmp_path)
  assert [c.emotion for c in clips] == [*words[:4], '', '']
  assert [c.extra['consensus'] for c in clips] == words
  assert all(math.isnan(c.valence) and c.arousal == 0 for c in clips)


@pytest.mark.parametrize(
  ('line', 'fault'),
  [
    (HEAD.replace('; N;', '; Q;'), "'Q' is none of"),
    (HEAD.replace('S01A', 'S31A'), 'is no turn'),
    (HEAD.replace('4.8', '9.8'), 'not within 1 and 5'),
    (HEAD.replace('A:4.8', 'A:high'), "'A:high' is no rating"),
    ('w1; Happy; Happy; A:3.0; V:3.0;', 'belongs to no turn'),
  ],
)
def test_lines_that_cannot_be_read_are_told_and_the_rest_is_read(
  tmp_path, line, fault
):
  good = HEAD.replace('FM01', 'FM02')
  ratings, faults = read(tmp_path, line, '', good)
  assert list(ratings) == [TURN.replace('FM01', 'FM02')]
  assert len(faults) == 1
  assert faults[0].startswith('line 1 is passed over') and fault in faults[0]


@pytest.mark.parametrize(
  ('line', 'fault'),
  [
    (HEAD, 'stands twice'),
    ('w1; Bored; Bored; A:3.0; V:3.0; D:3.0; N:3.0;', "'Bored' is no emotion"),
    ('nobody knows', 'neither a turn nor a rating'),
  ],
)
def test_a_rating_keeps_what_could_be_read(tmp_path, line, fault):
  ratings, faults = read(tmp_path, HEAD, line)
  assert ratings[TURN].consensus == 'neutral' and not ratings[TURN].raters
  assert len(faults) == 1 and fault in faults[0] and 'line 2' in faults[0]


# ------------------------------------------------------------- the real data


def test_real_names_parse_whole():
  folder = os.environ.get('AVEMO_REAL_DATA')
  if not folder:
    pytest.skip('AVEMO_REAL_DATA does not name the folder of real data')
  path = pathlib.Path(folder) / 'names/msp_improv_stems.txt'
  stems = path.read_text().split()
  names = [msp_improv.parse_name(stem) for stem in stems]
  assert None not in names
  assert [n.clip_id for n in names] == stems and len(set(stems)) == 7787
  speakers = collections.Counter(n.speaker for n in names)
  assert len(speakers) == 12
  sessions = collections.Counter(n.extra['session'] for n in names)
  assert [sessions[n] for n in range(1, 7)] == [
    916, 1328, 1622, 1044, 1407, 1470,
  ]  # fmt: skip
  conditions = collections.Counter(n.extra['condition'] for n in names)
  assert conditions == {
    'natural': 2632,
    'improvised': 3937,
    'target improvised': 640,
    'target read': 578,
  }
