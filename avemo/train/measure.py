"""What a config leaves to be measured on the clips that it trains on.

`measure` in a config names some of `PLACES`. What is found is put in its
place in the config before the first step, and written with it, so that
whoever opens the workdir reads clips as training did. No clip that is chosen
or scored on is looked at.
"""

import copy
import pathlib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from avemo import errors
from avemo.audio import features as audio_features
from avemo.data import clips, mixture, pipeline
from avemo.evaluate import restore
from avemo.models import pictures
from avemo.runtime import distributed
from avemo.runtime import mesh as mesh_lib
from avemo.train import feed as feed_lib
from avemo.train import settings

# Of a clip's speech the mean length and one standard deviation more; of each
# band or coefficient, and of the pictures' channels, mean and deviation.
PLACES = types.MappingProxyType(
  {
    'seconds': ('data.seconds',),
    'features': ('model.features.mean', 'model.features.std'),
    'pictures': ('model.pictures.mean', 'model.pictures.std'),
  }
)
# What is measured is kept to so many digits, for a config to be read by.
DIGITS = 6
# Flatter than this is not divided by.
MIN_STD = 1e-3
# Records whose pictures or sound are held at a time.
BATCH_SIZE = 16

MakeFeed = Callable[[Mapping[str, Any]], feed_lib.Feed]


def check(config: Mapping[str, Any]) -> None:
  """Raises an AvemoError for a measure that is unknown or of no use."""
  for name in config.get('measure') or ():
    settings.check_value('measure', name, tuple(PLACES))
  features = config['model'].get('features') or {}
  if 'features' in (config.get('measure') or ()):
    kind = features.get('kind')
    if features.get('front_end', 'log_mel') != 'log_mel' or kind != 'constant':
      raise errors.AvemoError(
        "config: measure: 'features' needs model.features.kind='constant', by "
        'which they are then normalised, of the front-end log_mel'
      )


def complete(
  config: Mapping[str, Any], workdir: pathlib.Path, make_feed: MakeFeed
) -> dict[str, Any]:
  """The config with all that it leaves to be measured.

  A run that goes on takes what it measured when it began.

  Args:
    config: a nested dict, checked.
    workdir: of the run.
    make_feed: opens what a config trains on.
  """
  config = copy.deepcopy(dict(config))
  use = tuple(config['model'].get('use') or clips.MODALITIES)
  needs = {'seconds': 'audio', 'features': 'audio', 'pictures': 'video'}
  names = [n for n in config.get('measure') or () if needs[n] in use]
  if not names:
    return config
  places = [place for name in names for place in PLACES[name]]
  feed = make_feed(config)
  found = recall(config, workdir, places, mixture.identify(feed.dataset))
  if found is None:
    found = {}
    if 'seconds' in names:
      found['data.seconds'] = measure_seconds(feed)
      put(config, found)
      feed = make_feed(config)
    found |= measure_values(config['model'], feed, names)
    if distributed.is_first():
      tqdm.tqdm.write(
        f'measured on {len(feed.train)} training records: '
        + ', '.join(describe(*pair) for pair in found.items())
      )
  put(config, found)
  return config


def describe(place: str, value: float | Sequence[float]) -> str:
  if isinstance(value, float):
    return f'{place} {value:g}'
  if len(value) == 1:
    return f'{place} {value[0]:.4g}'
  return f'{place} {min(value):.4g} to {max(value):.4g}'


def put(config: dict[str, Any], found: Mapping[str, Any]) -> None:
  """Sets dotted keys of a config."""
  for place, value in found.items():
    *path, key = place.split('.')
    section = config
    for name in path:
      section = section.setdefault(name, {})
    section[key] = value


def recall(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  places: Sequence[str],
  identity: str,
) -> dict[str, Any] | None:
  """What this very run measured before; None where it did not."""
  if not (workdir / 'config.json').is_file():
    return None
  old = settings.flatten(restore.read_json(workdir / 'config.json'))
  new = settings.flatten(config)
  found = {place: old.get(place) for place in places}
  # An empty section is a value, which what was measured took the place of.
  rest = [
    {
      key: value
      for key, value in flat.items()
      if key not in places and value not in ({}, None)
    }
    for flat in (old, new)
  ]
  if None in found.values() or settings.find_differences(*rest):
    return None
  about = restore.read_json(workdir / 'labels.json')
  return found if about.get('dataset_sha256') == identity else None


def measure_seconds(feed: feed_lib.Feed) -> float:
  """Mean and deviation of the training records' speech, to 10 ms."""
  samples = feed.dataset.index['num_samples'][feed.train]
  seconds = samples[samples > 0] / clips.SAMPLE_RATE
  if not len(seconds):
    raise errors.AvemoError(
      f"config: measure: 'seconds': no training clip of {feed.dataset.name} "
      'has sound'
    )
  return max(round(float(seconds.mean() + seconds.std()), 2), 0.01)


def measure_values(
  model: Mapping[str, Any], feed: feed_lib.Feed, names: Sequence[str]
) -> dict[str, list[float]]:
  """Mean and deviation of each band, and of each of the pictures' channels."""
  options = dict(model.get('features') or {})
  options |= {'kind': 'none', 'mean': 0.0, 'std': 1.0}
  grey = bool((model.get('pictures') or {}).get('grey'))

  def read_bands(batch):
    values = audio_features.features(
      batch['speech'], batch['speech_length'], options
    )
    count = audio_features.count_features(
      batch['speech_length'], values.shape[1], options
    )
    return values, np.arange(values.shape[1]) < count[:, None]

  def read_channels(batch):
    values = pictures.to_unit(batch['frames'], grey=grey)
    shown = batch['has_video'][:, None, None, None]
    return values, jnp.broadcast_to(shown, values.shape[:-1])

  readers = {'features': read_bands, 'pictures': read_channels}
  readers = {n: jax.jit(r) for n, r in readers.items() if n in names}
  if not readers:
    return {}
  sums = {name: np.float64(0) for name in readers}
  for batch in iterate(feed):
    for name, read in readers.items():
      values, valid = map(np.asarray, read(batch))
      valid = valid & np.expand_dims(batch['mask'], (*range(1, valid.ndim),))
      kept = values[valid].astype(np.float64)
      sums[name] = sums[name] + [
        np.full(kept.shape[-1], len(kept)), kept.sum(0), np.square(kept).sum(0)
      ]  # fmt: skip
  found = {}
  for name, (count, total, square) in sums.items():
    mean = total / np.maximum(count, 1)
    variance = np.maximum(square / np.maximum(count, 1) - mean**2, 0)
    values = mean, np.maximum(np.sqrt(variance), MIN_STD)
    for place, value in zip(PLACES[name], values, strict=True):
      found[place] = [float(f'{v:.{DIGITS}g}') for v in value]
  return found


def iterate(feed: feed_lib.Feed) -> Iterator[dict[str, np.ndarray]]:
  """Every training record once, with a progress bar; all of them a host."""
  table = feed.make_table()
  looks = pipeline.list_looks(
    feed.dataset, feed.train, table, options=feed.options, every=feed.every
  )
  batches = pipeline.eval_batches(
    feed.dataset,
    looks,
    table,
    options=feed.options,
    batch_size=BATCH_SIZE,
    every=feed.every,
    workers=min(feed.workers, -(-len(looks) // BATCH_SIZE) - 1),
  )
  with tqdm.tqdm(
    total=len(looks), unit='clip', desc='measuring', disable=None
  ) as bar:
    try:
      for batch in batches:
        yield batch
        bar.update(int(batch['mask'].sum()))
    finally:
      batches.close()


def make_feed_maker(
  make_feed: Callable[..., feed_lib.Feed], dataset: Any | None
) -> MakeFeed:
  """From a config to its feed, on the devices that the config names."""

  def make(config):
    options, _ = settings.split(
      'mesh', config.get('mesh', {}), mesh_lib.AXES, mesh_lib.place_params
    )
    return make_feed(config, mesh_lib.make_mesh(**options), dataset)

  return make
