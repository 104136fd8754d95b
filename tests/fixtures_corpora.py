"""A small simulated corpus and its dataset, made once for all tests."""

import contextlib
import fcntl
import os

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
