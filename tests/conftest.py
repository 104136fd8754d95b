"""Eight fake CPU devices for every test, set before JAX starts."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
).strip()

# XLA's pool has a thread a core; on two cores eight devices that wait for one
# another have been seen to wait for ever, in jax 0.11.
os.environ.setdefault('NPROC', '16')

pytest_plugins = ['fixtures_corpora']
