"""Start-up of one process among several, and of JAX in each."""

import os

import jax

DETERMINISTIC = '--xla_gpu_deterministic_ops=true'


def start(*, deterministic: bool = False) -> None:
  """Joins the other processes where the environment names any.

  Under Slurm with several tasks, and where JAX_COORDINATOR_ADDRESS is set
  (with JAX_NUM_PROCESSES and JAX_PROCESS_ID outside of a known cluster), this
  waits until all have come.

  Args:
    deterministic: same bits in every run on a GPU as well, more slowly. Heard
      only by a process that has not used a device yet.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  if deterministic and DETERMINISTIC not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} {DETERMINISTIC}'.strip()
  if jax.distributed.is_initialized() or not is_distributed():
    return
  options = {}
  if 'JAX_NUM_PROCESSES' in os.environ:
    options = {
      'num_processes': int(os.environ['JAX_NUM_PROCESSES']),
      'process_id': int(os.environ['JAX_PROCESS_ID']),
    }
  jax.distributed.initialize(**options)


def is_distributed() -> bool:
  """Whether the environment says that this is one of several processes."""
  tasks = os.environ.get('SLURM_STEP_NUM_TASKS', '1')
  return 'JAX_COORDINATOR_ADDRESS' in os.environ or int(tasks) > 1


def is_first() -> bool:
  return jax.process_index() == 0
