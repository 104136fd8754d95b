"""Eight fake CPU devices for every test, set before JAX starts."""

import importlib.metadata
import os
import shutil
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Small programs take longer to compile than to run: these two halve it. The
# processes that tests start inherit both, for bits are compared.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')
# What one test has compiled no other compiles again.
CACHE = 'JAX_COMPILATION_CACHE_DIR'
IS_FIRST = CACHE not in os.environ
if IS_FIRST:
  os.environ[CACHE] = tempfile.mkdtemp(prefix='avemo-tests-')
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
FLAGS = ['--xla_force_host_platform_device_count=8']
# Later ones do not know the word, and end the process over it.
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  FLAGS.append('--xla_cpu_use_fusion_emitters=false')
os.environ['XLA_FLAGS'] = ' '.join([os.environ.get('XLA_FLAGS', ''), *FLAGS])

# XLA's pool has a thread a core; on two cores eight devices that wait for one
# another have been seen to wait for ever, in jax 0.11.
os.environ.setdefault('NPROC', '16')

pytest_plugins = ['fixtures_corpora']

# The longest files start first, so that no worker is left alone with one.
LONGEST = (
  'test_train_resume',
  'test_whole_way_cnn',
  'test_whole_sequences',
  'test_whole_way',
  'test_train_pretraining',
  'test_demo',
  'test_simulate',
  'test_train_frozen',
  'test_train_mixture',
  'test_whole_mixture',
  'test_predict_files',
)


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_unconfigure():
  if IS_FIRST:
    shutil.rmtree(os.environ[CACHE], ignore_errors=True)
