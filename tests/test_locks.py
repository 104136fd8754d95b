"""A folder that one at a time works in."""

import threading

import pytest

from avemo import errors, locks


def test_a_second_is_told_at_once_and_a_third_comes_after(tmp_path):
  folder = tmp_path / 'new'
  with locks.hold(folder, 'busy') as file:
    file.write('kept')
    file.flush()
    with pytest.raises(errors.AvemoError, match='^busy$'):
      with locks.hold(folder, 'busy'):
        pass
    # Another file of the folder is another lock.
    with locks.hold(folder, 'busy', name='.other'):
      pass
  with locks.hold(folder, 'busy'):
    assert (folder / '.lock').read_text() == 'kept'


def test_whoever_waits_says_so_once(tmp_path):
  said, entered = [], threading.Event()

  def wait():
    with locks.hold(
      tmp_path, 'busy', patience=None, say=lambda: said.append(1)
    ):
      entered.set()

  with locks.hold(tmp_path, 'busy'):
    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(3 * locks.PAUSE)
  assert entered.wait(60)
  thread.join()
  assert said == [1]


def test_a_file_in_the_way_is_named(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(errors.AvemoError, match='file: cannot be written'):
    with locks.hold(tmp_path / 'file', 'busy'):
      pass
