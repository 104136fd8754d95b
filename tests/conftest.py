"""Eight fake CPU devices for every test, set before JAX starts."""

import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
).strip()

pytest_plugins = ['fixtures_corpora']
