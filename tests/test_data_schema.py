"""Opening datasets, and what their records and their index hold."""

import pathlib
import pickle
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pyarrow.parquet
import pytest

from avemo import errors
from avemo.corpora import crema_d
from avemo.data import index, schema


@pytest.fixture(scope='module')
def dataset(tiny_crema_d_dataset):
  return schema.open_dataset('crema_d_av', tiny_crema_d_dataset)


def test_records_have_what_the_schema_says(dataset):
  fields = schema.features(crema_d.EXTRA)
  for record in dataset.source:
    assert set(record) == set(fields)
    count = len(record['frames'])
    assert record['box'].shape == (count, 4)
    assert record['landmarks'].shape == (count, 10)
    for name in ('frame_index', 'frame_time', 'face'):
      assert record[name].shape == (count,)
    assert record['frame_time'].dtype == np.float32
    assert set(record['face'].tolist()) <= {0, 1}
    np.testing.assert_array_equal(record['frame_index'], np.arange(count))
    if count:
      assert np.diff(record['frame_time']).mean() == pytest.approx(
        1 / record['fps'], rel=0.02
      )
    for jpeg in record['frames'][:2]:
      image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
      assert max(image.shape) <= schema.MAX_SIDE
    speech = np.frombuffer(record['speech'], '<i2')
    assert np.abs(speech.astype(int)).max() > 300
    assert record['emotion'].decode() in crema_d.EMOTIONS
    assert np.isnan(record['valence']) and np.isnan(record['arousal'])
    assert record['frame_action_units'].shape == (0, schema.NUM_ACTION_UNITS)
    assert record['votes_both'].shape == (6,)
  clip_ids = [record['clip_id'] for record in dataset.source]
  assert clip_ids == sorted(set(clip_ids))


def test_names_find_the_dataset(dataset, tiny_crema_d_dataset, monkeypatch):
  assert dataset.name == 'crema_d_av/face:1.0.0'
  assert dataset.emotions == crema_d.EMOTIONS and dataset.corpus == 'crema_d'
  monkeypatch.setenv('AVEMO_DATA', str(tiny_crema_d_dataset))
  for name in ('crema_d_av', 'crema_d_av/face', 'crema_d_av/face:1.0.0'):
    assert schema.open_dataset(name).directory == dataset.directory


@pytest.mark.parametrize(
  'name, expected',
  [
    ('crema_d_av/frame', 'prepare crema_d --raw DIR --config frame --data-dir'),
    ('cremad_av', r'did you mean crema_d_av\?'),
    ('enterface_av', r'`avemo prepare enterface --raw DIR .*` makes it$'),
    ('crema_d_av/frame', 'makes it; crema_d_av/face is there'),
    ('crema_d_av/face:2.0.0', 'no dataset crema_d_av/face:2.0.0'),
  ],
)
def test_absent_datasets_are_named_with_the_way_to_make_them(
  tiny_crema_d_dataset, name, expected
):
  with pytest.raises(errors.AvemoError, match=expected):
    schema.open_dataset(name, tiny_crema_d_dataset)


def test_the_newest_version_opens(tiny_crema_d_dataset, tmp_path):
  parent = tmp_path / 'crema_d_av' / 'face'
  for version in ('1.2.0', '1.10.0'):
    (parent / version).mkdir(parents=True)
    (parent / version / 'dataset_info.json').touch()
  assert schema.find_dataset('crema_d_av', tmp_path).name == '1.10.0'


def test_damaged_datasets_are_one_line(dataset, tmp_path):
  copy = tmp_path / 'crema_d_av' / 'face' / '1.0.0'
  shutil.copytree(dataset.directory, copy)
  (copy / index.FILE).write_bytes(b'PAR1 no more')
  with pytest.raises(errors.AvemoError, match='damaged'):
    schema.open_dataset('crema_d_av', tmp_path)
  (copy / 'features.json').write_text('{')
  with pytest.raises(errors.AvemoError, match='--overwrite'):
    schema.open_dataset('crema_d_av', tmp_path)


def test_the_index_equals_the_records(dataset):
  columns = dataset.index
  assert columns['record'].tolist() == list(range(len(dataset.source)))
  for number, record in enumerate(dataset.source):
    for name in ('clip_id', 'speaker', 'recording', 'emotion', 'race'):
      assert columns[name][number] == record[name].decode()
    speech = np.frombuffer(record['speech'], '<i2')
    assert columns['num_samples'][number] == len(speech)
    assert columns['num_frames'][number] == len(record['frames'])
    assert columns['num_faces'][number] == record['face'].sum()
    assert columns['age'][number] == record['age']
    np.testing.assert_array_equal(
      columns['levels_face'][number], record['levels_face']
    )
    shown = len(record['frames']) / max(record['fps'], 1)
    assert columns['duration'][number] == pytest.approx(
      max(shown, len(speech) / 16_000), abs=0.1
    )
  assert columns['votes_both'].shape == (len(dataset.source), 6)
  assert columns['votes_both'].dtype == np.float32


def drop_a_column(path):
  table = pyarrow.parquet.read_table(path)
  pyarrow.parquet.write_table(table.drop_columns('num_faces'), path)


@pytest.mark.parametrize('harm', [pathlib.Path.unlink, drop_a_column])
def test_an_index_that_is_missing_or_old_is_made_anew(dataset, tmp_path, harm):
  copy = tmp_path / 'crema_d_av' / 'face' / '1.0.0'
  shutil.copytree(dataset.directory, copy)
  before = (copy / index.FILE).read_bytes()
  harm(copy / index.FILE)
  again = schema.open_dataset('crema_d_av', tmp_path)
  assert (copy / index.FILE).read_bytes() == before
  for name, column in dataset.index.items():
    np.testing.assert_array_equal(again.index[name], column)


def test_sources_travel_to_worker_processes(dataset):
  source = pickle.loads(pickle.dumps(dataset.source))
  assert source[3]['speech'] == dataset.source[3]['speech']


def test_opening_needs_neither_builder_nor_tensorflow(tiny_crema_d_dataset):
  program = (
    'import sys\n'
    'from avemo.data import schema\n'
    f'data_dir = {str(tiny_crema_d_dataset)!r}\n'
    'opened = schema.open_dataset("crema_d_av", data_dir)\n'
    'assert len(opened.source[0]["frames"])\n'
    'assert not {"tensorflow", "jax", "datasets_tfds"} & set(sys.modules)\n'
  )
  subprocess.run([sys.executable, '-c', program], check=True)
