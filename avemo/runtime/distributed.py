"""Start-up of one process among several, and of JAX in each."""

import os
import sys
from typing import Any, NoReturn

import jax
from orbax.checkpoint import multihost

from avemo import errors
from avemo.runtime import cluster, launcher

DETERMINISTIC = '--xla_gpu_deterministic_ops=true'

# Seconds; beyond it something is wrong.
LONGEST_WAIT = 3600


def start(*, deterministic: bool = False, preemptible: bool = True) -> None:
  """Joins the other processes where the environment names any.

  Waits until all have come; see `cluster` for what is read.

  Args:
    deterministic: same bits in every run on a GPU as well, more slowly. Heard
      only by a process that has not used a device yet.
    preemptible: SIGTERM is heard by whoever asks for it, as a training does;
      else it ends the process.

  Raises:
    AvemoError: the environment says half of what is needed, or the others
      did not come.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  if deterministic and DETERMINISTIC not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} {DETERMINISTIC}'.strip()
  if jax.distributed.is_initialized():
    return
  found = cluster.find(os.environ)
  launcher.end_with_launcher()
  if found.count == 1:
    return
  options = {}
  if found.count is not None:
    options = {
      'coordinator_address': found.address,
      'num_processes': found.count,
      'process_id': found.number,
      'local_device_ids': found.devices,
      # All that it would find has been found.
      'cluster_detection_method': 'deactivate',
    }
  jax.config.update('jax_enable_preemption_service', preemptible)
  try:
    jax.distributed.initialize(**options)
  except (RuntimeError, ValueError) as error:
    raise errors.AvemoError(
      f'process {found.number} of {found.count or "some"} could not join the '
      f'others at {found.address or "the address of the machine"} '
      f'({" ".join(str(error).split())[:200]}); see their logs'
    ) from error


def is_first() -> bool:
  return jax.process_index() == 0


def is_alone() -> bool:
  return jax.process_count() == 1


def compile_together(function: Any, *arguments: Any) -> None:
  """Compiles a jitted function, and waits until all processes have done so.

  On CPUs the first to send waits half a minute for the others to connect,
  and compiling may take one of them longer by more than that.
  """
  if is_alone():
    return
  function.lower(*arguments).compile()
  wait = multihost.get_barrier_sync_fn()
  wait(key='compiled', timeout_ms=1000 * LONGEST_WAIT)


def fail(status: int) -> NoReturn:
  """Ends this process after an error, and so the whole job.

  Among several processes it ends at once: an orderly end would wait for the
  others, who wait for this one inside of a step.
  """
  if jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  raise SystemExit(status)
