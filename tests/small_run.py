"""A run of seconds on a dataset in memory; as a program, one to be killed.

python tests/small_run.py WORKDIR STEPS [SECTIONS]
"""

import itertools
import json
import logging
import os
import pathlib
import sys
import threading
import time
import traceback

import small_dataset

SECONDS_A_STEP = 0.05


def make_dataset(frames=0, **columns):
  words = itertools.cycle(small_dataset.EMOTIONS)
  return small_dataset.make_dataset(
    (
      small_dataset.Clip(emotion=next(words), frames=frames, samples=2000)
      for _ in range(30)
    ),
    **columns,
  )


def make_config(**sections):
  """Dropout, batch statistics, augmentation, an average: all that is state."""
  config = {
    'seed': 0,
    'steps': 9,
    'log_every': 1,
    'data': {
      'name': 'small_av',
      'protocol': 'crema_d_hicmae_5fold',
      'batch_size': 8,
      'seconds': 0.1,
      'frames': 2,
      'size': 16,
    },
    'augment': {'gain': {}},
    'model': {
      'use': ('audio',),
      'audio': {'name': 'cnn', 'widths': (4,)},
      'features': {'num_mels': 8},
      'dropout': 0.2,
    },
    'loss': {'label_smoothing': 0.1, 'class_weights': 'balanced'},
    'optim': {'lr': 0.05, 'warmup': 3, 'weight_decay': 0.1, 'ema': 0.9},
    'control': {'evaluate_every': 2, 'plateau_patience': 1},
    'checkpoint': {'every': 3},
  }
  return merge(config, sections)


def make_pretraining_config(**sections):
  """Nothing but masks is drawn; parts of a batch, an average, its own loss."""
  tower = {'variant': 'tiny', 'width': 16, 'depth': 2, 'num_heads': 2}
  config = make_config(
    data={'frames': 2, 'size': 32},
    optim={'lr': 3e-3, 'accumulate': 2},
    control={'metric': 'val/loss', 'mode': 'min'},
  )
  config |= {
    'data': config['data'] | {'batch_size': 16},
    'augment': {},
    'model': {
      'name': 'videomae_pretraining',
      'use': ('video',),
      'video': tower | {'remat': False},
      'decoder': {'width': 16, 'depth': 1, 'num_heads': 2, 'remat': False},
      'mask_ratio': 0.5,
    },
    'loss': {},
  }
  return merge(config, sections)


def merge(config, sections):
  """The config with some keys of some sections set."""
  for name, value in sections.items():
    if isinstance(value, dict):
      value = config.get(name, {}) | value
    config[name] = value
  return config


def make_environment():
  """In which a program of this folder finds what it imports."""
  here = pathlib.Path(__file__).parent
  path = os.pathsep.join([str(here), str(here.parent)])
  return os.environ | {'PYTHONPATH': path}


def note_order(folder):
  """Writes which records each process reads for each step."""
  import jax

  from avemo.train import feed as feed_lib

  make = feed_lib.Feed.train_batches

  def train_batches(feed, first_step):
    batches = make(feed, first_step)
    path = pathlib.Path(folder) / f'order_{jax.process_index()}.jsonl'
    # One call after another, as the loop asks for them.
    draw, steps = batches.__next__, itertools.count(first_step + 1)

    def note():
      batch = draw()
      line = {'step': next(steps), 'records': batch['record'].tolist()}
      with path.open('a') as file:
        file.write(json.dumps(line) + '\n')
      return batch

    return Noted(note, batches.close)

  feed_lib.Feed.train_batches = train_batches


class Noted:
  """Batches that are noted as they are drawn."""

  def __init__(self, draw, close):
    self.draw, self.close = draw, close

  def __iter__(self):
    return self

  def __next__(self):
    return self.draw()


def main(workdir, steps, sections='{}'):
  import jax

  from avemo import errors
  from avemo.runtime import distributed
  from avemo.train import loop

  for name in ('absl', 'jax', 'orbax', 'grain'):
    logging.getLogger(name).setLevel(logging.ERROR)
  if FOLDER in os.environ:
    note_order(os.environ[FOLDER])
  # Which process ends itself how many seconds after which step, and how.
  number, last, delay, kind = json.loads(os.environ.get(END, '[-1, -1, 0, 0]'))

  def after_step(step):
    print('step', step, flush=True)
    if (jax.process_index(), step) == (number, last):
      if not kind:
        raise errors.AvemoError('nothing can be read')
      threading.Timer(delay, os.kill, (os.getpid(), kind)).start()
    # Slow enough to be hit in the middle.
    time.sleep(SECONDS_A_STEP)

  config = make_config(steps=steps, data={'workers': 2})
  config = merge(config, json.loads(sections))
  try:
    summary = loop.train(
      config, workdir, dataset=make_dataset(), after_step=after_step
    )
  except Exception as error:
    traceback.print_exc()
    print(f'avemo: {error}')
    distributed.fail(1)
  sys.exit(143 if summary['stopped'] == 'signal' else 0)


FOLDER, END = 'SMALL_RUN_ORDER', 'SMALL_RUN_END'

if __name__ == '__main__':
  main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
