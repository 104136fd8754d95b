"""A small simulated corpus and its dataset, made once for all tests."""

import contextlib
import fcntl
import os
import shutil

import pytest

from avemo.simulate import corpus
from datasets_tfds import prepare


@pytest.fixture(scope='session')
def shared_folder(tmp_path_factory):
  """A folder of this test run that all of its worker processes share."""
  own = tmp_path_factory.getbasetemp()
  return own.parent if 'PYTEST_XDIST_WORKER' in os.environ else own


@contextlib.contextmanager
def lock(path):
  with open(f'{path}.lock', 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


@pytest.fixture(scope='session')
def tiny_crema_d(shared_folder):
  """Raw CREMA-D with quirks: 17 clips of 7 speakers, in every fold."""
  root = shared_folder / 'tiny_crema_d'
  with lock(root):
    if not root.exists():
      corpus.simulate(
        'crema_d',
        root,
        speakers=2,
        clips_per_speaker=2,
        quirks=True,
        progress=False,
      )
  return root


@pytest.fixture(scope='session')
def tiny_crema_d_dataset(shared_folder, tiny_crema_d):
  """A data folder that holds `crema_d_av/face`; leave it as it is."""
  data_dir = shared_folder / 'tiny_crema_d_dataset'
  with lock(data_dir):
    prepare.prepare(
      'crema_d', tiny_crema_d, data_dir=data_dir, workers=0, progress=False
    )
  return data_dir


# Raw trees with quirks, of speakers in three folds each.
@pytest.fixture(scope='session', params=['enterface', 'msp_improv'])
def tiny_corpus(request, shared_folder):
  """A corpus, its raw tree, and a data folder that holds its dataset."""
  name = request.param
  root = shared_folder / f'tiny_{name}'
  data_dir = shared_folder / f'tiny_{name}_dataset'
  with lock(root):
    if not root.exists():
      corpus.simulate(
        name,
        root,
        speakers=1,
        clips_per_speaker=1,
        quirks=True,
        progress=False,
      )
    prepare.prepare(name, root, data_dir=data_dir, workers=0, progress=False)
  return name, root, data_dir


# Films of the corpus above as somebody's own, with what a table says of them:
# path, film, speaker, emotion, valence, au_12, split.
CUSTOM = (
  ('train/1.flv', '1006_ITS_DIS_XX', 'anna', 'Disgust', '-0.5', '0', ''),
  ('train/2.flv', '1006_WSI_ANG_XX', 'anna', 'anger', '-1.5', '', ''),
  ('train/3.flv', '1013_WSI_SAD_XX', 'ben', 'sadness', '', '', ''),
  ('train/4.flv', '1064_TIE_SAD_XX', 'cleo', 'sadness', '', '', ''),
  ('val/5.flv', '1029_ITS_ANG_XX', 'dora', 'anger', '', '', ''),
  ('val/6.flv', '1029_IOM_DIS_XX', 'dora', 'disgust', '', '', ''),
  ('7.flv', '1040_ITH_SAD_XX', 'emil', 'anger', '0.25', '1', 'test'),
  ('8.flv', '1017_IWW_FEA_XX', 'emil', 'sadness', '', '', 'test'),
)


def write_custom(source, root, table):
  """The films in folders of their own, and the table with four odd rows."""
  lines = ['path,frame,speaker,emotion,valence,au_12,split']
  for path, film, *cells in CUSTOM:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / f'VideoFlash/{film}.flv', root / path)
    lines.append(','.join([path, '', *cells]))
  shutil.copyfile(root / CUSTOM[0][0], root / 'unnamed.flv')
  lines += [lines[1], 'gone.flv,,anna,anger,,,']
  lines += ['train/1.flv,3,,sadness,0.75,,', 'train/1.flv,900,,,0.5,,']
  table.write_text('\n'.join(lines) + '\n', encoding='utf-8')


@pytest.fixture(scope='session')
def tiny_custom(shared_folder, tiny_crema_d):
  """Own recordings: a folder, its table of labels, a data folder with both.

  Of the table's rows one has no file, one doubles another, one has a wrong
  cell and one a frame that is not there; one file has no row.
  """
  root = shared_folder / 'tiny_custom'
  table = shared_folder / 'tiny_custom.csv'
  data_dir = shared_folder / 'tiny_custom_dataset'
  with lock(root):
    if not root.exists():
      write_custom(tiny_crema_d, root, table)
      # Once: tests prepare it again, and a dataset has one builder at a time.
      prepare.prepare(
        'custom',
        root,
        labels=table,
        data_dir=data_dir,
        workers=0,
        progress=False,
      )
  return root, table, data_dir
