"""The manifests of launch/, and a run through a real Slurm where there is one.

A Slurm of one machine is enough: `sinfo` must show a node.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
import small_run
import yaml

from avemo.runtime import checkpoint, cluster, preemption, writers

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted([*LAUNCH.glob('*.sh'), *LAUNCH.glob('*.sbatch')])
MANIFESTS = sorted(LAUNCH.glob('kubernetes/*.yaml'))


def test_there_is_something_to_test():
  assert {path.name for path in SCRIPTS} == {
    'one_machine.sh', 'slurm.sbatch', 'tpu_vm.sh',
  }  # fmt: skip
  assert {path.name for path in MANIFESTS} == {'gpu.yaml', 'tpu.yaml'}


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_read_by_bash(path):
  found = subprocess.run(
    ['bash', '-n', path], capture_output=True, text=True, check=False
  )
  assert found.returncode == 0, found.stderr


def test_one_machine_hands_on_all_words(tmp_path):
  told = tmp_path / 'python'
  told.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
  told.chmod(0o755)
  found = subprocess.run(
    [LAUNCH / 'one_machine.sh', '--config=a b', '--workdir=c'],
    env=os.environ | {'PYTHON': str(told), 'PROCESSES': '4'},
    capture_output=True,
    text=True,
    check=True,
  )
  assert found.stdout.splitlines() == [
    '-m', 'avemo', 'train', '--processes', '4', '--config=a b', '--workdir=c',
  ]  # fmt: skip


@pytest.mark.parametrize('path', MANIFESTS, ids=lambda path: path.name)
def test_manifests_have_what_a_run_needs(path):
  jobset = yaml.safe_load(path.read_text())
  assert jobset['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert jobset['kind'] == 'JobSet'
  spec = jobset['spec']
  (replicated,) = spec['replicatedJobs']
  assert replicated['replicas'] == 1
  assert spec['coordinator'] == {
    'replicatedJob': replicated['name'], 'jobIndex': 0, 'podIndex': 0,
  }  # fmt: skip
  job = replicated['template']['spec']
  count = job['completions']
  # Indexed, so that each has a number; the first to fail fails them all.
  assert job['completionMode'] == 'Indexed'
  assert job['parallelism'] == count > 1 and job['backoffLimit'] == 0
  pod = job['template']['spec']
  # A policy of failures is allowed with this one alone.
  assert pod['restartPolicy'] == 'Never'
  (container,) = pod['containers']
  (ended,) = [r for r in job['podFailurePolicy']['rules'] if 'onExitCodes' in r]
  assert ended['onExitCodes']['containerName'] == container['name']
  assert ended['onExitCodes']['values'] == [preemption.EXIT_STATUS]
  (rule,) = spec['failurePolicy']['rules']
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  # What a process is told is all that it needs.
  values = {e['name']: e.get('value', 'host') for e in container['env']}
  values = {k: v.replace('$(COORDINATOR_HOST)', 'h') for k, v in values.items()}
  found = cluster.find(values | {cluster.INDEX: str(count - 1)}, ROOT)
  assert found == cluster.Cluster(count, count - 1, 'h:8476')
  names = [e['name'] for e in container['env']]
  assert names.index('COORDINATOR_HOST') < names.index(
    'AVEMO_COORDINATOR_ADDRESS'
  )
  volumes = {volume['name'] for volume in pod['volumes']}
  mounts = {m['mountPath']: m['name'] for m in container['volumeMounts']}
  assert set(mounts.values()) == volumes
  (workdir,) = [a for a in container['args'] if a.startswith('--workdir=')]
  assert any(workdir.split('=')[1].startswith(f'{p}/') for p in mounts)


# ------------------------------------------------------------------ Slurm


def ask(*command):
  found = subprocess.run(command, capture_output=True, text=True, check=True)
  return found.stdout


def is_there():
  if not shutil.which('sinfo'):
    return False
  found = subprocess.run(['sinfo', '-h'], capture_output=True, check=False)
  return found.returncode == 0 and bool(found.stdout.strip())


def wait_until(condition, seconds=280):
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.5)


class Job:
  """A run of two tasks under Slurm, long enough to be stopped."""

  def __init__(self, workdir, data_dir, steps):
    self.workdir, self.output = workdir, workdir / 'slurm.log'
    config = ROOT / 'configs/tiny_crema_d.py'
    words = [
      f'--config={config}:system=audio', f'--workdir={workdir}',
      f'--config.data_dir={data_dir}', f'--config.steps={steps}',
      '--config.data.batch_size=8', '--config.checkpoint.every=10',
      '--config.control.evaluate_every=1000', '--config.log_every=1',
    ]  # fmt: skip
    workdir.mkdir(exist_ok=True)
    options = ['--nodes=1', '--ntasks=2', '--ntasks-per-node=2']
    options += ['--gpus-per-node=0', '--cpus-per-task=1', '--time=20']
    options += [f'--output={self.output}', '--parsable']
    environment = small_run.make_environment() | {
      'PYTHON': sys.executable,
      'XLA_FLAGS': '--xla_force_host_platform_device_count=1',
    }
    found = subprocess.run(
      ['sbatch', *options, LAUNCH / 'slurm.sbatch', *words],
      env=environment,
      capture_output=True,
      text=True,
      check=True,
    )
    self.number = found.stdout.strip()

  def find_state(self):
    return self.find('JobState')

  def find(self, name):
    text = ask('scontrol', 'show', 'job', '--oneliner', self.number)
    words = dict(w.split('=', 1) for w in text.split() if '=' in w)
    return words[name]

  def count_steps(self):
    lines = writers.read_lines(self.workdir / 'metrics.jsonl')
    return max((line['step'] for line in lines), default=0)

  def read_logs(self):
    logs = self.workdir / 'logs'
    return [(logs / f'process_{n}.log').read_text() for n in range(2)]


@pytest.mark.slow
@pytest.mark.skipif(not is_there(), reason='no Slurm with a node here')
@pytest.mark.timeout(900)
def test_slurm_trains_requeues_and_resumes(tmp_path, tiny_crema_d_dataset):
  job = Job(tmp_path / 'run', tiny_crema_d_dataset, steps=100_000)
  try:
    wait_until(lambda: job.count_steps() > 15)
    # As at the end of the time, or when the machine is wanted back.
    ask('scancel', '--signal=TERM', job.number)
    wait_until(lambda: job.find('Restarts') == '1')
    # A job that was requeued is held back for a while.
    ask('scontrol', 'update', f'JobId={job.number}', 'StartTime=now')
    store = checkpoint.Checkpoints(job.workdir / 'checkpoints', read_only=True)
    saved = store.latest_step()
    assert saved > 15 and f'step {saved}: asked to stop' in job.read_logs()[0]
    wait_until(lambda: f'resuming at step {saved}' in job.read_logs()[0])
    wait_until(lambda: job.count_steps() > saved + 5)
    # One task is killed: the other ends with it, and the job with both.
    tasks = ask('scontrol', 'listpids', job.number).split('\n')[1:]
    pids = [line.split()[0] for line in tasks if line.split()[-1:] == ['1']]
    assert pids
    os.kill(int(pids[0]), 9)
    wait_until(lambda: job.find_state() == 'FAILED')
    assert job.find('Restarts') == '1'
  finally:
    subprocess.run(['scancel', job.number], check=False)
