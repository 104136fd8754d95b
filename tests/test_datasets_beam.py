"""The records of a pipeline are those of a plain build, in their order."""

import sys

import pytest
from array_record.python import array_record_module

from avemo import errors
from avemo.data import schema
from datasets_tfds import beam, prepare


def build(raw, data_dir, name='crema_d', **options):
  options = {'workers': 0, 'progress': False} | options
  return prepare.prepare(name, raw, data_dir=data_dir, **options).directory


def read_records(directory):
  """The records of all shards, one after the other."""
  found = []
  for path in sorted(directory.glob('*.array_record-*')):
    reader = array_record_module.ArrayRecordReader(str(path))
    found += reader.read_all()
    reader.close()
  return found


@pytest.mark.parametrize(
  'runner',
  [
    {'runner': 'FnApiRunner', 'workers': 1},
    pytest.param({'runner': 'direct', 'workers': 2}, marks=pytest.mark.slow),
  ],
)
def test_a_pipeline_makes_the_same_records(
  tiny_crema_d, tiny_crema_d_dataset, tmp_path, monkeypatch, runner
):
  pytest.importorskip(
    'apache_beam', reason="Apache Beam, the extra `beam`, isn't installed"
  )
  # Small shards, so that there are several; Beam draws them as it likes.
  monkeypatch.setattr(beam.build, 'SHARD_BYTES', 1 << 20)
  monkeypatch.setattr(sys, 'argv', ['avemo', '--direct_num_workers=many'])
  plain = schema.open_dataset('crema_d_av', tiny_crema_d_dataset).directory
  made = build(tiny_crema_d, tmp_path, **runner)
  assert len(list(made.glob('*.array_record-*'))) > 1
  records = read_records(made)
  assert len(records) > 10 and records == read_records(plain)
  for name in ('quarantine.jsonl', 'index.parquet', 'prepared_from.json'):
    assert (made / name).read_bytes() == (plain / name).read_bytes(), name
  dataset = schema.open_dataset('crema_d_av', tmp_path)
  assert len(dataset.source) == len(records)
  assert dataset.source[3]['clip_id'].decode() == dataset.index['clip_id'][3]
  assert sorted(p.name for p in made.parent.iterdir()) == ['.lock', '1.0.0']


def test_what_a_pipeline_cannot_do_is_one_line(tmp_path):
  pytest.importorskip(
    'apache_beam', reason="Apache Beam, the extra `beam`, isn't installed"
  )
  raw = tmp_path / 'raw'
  raw.mkdir()
  (raw / '1001_DFA_ANG_XX.wav').write_bytes(b'no sound')
  cases = [
    ('did you mean FlinkRunner', {'runner': 'FlinkRuner'}),
    ('did you mean direct_num_workers', {
      'runner': 'FnApiRunner', 'runner_options': ['direct_num_worker=2'],
    }),
    ('none of 1 clip', {'runner': 'FnApiRunner'}),
  ]  # fmt: skip
  for expected, options in cases:
    with pytest.raises(errors.AvemoError, match=expected) as caught:
      build(raw, tmp_path / 'data', **options)
    assert '\n' not in str(caught.value)
  left = [p.name for p in tmp_path.glob('data/crema_d_av/face/*')]
  assert set(left) <= {'.lock'}


def test_without_beam_the_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  with pytest.raises(errors.AvemoError, match=r"pip install 'avemo\[beam\]'"):
    build(tmp_path, tmp_path, runner='FnApiRunner')
  with pytest.raises(errors.AvemoError, match='without --runner'):
    build(tmp_path, tmp_path, runner_options=['region=x'])
