"""RAVDESS: names, the three renderings of a recording, trees."""

import collections
import os
import pathlib

import pytest
from corpus_trees import STUB, put

from avemo.corpora import ravdess


def test_parses_a_name():
  name = ravdess.parse_name('03-01-05-02-02-01-18')
  assert name.clip_id == name.recording == '01-05-02-02-01-18'
  assert name.speaker == '18'
  assert (name.emotion, name.intensity) == ('anger', 'strong')
  assert name.extra == {
    'channel': 'speech',
    'statement': 'Dogs are sitting by the door',
    'repetition': 1,
    'sex': 'female',
    'classes': [1] * 8,
  }
  song = ravdess.parse_name('03-02-05-02-02-01-18').extra['classes']
  sung = dict(zip(ravdess.EMOTIONS, song, strict=True))
  assert [word for word in sung if not sung[word]] == ['disgust', 'surprise']


def test_emotions_are_in_the_order_of_their_codes():
  emotions = [
    ravdess.parse_name(f'01-01-{code:02d}-01-01-01-01').emotion
    for code in range(1, 9)
  ]
  assert tuple(emotions) == ravdess.EMOTIONS
  assert emotions == (
    'neutral calm happiness sadness anger fear disgust surprise'.split()
  )


def test_three_renderings_are_one_recording():
  stems = [f'0{r}-01-06-01-02-01-12' for r in (1, 2, 3)]
  ids = {ravdess.parse_name(stem).recording for stem in stems}
  assert ids == {'01-06-01-02-01-12'}
  # Lists of clips may give the recording itself.
  assert ravdess.parse_name('01-06-01-02-01-12').recording in ids


@pytest.mark.parametrize(
  'stem',
  [
    '04-01-05-01-02-01-18',
    '03-03-05-01-02-01-18',
    '03-01-09-01-02-01-18',
    '03-01-01-02-02-01-18',  # Nothing neutral was acted strongly.
    '03-02-07-01-01-01-01',  # Disgust was not sung.
    '03-01-05-01-02-01-25',
    '03-01-05-01-02-01-00',
    '03-01-05-01-02-03-18',
    '03-01-05-01-02-01',
    '1001_DFA_ANG_XX',
    '',
  ],
)
def test_other_file_names_are_none(stem):
  assert ravdess.parse_file_name(stem) is None


def test_counts_of_the_full_corpus():
  speech = [ravdess.parse_name(n) for n in ravdess.all_names()]
  assert len(speech) == 1440
  emotions = collections.Counter(n.emotion for n in speech)
  assert emotions.pop('neutral') == 96
  assert set(emotions.values()) == {192} and len(emotions) == 7
  speakers = collections.Counter(n.speaker for n in speech)
  assert len(speakers) == 24 and set(speakers.values()) == {60}
  song = [ravdess.parse_name(n) for n in ravdess.all_names('song')]
  assert len(song) == 1012
  emotions = collections.Counter(n.emotion for n in song)
  assert emotions.pop('neutral') == 92
  assert set(emotions.values()) == {184} and len(emotions) == 5
  speakers = collections.Counter(n.speaker for n in song)
  assert '18' not in speakers and set(speakers.values()) == {44}


def test_every_recording_has_three_files_and_two_of_them_show_it():
  recordings = ravdess.all_names() + ravdess.all_names('song')
  stems = [f'0{r}-{name}' for r in (1, 2, 3) for name in recordings]
  names = [ravdess.parse_file_name(stem) for stem in stems]
  # What is published: 7,356 files, of which 2,452 are silent films.
  assert None not in names and len(names) == 7356
  assert {n.recording for n in names} == set(recordings)
  assert sum(stem.startswith('02-') for stem in stems) == 2452


# ------------------------------------------------------------------ the tree


def test_picture_from_01_sound_from_03(tmp_path):
  videos = tmp_path / 'Video_Speech_Actor_01' / 'Actor_01'
  both = put(videos / '01-01-03-01-01-01-01.mp4')
  mute = put(videos / '02-01-03-01-01-01-01.mp4')
  sounds = tmp_path / 'Audio_Speech_Actors_01-24' / 'Actor_01'
  sound = put(sounds / '03-01-03-01-01-01-01.wav')
  (clip,), quarantined = ravdess.scan(tmp_path)
  assert clip.clip_id == '01-03-01-01-01-01'
  assert clip.videos == (str(both), str(mute))
  assert clip.audios == (str(sound), str(both))
  assert quarantined == []


def test_without_03_the_sound_is_that_of_01(tmp_path):
  both = put(tmp_path / '01-01-03-01-01-01-01.mp4')
  (clip,), _ = ravdess.scan(tmp_path)
  assert (clip.video_path, clip.audio_path) == (str(both), str(both))


def test_a_copy_with_sound_alone(tmp_path):
  sound = put(tmp_path / 'Actor_01' / '03-01-03-01-01-01-01.wav')
  (clip,), _ = ravdess.scan(tmp_path)
  assert (clip.video_path, clip.audio_path) == (None, str(sound))


def test_a_copy_with_pictures_alone(tmp_path):
  mute = put(tmp_path / 'Actor_01' / '02-01-03-01-01-01-01.mp4')
  (clip,), _ = ravdess.scan(tmp_path)
  assert (clip.video_path, clip.audio_path) == (str(mute), None)


def test_films_of_other_kinds_are_read_after_the_published_ones(tmp_path):
  names = ('01-{}.mp4', '01-{}.mkv', '02-{}.mp4', '02-{}.avi')
  films = [
    str(put(tmp_path / name.format('01-03-01-01-01-01'))) for name in names
  ]
  (clip,), quarantined = ravdess.scan(tmp_path)
  assert clip.videos == tuple(films)
  assert clip.audios == tuple(films[:2])
  assert quarantined == []


def test_other_renderings_beside_usable_ones_are_accounted_for(tmp_path):
  sound = put(tmp_path / '03-01-03-01-01-01-01.wav')
  others = [
    str(put(tmp_path / name))
    for name in (
      '02-01-03-01-01-01-01.wav',
      '03-01-03-01-01-01-01.flac',
      '03-01-03-01-01-01-01.mp4',
    )
  ]
  (clip,), quarantined = ravdess.scan(tmp_path)
  assert (clip.videos, clip.audios) == ((), (str(sound),))
  reason = f'another rendering of this clip is used: {sound}'
  assert quarantined == [(path, reason, ()) for path in others]


def test_the_tree_of_audios_and_videos(tmp_path):
  sound = put(tmp_path / 'Audios' / 'Actor_01' / '03-01-03-01-01-01-01.WAV')
  mute = put(tmp_path / 'videos' / 'actor_01' / '02-01-03-01-01-01-01.MP4')
  (clip,), _ = ravdess.scan(tmp_path)
  assert (clip.video_path, clip.audio_path) == (str(mute), str(sound))


def test_the_nested_copy_counts_once(tmp_path):
  names = [f'03-{name}.wav' for name in ravdess.all_names()[:50]]
  for name in names:
    actor = f'Actor_{name[18:20]}'
    put(tmp_path / actor / name)
    put(tmp_path / 'audio_speech_actors_01-24' / actor / name)
  clips, quarantined = ravdess.scan(tmp_path)
  assert [c.clip_id for c in clips] == ravdess.all_names()[:50]
  assert quarantined == []
  assert not any('audio_speech' in c.audio_path for c in clips)


def test_the_archive_alone_is_no_copy(tmp_path):
  root = tmp_path / 'audio_speech_actors_01-24'
  put(root / 'Actor_01' / '03-01-03-01-01-01-01.wav')
  assert len(ravdess.scan(tmp_path)[0]) == 1


def test_the_name_decides_not_the_folder(tmp_path):
  put(tmp_path / 'Actor_07' / '03-01-03-01-01-01-01.wav')
  (clip,), _ = ravdess.scan(tmp_path)
  assert clip.speaker == '01'


def test_speech_and_song_stay_apart(tmp_path):
  put(tmp_path / '03-01-03-01-01-01-01.wav')
  put(tmp_path / '03-02-03-01-01-01-01.wav')
  clips, _ = ravdess.scan(tmp_path)
  assert [c.extra['channel'] for c in clips] == ['speech', 'song']
  assert len({c.recording for c in clips}) == 2


def test_what_cannot_be_used_is_accounted_for(tmp_path):
  stub = put(tmp_path / '01-01-03-01-01-01-01.mp4', STUB)
  sound = put(tmp_path / '03-01-03-01-01-01-01.wav')
  odd = put(tmp_path / '02-01-04-01-01-01-01.wav')
  short = put(tmp_path / '01-03-01-01-01-01.wav')
  (clip,), quarantined = ravdess.scan(tmp_path)
  assert (clip.videos, clip.audios) == ((), (str(sound),))
  assert {q.path for q in quarantined} == set(map(str, (stub, odd, short)))


# ------------------------------------------------------------- the real data


def test_real_files_are_those_of_the_rule():
  folder = os.environ.get('AVEMO_REAL_DATA')
  if not folder:
    pytest.skip('AVEMO_REAL_DATA does not name the folder of real data')
  clips, quarantined = ravdess.scan(pathlib.Path(folder) / 'ravdess')
  assert quarantined == []
  expected = [n for n in ravdess.all_names() if int(n[-2:]) <= 16]
  assert [c.clip_id for c in clips] == expected and len(expected) == 960
  assert all(c.video_path is None for c in clips)
  originals = pathlib.Path(folder) / 'ravdess_48k_originals'
  clips, quarantined = ravdess.scan(originals)
  assert len(clips) == 5 and quarantined == []
