"""Damaged media through preparation and prediction: each is accounted for."""

import contextlib
import io
import json
import os
import pathlib
import shutil

import films
import numpy as np
import pytest
from damages import DAMAGES
from pyarrow import parquet

from avemo import corpora
from avemo.media import encode
from avemo.predict import predictor
from datasets_tfds import prepare

SENTENCES = ('IEO', 'TIE', 'IOM', 'IWW', 'TAI', 'MTI', 'IWL', 'ITH', 'DFA')
EMOTIONS = ('ANG', 'DIS', 'FEA', 'HAP', 'SAD')


def place_crema_d(number):
  """Paths of film and sound of clip number `number`, in each corpus's tree."""
  rest, sentence = divmod(number, len(SENTENCES))
  speaker, emotion = divmod(rest, len(EMOTIONS))
  name = f'{1001 + speaker}_{SENTENCES[sentence]}_{EMOTIONS[emotion]}_XX'
  return f'VideoFlash/{name}.flv', f'AudioWAV/{name}.wav'


def place_enterface(number):
  rest, sentence = divmod(number, 5)
  subject, emotion = divmod(rest, 6)
  word = ('anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise')[
    emotion
  ]
  name = f's{subject + 7}_{word[:2]}_{sentence + 1}'
  path = f'subject {subject + 7}/{word}/sentence {sentence + 1}/{name}'
  return f'{path}.avi', f'{path}.wav'


def place_msp_improv(number):
  speaker, turn = divmod(number, 99)
  name = f'MSP-IMPROV-S01A-F0{speaker + 1}-S-FM{turn + 1:02d}'
  return f'Video/{name}.avi', f'Audio/{name}.wav'


def place_custom(number):
  return f'{number}.avi', f'{number}.wav'


PLACES = {
  'crema_d': place_crema_d,
  'enterface': place_enterface,
  'msp_improv': place_msp_improv,
  'custom': place_custom,
}


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
  encode.write_media(
    root / 'whole.avi', frames, fps=films.FPS, speech=speech, layout='stereo'
  )
  sound = film.parent.parent / 'AudioWAV' / f'{film.stem}.wav'
  return {
    '.flv': film.read_bytes(),
    '.avi': (root / 'whole.avi').read_bytes(),
    'sound': sound.read_bytes(),
    'odd': [
      (root / name).read_bytes()
      for name in ('one.mp4', 'mute.mp4', 'silent.wav', 'short.wav')
    ],
  }


def damage(number, film, whole):
  """Bytes of film and sound number `number`; never both whole."""
  rng = np.random.default_rng(number)
  sound = whole['sound']
  if number % 4 == 3:
    odd = whole['odd'][number // 4 % len(whole['odd'])]
    # A wrong extension as well: an MP4 or a WAV in each place.
    return (odd, sound) if number % 8 == 3 else (film, odd)
  harm = DAMAGES[number % len(DAMAGES)]
  which = rng.integers(3)
  film = harm(rng, film) if which != 1 else film
  sound = harm(rng, sound) if which != 0 else sound
  return film, sound


def write_tree(root, whole, count, corpus='crema_d'):
  """A corpus's tree of damaged clips; returns the clips' ids."""
  names = []
  for number in range(count):
    film_path, sound_path = (root / x for x in PLACES[corpus](number))
    film, sound = damage(number, whole[film_path.suffix], whole)
    for path, content in ((film_path, film), (sound_path, sound)):
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)
    names.append(find_id(corpus, sound_path))
  return names


def find_id(corpus, path):
  """The clip that a file belongs to; None where it is no medium."""
  stem, _ = os.path.splitext(path if corpus == 'enterface' else path.name)
  parsed = corpora.get(corpus).parse_name(stem)
  return parsed and parsed.clip_id


COUNTS = (6, pytest.param(200, marks=pytest.mark.slow))


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(
  ('corpus', 'count'),
  [('crema_d', 12), ('enterface', 8), ('msp_improv', 8), ('custom', 8)]
  + [pytest.param(name, 300, marks=pytest.mark.slow) for name in PLACES],
)
def test_preparation_uses_or_quarantines_every_clip(
  tmp_path, whole, corpus, count
):
  names = write_tree(tmp_path / 'raw', whole, count, corpus)
  workers = 2 if count > 8 else 0
  report = prepare.prepare(
    corpus, tmp_path / 'raw', data_dir=tmp_path, workers=workers, progress=False
  )
  folder = next(tmp_path.glob('*_av/face/*'))
  lines = (folder / 'quarantine.jsonl').read_text().splitlines()
  quarantined = [json.loads(line) for line in lines]
  assert all(entry['reason'].strip() for entry in quarantined)
  used = parquet.read_table(folder / 'index.parquet')['clip_id'].to_pylist()
  refused = {find_id(corpus, pathlib.Path(e['path'])) for e in quarantined}
  # The folder itself stands for its missing label file.
  assert (None in refused) == (corpus == 'msp_improv')
  assert set(used) | refused - {None} == set(names), report
  assert len(used) > 0
  assert len(refused) >= count / 4
  if corpus == 'msp_improv':
    # Both modalities or nothing, so that no file of use is left.
    index = parquet.read_table(folder / 'index.parquet').to_pydict()
    assert all(index['num_frames']) and all(index['num_samples'])
    assert report.left_out + len(set(used)) <= count
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
