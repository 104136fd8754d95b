"""One artefact a file: what is in it, and what is said where there is none."""

import csv
import dataclasses
import functools
import os
import stat
import types

import cv2
import films
import jax
import numpy as np
import pytest
import small_towers

from avemo import cli, errors
from avemo.data import clips
from avemo.data.labels import LabelSpace
from avemo.evaluate import restore
from avemo.experiment import conversion
from avemo.extract import features, run
from avemo.extract.settings import Settings
from avemo.features import towers
from avemo.media import decode, encode, faces, openface, stills
from avemo.predict import files as files_lib
from avemo.predict import people, windows

REAL = os.environ.get('AVEMO_REAL_DATA')
needs_real_data = pytest.mark.skipif(
  not REAL, reason='set AVEMO_REAL_DATA to the folder of real data'
)


@pytest.fixture(scope='module')
def film(tmp_path_factory):
  return films.simulate_corpus(tmp_path_factory.mktemp('corpus') / 'raw')[0]


@pytest.fixture(scope='module')
def wall(tmp_path_factory):
  """A film with nobody before the wall, and no sound."""
  path = tmp_path_factory.mktemp('wall') / 'wall.mp4'
  encode.write_media(path, films.paint_wall(), fps=25)
  return path


def extract(what, files, out, **settings):
  return run.extract_files(what, files, out, Settings(**settings))


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_faces_are_crops_of_one_size_named_by_their_frame(film, tmp_path):
  assert extract('faces', [film], tmp_path, size=96, frames=5) == 0
  folder = tmp_path / f'{film.stem}.faces'
  assert names(tmp_path) == [folder.name] and len(names(folder)) == 5
  numbers = [int(name[:5]) for name in names(folder)]
  seconds = decode.probe(film).duration
  assert 1 <= numbers[0] < numbers[-1] <= seconds * 25 + 1
  crops = np.stack([cv2.imread(str(p)) for p in sorted(folder.iterdir())])
  assert crops.shape == (5, 96, 96, 3)
  # Skin in the middle, which the corners of such a crop do not have.
  red = crops[:, 40:56, 40:56, 2].mean() - crops[:, 40:56, 40:56, 0].mean()
  assert red > 15
  # Made again with fewer, no older one stays.
  assert extract('faces', [film], tmp_path, size=64, frames=2) == 0
  assert len(names(folder)) == 2
  (folder / 'notes.txt').write_text('mine')
  assert extract('faces', [film], tmp_path, size=64, frames=2) == 1
  assert 'notes.txt' in names(folder)


def test_an_overlay_keeps_the_sound_and_has_the_strip_below(film, tmp_path):
  assert extract('overlay', [film], tmp_path, fps=20) == 0
  made = tmp_path / f'{film.stem}.overlay.mp4'
  before, after = decode.probe(film), decode.probe(made)
  assert after.has_audio and after.fps == pytest.approx(20, abs=0.1)
  assert after.width == before.width
  assert after.height == pytest.approx(1.2 * before.height, abs=2)
  assert after.duration == pytest.approx(before.duration, abs=0.1)
  frames = list(decode.read_frames(made))
  plain = list(decode.read_frames(film, fps=20))
  assert len(frames) == len(plain)
  # The box is blue where there was none.
  image, own = frames[5].image[: before.height], plain[5].image
  blue = lambda x: (x[..., 2].astype(int) - x[..., 0] > 30).sum()
  assert blue(image) > blue(own) + 300
  # The cursor runs over the strip.
  strip = [f.image[before.height + 4 :] for f in frames]
  white = [s.min(-1).mean(0).argmax() for s in strip]
  assert white[0] < 40 and white[-1] > 0.8 * before.width
  heard, own = decode.read_audio(made), decode.read_audio(film)
  count = min(len(heard), len(own)) - 400
  assert np.corrcoef(heard[:count], own[:count])[0, 1] > 0.9


def test_a_film_without_a_face_or_sound_is_told(film, wall, tmp_path, capsys):
  assert extract('overlay', [wall], tmp_path) == 0
  said = capsys.readouterr().out
  assert 'no face found' in said and 'no strip' in said
  made = tmp_path / 'wall.overlay.mp4'
  assert decode.probe(made).height == decode.probe(wall).height
  for what, message in (
    ('faces', '--face-model names a better detector'),
    ('mfcc-picture', 'has no sound; name the file that has it'),
  ):
    assert extract(what, [wall, film], tmp_path) == 1
    assert message in capsys.readouterr().err
  assert not [name for name in names(tmp_path) if 'partial' in name]


def test_pictures_of_sound_show_the_clip_from_left_to_right(tmp_path):
  path = tmp_path / 'two tones.wav'
  rate = 16_000
  times = np.arange(2 * rate) / rate
  pitch = np.where(times < 1, 200, 3000)
  encode.write_wav(path, 0.3 * np.sin(2 * np.pi * pitch * times), rate)
  for what in ('mel', 'mfcc'):
    assert extract(f'{what}-picture', [path], tmp_path / 'out', size=80) == 0
    picture = cv2.imread(str(tmp_path / f'out/two tones.{what}.png'))
    assert picture.shape == (80, 80, 3)
    left, right = picture[:, :36].mean(1), picture[:, 44:].mean(1)
    assert np.abs(left - right).max() > 50
  mel = cv2.imread(str(tmp_path / 'out/two tones.mel.png'))[..., 1].astype(int)
  # Green tells the level; low bands lie below.
  assert mel[:, 10].argmax() > mel[:, 70].argmax() + 20
  made = tmp_path / 'out/two tones.mfcc.png'
  assert extract('mfcc-picture', [path], tmp_path / 'out', frames=3) == 0
  assert cv2.imread(str(made)).shape == (224, 3 * 224, 3)


def test_bad_files_cost_a_line_each_and_the_rest_is_made(
  film, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  silent, broken = tmp_path / 'silent.wav', tmp_path / 'broken.mp4'
  encode.write_wav(silent, np.zeros(16_000), 16_000)
  broken.write_bytes(film.read_bytes()[:200])
  sound = tmp_path / 'a b ü.wav'
  encode.write_wav(sound, films.hum(1.0), 16_000)
  (tmp_path / 'sub').mkdir()
  twin = tmp_path / 'sub' / sound.name
  twin.write_bytes(sound.read_bytes())
  files = [silent, broken, tmp_path / 'gone.mp4', tmp_path, sound, twin]
  with pytest.raises(SystemExit):
    cli.main(
      ['extract', 'mel-picture', *map(str, files), '--out', 'out', '--fps=9']
    )
  said = capsys.readouterr()
  lines = said.err.splitlines()
  assert len(lines) == 5 and all(line.startswith('avemo: ') for line in lines)
  for line, word in zip(
    lines, ('silent', 'broken', 'no such file', 'a folder'), strict=False
  ):
    assert word in line
  assert 'nothing could be made of 4 of 6 files' in lines[-1]
  assert '--fps: mel-picture has no use for it' in said.out
  assert names(tmp_path / 'out') == ['a b ü-2.mel.png', 'a b ü.mel.png']


def test_what_concerns_every_file_is_one_line_at_once(film, tmp_path):
  out = tmp_path / 'out'
  for what, settings, message in (
    ('faces', {'weights': 'x'}, r'--weights: faces has no use for it; it'),
    ('features', {}, '--weights the folder of a training run'),
    ('features', {'weights': tmp_path}, 'neither the workdir'),
    ('faces', {'face_model': film}, 'not a YuNet'),
    ('openface', {'openface': tmp_path}, 'no OpenFace here'),
    ('openface', {}, 'by --openface or \\$OPENFACE_PATH, or give the CSV'),
  ):
    with pytest.raises(errors.AvemoError, match=message):
      extract(what, [film], out, **settings)
  with pytest.raises(errors.AvemoError, match='no such file; check its name'):
    extract('faces', [tmp_path / 'gone.mp4'], out)
  with pytest.raises(errors.AvemoError, match='not a folder'):
    extract('faces', [film], film)
  assert not out.exists()


def test_a_full_disk_leaves_nothing(film, tmp_path, capsys, monkeypatch):
  def fail(path, data):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr('pathlib.Path.write_bytes', fail)
  assert extract('faces', [film], tmp_path) == 1
  assert 'cannot be written (No space left on device)' in (
    capsys.readouterr().err
  )
  assert not names(tmp_path)


# ------------------------------------------------------------------- OpenFace

TABLE = """frame, face_id, timestamp, confidence, success, AU01_r, AU01_c
1, 0, 0.000, 0.98, 1, 0.25, 0
2, 0, 0.040, 0.20, 0, 0.00, 0
3, 0, 0.0"""

# Stands in for the program, which no test can install: it takes the same
# arguments, and leaves a table in the same place.
PROGRAM = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in
    -f) film="$2"; shift;;
    -out_dir) folder="$2"; shift;;
    -of) name="$2"; shift;;
  esac
  shift
done
test -s "$film" || exit 3
case "$film" in *wall*) echo 'Could not open the video'; exit 0;; esac
cp TABLE "$folder/$name.csv"
"""


def test_a_table_of_openface_is_read_where_it_is(tmp_path, capsys):
  path = tmp_path / 'clip.csv'
  path.write_text(TABLE)
  assert extract('openface', [path], tmp_path / 'out') == 0
  assert '2 rows, 1 with a face, 1 more that could not' in (
    capsys.readouterr().out
  )
  with (tmp_path / 'out/clip.openface.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [row['AU01_r'] for row in rows] == ['0.25', '0']
  table = openface.read(path)
  np.testing.assert_array_equal(table.get('timestamp'), [0, 0.04])
  path.write_text('path,speaker\na,b\n')
  assert extract('openface', [path], tmp_path / 'out') == 1
  assert "not a table of OpenFace: no column 'frame'" in capsys.readouterr().err


def test_openface_is_run_on_a_film(film, wall, tmp_path, capsys, monkeypatch):
  folder = tmp_path / 'OpenFace/build/bin'
  folder.mkdir(parents=True)
  (folder / 'TABLE').write_text(TABLE)
  program = folder / openface.PROGRAM
  program.write_text(PROGRAM)
  with pytest.raises(errors.AvemoError, match=r'make it executable'):
    extract('openface', [film], tmp_path / 'out', openface=program)
  program.chmod(program.stat().st_mode | stat.S_IXUSR)
  monkeypatch.setenv('OPENFACE_PATH', str(tmp_path / 'OpenFace'))
  assert extract('openface', [film, wall], tmp_path / 'out') == 1
  assert 'left no table of it (exit status 0: Could not open the video)' in (
    capsys.readouterr().err
  )
  assert names(tmp_path / 'out') == [f'{film.stem}.openface.csv']


# ------------------------------------------------------------------- features


BOTH = {
  'use': ['video', 'audio'],
  'video': {'name': 'videomae', 'variant': 'tiny'},
  'audio': {'name': 'spectrogram_vit', 'variant': 'tiny'},
  'fusion': {'kind': 'late'},
}


def store(loaded, folder, section=BOTH):
  """Weights of random numbers as `avemo convert` leaves them."""
  about = {
    **loaded.labels.to_json(),
    'model': section,
    'fresh': [],
    'preprocessing': dataclasses.asdict(loaded.options),
  }
  variables = {'batch_stats': {}} | loaded.variables
  conversion.write(folder, variables, about)
  return folder


def test_features_are_what_the_heads_read(film, wall, tmp_path, capsys):
  loaded = films.make_loaded()
  weights = store(loaded, tmp_path / 'both')
  options = {'weights': weights, 'every': 0.5}
  # Where there is neither a face nor sound, there is nothing to embed.
  assert extract('features', [film, wall], tmp_path, **options) == 1
  assert 'read a face or sound, and it has none' in capsys.readouterr().err
  assert 'wall.features.npz' not in names(tmp_path)
  with np.load(tmp_path / f'{film.stem}.features.npz') as file:
    found = dict(file)
  seconds = decode.probe(film).duration
  assert set(found) == {'video', 'video_times', 'audio', 'audio_times'}
  for name in ('video', 'audio'):
    times, values = found[f'{name}_times'], found[name]
    assert values.shape == (len(times), 128) and values.dtype == np.float32
    assert times[0] == 0 and times[-1] < seconds
    np.testing.assert_allclose(np.diff(times), 0.5)
    assert np.ptp(values, axis=0).max() > 1e-3


def make_tower(name):
  """A tower alone, of random weights, and the section that describes it."""
  options = dataclasses.replace(films.OPTIONS, use=(name,))
  towers = {
    'video': {'name': 'efficientnet', 'variant': 'tiny'},
    'audio': {'name': 'cnn', 'widths': (4,)},
  }
  section = {'use': [name], name: towers[name]}
  model = restore.make_model(section, num_classes=3)
  make = jax.jit(restore.make_init(model, options))
  loaded = types.SimpleNamespace(
    variables=make(jax.random.key(0)),
    options=options,
    labels=LabelSpace.of(films.CLASSES),
  )
  return loaded, section


@pytest.mark.parametrize(
  'name', ['audio', pytest.param('video', marks=pytest.mark.slow)]
)
def test_a_tower_alone_tells_of_windows_or_of_frames(film, tmp_path, name):
  loaded, section = make_tower(name)
  weights = store(loaded, tmp_path / 'weights', section)
  assert extract('features', [film], tmp_path, weights=weights, every=0.25) == 0
  with np.load(tmp_path / f'{film.stem}.features.npz') as file:
    found = dict(file)
  times, values = found[f'{name}_times'], found[name]
  assert len(times) == len(values) and np.isfinite(values).all()
  if name == 'video':
    info = decode.probe(film)
    assert len(times) > 0.8 * info.num_frames
    np.testing.assert_allclose(np.diff(times), 1 / info.fps, atol=2e-3)
  else:
    # Windows of a second, each told by its middle.
    np.testing.assert_allclose(times, 0.5 + 0.25 * np.arange(len(times)))


def test_a_tower_over_whole_pictures_sees_them_where_nobody_is(wall, tmp_path):
  path = small_towers.write(tmp_path, 'face', margin=None)
  tower = towers.load(path)
  info = decode.probe(wall)
  film = people.watch(wall, faces.make_detector(None), lambda time: None)
  assert not film.people
  embed = functools.partial(
    features.embed_frames, wall, info, film, lambda time: None, tower=tower
  )
  times, values = embed(config='frame')['video']
  shots = list(decode.read_frames(wall))
  np.testing.assert_allclose(times, [shot.time for shot in shots], atol=1e-6)
  # As training reads a record of the dataset that stores whole pictures.
  jpegs = [stills.encode_jpeg(shot.image) for shot in shots]
  record = {'frames': jpegs, 'face': [], 'box': []}
  cut = clips.decode_frames(record, np.arange(len(shots)), tower.options)
  expected = towers.embed_frames(tower, cut)
  np.testing.assert_allclose(values, expected, atol=1e-5)
  assert not len(embed(config='face')['video'][0])
  # The run says which of the two its dataset stores.
  data = {'mixture': {'a': {'name': 'a_av/frame:1.0.0'}}}
  assert windows.find_config({'data': data}) == 'frame'
  assert windows.find_config({}) == 'face'


@needs_real_data
def test_real_faces_are_turned_until_the_eyes_lie_level(tmp_path):
  folder = f'{REAL}/video'
  model = next(p for p in os.listdir(folder) if p.endswith('.onnx'))
  assert (
    extract(
      'faces',
      [f'{folder}/single_face.mp4'],
      tmp_path,
      face_model=f'{folder}/{model}',
      frames=4,
    )
    == 0
  )
  detector = run.faces.faces.make_detector(f'{folder}/{model}')
  for path in sorted((tmp_path / 'single_face.faces').iterdir()):
    image = cv2.imread(str(path))[..., ::-1]
    eyes = detector.detect(np.ascontiguousarray(image))[0].landmarks[:2]
    run_, rise = np.abs(eyes[1] - eyes[0])
    assert rise < 0.1 * run_
    assert files_lib.show_path(path).endswith('.png')
