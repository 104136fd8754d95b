"""Eight fake CPU devices for every test, set before JAX starts."""

import os

import pytest

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
).strip()

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

# Programs that run for some steps, and take longer to compile than to run.
COMPILED_QUICKLY = (
  'test_experiment_',
  'test_extract',
  'test_features_',
  'test_train_measure',
  'test_train_resizes',
  'test_whole_',
)


@pytest.fixture(scope='module', autouse=True)
def compile_quickly(request):
  if not request.path.stem.startswith(COMPILED_QUICKLY):
    yield
    return
  import jax

  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: item.path.stem not in LONGEST)
