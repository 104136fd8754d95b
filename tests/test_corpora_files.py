"""Finding a corpus's files: trees, copies, stubs, tables."""

import os

import pytest
from corpus_trees import STUB, put

from avemo import corpora, errors
from avemo.corpora import crema_d, files, protocols


def find(root, **kwargs):
  return files.find_media(
    root, crema_d.parse_name, crema_d.canonical_stem, 'CREMA-D', **kwargs
  )


def test_finds_media_in_any_tree_and_any_case(tmp_path):
  put(tmp_path / 'deep' / 'er' / '1002_DFA_SAD_XX.WAV')
  put(tmp_path / '1001_dfa_ang_xx.Flv')
  put(tmp_path / 'notes.txt')
  found, quarantined = find(tmp_path)
  assert [(f.stem, f.suffix) for f in found] == [
    ('1001_DFA_ANG_XX', '.flv'),
    ('1002_DFA_SAD_XX', '.wav'),
  ]
  assert quarantined == []


def test_leaves_what_systems_leave_behind(tmp_path):
  put(tmp_path / '._1001_DFA_ANG_XX.wav')
  put(tmp_path / '__MACOSX' / '1001_DFA_ANG_XX.wav')
  put(tmp_path / '.git' / '1001_DFA_ANG_XX.wav')
  assert find(tmp_path) == ([], [])


def test_quarantines_what_is_no_medium(tmp_path):
  stub = put(tmp_path / '1001_DFA_ANG_XX.wav', STUB)
  empty = put(tmp_path / '1001_DFA_DIS_XX.wav', b'')
  strange = put(tmp_path / 'holiday.mp4')
  broken = tmp_path / '1001_DFA_FEA_XX.wav'
  broken.symlink_to(tmp_path / 'gone.wav')
  found, quarantined = find(tmp_path)
  assert found == []
  reasons = {q.path: q.reason for q in quarantined}
  assert 'git lfs pull' in reasons[str(stub)]
  assert 'empty' in reasons[str(empty)]
  assert 'not a file name of CREMA-D' in reasons[str(strange)]
  assert 'broken link' in reasons[str(broken)]


def test_a_long_file_with_the_words_of_a_stub_is_none(tmp_path):
  path = put(tmp_path / 'x.wav', STUB + b'\0' * files.LFS_LARGEST)
  assert not files.is_lfs_stub(path)
  assert files.is_lfs_stub(put(tmp_path / 'y.wav', STUB))


def test_copies_of_the_same_bytes_count_once(tmp_path):
  outer = put(tmp_path / 'a' / '1001_DFA_ANG_XX.wav', b'1234')
  put(tmp_path / 'a' / 'again' / '1001_DFA_ANG_XX.wav', b'1234')
  found, quarantined = find(tmp_path)
  assert [f.path for f in found] == [outer]
  assert quarantined == []


def test_copies_that_differ_are_all_given_the_least_nested_first(tmp_path):
  outer = put(tmp_path / 'a' / '1001_DFA_ANG_XX.wav', b'0000')
  # The size does not tell that the outer one is damaged.
  nested = put(tmp_path / 'a' / 'b' / '1001_DFA_ANG_XX.wav', b'1234')
  longer = put(tmp_path / 'a' / 'c' / '1001_DFA_ANG_XX.wav', b'12345678')
  put(tmp_path / 'a' / 'd' / '1001_DFA_ANG_XX.wav', b'1234')
  found, quarantined = find(tmp_path)
  assert [f.path for f in found] == [outer, nested, longer]
  assert quarantined == []
  (clip,), _ = crema_d.scan(tmp_path)
  assert clip.audios == (str(outer), str(nested), str(longer))


def test_a_stub_gives_way_to_a_nested_medium(tmp_path):
  put(tmp_path / '1001_DFA_ANG_XX.wav', STUB)
  nested = put(tmp_path / 'copy' / '1001_DFA_ANG_XX.wav')
  assert [f.path for f in find(tmp_path)[0]] == [nested]


def test_unused_renderings_are_not_looked_into(tmp_path):
  put(tmp_path / '1001_DFA_ANG_XX.mp3', STUB)
  found, quarantined = find(tmp_path, unused=('.mp3',))
  assert [f.suffix for f in found] == ['.mp3']
  assert quarantined == []


def test_follows_links_to_folders_but_never_in_circles(tmp_path):
  put(tmp_path / 'elsewhere' / '1001_DFA_ANG_XX.wav')
  root = tmp_path / 'root'
  root.mkdir()
  (root / 'media').symlink_to(tmp_path / 'elsewhere')
  (tmp_path / 'elsewhere' / 'back').symlink_to(root)
  assert len(find(root)[0]) == 1


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
  for name in ('1003_DFA_ANG_XX', '1001_DFA_ANG_XX', '1002_DFA_ANG_XX'):
    put(tmp_path / 'x' / f'{name}.wav')
    put(tmp_path / 'w' / f'{name}.wav')
  straight = find(tmp_path)
  scandir = os.scandir

  class Backwards:
    def __init__(self, path):
      self.entries = iter(list(scandir(path))[::-1])

    def __enter__(self):
      return self

    def __exit__(self, *args):
      pass

    def __iter__(self):
      return self

    def __next__(self):
      return next(self.entries)

  monkeypatch.setattr(os, 'scandir', Backwards)
  assert find(tmp_path) == straight


@pytest.mark.parametrize('exists', [False, True])
def test_a_root_that_is_no_folder_gets_one_line(tmp_path, exists):
  root = tmp_path / 'raw'
  if exists:
    root.write_text('a file')
  with pytest.raises(errors.AvemoError, match='folder') as error:
    list(files.walk(root))
  assert str(root) in str(error.value)
  assert '\n' not in str(error.value)


def test_finds_a_table_by_name_in_any_case(tmp_path):
  deep = put(tmp_path / 'a' / 'b' / 'summarytable.CSV')
  assert files.find_table(tmp_path, 'summaryTable.csv') == deep
  near = put(tmp_path / 'summaryTable.csv')
  assert files.find_table(tmp_path, 'summaryTable.csv') == near
  assert files.find_table(tmp_path, 'tabulatedVotes.csv') is None


def test_an_unknown_corpus_names_the_nearest():
  assert corpora.get('crema_d') is crema_d
  with pytest.raises(errors.AvemoError, match='did you mean ravdess'):
    corpora.get('RAVDES')
  with pytest.raises(
    errors.AvemoError, match='known: crema_d, ravdess, enterface'
  ):
    corpora.get('zzzz')


@pytest.mark.parametrize('name', corpora.CORPORA)
def test_every_corpus_says_what_it_must(name):
  corpus = corpora.get(name)
  assert len(set(corpus.EMOTIONS)) == len(corpus.EMOTIONS)
  assert corpus.LONGEST_CLIP > 0
  for text in (corpus.LICENCE, corpus.CITATION, corpus.DESCRIPTION):
    assert text
  if not hasattr(corpus, 'all_names'):
    with pytest.raises(errors.AvemoError, match='--names FILE|--raw DIR'):
      protocols.rows_of_corpus(name)
    return
  names = [corpus.parse_name(n) for n in corpus.all_names()]
  assert [n.clip_id for n in names] == sorted({n.clip_id for n in names})
  assert {n.emotion for n in names} == set(corpus.EMOTIONS)
  assert all(set(n.extra) <= set(corpus.EXTRA) for n in names)


def test_a_folder_of_pictures_may_hold_other_files(tmp_path):
  for name in ('a.db', 'b.txt', 'c.log'):
    (tmp_path / name).touch()
  assert not files.holds_pictures(tmp_path)
  (tmp_path / '00001.JPG').touch()
  assert files.holds_pictures(tmp_path)
  assert not files.holds_pictures(tmp_path / 'absent')
