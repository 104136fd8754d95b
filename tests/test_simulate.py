"""Simulated corpora on disk: names, containers, tables, quirks."""

import csv
import hashlib
import os
import pathlib
import wave

import av
import numpy as np
import pytest

from avemo import errors, simulate
from avemo.simulate import (
  choice,
  corpus,
  crema_d,
  crema_d_quirks,
  cues,
  ravdess,
)

REAL = os.environ.get('AVEMO_REAL_DATA')
needs_real_data = pytest.mark.skipif(
  not REAL, reason='set AVEMO_REAL_DATA to the folder of real data'
)


def read_wav(path):
  with wave.open(str(path)) as file:
    assert file.getsampwidth() == 2
    samples = np.frombuffer(file.readframes(file.getnframes()), '<i2')
    return file.getframerate(), file.getnchannels(), samples


def describe(path):
  """Codec, size, rate and channels of each stream; frames of the picture."""
  with av.open(str(path)) as container:
    found = {}
    for stream in container.streams:
      context = stream.codec_context
      if stream.type == 'video':
        size = (context.width, context.height)
        found['video'] = (context.name, *size)
        found['fps'] = float(stream.average_rate)
      else:
        layout = context.layout.nb_channels
        found['audio'] = (context.name, context.sample_rate, layout)
    if 'video' in found:
      found['frames'] = sum(1 for _ in container.decode(video=0))
    return found


def read_rows(path):
  with open(path, encoding='utf-8', newline='') as file:
    return list(csv.DictReader(file))


def hash_tree(root):
  return {
    str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(root.rglob('*'))
    if path.is_file()
  }


@pytest.fixture(scope='module')
def crema_root(tmp_path_factory):
  return simulate.simulate(
    'crema_d',
    tmp_path_factory.mktemp('crema') / 'CREMA-D',
    speakers=1,
    clips_per_speaker=2,
    seed=4,
    quirks=True,
    progress=False,
  )


@pytest.fixture(scope='module')
def ravdess_root(tmp_path_factory):
  return simulate.simulate(
    'ravdess',
    tmp_path_factory.mktemp('ravdess') / 'RAVDESS',
    speakers=2,
    clips_per_speaker=4,
    seed=4,
    quirks=True,
    progress=False,
  )


def test_crema_d_names_follow_the_real_numbering():
  numbers = crema_d.stimulus_numbers()
  assert len(numbers) == 7442
  assert numbers['1001_IEO_NEU_XX'] == 1
  assert numbers['1091_WSI_DIS_XX'] == 7442
  count = {
    code: sum(f'_{code}_' in name for name in numbers)
    for code in crema_d.CODES.values()
  }
  assert count.pop('NEU') == 1087
  assert set(count.values()) == {1271}


@needs_real_data
def test_crema_d_names_and_headers_are_those_of_the_real_tables(crema_root):
  root = pathlib.Path(REAL, 'crema_d')
  rows = read_rows(root / 'SentenceFilenames.csv')
  real = {row['Filename']: int(row['Stimulus_Number']) for row in rows}
  assert crema_d.stimulus_numbers() == real
  for name in (
    'SentenceFilenames.csv',
    'VideoDemographics.csv',
    'processedResults/summaryTable.csv',
    'processedResults/tabulatedVotes.csv',
  ):
    header = (root / name).read_text().split('\n')[0]
    assert (crema_root / name).read_text().split('\n')[0] == header


@needs_real_data
def test_ravdess_names_are_the_real_ones():
  for actor in ('01', '16'):
    folder = pathlib.Path(REAL, 'ravdess', f'Actor_{actor}')
    real = {path.stem for path in folder.glob('*.wav')}
    assert {f'03-{name}' for name in ravdess.clip_names(actor)} == real


def test_ravdess_names_count_as_the_real_ones():
  names = [n for s in ravdess.SPEAKERS for n in ravdess.clip_names(s)]
  assert len(set(names)) == 1440
  neutral = [n for n in names if ravdess.describe(n)[1] == 'neutral']
  assert len(neutral) == 96


@pytest.mark.parametrize('room', [crema_d, ravdess])
def test_speakers_spread_over_the_folds(room):
  folds = room.FOLDS
  assert sorted(sum(folds, ())) == sorted(room.SPEAKERS)
  for count in range(1, len(room.SPEAKERS) + 1):
    chosen = choice.choose_speakers(folds, count, set())
    assert len(set(chosen)) == count
    shares = [len(set(fold) & set(chosen)) for fold in folds]
    assert sum(share > 0 for share in shares) == min(count, len(folds))
    assert shares[0] > 0
  twelve = choice.choose_speakers(folds, 12, set())
  assert sum(int(speaker) % 2 for speaker in twelve) in (5, 6, 7)


def test_speakers_of_another_simulation_are_left_out(tmp_path):
  first = corpus.plan('crema_d', speakers=40, clips_per_speaker=1)
  cues.save(first, tmp_path)
  avoid = choice.read_speakers('crema_d', tmp_path)
  second = corpus.plan('crema_d', speakers=40, clips_per_speaker=1, avoid=avoid)
  assert len(second.speakers) == 40
  assert not first.speakers.keys() & second.speakers.keys()
  with pytest.raises(
    errors.AvemoError, match='^51 speakers are left .* 1 to 51'
  ):
    corpus.plan('crema_d', speakers=52, avoid=avoid)
  with pytest.raises(errors.AvemoError, match='a simulated crema_d'):
    choice.read_speakers('ravdess', tmp_path)
  # As many as are left, where nobody says how many.
  few = corpus.CORPORA['crema_d'].SPEAKERS[:-3]
  assert len(corpus.plan('crema_d', avoid=few).speakers) == 3
  with pytest.raises(errors.AvemoError, match='^0 videos are left'):
    corpus.plan('mafw', avoid=corpus.CORPORA['mafw'].SPEAKERS)


@pytest.mark.parametrize('name', ['crema_d', 'aff_wild2'])
def test_quirks_bring_back_nobody_who_is_left_out(name):
  first = corpus.plan(name, quirks=True)
  with pytest.raises(errors.AvemoError, match='--quirks or --other-than'):
    corpus.plan(name, quirks=True, avoid=list(first.speakers))


def test_a_subset_of_clips_is_spread_over_the_emotions():
  plan = corpus.plan('ravdess', speakers=2, clips_per_speaker=16)
  for speaker in plan.speakers:
    emotions = [c.emotion for c in plan.clips if c.speaker == speaker]
    assert sorted(emotions) == sorted(2 * ravdess.EMOTIONS)
  whole = corpus.plan('crema_d', speakers=91)
  assert {c.clip_id for c in whole.clips} == set(crema_d.stimulus_numbers())


def test_crema_d_files_are_what_users_have(crema_root):
  plan = cues.load(crema_root)
  names = {clip.clip_id for clip in plan.clips}
  ordinary = sorted(names - set(crema_d_quirks.CLIPS))
  assert ordinary
  for name in ordinary:
    clip = next(c for c in plan.clips if c.clip_id == name)
    rate, channels, samples = read_wav(crema_root / f'AudioWAV/{name}.wav')
    assert (rate, channels) == (16_000, 1)
    assert len(samples) / 16_000 == pytest.approx(clip.seconds, abs=1e-3)
    found = describe(crema_root / f'VideoFlash/{name}.flv')
    assert found['video'] == ('flv', 480, 360)
    assert found['audio'][0].startswith('mp3')
    assert found['audio'][1:] == (44_100, 1)
    # FLV counts milliseconds, so its rate is a rounded one.
    assert found['fps'] == pytest.approx(29.97, abs=0.05)
    assert found['frames'] == round(clip.seconds * 29.97)


def test_crema_d_tables_agree_with_each_other(crema_root):
  plan = cues.load(crema_root)
  names = {clip.clip_id for clip in plan.clips}
  numbers = crema_d.stimulus_numbers()
  stimuli = read_rows(crema_root / 'SentenceFilenames.csv')
  assert {r['Filename']: int(r['Stimulus_Number']) for r in stimuli} == {
    name: numbers[name] for name in names
  }
  people = read_rows(crema_root / 'VideoDemographics.csv')
  assert {row['ActorID'] for row in people} == set(plan.speakers)
  summary = read_rows(crema_root / 'processedResults/summaryTable.csv')
  votes = read_rows(crema_root / 'processedResults/tabulatedVotes.csv')
  assert len(votes) == 3 * len(summary) == 3 * len(names)
  by_row = {row['']: row for row in votes}
  words = ('Anger', 'Disgust', 'Fear', 'Happy', 'Neutral', 'Sad')
  for line in summary:
    for digit, channel in enumerate(('Voice', 'Face', 'MultiModal'), start=1):
      row = by_row[f'{digit}{int(line[""]):05d}']
      assert row['fileName'] == line['FileName']
      count = np.array([int(row[letter]) for letter in 'ADFHNS'])
      assert count.sum() == int(row['numResponses'])
      won = [x for x, n in zip('ADFHNS', count, strict=True) if n == max(count)]
      assert row['emoVote'] == line[f'{channel}Vote'] == ':'.join(won)
      means = np.array([float(row[f'mean{word}Resp']) for word in words])
      np.testing.assert_array_equal(means == -1, count == 0)
      total = (means * count).sum() / count.sum()
      assert float(row['meanEmoResp']) == pytest.approx(total)
      levels = [float(x) for x in line[f'{channel}Level'].split(':')]
      expected = [means['ADFHNS'.index(letter)] for letter in won]
      assert levels == pytest.approx(expected, abs=0.051)


def test_raters_see_the_cue_of_their_channel():
  plan = corpus.plan('crema_d', speakers=8)
  from avemo.simulate import crema_d_tables

  hits = {0: [], 1: [], 2: []}
  for clip in plan.clips:
    for channel in hits:
      votes, _, _ = crema_d_tables._vote(clip, channel, 0)
      shown = 'ADFHNS'[np.argmax(votes)]
      truth = 'ADFHNS'[crema_d.EMOTIONS.index(clip.emotion)]
      hits[channel].append(shown == truth)
  rates = [np.mean(hits[channel]) for channel in range(3)]
  assert rates[2] > max(rates[0], rates[1]) + 0.05
  assert all(0.4 < rate < 0.95 for rate in rates)


def test_crema_d_quirks_are_on_the_files(crema_root):
  plan = cues.load(crema_root)
  assert set(plan.quirks) == set(crema_d_quirks.CLIPS)
  sound, picture = crema_root / 'AudioWAV', crema_root / 'VideoFlash'
  _, _, samples = read_wav(sound / '1076_MTI_SAD_XX.wav')
  assert len(samples) == round(2.57 * 16_000)
  assert not samples.any()
  found = describe(picture / '1076_MTI_NEU_XX.flv')
  assert 'audio' not in found
  assert found['frames'] < 15
  assert read_wav(sound / '1076_MTI_NEU_XX.wav')[2].any()
  assert 'audio' not in describe(picture / '1040_ITH_ANG_XX.flv')
  with av.open(str(picture / '1064_IEO_DIS_MD.flv')) as container:
    assert container.duration / 1e6 == pytest.approx(60, abs=0.5)
  content = (picture / '1064_TIE_SAD_XX.flv').read_bytes()
  start = content.index(b'duration\x00') + 9
  assert content[start : start + 8] == bytes(8)
  assert describe(picture / '1064_TIE_SAD_XX.flv')['frames'] > 30
  for first, second in crema_d_quirks.SAME_SOUND:
    first_sound = (sound / f'{first}.wav').read_bytes()
    assert first_sound == (sound / f'{second}.wav').read_bytes()
    first_film = (picture / f'{first}.flv').read_bytes()
    assert first_film != (picture / f'{second}.flv').read_bytes()
  assert (sound / '1040_ITH_SAD_X.wav').exists()
  assert not (sound / '1040_ITH_SAD_XX.wav').exists()
  assert (picture / '1040_ITH_SAD_XX.flv').exists()
  stubs = [sound / '1040_ITH_HAP_XX.wav', picture / '1040_ITH_HAP_XX.flv']
  for stub in stubs:
    assert stub.read_text().startswith('version https://git-lfs.github.com')
  by_id = {clip.clip_id: clip for clip in plan.clips}
  for first, second in crema_d_quirks.SAME_SOUND:
    assert by_id[first].voice == by_id[second].voice
  assert by_id['1076_MTI_SAD_XX'].voice == cues.MISSING


def test_ravdess_files_are_what_users_have(ravdess_root):
  plan = cues.load(ravdess_root)
  missing = {p for p, what in plan.quirks.items() if what == 'missing'}
  assert len(missing) == 7
  channels_seen = set()
  for clip in plan.clips:
    paths = ravdess.find_paths(clip.clip_id, 'release')
    for path in paths.values():
      assert (ravdess_root / path).exists() == (path not in missing), path
    if paths['03'] not in missing:
      rate, channels, samples = read_wav(ravdess_root / paths['03'])
      assert rate == 48_000
      assert channels == 1 + (plan.quirks.get(paths['03']) == 'stereo')
      assert len(samples) / channels / rate == pytest.approx(
        clip.seconds, abs=1e-3
      )
      channels_seen.add(channels)
    for code in {'01', '02'} - {c for c in paths if paths[c] in missing}:
      found = describe(ravdess_root / paths[code])
      assert found['video'] == ('h264', 640, 360)
      assert found['fps'] == pytest.approx(29.97, abs=0.01)
      assert found['frames'] == round(clip.seconds * 29.97)
      sound = ('aac', 48_000, 1) if code == '01' else None
      assert found.get('audio') == sound
  assert channels_seen == {1, 2}


def test_ravdess_quirks_are_on_the_files(ravdess_root):
  plan = cues.load(ravdess_root)
  for path, what in plan.quirks.items():
    assert (ravdess_root / path).exists() == (what != 'missing'), path
  outer = ravdess_root / 'Audio_Speech_Actors_01-24'
  inner = outer / 'audio_speech_actors_01-24'
  copies = {str(p.relative_to(inner)): p for p in inner.rglob('*.wav')}
  originals = {str(p.relative_to(outer)): p for p in outer.glob('Actor_*/*')}
  assert copies.keys() == originals.keys()
  for name, path in copies.items():
    assert path.read_bytes() == originals[name].read_bytes()
  assert len(list(ravdess_root.glob('Audio_Song_*/Actor_*/03-02-*.wav'))) == 2
  lost = [clip for clip in plan.clips if clip.face == cues.MISSING]
  assert len(lost) == 1
  paths = ravdess.find_paths(lost[0].clip_id, 'release')
  assert [c for c in paths if (ravdess_root / paths[c]).exists()] == ['03']


def test_three_files_of_a_recording_hold_the_same_performance(ravdess_root):
  plan = cues.load(ravdess_root)
  clip = next(
    clip
    for clip in plan.clips
    if not any(
      path in plan.quirks
      for path in ravdess.find_paths(clip.clip_id, 'release').values()
    )
  )
  paths = ravdess.find_paths(clip.clip_id, 'release')
  films = []
  for code in ('01', '02'):
    with av.open(str(ravdess_root / paths[code])) as container:
      films.append(
        [f.to_ndarray(format='rgb24') for f in container.decode(video=0)]
      )
  np.testing.assert_array_equal(films[0], films[1])
  _, _, samples = read_wav(ravdess_root / paths['03'])
  with av.open(str(ravdess_root / paths['01'])) as container:
    sound = [f.to_ndarray()[0] for f in container.decode(audio=0)]
  sound = np.concatenate(sound)[: len(samples)]
  loudness = [
    np.sqrt(np.mean(x[: len(sound) // 480 * 480].reshape(-1, 480) ** 2, 1))
    for x in (samples / 32768, sound)
  ]
  assert np.corrcoef(*loudness)[0, 1] > 0.9


def test_the_tree_of_audios_and_videos(tmp_path):
  root = simulate.simulate(
    'ravdess', tmp_path / 'out', speakers=1, clips_per_speaker=1,
    layout='user', progress=False,
  )  # fmt: skip
  files = sorted(str(p.relative_to(root)) for p in root.rglob('*.*'))
  assert pathlib.Path(files[0]).parent.name.startswith('Actor_')
  assert [name.split('/')[0] for name in files] == [
    'audios', 'simulation.json', 'videos', 'videos',
  ]  # fmt: skip


def test_same_seed_same_bytes_whatever_the_workers(tmp_path):
  def write(name, **options):
    root = simulate.simulate(
      'crema_d',
      tmp_path / name,
      speakers=2,
      clips_per_speaker=1,
      progress=False,
      **({'seed': 3} | options),
    )
    return hash_tree(root)

  alone, together = write('a'), write('b', workers=2)
  assert alone == together
  assert len(alone) == 9
  other = write('c', seed=9)
  media = [name for name in alone if name.startswith(('Audio', 'Video'))]
  assert not any(alone[name] == other.get(name) for name in media)


def test_nothing_is_left_of_a_broken_run(tmp_path, monkeypatch):
  def fail(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(corpus.crema_d, 'finish', fail)
  with pytest.raises(errors.AvemoError, match='No space left'):
    simulate.simulate(
      'crema_d', tmp_path / 'out', speakers=1, clips_per_speaker=1,
      progress=False,
    )  # fmt: skip
  assert not list(tmp_path.iterdir())


def test_a_used_folder_is_left_alone(tmp_path):
  (tmp_path / 'mine.txt').write_text('mine')
  with pytest.raises(errors.AvemoError, match='already exists'):
    simulate.simulate('crema_d', tmp_path, speakers=1, progress=False)
  assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']


@pytest.mark.parametrize(
  ('name', 'options', 'message'),
  [
    ('iemocap', {}, 'cannot simulate'),
    ('crema_d', {'speakers': 92}, '1 to 91'),
    ('crema_d', {'speakers': 0}, '1 to 91'),
    ('crema_d', {'layout': 'user'}, 'no layout'),
    ('ravdess', {'size': (100, 100)}, '640x360'),
    ('ravdess', {'voice_evidence': 1.5}, 'between 0 and 1'),
    ('ravdess', {'clips_per_speaker': 0}, 'at least one'),
    ('ravdess', {'seed': -1}, 'from 0'),
  ],
)
def test_bad_wishes_are_one_clear_line(tmp_path, name, options, message):
  with pytest.raises(errors.AvemoError, match=message):
    simulate.simulate(name, tmp_path / 'out', progress=False, **options)
  assert not (tmp_path / 'out').exists()
