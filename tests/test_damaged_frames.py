"""Damaged films, faces, annotations and tables: each is accounted for."""

import json
import pathlib
import shutil

import cv2
import numpy as np
import pytest
from damages import DAMAGES

from avemo.data import schema
from avemo.media import encode
from avemo.simulate import actor, mafw, mafw_tables, trajectory
from datasets_tfds import prepare

COUNTS = (12, pytest.param(150, marks=pytest.mark.slow))
FPS = 15


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A film in two containers, its faces, and the lines that label it."""
  root = tmp_path_factory.mktemp('whole')
  performer = actor.Actor(
    'F01',
    actor.draw_traits('F01', 'female', 0),
    seed=0,
    size=(160, 120),
    fps=FPS,
  )
  images, speech, labels = trajectory.perform(performer, 'a', 2.0)
  images = list(images)
  for suffix in ('.mp4', '.avi'):
    encode.write_media(root / f'a{suffix}', images, fps=FPS, speech=speech)
  lines = [f'{v:.3f},{a:.3f}' for v, a in labels.affect]
  faces = [
    cv2.imencode('.jpg', mafw.cut_face(image, 112))[1].tobytes()
    for image in images
  ]
  return {
    '.mp4': (root / 'a.mp4').read_bytes(),
    '.avi': (root / 'a.avi').read_bytes(),
    'faces': faces,
    'text': '\n'.join(['valence,arousal', *lines, '']).encode(),
  }


def put(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)


def harm(number, data):
  return DAMAGES[number // 3 % len(DAMAGES)](
    np.random.default_rng(number), data
  )


def read_reasons(folder):
  lines = (folder / 'quarantine.jsonl').read_text().splitlines()
  entries = [json.loads(line) for line in lines]
  assert all(entry['reason'].strip() for entry in entries)
  return entries


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize('count', COUNTS)
def test_every_film_of_aff_wild2_is_accounted_for(tmp_path, whole, count):
  """Of each clip one is damaged: the film, the annotation, or faces."""
  raw = tmp_path / 'raw'
  for number in range(count):
    name, suffix = f'video{number}', ('.mp4', '.avi')[number // 3 % 2]
    film, text, faces = whole[suffix], whole['text'], list(whole['faces'])
    if number % 3 == 0:
      film = harm(number, film)
    elif number % 3 == 1:
      text = harm(number, text)
    else:
      for place in (0, 4, 5):
        faces[place] = harm(number + place, faces[place])
      for place, face in enumerate(faces, start=1):
        put(raw / f'cropped_aligned/{name}/{place:05d}.jpg', face)
    put(raw / f'batch1/{name}{suffix}', film)
    put(raw / f'annotations/VA_Set/Training_Set/{name}.txt', text)
  report = prepare.prepare(
    'aff_wild2', raw, data_dir=tmp_path, workers=2, progress=False
  )
  entries = read_reasons(report.directory)
  refused = {pathlib.Path(entry['path']).stem for entry in entries}
  dataset = schema.open_dataset('aff_wild2_av', tmp_path)
  used = set(dataset.index['clip_id'].tolist())
  assert used | refused == {f'video{number}' for number in range(count)}
  assert len(used) >= count / 2 and len(refused) >= count / 3
  for record in dataset.source:
    frames = len(record['frame_index'])
    assert len(record['frames']) in (0, frames)
    assert len(record['frame_valence']) == len(record['face']) == frames
    known = record['frame_valence'][np.isfinite(record['frame_valence'])]
    assert (np.abs(known) <= 1).all()
    for jpeg in record['frames']:
      assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1) is not None
    name = record['clip_id'].decode()
    if int(name.removeprefix('video')) % 3 == 2 and name not in refused:
      # A damaged face may still be one for the decoder.
      assert record['face'].mean() > 0.8
  shutil.rmtree(raw)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize('count', COUNTS)
def test_every_clip_of_mafw_is_accounted_for(tmp_path, whole, count):
  raw = tmp_path / 'raw'
  names = mafw.SPEAKERS[:count]
  for number, name in enumerate(names):
    film = whole['.mp4']
    put(raw / f'data/clips/{name}.mp4', harm(3 * number, film))
  # Tables and lists are damaged as well, each in its way.
  (raw / 'Labels').mkdir()
  lists = 'Train & Test Set/single/no_caption/set_1/test.txt'
  for number, path in enumerate(('Labels/gender.txt', lists)):
    lines = ''.join(f'{name}.mp4 anger\n' for name in names)
    put(raw / path, harm(3 * number + 3, lines.encode()))
  put(raw / 'Labels/single-set.xlsx', harm(0, b'PK\3\4' * 100))
  report = prepare.prepare(
    'mafw', raw, data_dir=tmp_path, workers=2, progress=False
  )
  entries = read_reasons(report.directory)
  refused = {pathlib.Path(entry['path']).stem for entry in entries}
  index = schema.open_dataset('mafw_av', tmp_path).index
  used = set(index['clip_id'].tolist())
  tables = {'gender', 'test', 'single-set'}
  assert used | (refused - tables) == set(names)
  assert 'single-set' in refused and len(refused) >= count / 4
  assert set(index['emotion'].tolist()) <= {'', *mafw_tables.EMOTIONS}
  shutil.rmtree(raw)
