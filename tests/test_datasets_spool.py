"""Records on their way from a worker."""

import pickle

import pytest

from datasets_tfds import spool


def test_few_records_stay_in_memory_and_many_go_to_disk(tmp_path, monkeypatch):
  made = [bytes([number]) * (number + 1) for number in range(20)]
  assert spool.store(iter(made), str(tmp_path)) == made
  monkeypatch.setattr(spool, '_KEPT_BYTES', 30)
  stored = spool.store(iter(made), str(tmp_path))
  assert len(list(tmp_path.iterdir())) == 1
  # On its way between processes.
  stored = pickle.loads(pickle.dumps(stored))
  assert len(stored) == 20 and list(stored) == made
  assert not list(tmp_path.iterdir())
  assert not spool.store(iter(()), str(tmp_path))


def test_what_fails_leaves_no_file(tmp_path, monkeypatch):
  monkeypatch.setattr(spool, '_KEPT_BYTES', 30)

  def make():
    yield b'a' * 31
    yield b'b'
    raise OSError('gone')

  with pytest.raises(OSError, match='gone'):
    spool.store(make(), str(tmp_path))
  assert not list(tmp_path.iterdir())
