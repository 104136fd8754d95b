"""Worker processes: results come in order, and their deaths are survived."""

import collections
import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2

from avemo import errors

# Jobs under way for each worker: enough that none waits for the next one, few
# enough that their results fit into memory.
_AHEAD = 2


def map_ordered(
  work: Callable[[Any], Any],
  jobs: Iterable[Any],
  *,
  workers: int,
  give_up: Callable[[Any], Any],
) -> Iterator[Any]:
  """Yields work(job) for each job, in their order.

  When a worker process dies, the jobs that were under way are run once more,
  each alone in a new process; one that dies there too is given up.

  Args:
    work: a module's function; what it raises is raised here.
    jobs: its arguments, picklable.
    workers: processes; 0 works in this process.
    give_up: job -> what stands for the result of one that kills its process.

  Raises:
    AvemoError: when processes do not even start.
  """
  if workers == 0:
    yield from map(work, jobs)
    return
  jobs = iter(jobs)
  waiting = collections.deque()
  pool = _start(workers)
  try:
    while True:
      pool = _fill(pool, waiting, work, jobs, workers)
      if not waiting:
        return
      job, future = waiting.popleft()
      try:
        result = future.result()
      except concurrent.futures.process.BrokenProcessPool:
        result = _run_alone(work, job, give_up)
      yield result
  finally:
    _stop(pool)


def _fill(pool, waiting, work, jobs, workers):
  """Hands out jobs; returns the pool, a new one if it was broken."""
  while len(waiting) < _AHEAD * workers:
    job = next(jobs, None)
    if job is None:
      break
    try:
      future = pool.submit(work, job)
    except concurrent.futures.process.BrokenProcessPool:
      _stop(pool)
      pool = _start(workers)
      future = pool.submit(work, job)
    waiting.append((job, future))
  return pool


def _run_alone(work, job, give_up):
  pool = _start(1)
  try:
    _check_start(pool)
    return pool.submit(work, job).result()
  except concurrent.futures.process.BrokenProcessPool:
    return give_up(job)
  finally:
    _stop(pool)


def _check_start(pool):
  try:
    pool.submit(os.getpid).result()
  except concurrent.futures.process.BrokenProcessPool:
    raise errors.AvemoError(
      'worker processes do not start; work in this one with workers=0, and '
      "put what a script does under `if __name__ == '__main__':`"
    ) from None


def _start(workers):
  # The parent may have started threads, JAX's among them: it is not forked.
  return concurrent.futures.ProcessPoolExecutor(
    workers,
    mp_context=multiprocessing.get_context('spawn'),
    initializer=_start_worker,
  )


def _stop(pool):
  pool.shutdown(wait=True, cancel_futures=True)


def _start_worker():
  """One thread of work; leaves interrupts to the parent, and ends with it."""
  cv2.setNumThreads(1)
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  # A parent that is killed cannot end its workers, which would wait for ever.
  multiprocessing.parent_process().join()
  os._exit(1)
