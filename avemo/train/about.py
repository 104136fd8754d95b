"""What a run says of itself: data, config, versions and devices."""

import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

import jax
import numpy as np

import avemo
from avemo.data import labels, mixture, seen
from avemo.evaluate import page, restore
from avemo.train import feed as feed_lib
from avemo.train import overlap
from avemo.train import run as run_lib

PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'grain',
  'numpy',
  'tensorflow-datasets',
  'array-record',
  'opencv-python-headless',
)


def describe_feed(feed: feed_lib.Feed) -> str:
  """How many records are trained and chosen on, and how many left out."""
  text = f'training on {len(feed.train)} records, choosing on {len(feed.val)}'
  keys = mixture.list_keys(feed.dataset)
  if len(keys) > 1:
    counts = [
      np.bincount(
        mixture.find_parts(feed.dataset, records), minlength=len(keys)
      )
      for records in (feed.train, feed.val)
    ]
    each = zip(keys, *counts, strict=True)
    text += f' ({", ".join(f"{key} {t} and {v}" for key, t, v in each)})'
  left_out = [
    f'{count} without {what}'
    for count, what in (
      (feed.num_without_input, ' or '.join(feed.options.use)),
      (feed.num_without_label, 'a label'),
    )
    if count
  ]
  text += f'; left out: {", ".join(left_out)}' if left_out else ''
  if feed.derive:
    text += (
      f'; valence and arousal are derived from emotions by {feed.derive} where '
      'a clip has none, for training alone'
    )
  return text


def write(
  workdir: pathlib.Path,
  config: dict[str, Any],
  run: run_lib.Run,
  *,
  resumed: bool = False,
) -> None:
  """Writes `config.json`, `environment.json` and `labels.json`.

  And `trained_on.json`, where a resumed run has not left it yet: what it
  started from may be gone since.
  """
  feed = run.feed
  files = {
    'config.json': config,
    'environment.json': describe_environment(run.mesh),
    'labels.json': restore.describe_inputs(
      feed.dataset,
      feed.labels,
      feed.options,
      derive=feed.derive,
      towers=feed.towers,
      untrained_units=find_untrained(feed),
    ),
  }
  if not resumed or not (workdir / seen.FILE).is_file():
    files[seen.FILE] = overlap.describe(config, feed, workdir)
  for name, content in files.items():
    page.write_text(workdir / name, json.dumps(content, indent=1) + '\n')


def find_untrained(feed: feed_lib.Feed) -> list[str]:
  """The action units that a head has and no training clip a label of."""
  if labels.ACTION_UNITS not in feed.tasks:
    return []
  known, _ = feed.count_units()
  names = labels.VALUES[labels.ACTION_UNITS]
  return [name for name, n in zip(names, known, strict=True) if not n]


def describe_environment(mesh: jax.sharding.Mesh) -> dict[str, Any]:
  """Versions and devices."""
  devices = mesh.devices.flatten()
  return {
    'avemo': avemo.__version__,
    'python': platform.python_version(),
    'system': platform.platform(),
    'cpus': os.cpu_count(),
    'packages': {name: importlib.metadata.version(name) for name in PACKAGES},
    'backend': jax.default_backend(),
    'devices': [f'{d.id}: {d.device_kind}' for d in devices],
    'processes': jax.process_count(),
    'mesh': dict(mesh.shape),
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
  }
