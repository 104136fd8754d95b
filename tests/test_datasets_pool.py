"""The worker pool: order, and what becomes of workers that die."""

import os
import pathlib
import signal

import pytest

from avemo import errors
from datasets_tfds import pool


def work(job):
  number, what = job
  if what == 'raise':
    raise errors.MediaError('a.flv', 'broken')
  if what == 'die':
    os.kill(os.getpid(), signal.SIGKILL)
  if isinstance(what, pathlib.Path) and not what.exists():
    what.touch()
    os.kill(os.getpid(), signal.SIGKILL)
  return number, os.getpid()


def give_up(job):
  return job[0], None


def run(jobs, workers):
  return list(pool.map_ordered(work, jobs, workers=workers, give_up=give_up))


def test_dead_workers_lose_only_the_job_that_kills_twice(tmp_path):
  jobs = [(number, '') for number in range(9)]
  jobs[3] = (3, tmp_path / 'killed_once')
  jobs[5] = (5, 'die')
  results = run(jobs, workers=2)
  assert [number for number, _ in results] == list(range(9))
  assert [n for n, process in results if process is None] == [5]
  assert os.getpid() not in [process for _, process in results]


def test_zero_workers_work_here():
  assert run([(0, ''), (1, '')], workers=0) == [
    (0, os.getpid()),
    (1, os.getpid()),
  ]


def test_what_a_job_raises_arrives_whole():
  with pytest.raises(errors.MediaError) as caught:
    run([(0, 'raise')], workers=1)
  assert (caught.value.path, caught.value.reason) == ('a.flv', 'broken')
