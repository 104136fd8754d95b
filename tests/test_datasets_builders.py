"""Builders keep the conventions of TFDS, whose own test needs TensorFlow."""

import importlib
import pathlib
import re

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_metadata

import datasets_tfds
from avemo import corpora
from avemo.data import schema
from datasets_tfds import build, prepare

FOLDER = pathlib.Path(datasets_tfds.__file__).parent
NAMES = sorted(path.name for path in FOLDER.glob('*_av'))


def load(name):
  module = f'datasets_tfds.{name}.{name}_dataset_builder'
  return importlib.import_module(module).Builder


def test_every_corpus_has_a_builder():
  assert NAMES == sorted(f'{corpus}_av' for corpus in corpora.CORPORA)


@pytest.mark.parametrize('name', NAMES)
def test_builders_are_registered_and_described(name, tmp_path):
  cls = load(name)
  assert cls.name == name and tfds.builder_cls(name) is cls
  assert cls.CORPUS == name.removesuffix('_av')
  assert str(cls.VERSION) in cls.RELEASE_NOTES
  assert cls.MANUAL_DOWNLOAD_INSTRUCTIONS
  about = cls.get_metadata()
  assert set(about.tags) <= set(dataset_metadata.valid_tags()) and about.tags
  assert re.match(r'@\w+\{', about.citation) and len(about.description) > 200
  builder = cls(data_dir=tmp_path)
  assert builder.builder_config.name == 'face'
  assert [c.name for c in cls.BUILDER_CONFIGS] == list(schema.CONFIGS)
  assert builder.info.disable_shuffling
  assert builder.info.redistribution_info.license
  assert set(corpora.get(cls.CORPUS).EXTRA) < set(builder.info.features)
  with pytest.raises(ValueError, match='array_record'):
    cls(data_dir=tmp_path, file_format='tfrecord')


def test_no_record_twice_and_no_path_of_this_machine(
  tiny_crema_d, tiny_crema_d_dataset
):
  dataset = schema.open_dataset('crema_d_av', tiny_crema_d_dataset)
  numbers = range(len(dataset.source))
  stored = [dataset.source.data_source[number] for number in numbers]
  assert len(set(stored)) == len(stored)
  secret = str(tiny_crema_d.parent).encode()
  for path in dataset.directory.iterdir():
    # One file alone says where the raw files are; see `prepare.ORIGIN`.
    told = secret in path.read_bytes()
    assert told == (path.name == prepare.ORIGIN), path
  for record in stored:
    assert secret not in record


def test_shards_are_filled_in_order(tmp_path, monkeypatch):
  monkeypatch.setattr(build, 'SHARD_BYTES', 250)
  builder = load('crema_d_av')(data_dir=tmp_path)
  template = builder._get_filename_template('clips')
  pathlib.Path(template.data_dir).mkdir(parents=True)
  made = [bytes([number]) * 100 for number in range(8)]
  info = build.write_shards('clips', made, template)
  assert info.shard_lengths == [3, 3, 2] and info.num_bytes == 800
  names = sorted(
    path.name for path in pathlib.Path(template.data_dir).iterdir()
  )
  assert names == [
    f'crema_d_av-clips.array_record-0000{number}-of-00003'
    for number in range(3)
  ]
