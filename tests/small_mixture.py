"""Two corpora at once, clips and films, and a config of seconds for them.

As a program a run to be killed: python tests/small_mixture.py WORKDIR STEPS
"""

import itertools
import logging
import sys
import time

import small_dataset
import small_films
import small_run

from avemo.data import mixture

SECONDS_A_STEP = 0.05
HEADS = ('emotion', 'valence_arousal', 'action_units')


def make_clips():
  words = itertools.cycle(small_dataset.EMOTIONS[:2])
  return small_dataset.make_dataset(
    (
      small_dataset.Clip(emotion=next(words), frames=0, samples=4000)
      for _ in range(20)
    ),
    emotions=small_dataset.EMOTIONS[:2],
  )


def make_dataset():
  films = small_films.make_dataset(masked=(3,))
  return mixture.Mixture(('clips', 'films'), (make_clips(), films))


def make_config(**sections):
  """Both corpora, three tasks, an average, batch statistics, dropout."""
  config = small_run.make_config(**sections)
  for key in ('name', 'protocol'):
    config['data'].pop(key, None)
  protocol = {'protocol': 'crema_d_hicmae_5fold'}
  config['data'] |= {
    'seconds': 0.2,
    'every': 0.1,
    'mixture': {
      'clips': protocol | {'weight': 1.0},
      'films': protocol | {'weight': 2.0},
    },
  }
  config['model'] |= {'heads': HEADS}
  config['loss'] |= {
    'continuous': 'ccc+mse',
    'action_unit_weights': 'balanced',
    'task_weights': {'valence_arousal': 0.5},
  }
  return config


def main(workdir, steps):
  from avemo.train import loop

  for name in ('absl', 'jax', 'orbax', 'grain'):
    logging.getLogger(name).setLevel(logging.ERROR)

  def after_step(step):
    print('step', step, flush=True)
    # Slow enough to be hit in the middle.
    time.sleep(SECONDS_A_STEP)

  config = make_config(steps=steps, data={'workers': 2})
  summary = loop.train(
    config, workdir, dataset=make_dataset(), after_step=after_step
  )
  sys.exit(143 if summary['stopped'] == 'signal' else 0)


if __name__ == '__main__':
  main(sys.argv[1], int(sys.argv[2]))
