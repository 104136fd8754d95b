"""From files on disk to results on disk, with a model of random weights."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import time
import types

import films
import numpy as np
import pytest

from avemo import errors, locks
from avemo.data import labels
from avemo.media import decode, encode
from avemo.predict import files as files_lib
from avemo.predict import predictor, states

EVERY = 0.5
COLUMNS = (
  'time,track,x,y,w,h,face,sound,emotion,p_anger,p_happiness,p_neutral,'
  'valence,arousal'
).split(',')


def predict(loaded, files, out, **settings):
  """Predicts; returns the number that failed, and what was printed."""
  printed, failures = io.StringIO(), io.StringIO()
  with (
    contextlib.redirect_stdout(printed),
    contextlib.redirect_stderr(failures),
  ):
    failed = predictor.predict_with(
      loaded,
      files,
      out,
      predictor.Settings(every=EVERY, **settings),
      name='runs/tiny',
    )
  lines = failures.getvalue().replace('\r', '\n').splitlines()
  lines = [line for line in lines if line.startswith('avemo: ')]
  return types.SimpleNamespace(
    failed=failed, printed=printed.getvalue(), lines=lines, out=out
  )


def read_rows(path):
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
  """Files of all kinds, by what they are."""
  root = tmp_path_factory.mktemp('sources')
  one, other = films.simulate_corpus(root / 'raw')
  made = {'clip': one, 'both': films.join(one, other, root / 'both.mp4')}
  frames, speech = films.read(other)

  def write(kind, name, *args, **kwargs):
    made[kind] = root / name
    made[kind].parent.mkdir(exist_ok=True)
    encode.write_media(made[kind], *args, **kwargs)

  write('mute', 'mute.mp4', frames, fps=films.FPS)
  write('wall', 'a wall #1 – ünter.mp4', films.paint_wall(), speech=speech)
  write('nothing', 'nothing.mp4', films.paint_wall())
  write('sound', 'speech.mp3', None, speech=speech)
  write('a/x', 'a/x.wav', None, speech=speech)
  write('b/x', 'b/x.wav', None, speech=films.hum(1.2))
  write('silent', 'silent.wav', None, speech=np.zeros(16_000, np.float32))
  write('bytes', os.fsdecode(b'caf\xe9.wav'), None, speech=films.hum(0.8))
  made['text'] = root / 'text.mp4'
  made['text'].write_text('This is no film.\n')
  made['empty'] = root / 'empty.wav'
  made['empty'].write_bytes(b'')
  made['absent'] = root / 'absent.mp4'
  made['folder'] = root / 'a'
  return made


@pytest.fixture(scope='module')
def run(sources, tmp_path_factory):
  loaded = films.make_loaded(heads=('emotion', 'valence_arousal'))
  loaded.config['model'] = {
    'use': ('video', 'audio'),
    'fusion': {'kind': 'early'},
  }
  out = tmp_path_factory.mktemp('results') / 'deep' / 'out'
  return predict(loaded, list(sources.values()), out)


def test_each_file_has_its_results_and_nothing_else(run):
  films_made = ['1010_IWW_ANG_XX', 'both', 'mute', 'nothing']
  films_made.append('a wall #1 – ünter')
  sounds = ['speech', 'x', 'x-2', 'silent', 'caf\ufffd']
  wanted = {f'{stem}.mp4' for stem in films_made} | {
    f'{stem}{suffix}'
    for stem in films_made + sounds
    for suffix in ('.csv', '.json', '.html')
  }
  assert {path.name for path in run.out.iterdir()} == wanted
  assert len(run.printed.splitlines()) == len(films_made) + len(sounds)


def test_what_cannot_be_read_has_a_line_each(run, sources):
  kinds = ['text', 'empty', 'absent', 'folder']
  assert run.failed == len(run.lines) == len(kinds)
  for kind, line in zip(kinds, run.lines, strict=True):
    assert str(sources[kind]) in line and 'internal' not in line
    way_out = 'check its name' if kind == 'absent' else 'check that it plays'
    assert way_out in line
    assert ('plays' in line) == (kind != 'absent')
  assert 'is empty' in run.lines[1] and 'no such file' in run.lines[2]


def test_the_table_of_a_speaker(run, sources):
  rows = read_rows(run.out / '1010_IWW_ANG_XX.csv')
  assert list(rows[0]) == COLUMNS
  info = decode.probe(sources['clip'])
  assert len(rows) == np.ceil((info.duration - 0.1) / EVERY)
  for number, row in enumerate(rows):
    assert float(row['time']) == number * EVERY
    assert (row['track'], row['face'], row['sound']) == ('1', '1', 'own')
    x, y, w, h = (float(row[name]) for name in 'xywh')
    assert 0 < x < info.width / 2 < x + w < info.width
    assert 0 < y < info.height / 2 < y + h < info.height
    shares = {c: float(row[f'p_{c}']) for c in films.CLASSES}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert row['emotion'] == max(shares, key=shares.get)
    assert -1 < float(row['valence']) < 1


def test_json_says_the_same_and_more(run, sources):
  whole = json.loads((run.out / 'both.json').read_text(encoding='utf-8'))
  rows = read_rows(run.out / 'both.csv')
  assert len(whole['estimates']) == len(rows)
  for row, wanted in zip(whole['estimates'], rows, strict=True):
    assert {
      name: '' if value is None else str(value) for name, value in row.items()
    } == wanted
  assert whole['file'] == str(sources['both'])
  assert whole['duration'] == pytest.approx(
    decode.probe(sources['both']).duration, abs=0.05
  )
  assert whole['model'] == {
    'workdir': 'runs/tiny',
    'step': 7,
    'use': ['video', 'audio'],
    'classes': list(films.CLASSES),
  }
  assert whole['settings']['every'] == EVERY
  assert whole['settings']['window'] == films.OPTIONS.seconds


def test_two_people_share_the_sound_and_differ(run, sources):
  rows = read_rows(run.out / 'both.csv')
  width = decode.probe(sources['both']).width
  for left, right in zip(rows[::2], rows[1::2], strict=True):
    assert left['time'] == right['time']
    assert (left['track'], right['track']) == ('1', '2')
    assert left['sound'] == right['sound'] == 'shared'
    assert float(left['x']) < width / 2 < float(right['x'])
    assert left['p_anger'] != right['p_anger']
  told = json.loads((run.out / 'both.json').read_text())['states']
  assert any('share the sound' in state for state in told)


def test_nobody_is_said_so(run):
  for row in read_rows(run.out / 'a wall #1 – ünter.csv'):
    assert not any(row[name] for name in ('track', *'xywh'))
    assert (row['face'], row['sound']) == ('0', 'own')
    assert row['emotion'] and row['p_anger']
  text = (run.out / 'a wall #1 – ünter.json').read_text(encoding='utf-8')
  assert 'No face was found in any picture.' in json.loads(text)['states']


def test_without_face_and_sound_there_is_no_emotion(run):
  for stem in ('nothing', 'silent'):
    rows = read_rows(run.out / f'{stem}.csv')
    assert rows
    for row in rows:
      filled = {name for name, value in row.items() if value}
      assert filled == {'time', 'face', 'sound'}
      assert row['sound'] == 'none'
  told = json.loads((run.out / 'nothing.json').read_text())['states']
  assert {s for s in told if 'nothing to go by' in s}
  told = json.loads((run.out / 'silent.json').read_text())['states']
  assert any('silent throughout' in state for state in told)


def test_a_face_without_sound_is_read(run):
  rows = read_rows(run.out / 'mute.csv')
  assert all(row['sound'] == 'none' and row['emotion'] for row in rows)
  text = (run.out / 'mute.json').read_text()
  assert 'There is no sound that can be decoded.' in json.loads(text)['states']
  assert not decode.probe(run.out / 'mute.mp4').has_audio


def test_sound_alone_is_read(run):
  for stem in ('speech', 'x', 'x-2'):
    rows = read_rows(run.out / f'{stem}.csv')
    assert rows and all(r['face'] == '0' and r['emotion'] for r in rows)
  told = json.loads((run.out / 'speech.json').read_text())['states']
  assert any('no pictures' in state for state in told)
  assert any('to do without a face' in state for state in told)


@pytest.mark.parametrize(
  ('kind', 'augment', 'needs'),
  [
    ('early', {}, ('video', 'audio')),
    ('early', {'modality_dropout': {}}, ()),
    ('early', {'modality_dropout': {'video': 0.0, 'audio': 0.3}}, ('video',)),
    ('late', {}, ()),
  ],
)
def test_a_model_needs_what_it_never_missed(kind, augment, needs):
  model = {'use': ('video', 'audio'), 'fusion': {'kind': kind}}
  assert states.find_needs({'model': model, 'augment': augment}) == needs
  model['use'] = ('video',)
  assert states.find_needs({'model': model, 'augment': augment}) == ()
  assert states.find_needs({}) == ()


def test_a_film_within_one_window_is_said_to_be_one(run):
  rows = read_rows(run.out / 'caf\ufffd.csv')
  assert len(rows) == 2 and rows[0]['p_anger'] == rows[1]['p_anger']
  text = (run.out / 'caf\ufffd.json').read_text(encoding='utf-8')
  told = json.loads(text)['states']
  assert any('rest on the whole of it' in state for state in told)
  told = json.loads((run.out / 'both.json').read_text())['states']
  assert not any('rest on the whole of it' in state for state in told)


def test_one_stem_twice_is_two_results(run, sources):
  files = [
    json.loads((run.out / f'{stem}.json').read_text())['file']
    for stem in ('x', 'x-2')
  ]
  assert files == [str(sources['a/x']), str(sources['b/x'])]


def test_pages_open_their_own_film(run):
  page = (run.out / 'a wall #1 – ünter.html').read_text(encoding='utf-8')
  assert 'src="a%20wall%20%231%20%E2%80%93%20%C3%BCnter.mp4"' in page
  assert 'a wall #1 – ünter.mp4</h1>' in page
  assert 'data:image/png;base64,' in page and 'No face was found' in page
  assert '<video' not in (run.out / 'speech.html').read_text(encoding='utf-8')


def test_pictures_and_sound_keep_their_times(run, sources):
  for kind, stem in (
    ('clip', '1010_IWW_ANG_XX'),
    ('both', 'both'),
    ('wall', 'a wall #1 – ünter'),
  ):
    before = list(decode.read_frames(sources[kind]))
    after = list(decode.read_frames(run.out / f'{stem}.mp4'))
    np.testing.assert_allclose(
      [f.time for f in after], [f.time for f in before], atol=2e-3
    )
    assert find_delay(sources[kind], run.out / f'{stem}.mp4') < 0.02


def find_delay(before, after):
  """Seconds, with its sign lost, by which the sound was moved."""
  a, b = decode.read_audio(before), decode.read_audio(after)
  assert abs(len(a) - len(b)) < 0.1 * 16_000
  size = 1 << (len(a) + len(b)).bit_length()
  match = np.fft.irfft(np.fft.rfft(a, size).conj() * np.fft.rfft(b, size))
  shift = int(match.argmax())
  energy = np.linalg.norm(a) * np.linalg.norm(b)
  assert match[shift] > 0.9 * energy
  return min(shift, size - shift) / 16_000


def test_boxes_and_bars_are_drawn_where_the_face_is(run, sources):
  before = next(decode.read_frames(sources['clip'])).image.astype(int)
  after = next(decode.read_frames(run.out / '1010_IWW_ANG_XX.mp4')).image
  row = read_rows(run.out / '1010_IWW_ANG_XX.csv')[0]
  x, y, w, h = (round(float(row[name])) for name in 'xywh')
  changed = np.abs(after - before).sum(-1) > 60
  assert changed[y + h, x + 9 : x + w - 9].mean() > 0.9
  assert changed[y + 9 : y + h - 9, x].mean() > 0.9
  assert changed[y + 20 : y + h - 20, x + 20 : x + w - 20].mean() < 0.02


def test_sound_from_a_file_of_its_own(sources, tmp_path):
  loaded = films.make_loaded(use=('audio',))
  wav = sources['a/x']
  made = predict(
    loaded, [sources['mute']], tmp_path, audio=wav, smooth='mean:1'
  )
  assert not made.failed
  rows = read_rows(tmp_path / 'mute.csv')
  assert all(r['sound'] == 'own' and r['face'] == '1' for r in rows)
  assert not any(r['valence'] for r in rows)
  assert find_delay(wav, tmp_path / 'mute.mp4') < 0.02
  whole = json.loads((tmp_path / 'mute.json').read_text())
  assert whole['settings']['audio'] == str(wav)
  assert any(str(wav) in state for state in whole['states'])
  assert any('hears sound alone' in state for state in whole['states'])
  unmade = predict(loaded, [sources['mute']], tmp_path, audio=sources['text'])
  assert unmade.failed == 1 and str(sources['text']) in unmade.lines[0]


def test_a_model_without_emotions_gives_its_values(sources, tmp_path):
  heads = ('valence_arousal', 'action_units')
  loaded = films.make_loaded(use=('audio',), heads=heads)
  loaded = dataclasses.replace(loaded, untrained_units=('au_4', 'au_26'))
  made = predict(loaded, [sources['mute']], tmp_path, audio=sources['a/x'])
  assert not made.failed
  rows = read_rows(tmp_path / 'mute.csv')
  units = [name for name in rows[0] if name.startswith('au_')]
  assert units == list(labels.VALUES['action_units'])
  assert not [name for name in rows[0] if name.startswith('p_')]
  for row in rows:
    assert row['emotion'] == '' and -1 < float(row['valence']) < 1
    for name in units:
      # Of what was never trained nothing is said.
      untrained = name in loaded.untrained_units
      assert row[name] == '' if untrained else 0 < float(row[name]) < 1
  text = (tmp_path / 'mute.html').read_text()
  assert 'Valence and arousal' in text
  whole = json.loads((tmp_path / 'mute.json').read_text())
  assert not any('nothing to go by' in state for state in whole['states'])


# ------------------------------------------------------------------ options


def test_results_never_overwrite_what_is_read(sources, tmp_path):
  loaded = films.make_loaded(use=('audio',))
  film = sources['nothing']
  bytes_before = film.read_bytes()
  made = predict(loaded, [film], film.parent)
  assert made.failed == 1 and 'choose another --out' in made.lines[0]
  assert film.read_bytes() == bytes_before


@pytest.mark.parametrize(
  'files, settings, message',
  [
    (['a.mp4', 'b.mp4'], {'audio': 'c.wav'}, 'read them one by one'),
    (['a.mp4'], {'smooth': 'mode:1'}, 'none, mean:S or median:S'),
    (['a.mp4'], {'every': 0.0}, 'above 0'),
    (['a.mp4'], {'every': float('nan')}, 'above 0'),
  ],
)
def test_options_that_do_not_fit(files, settings, message):
  with pytest.raises(errors.AvemoError, match=message):
    predictor.check(files, predictor.Settings(**settings))


def test_a_bad_face_model_stops_before_the_first_file(sources, tmp_path):
  loaded = films.make_loaded(use=('audio',))
  with pytest.raises(errors.AvemoError, match='not a YuNet face detector'):
    predict(loaded, [sources['mute']], tmp_path, face_model=sources['text'])
  with pytest.raises(errors.AvemoError, match='not a folder'):
    predict(loaded, [sources['mute']], sources['text'])


def test_stems_differ_even_where_case_does_not_count():
  files = ['a/x.mp4', 'b/X.wav', 'x-2.avi', 'c/x.mp4', '.mp4']
  assert files_lib.choose_stems(files) == ['x', 'X-3', 'x-2', 'x-4', '.mp4']


def test_a_full_disk_is_one_line():
  error = OSError(28, 'No space left on device')
  assert files_lib.explain('a.mp4', error) == (
    'a.mp4: its results cannot be written (No space left on device); make '
    'room or choose another --out'
  )


def test_what_a_killed_process_left_goes_with_the_next(tmp_path):
  left, held, new = (tmp_path / f'.partial-{n}' for n in (1, 2, 3))
  for folder in (left, held, new):
    folder.mkdir()
    (folder / 'result.mp4').write_bytes(b'half')
  long_ago = time.time() - 2 * files_lib.SETTLED
  for folder in (left, held):
    os.utime(folder, (long_ago, long_ago))
  with locks.hold(held, 'held'):
    os.utime(held, (long_ago, long_ago))
    with files_lib.make_staging(tmp_path) as staging:
      assert staging.is_dir()
    assert {p.name for p in tmp_path.iterdir()} == {held.name, new.name}
