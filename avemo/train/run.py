"""A config made into the parts of a run, before its first step."""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from avemo import augment as augment_lib
from avemo import errors, models
from avemo.data import labels
from avemo.data.clips import ClipOptions
from avemo.evaluate import films, predictions, restore
from avemo.runtime import mesh as mesh_lib
from avemo.train import cached, losses, measure, optim, resizes, settings
from avemo.train import choice as choice_lib
from avemo.train import control as control_lib
from avemo.train import feed as feed_lib
from avemo.train import init as init_lib
from avemo.train import step as step_lib
from avemo.train.state import TrainState

SECTIONS = (
  'seed',
  'steps',
  'log_every',
  'deterministic',
  'data_dir',
  'data',
  'measure',
  'augment',
  'model',
  'features',
  'init',
  'loss',
  'optim',
  'control',
  'evaluate',
  'checkpoint',
  'mesh',
  'sharding',
)
REQUIRED = ('seed', 'steps', 'data', 'model', 'optim')

# Least and greatest values; None is no bound.
RANGES = types.MappingProxyType(
  {
    'seed': (0, 2**31 - 1),
    'steps': (1, None),
    'log_every': (1, None),
    'data.batch_size': (1, None),
    'data.margin': (0.5, 10),
    'data.seconds': (0, 600),
    'data.workers': (0, 1024),
    'data.every': (0.01, 600),
    'features.views': (1, 100),
    'features.frames': (1, 100_000),
    'model.dropout': (0, 0.99),
    'loss.label_smoothing': (0, 1),
    'optim.accumulate': (1, None),
    'optim.clip': (0, None),
    'optim.ema': (0, 0.999999),
    'optim.layer_decay': (0, 1),
    'optim.lr': (0, None),
    'optim.warmup': (0, None),
    'optim.weight_decay': (0, None),
    'control.evaluate_every': (1, None),
    'control.patience': (0, None),
    'control.plateau_patience': (0, None),
    'control.plateau_factor': (0, 1),
    'checkpoint.every': (1, None),
  }
)


@dataclasses.dataclass(frozen=True)
class Run:
  """All parts of a run.

  Attributes:
    steps: number of steps at the end.
    log_every: steps between lines of training metrics.
    mesh: of devices.
    feed: of batches.
    model: the module.
    shapes: of the state.
    shardings: of the state.
    placement: of the parameters.
    init: jitted; from nothing to the state before the first step.
    fill: from that state to one with the towers that do not start from
      chance, and lines that say so; see `init.initialize`.
    train_step: see `step.make_train_step`.
    predict_step: see `predictions.make_predict_step`, or `make_loss_step` for
      a model that measures its own loss.
    choice: None where nothing is chosen.
    save_every: steps between checkpoints.
    keep: arguments of `Checkpoints`.
    averages: whether evaluation uses the average of the parameters.
    attach: from the state before the first step, or a later one, to the feed
      with what is cached; None where nothing is.
  """

  steps: int
  log_every: int
  mesh: jax.sharding.Mesh
  feed: feed_lib.Feed
  model: Any
  shapes: TrainState
  shardings: TrainState
  placement: mesh_lib.Placement
  init: Callable[[], TrainState]
  fill: Callable[[TrainState], tuple[TrainState, list[str]]]
  train_step: Callable[..., Any]
  predict_step: predictions.Step
  choice: choice_lib.Choice | None
  save_every: int
  keep: dict[str, Any]
  averages: bool
  attach: Callable[[TrainState], feed_lib.Feed] | None = None


def check_sections(config: Mapping[str, Any]) -> None:
  """Raises an AvemoError for a section that is unknown or missing."""
  settings.check_keys('', config, SECTIONS)
  missing = [name for name in REQUIRED if name not in config]
  if missing:
    raise errors.AvemoError(f'config: {missing[0]!r} is missing')
  settings.check_ranges(config, RANGES)
  augment_lib.check(config.get('augment'))
  measure.check(config)


def make_run(config: Mapping[str, Any], dataset: Any | None = None) -> Run:
  """Mesh, data, model, optimiser, shardings and steps of a config.

  Args:
    config: a nested dict.
    dataset: open already; None opens the one that the config names.

  Raises:
    AvemoError: what is wrong with the config, or missing on disk.
  """
  check_sections(config)
  seed, steps = config['seed'], config['steps']
  sizes, split = settings.split(
    'mesh',
    config.get('mesh', {}),
    mesh_lib.AXES,
    mesh_lib.place_params,
  )
  mesh = mesh_lib.make_mesh(**sizes)
  feed, config = open_feed(config, mesh, dataset)
  (loss,) = settings.split('loss', config.get('loss', {}), LOSS)
  if models.has_own_loss(restore.find_model(config['model'])):
    choice_lib.check_own_loss(config)
  adjust, rate, own = settings.split(
    'optim',
    config['optim'],
    optim.make_optimizer,
    [k for k in settings.find_keys(optim.make_schedule) if k != 'steps'],
    ('accumulate', 'ema'),
  )
  measured = make_loss(loss, feed)
  learning_rate = optim.make_schedule(steps=steps, **rate)
  model, params, towers = build_model(config, feed, adjust.get('freeze', ()))
  is_cached = bool(cached.read(config)['cache']) and not feed.features
  if is_cached:
    cached.check(config, model, towers, feed)
  tx = build_optimizer(config, params, learning_rate, adjust)
  choice, mode = choice_lib.make_choice(config, feed)
  init = make_init(model, tx, feed.options, seed, own.get('ema', 0), mode)
  shapes = jax.eval_shape(init)
  placement = mesh_lib.place_params(
    shapes.params, mesh, config.get('sharding', ()), **split
  )
  shardings = mesh_lib.place_like(shapes, shapes.params, placement)
  save_every, keep = choice_lib.make_keep(config, choice, mode)
  train_step = step_lib.make_train_step(
    model,
    tx,
    learning_rate,
    shardings,
    seed=seed,
    augment=config.get('augment'),
    tasks=feed.tasks,
    held=towers if is_cached else (),
    **measured,
    **own,
  )
  predict_step = predictions.make_predict_step
  if models.has_own_loss(model):
    predict_step = predictions.make_loss_step
  return Run(
    steps=steps,
    log_every=config.get('log_every', 10),
    mesh=mesh,
    feed=feed,
    model=model,
    shapes=shapes,
    shardings=shardings,
    placement=placement,
    init=jax.jit(init, out_shardings=shardings),
    fill=functools.partial(
      init_lib.initialize,
      model=config['model'],
      find_resizes=functools.partial(resizes.find_resizes, config['model']),
      **init_lib.check(config.get('init', {})),
    ),
    train_step=train_step,
    predict_step=predict_step(model, mesh),
    choice=choice,
    save_every=save_every,
    keep=keep,
    averages=bool(own.get('ema')),
    attach=functools.partial(cached.attach, feed, mesh, config)
    if is_cached
    else None,
  )


def open_feed(
  config: Mapping[str, Any], mesh: jax.sharding.Mesh, dataset: Any | None
) -> tuple[feed_lib.Feed, Mapping[str, Any]]:
  """Batches, and the config with what is known once they are there."""
  feed = make_feed(config, mesh, dataset)
  films.check_way(
    config,
    feed.dataset,
    lambda: feed.make_table().by_frame.any(),
  )
  return cached.attach_films(feed, config)


def build_model(
  config: Mapping[str, Any], feed: feed_lib.Feed, freeze: Sequence[str]
) -> tuple[Any, Any, tuple[str, ...]]:
  """The module, shapes of its parameters, and its towers that are frozen.

  Args:
    config: a nested dict.
    feed: of batches.
    freeze: patterns of parameters that are held.
  """

  def make(frozen):
    return restore.make_model(
      config['model'],
      num_classes=len(feed.labels),
      augment=config.get('augment'),
      frozen=frozen,
    )

  init = restore.make_init(make(()), feed.options)
  params = jax.eval_shape(init, jax.random.key(0))['params']
  towers = optim.find_frozen_towers(params, freeze)
  towers = tuple(tower for tower in towers if tower in USE)
  return make(towers), params, towers


def build_optimizer(
  config: Mapping[str, Any],
  params: Any,
  learning_rate: optim.Schedule,
  adjust: Mapping[str, Any],
) -> optax.GradientTransformation:
  """Of all parameters but the first blocks that towers hold.

  Args:
    config: a nested dict.
    params: shapes of them.
    learning_rate: by step.
    adjust: arguments of `optim.make_optimizer`.
  """
  held = {
    name: config['model'].get(name, {}).get('frozen_blocks', 0) for name in USE
  }
  made = optim.make_optimizer(params, learning_rate, **adjust)
  return optim.hold_blocks(made, params, held)


LOSS = (
  'class_weights',
  'label_smoothing',
  'continuous',
  'action_unit_weights',
  'task_weights',
)


def make_loss(loss: Mapping[str, Any], feed: feed_lib.Feed) -> dict[str, Any]:
  """Arguments of the step for a config's section `loss`."""
  if feed.balanced and loss.get('class_weights'):
    raise errors.AvemoError(
      'config: data.balanced and loss.class_weights correct for rare classes '
      'twice over: leave one of them out'
    )
  continuous = loss.get('continuous') or losses.KINDS[0]
  settings.check_value('loss.continuous', continuous, losses.KINDS)
  task_weights = loss.get('task_weights') or {}
  settings.check_keys('loss.task_weights', task_weights, labels.TASKS)
  for task, weight in task_weights.items():
    if not 0 <= weight < float('inf'):
      raise errors.AvemoError(
        f'config: loss.task_weights.{task}={weight}: at least 0'
      )
  if loss.get('class_weights') and labels.EMOTION not in feed.tasks:
    raise errors.AvemoError(
      'config: loss.class_weights weighs emotions: add emotion to model.heads'
    )
  units = loss.get('action_unit_weights')
  if units and labels.ACTION_UNITS not in feed.tasks:
    raise errors.AvemoError(
      'config: loss.action_unit_weights weighs action units: add action_units '
      'to model.heads'
    )
  return {
    'class_weights': losses.weigh_classes(
      loss.get('class_weights'), feed.count_classes()
    ),
    'label_smoothing': loss.get('label_smoothing', 0.0),
    'continuous': continuous,
    'unit_weights': (
      losses.weigh_units(units, *feed.count_units())
      if labels.ACTION_UNITS in feed.tasks
      else None
    ),
    'task_weights': task_weights,
  }


def make_feed(
  config: Mapping[str, Any], mesh: jax.sharding.Mesh, dataset: Any | None
) -> feed_lib.Feed:
  clip_keys = [f.name for f in dataclasses.fields(ClipOptions)]
  clip_keys.remove('use')
  own = settings.find_keys(feed_lib.make_feed)
  given = ('seed', 'options', 'data_dir', 'unlabelled', 'tasks', 'views')
  own = [k for k in own if k not in given]
  clip, data = settings.split('data', config['data'], clip_keys, own)
  if 'batch_size' not in data:
    raise errors.AvemoError("config: 'data.batch_size' is missing")
  options = ClipOptions(
    use=tuple(config['model'].get('use', ())) or USE, **clip
  )
  return feed_lib.make_feed(
    mesh,
    dataset,
    seed=config['seed'],
    options=options,
    data_dir=config.get('data_dir'),
    tasks=restore.find_tasks(config['model']),
    unlabelled=models.has_own_loss(restore.find_model(config['model'])),
    views=cached.read(config)['views'],
    **data,
  )


USE = ClipOptions().use


def make_init(
  model: Any, tx: Any, options: ClipOptions, seed: int, ema: float, mode: str
) -> Callable[[], TrainState]:
  init_model = restore.make_init(model, options)

  def init() -> TrainState:
    variables = init_model(jax.random.key(seed))
    params = variables['params']
    return TrainState(
      step=np.int32(0),
      params=params,
      batch_stats=variables['batch_stats'],
      opt_state=tx.init(params),
      ema=params if ema else {},
      control=control_lib.start(mode=mode),
    )

  return init
