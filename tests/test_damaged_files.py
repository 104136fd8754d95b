"""Damaged media through preparation and prediction: each is accounted for."""

import contextlib
import io
import json
import pathlib
import shutil

import films
import numpy as np
import pytest
from pyarrow import parquet

from avemo.media import encode
from avemo.predict import predictor
from datasets_tfds import prepare

SENTENCES = ('IEO', 'TIE', 'IOM', 'IWW', 'TAI', 'MTI', 'IWL', 'ITH', 'DFA')
EMOTIONS = ('ANG', 'DIS', 'FEA', 'HAP', 'SAD')


def truncate(rng, data):
  return data[: rng.integers(1, len(data))]


def flip_bytes(rng, data):
  changed = np.frombuffer(data, np.uint8).copy()
  count = int(np.exp(rng.uniform(0, np.log(len(data) // 4))))
  changed[rng.integers(0, len(data), count)] = rng.integers(0, 256, count)
  return changed.tobytes()


def flip_header(rng, data):
  changed = np.frombuffer(data, np.uint8).copy()
  changed[rng.integers(0, 512, 8)] = rng.integers(0, 256, 8)
  return changed.tobytes()


def cut_out(rng, data):
  start, end = sorted(rng.integers(0, len(data), 2))
  return data[:start] + data[end:]


def empty(rng, data):
  return b''


def text(rng, data):
  return b'version https://git-lfs.github.com/spec/v1\n'


DAMAGES = (truncate, flip_bytes, flip_header, cut_out, empty, text)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Bytes of a film, of its sound, and of odd but valid files."""
  root = tmp_path_factory.mktemp('whole')
  film, _ = films.simulate_corpus(root / 'raw')
  frames, speech = films.read(film)
  encode.write_media(
    root / 'one.mp4', frames[:1], fps=films.FPS, speech=speech[:640]
  )
  encode.write_media(root / 'mute.mp4', frames, fps=films.FPS)
  silent = np.zeros(16_000, np.float32)
  encode.write_media(root / 'silent.wav', None, speech=silent)
  encode.write_media(root / 'short.wav', None, speech=speech[:1])
  sound = film.parent.parent / 'AudioWAV' / f'{film.stem}.wav'
  return {
    'film': film.read_bytes(),
    'sound': sound.read_bytes(),
    'odd': [
      (root / name).read_bytes()
      for name in ('one.mp4', 'mute.mp4', 'silent.wav', 'short.wav')
    ],
  }


def damage(number, whole):
  """Bytes of film and sound number `number`; never both whole."""
  rng = np.random.default_rng(number)
  film, sound = whole['film'], whole['sound']
  if number % 4 == 3:
    odd = whole['odd'][number // 4 % len(whole['odd'])]
    # A wrong extension as well: an MP4 or a WAV in each place.
    return (odd, sound) if number % 8 == 3 else (film, odd)
  harm = DAMAGES[number % len(DAMAGES)]
  which = rng.integers(3)
  film = harm(rng, film) if which != 1 else film
  sound = harm(rng, sound) if which != 0 else sound
  return film, sound


def write_tree(root, whole, count):
  """A CREMA-D tree of damaged clips; returns the clips' names."""
  names = []
  for folder in ('VideoFlash', 'AudioWAV'):
    (root / folder).mkdir(parents=True)
  for number in range(count):
    rest, sentence = divmod(number, len(SENTENCES))
    speaker, emotion = divmod(rest, len(EMOTIONS))
    name = f'{1001 + speaker}_{SENTENCES[sentence]}_{EMOTIONS[emotion]}_XX'
    film, sound = damage(number, whole)
    (root / 'VideoFlash' / f'{name}.flv').write_bytes(film)
    (root / 'AudioWAV' / f'{name}.wav').write_bytes(sound)
    names.append(name)
  return names


COUNTS = (12, pytest.param(200, marks=pytest.mark.slow))


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize('count', COUNTS)
def test_preparation_uses_or_quarantines_every_clip(tmp_path, whole, count):
  names = write_tree(tmp_path / 'raw', whole, count)
  report = prepare.prepare(
    'crema_d', tmp_path / 'raw', data_dir=tmp_path, workers=2, progress=False
  )
  folder = next(tmp_path.glob('crema_d_av/face/*'))
  lines = (folder / 'quarantine.jsonl').read_text().splitlines()
  quarantined = [json.loads(line) for line in lines]
  assert all(entry['reason'].strip() for entry in quarantined)
  used = parquet.read_table(folder / 'index.parquet')['clip_id'].to_pylist()
  refused = {pathlib.Path(entry['path']).stem for entry in quarantined}
  assert set(used) | refused == set(names), report
  assert len(used) > 0
  assert len(refused) >= count / 4
  shutil.rmtree(tmp_path / 'raw')


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize('count', COUNTS)
def test_prediction_reads_or_refuses_every_file(tmp_path, whole, count):
  write_tree(tmp_path / 'raw', whole, count)
  files = sorted((tmp_path / 'raw').glob('*/*.*'))[::2]
  printed, failures = io.StringIO(), io.StringIO()
  with (
    contextlib.redirect_stdout(printed),
    contextlib.redirect_stderr(failures),
  ):
    failed = predictor.predict_with(
      films.make_loaded(),
      files,
      tmp_path / 'out',
      predictor.Settings(every=1.0),
      name='runs/tiny',
    )
  lines = failures.getvalue().replace('\r', '\n').splitlines()
  lines = [line for line in lines if line.startswith('avemo: ')]
  assert len(lines) == failed > 0
  assert not [line for line in lines if 'internal' in line]
  for line in lines:
    assert any(file.name in line for file in files), line
  timelines = list((tmp_path / 'out').glob('*.json'))
  assert len(timelines) == len(files) - failed > 0
