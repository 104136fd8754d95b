"""Frozen towers whose features are cached: what may be, and how it is done."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from avemo import augment as augment_lib
from avemo import errors, models
from avemo.data import sequences
from avemo.data.clips import ClipOptions
from avemo.evaluate import restore
from avemo.features import cache, films, sources
from avemo.features import towers as towers_lib
from avemo.models import emotion
from avemo.train import feed as feed_lib
from avemo.train import overlap, settings
from avemo.train.state import TrainState

# Keys of a config's section `features`.
KEYS = ('cache', 'views', 'towers', 'frames', 'allow_overlap')

# Augmentations that act on what a cached batch holds as well.
EXACT = ('modality_dropout',)


def read(config: Mapping[str, Any]) -> dict[str, Any]:
  """The section `features`: the folder of the cache, and the fixed views.

  Without views, training draws frames and speech at random, which no cache
  can hold; with a cache there is one view when not said.
  """
  (options,) = settings.split('features', config.get('features') or {}, KEYS)
  found = {name: options.get(name) for name in KEYS}
  if is_sequence(config):
    return found
  for name in ('towers', 'frames', 'allow_overlap'):
    if found[name]:
      raise errors.AvemoError(
        f'config: features.{name} is for model.name=sequence; leave it out'
      )
  if found['cache'] and found['views'] is None:
    found['views'] = 1
  return found


def is_sequence(config: Mapping[str, Any]) -> bool:
  """Whether the model reads features of frames, of towers of other runs."""
  return restore.find_model(config['model']) is models.MODELS['sequence']


def attach_films(
  feed: feed_lib.Feed, config: Mapping[str, Any]
) -> tuple[feed_lib.Feed, Mapping[str, Any]]:
  """The feed with features of films, and the config with their widths.

  Both as they are where the model reads clips.

  Raises:
    AvemoError: what the section `features` lacks.
  """
  if not is_sequence(config):
    return feed, config
  options = read(config)
  for name in ('cache', 'frames'):
    if not options[name]:
      raise errors.AvemoError(
        f'config: features.{name} is missing: model.name=sequence reads '
        'windows of so many frames from a folder of cached features'
      )
  if config['optim'].get('accumulate', 1) > 1:
    raise errors.AvemoError(
      'config: optim.accumulate divides clips, and model.name=sequence has '
      'windows of frames; use data.batch_size'
    )
  if jax.process_count() > 1:
    raise errors.AvemoError(
      'config: features.cache: is filled by one process; run it on one host'
    )
  # Once more than the loop does, for the features may take hours.
  overlap.check(config, feed)
  towers = sources.open_towers(options['towers'] or {})
  described = sources.describe(towers)
  features = films.cache_films(
    options['cache'],
    feed.dataset,
    [*feed.train, *feed.val],
    towers,
    length=options['frames'],
  )
  feed = dataclasses.replace(
    feed,
    features=features,
    towers=tuple(described),
    workers=0,
    options=describe_window(towers, features),
  )
  inputs = [[one['name'], one['width']] for one in described]
  return feed, {**config, 'model': config['model'] | {'inputs': inputs}}


def describe_window(
  towers: Mapping[str, towers_lib.Tower], features: sequences.Films
) -> ClipOptions:
  """A window as a clip, as new films are read: frames spread over its time."""
  use = sources.list_modalities(towers)
  own = {}
  for name, tower in towers.items():
    if tower.modality != 'video':
      continue
    cut = {k: getattr(tower.options, k) for k in ('size', 'margin', 'squeeze')}
    if own and cut != own:
      raise errors.AvemoError(
        f'features.towers.{name}: sees faces by {cut}, and another tower by '
        f'{own}; new films are cut in one way: use towers that agree'
      )
    own = cut
  return ClipOptions(
    frames=features.length,
    seconds=round(features.length * features.find_step(), 4),
    use=use,
    **own,
  )


def check(
  config: Mapping[str, Any],
  model: Any,
  frozen: Sequence[str],
  feed: feed_lib.Feed,
) -> None:
  """Raises an AvemoError where a cache could not give the same numbers.

  Args:
    config: whose section `features` names a cache.
    model: of the run.
    frozen: modalities whose tower is not trained.
    feed: of the run.
  """
  place = 'config: features.cache'
  if not isinstance(model, emotion.Emotion):
    raise errors.AvemoError(
      f'{place}: {config["model"]["name"]} has no towers of its own to cache'
    )
  if jax.process_count() > 1:
    raise errors.AvemoError(
      f'{place}: is filled by one process; run it on one host'
    )
  trained = [name for name in feed.options.use if name not in frozen]
  if trained:
    raise errors.AvemoError(
      f'{place}: the {trained[0]} tower is trained, and its features change '
      f'with it; freeze it by --config.optim.freeze="(\'{trained[0]}/.*\',)" '
      'or leave the cache out'
    )
  if model.fusion is not None:
    raise errors.AvemoError(
      f'{place}: towers that are joined before their end have no features of '
      'their own; use model.fusion.kind=late'
    )
  for name in augment_lib.check(config.get('augment')):
    if name not in EXACT:
      raise errors.AvemoError(
        f'{place}: augment.{name} changes what the towers read at every step; '
        'leave it out, or raise features.views, the number of fixed looks at '
        'each clip that training draws from'
      )
  table = feed.make_table()
  if table.by_frame[feed.train].any() or table.by_frame[feed.val].any():
    raise errors.AvemoError(
      f'{place}: holds one feature a clip, and labels here stand by frame; use '
      'model.name=sequence'
    )


def attach(
  feed: feed_lib.Feed,
  mesh: jax.sharding.Mesh,
  config: Mapping[str, Any],
  state: TrainState,
) -> feed_lib.Feed:
  """The feed with the features of all that is trained and chosen on."""
  options = read(config)
  features = cache.cache_clips(
    options['cache'],
    feed.dataset,
    [*feed.train, *feed.val],
    cache.list_towers(
      config['model'],
      state.params,
      state.batch_stats,
      feed.options.use,
      feed.options,
    ),
    options=feed.options,
    mesh=mesh,
    batch_size=feed.batch_size,
    views=options['views'],
    workers=feed.workers,
  )
  # Nothing is left that a process would be needed for.
  return dataclasses.replace(feed, features=features, workers=0)
