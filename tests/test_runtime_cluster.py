"""What the environments of schedulers say of a process."""

import os
import pathlib
import types

import pytest

from avemo import cli, errors
from avemo.runtime import cluster

NOWHERE = pathlib.Path('/nowhere')

GIVEN = {
  'AVEMO_COORDINATOR_ADDRESS': 'one:1234',
  'AVEMO_NUM_PROCESSES': '4',
  'AVEMO_PROCESS_ID': '2',
}

# As `srun` sets them for task 3 of 4 on two machines.
SLURM = {
  'SLURM_JOB_ID': '77',
  'SLURM_STEP_ID': '0',
  'SLURM_NTASKS': '4',
  'SLURM_STEP_NUM_TASKS': '4',
  'SLURM_PROCID': '3',
  'SLURM_LOCALID': '1',
  'SLURM_NODEID': '1',
  'SLURM_STEP_TASKS_PER_NODE': '2(x2)',
  'SLURM_STEP_NODELIST': 'gpu[003-004]',
}


def find(*environments, **changed):
  environment = {}
  for one in environments:
    environment |= one
  environment |= changed
  kept = {name: value for name, value in environment.items() if value}
  return cluster.find(kept, NOWHERE)


def test_nothing_said_is_a_run_of_one():
  assert find() == cluster.ALONE
  assert find(AVEMO_NUM_PROCESSES='1') == cluster.ALONE


def test_what_is_named_by_hand_comes_first():
  expected = cluster.Cluster(4, 2, 'one:1234')
  assert find(GIVEN) == find(SLURM, GIVEN) == expected
  by_jax = {k.replace('AVEMO', 'JAX'): v for k, v in GIVEN.items()}
  assert find(by_jax) == expected
  assert find(by_jax, AVEMO_PROCESS_ID='3').number == 3
  assert find(SLURM, AVEMO_NUM_PROCESSES='1') == cluster.ALONE


def test_slurm_tells_a_task_all():
  found = find(SLURM)
  assert found.count == 4 and found.number == 3
  host, port = found.address.split(':')
  assert host == 'gpu003'
  other = find(SLURM, SLURM_STEP_ID='1').address.split(':')[1]
  assert 61440 <= int(port) < 65536 and port != other
  assert find(SLURM, SLURM_STEP_NUM_TASKS='1') == cluster.ALONE
  assert find(SLURM, AVEMO_COORDINATOR_ADDRESS='one:1').address == 'one:1'


@pytest.mark.parametrize(
  ('nodes', 'first'),
  [
    ('node001', 'node001'),
    ('node001,host2', 'node001'),
    ('node[001-015],host2', 'node001'),
    ('node[007,001-005]', 'node007'),
    ('rack[2-3]node[1-2,4]', 'rack2node1'),
  ],
)
def test_the_first_host_of_a_list(nodes, first):
  address = find(SLURM, SLURM_STEP_NODELIST=nodes).address
  assert address.split(':')[0] == first


@pytest.mark.parametrize(
  ('visible', 'devices'),
  [(None, (1,)), ('0,1', (1,)), ('4,5,6,7', (2, 3)), ('5', None)],
)
def test_tasks_of_a_machine_share_the_gpus_that_all_see(visible, devices):
  assert find(SLURM, CUDA_VISIBLE_DEVICES=visible).devices == devices
  alone = find(
    SLURM, CUDA_VISIBLE_DEVICES=visible, SLURM_STEP_TASKS_PER_NODE='2,1(x2)'
  )
  assert alone.devices is None


def test_gpus_that_cannot_be_shared_evenly_are_refused():
  with pytest.raises(errors.AvemoError, match='cannot share 3 GPUs'):
    find(SLURM, CUDA_VISIBLE_DEVICES='0,1,2')


def test_kubernetes_numbers_the_processes():
  given = GIVEN | {'AVEMO_PROCESS_ID': ''}
  assert find(given, JOB_COMPLETION_INDEX='1').number == 1
  assert find(GIVEN, JOB_COMPLETION_INDEX='1').number == 2


@pytest.mark.parametrize(
  ('environment', 'words'),
  [
    (
      {'AVEMO_COORDINATOR_ADDRESS': 'one:1'},
      ('AVEMO_COORDINATOR_ADDRESS=one:1', 'AVEMO_NUM_PROCESSES and AVEMO_P'),
    ),
    (
      {'AVEMO_NUM_PROCESSES': '2', 'AVEMO_PROCESS_ID': '0'},
      ('AVEMO_COORDINATOR_ADDRESS is not set',),
    ),
    ({'JOB_COMPLETION_INDEX': '3'}, ('JOB_COMPLETION_INDEX=3', 'ADDRESS and')),
    (GIVEN | {'AVEMO_PROCESS_ID': '4'}, ('numbers are 0 to 3',)),
    (GIVEN | {'AVEMO_NUM_PROCESSES': 'two'}, ("='two': not a number",)),
    # The script of a job, which is none of its tasks.
    (
      {'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '2', 'SLURM_PROCID': '0'},
      ('Slurm has 2 tasks', 'start it by srun', 'AVEMO_NUM_PROCESSES=1'),
    ),
  ],
)
def test_half_of_the_variables_is_an_error(environment, words):
  with pytest.raises(errors.AvemoError) as caught:
    find(environment)
  for word in words:
    assert word in str(caught.value)


def test_a_machine_with_tpus_is_left_to_jax(tmp_path, monkeypatch):
  (tmp_path / 'accel0').touch()
  environment = {'JOB_COMPLETION_INDEX': '1'}
  with pytest.raises(errors.AvemoError):
    cluster.find(environment, tmp_path)
  monkeypatch.setattr(
    cluster.importlib.util, 'find_spec', lambda name: types.SimpleNamespace()
  )
  assert cluster.find(environment, tmp_path).count is None
  assert cluster.find({}, tmp_path).count is None
  assert cluster.find({'JAX_PLATFORMS': 'cpu'}, tmp_path) == cluster.ALONE
  assert cluster.find(GIVEN, tmp_path).count == 4
  assert cluster.find({}, NOWHERE) == cluster.ALONE


@pytest.mark.parametrize(
  'words',
  [
    ['cross-validate', '--config=none.py', '--protocol=crema_d_hicmae_5fold'],
    ['sweep', '--config=none.py'],
  ],
)
def test_the_work_of_one_process_is_refused_to_several(
  words, tmp_path, monkeypatch, capsys
):
  for name, value in SLURM.items():
    monkeypatch.setenv(name, value)
  with pytest.raises(SystemExit):
    cli.main([*words, f'--workdir={tmp_path / "run"}'])
  said = capsys.readouterr().err
  assert f'{words[0]} is the work of one process' in said and '3 of 4' in said
  # In the script of a job of four tasks, it is one process.
  for name in SLURM.keys() - {'SLURM_JOB_ID', 'SLURM_NTASKS'}:
    monkeypatch.delenv(name)
  cluster.check_alone(dict(os.environ), words[0])
