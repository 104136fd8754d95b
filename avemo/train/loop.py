"""The loop: train a config in a workdir, or go on where it stands."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import tqdm

from avemo import errors, locks, models
from avemo.data import mixture
from avemo.evaluate import predictions, restore, scores
from avemo.runtime import checkpoint as checkpoint_lib
from avemo.runtime import distributed, preemption, writers
from avemo.runtime import mesh as mesh_lib
from avemo.train import about, measure, overlap, settings
from avemo.train import control as control_lib
from avemo.train import feed as feed_lib
from avemo.train import run as run_lib
from avemo.train import spent as spent_lib
from avemo.train import state as state_lib
from avemo.train.state import TrainState


def train(
  config: Any,
  workdir: str | os.PathLike,
  *,
  dataset: Any | None = None,
  after_step: Callable[[int], None] | None = None,
  after_evaluation: Callable[[run_lib.Run, int, Any], None] | None = None,
) -> dict[str, Any]:
  """Trains, or resumes from the latest checkpoint of the workdir.

  A run that was killed at any step and is called again ends with the bits of
  an unbroken one, on the same devices.

  Args:
    config: a ConfigDict or a nested dict.
    workdir: gets `config.json`, `environment.json`, `labels.json`,
      `metrics.jsonl`, `cost.json` and `checkpoints/`.
    dataset: open already; None opens the one that the config names.
    after_step: called with the number of finished steps after each.
    after_evaluation: called with the run, the number of finished steps and
      the variables that were evaluated.

  Returns:
    `stopped` ('end', 'early' or 'signal'), `step`, `best_step` and `best`
    (None where nothing was chosen), `metric`, `num_params`, `seconds`,
    `workdir`.

  Raises:
    AvemoError: a wrong config, missing data, a workdir of another config, a
      damaged checkpoint, or a loss that is not finite.
  """
  config = config.to_dict() if hasattr(config, 'to_dict') else dict(config)
  # What a file gives back, so that a resumed run sees the same.
  config = json.loads(json.dumps(config))
  if config.get('data_dir'):
    # So that the run can be scored from any folder.
    config['data_dir'] = os.path.abspath(os.path.expanduser(config['data_dir']))
  if (config.get('features') or {}).get('cache'):
    config['features']['cache'] = os.path.abspath(
      os.path.expanduser(config['features']['cache'])
    )
  workdir = pathlib.Path(workdir)
  run_lib.check_sections(config)
  distributed.start(deterministic=config.get('deterministic', False))
  config = measure.complete(
    config, workdir, measure.make_feed_maker(run_lib.make_feed, dataset)
  )
  run = run_lib.make_run(config, dataset)
  say(about.describe_feed(run.feed))
  say(f'mesh {dict(run.mesh.shape)} of {jax.devices()[0].device_kind}')
  with contextlib.ExitStack() as stack:
    if distributed.is_first():
      busy = (
        f'{workdir}: another process trains there; wait for it, or use another '
        'workdir'
      )
      stack.enter_context(locks.hold(workdir, busy))
    store = checkpoint_lib.Checkpoints(workdir / 'checkpoints', **run.keep)
    stack.push(functools.partial(close, store))
    first_step = store.latest_step() or 0
    if first_step:
      check_same_training(workdir, config)
      check_same_data(workdir, run.feed.dataset)
      check_same_towers(workdir, run.feed.towers)
    else:
      for line in overlap.check(config, run.feed):
        say(line)
    if distributed.is_first():
      about.write(workdir, config, run, resumed=bool(first_step))
    state = start_state(run, store, first_step)
    if run.attach:
      run = dataclasses.replace(run, feed=run.attach(state))
    say(mesh_lib.describe(run.shapes.params, run.placement))
    writer = writers.make_writer(
      workdir,
      first_step=first_step,
      is_first_process=distributed.is_first(),
    )
    stack.callback(writer.close)
    looped = Loop(
      run,
      store,
      writer,
      after_step or (lambda step: None),
      after_evaluation or (lambda run, step, variables: None),
      spent_lib.Spent(workdir, run, first_step),
    )
    return looped.go(state, first_step) | {'workdir': str(workdir)}


@dataclasses.dataclass
class Loop:
  """The loop of a run over its steps."""

  run: run_lib.Run
  store: checkpoint_lib.Checkpoints
  writer: Any
  after_step: Callable[[int], None]
  after_evaluation: Callable[[run_lib.Run, int, Any], None]
  spent: spent_lib.Spent
  # Labels by frame of validation records, which are read once.
  read: dict[int, Any] = dataclasses.field(default_factory=dict)

  def go(self, state: TrainState, first_step: int) -> dict[str, Any]:
    """Steps from `first_step` to the end, or to a reason to stop."""
    began = time.monotonic()
    stopped = 'early' if bool(state.control['stopped']) else 'end'
    step = first_step
    if step >= self.run.steps or stopped == 'early':
      say(f'nothing left to train: the run ended at step {step}')
    else:
      listen = distributed.is_alone()
      with preemption.StopRequest(listen=listen) as request:
        state, step, stopped = self._go(state, first_step, request)
    self.store.wait()
    control = jax.device_get(state.control)
    best_step = int(control['best_step'])
    chosen = best_step >= 0
    return {
      'stopped': stopped,
      'step': step,
      'best_step': best_step if chosen else None,
      'best': float(control['best']) if chosen else None,
      'metric': self.run.choice.metric if self.run.choice else None,
      'num_params': sum(x.size for x in jax.tree.leaves(state.params)),
      'seconds': time.monotonic() - began,
    }

  def _go(
    self,
    state: TrainState,
    first_step: int,
    request: preemption.StopRequest,
  ) -> tuple[TrainState, int, str]:
    run = self.run
    batches = run.feed.train_batches(first_step)
    bar = tqdm.tqdm(
      total=run.steps,
      initial=first_step,
      unit='step',
      # On a terminal alone; a log file gets a line an evaluation.
      disable=None if distributed.is_first() else True,
    )
    try:
      batch = self._next(batches)
      distributed.compile_together(run.train_step, state, batch)
      for step in range(first_step + 1, run.steps + 1):
        with jax.transfer_guard('disallow'):
          state, metrics = run.train_step(state, batch)
        # Read while the devices work.
        if step < run.steps:
          batch = self._next(batches)
        metrics = self._check(state, step, jax.device_get(metrics))
        bar.update()
        if step % run.log_every == 0 or step == run.steps:
          self._log(step, 'train', metrics)
        state, stopped = self._decide(state, step, request)
        self.after_step(step)
        if stopped:
          return state, step, stopped
      return state, run.steps, 'end'
    finally:
      bar.close()
      batches.close()

  def _next(self, batches) -> dict[str, jax.Array]:
    return mesh_lib.shard_batch(next(batches), self.run.mesh)

  def _check(self, state: TrainState, step: int, metrics: Mapping[str, Any]):
    """The metrics, or an error that keeps the last good state."""
    metrics = {name: value.item() for name, value in metrics.items()}
    if metrics.pop('finite'):
      return metrics
    kept = 'nothing was saved'
    if step > 1:
      self.store.save(step - 1, state_lib.to_items(state))
      self.store.wait()
      kept = f'the state before it is saved as step {step - 1}'
    norms = ', '.join(
      f'{name} {metrics[name]:.6g}'
      for name in ('loss', 'grad_norm', 'param_norm', 'update_norm')
    )
    raise errors.AvemoError(
      f'step {step}: the loss or its gradient is not finite ({norms}); {kept}; '
      'lower optim.lr, set optim.clip or look at the data'
    )

  def _decide(
    self, state: TrainState, step: int, request: preemption.StopRequest
  ) -> tuple[TrainState, str | None]:
    """Evaluates and saves when it is time; then says whether to stop."""
    run, found, is_best = self.run, None, False
    is_last = step == run.steps
    if run.choice and (step % run.choice.every == 0 or is_last):
      found = self._evaluate(state, step)
      control = control_lib.update(
        jax.device_get(state.control),
        found[run.choice.metric],
        step,
        **run.choice.options,
      )
      is_best = int(control['best_step']) == step
      control = mesh_lib.put(control, run.shardings.control)
      state = dataclasses.replace(state, control=control)
    stopped = None
    if bool(state.control['stopped']):
      stopped = 'early'
      say(f'step {step}: stopped early, the metric no longer improves')
    elif not is_last and self._must_leave(step, request):
      stopped = 'signal'
    if stopped or is_best or is_last or step % run.save_every == 0:
      # After the evaluation, so that the metric travels with the step.
      self.writer.flush()
      self.store.save(step, state_lib.to_items(state), found)
      self.spent.write(step)
    if stopped == 'signal':
      self.store.wait()
      say(
        f'step {step}: asked to stop; saved, run the same command again to '
        'go on'
      )
    return state, stopped

  def _must_leave(self, step: int, request: preemption.StopRequest) -> bool:
    # With several processes all must agree on the step; there the signal is
    # heard by the coordination service.
    if not distributed.is_alone():
      return self.store.reached_preemption(step)
    return bool(request)

  def _evaluate(self, state: TrainState, step: int) -> dict[str, float]:
    """Metrics over the validation records."""
    run, feed = self.run, self.run.feed
    options = {
      'options': feed.options,
      'batch_size': feed.batch_size,
      'mesh': run.mesh,
      'workers': feed.workers,
      'every': feed.every,
      'features': feed.features,
    }
    variables = {
      'params': state.ema if run.averages else state.params,
      'batch_stats': state.batch_stats,
    }
    given = run.predict_step, variables, feed.dataset, feed.val, feed.labels
    if models.has_own_loss(run.model):
      metrics = {'loss': predictions.measure_loss(*given, **options)}
    else:
      found = predictions.predict_records(
        *given,
        tasks=feed.tasks,
        views=feed.views or 1,
        read=self.read,
        **options,
      )
      metrics = score(found, feed)
    self._log(step, 'val', metrics)
    self.after_evaluation(run, step, variables)
    # Of single corpora the file has all, and a line one figure.
    chosen = run.choice.metric.rpartition('/')[2]
    shown = [n for n in metrics if n.partition('/')[2] in ('', chosen)]
    say(
      f'step {step}/{run.steps}: '
      + ', '.join(f'{name} {metrics[name]:.4f}' for name in shown)
    )
    return {f'val/{name}': value for name, value in metrics.items()}

  def _log(self, step: int, part: str, metrics: Mapping[str, float]) -> None:
    self.writer.write_scalars(
      step, {f'{part}/{name}': value for name, value in metrics.items()}
    )


def score(
  found: predictions.RecordPredictions, feed: feed_lib.Feed
) -> dict[str, float]:
  """The metrics of predictions, over all corpora and then corpus by corpus."""
  metrics = scores.measure(found, feed.tasks)
  keys = mixture.list_keys(feed.dataset)
  if len(keys) > 1:
    parts = mixture.find_parts(feed.dataset, found.record)
    for number, key in enumerate(keys):
      own = scores.measure(found.take(parts == number), feed.tasks)
      metrics |= {f'{key}/{name}': value for name, value in own.items()}
  return metrics


def start_state(
  run: run_lib.Run, store: checkpoint_lib.Checkpoints, first_step: int
) -> TrainState:
  """The state of a checkpoint, or the one before the first step."""
  if not first_step:
    state, lines = run.fill(run.init())
    for line in lines:
      say(line)
    return state
  say(f'resuming at step {first_step}')
  wanted = jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    run.shapes,
    run.shardings,
  )
  items = store.restore(first_step, state_lib.to_items(wanted))
  return state_lib.from_items(items, wanted)


def close(store: checkpoint_lib.Checkpoints, error: type | None, *_) -> None:
  """Waits for what is being saved, unless others will not come to the end."""
  if error is None or distributed.is_alone():
    store.close()


def check_same_training(workdir: pathlib.Path, config: dict[str, Any]) -> None:
  """Raises an AvemoError where the workdir belongs to another training."""
  old = restore.read_json(workdir / 'config.json')
  differences = settings.find_differences(old, config)
  if differences:
    raise errors.AvemoError(
      f'{workdir} holds a run of another config; use another workdir, or that '
      f'config: {settings.list_briefly(differences)}'
    )


def check_same_data(workdir: pathlib.Path, dataset: Any) -> None:
  """Raises an AvemoError where the run has seen another dataset."""
  about = restore.read_json(workdir / 'labels.json')
  old, new = about.get('dataset_sha256'), mixture.identify(dataset)
  if old != new:
    raise errors.AvemoError(
      f'{workdir} was trained on {about.get("dataset")} with index '
      f'{str(old)[:12]}, and {dataset.name} has {new[:12]}: other clips or '
      'labels; use another workdir, or the data_dir of then'
    )


def check_same_towers(
  workdir: pathlib.Path, towers: Sequence[Mapping[str, Any]]
) -> None:
  """Raises an AvemoError where the run has read other weights' features."""
  about = restore.read_json(workdir / 'labels.json')
  before = {one['name']: one['sha256'] for one in about.get('towers', ())}
  for one in towers:
    old, new = before.get(one['name']), one['sha256']
    if old != new:
      raise errors.AvemoError(
        f'{workdir} was trained on features of the tower {one["name"]} with '
        f'weights {str(old)[:12]}, and {one["path"]} has {new[:12]} now; use '
        'another workdir, or put those weights back'
      )


def say(text: str) -> None:
  """A note of the first process, above the progress bar."""
  if distributed.is_first():
    tqdm.tqdm.write(text)
