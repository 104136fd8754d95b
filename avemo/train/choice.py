"""What of a run is chosen, and which of its checkpoints are kept."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from avemo import errors, models
from avemo.data import mixture
from avemo.evaluate import restore, scores
from avemo.train import control as control_lib
from avemo.train import feed as feed_lib
from avemo.train import settings

# What a model that measures its own loss is chosen by.
OWN_METRIC = 'val/loss'


@dataclasses.dataclass(frozen=True)
class Choice:
  """When to evaluate, and what to make of it; see `control.update`."""

  every: int
  metric: str
  options: dict[str, Any]


def make_choice(
  config: Mapping[str, Any], feed: feed_lib.Feed
) -> tuple[Choice | None, str]:
  """When and by what to choose, and whether more is better."""
  options, own = settings.split(
    'control',
    config.get('control', {}),
    control_lib.update,
    ('evaluate_every', 'metric'),
  )
  metric = own.get('metric', restore.DEFAULT_METRIC)
  known = (OWN_METRIC,)
  if not models.has_own_loss(restore.find_model(config['model'])):
    keys = mixture.list_keys(feed.dataset)
    known = [f'val/{name}' for name in scores.list_metrics(feed.tasks, keys)]
  settings.check_value('control.metric', metric, known)
  mode = options.get('mode', 'max')
  if not len(feed.val):
    return None, mode
  feed_lib.check_chosen(metric, feed)
  every = own.get('evaluate_every', 100)
  return Choice(every, metric, options), mode


def check_own_loss(config: Mapping[str, Any]) -> None:
  """Raises an AvemoError for options that such a model has no use for."""
  name = config['model']['name']
  used = [f'loss.{k}' for k, v in config.get('loss', {}).items() if v]
  used += ['data.balanced'] if config['data'].get('balanced') else []
  if used:
    raise errors.AvemoError(
      f'config: {name} measures its own loss and has no use for {used[0]}; '
      'leave it out'
    )
  control = config.get('control', {})
  found = control.get('metric', restore.DEFAULT_METRIC), control.get('mode')
  if found != (OWN_METRIC, 'min'):
    raise errors.AvemoError(
      f'config: {name} has no classes to be right about: set '
      f"control.metric={OWN_METRIC!r} and control.mode='min'"
    )


def make_keep(
  config: Mapping[str, Any], choice: Choice | None, mode: str
) -> tuple[int, dict[str, Any]]:
  """Steps between checkpoints, and which of them are kept."""
  keep, own = settings.split(
    'checkpoint',
    config.get('checkpoint', {}),
    ('keep_latest', 'keep_best', 'keep_every'),
    ('every',),
  )
  every = own.get('every', 100)
  metric = choice.metric if choice else None
  return every, keep | {'metric': metric, 'mode': mode}
