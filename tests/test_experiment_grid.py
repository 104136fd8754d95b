"""Grids: read from a config, checked before anything runs, named."""

import json
import pathlib
import stat

import pytest
import small_grid

from avemo import cli, errors
from avemo.experiment import configs, folders, grid, slurm, sweep


@pytest.fixture
def load(tmp_path):
  def load(points, *flags, arg=''):
    path = small_grid.write_config(tmp_path, tmp_path, points)
    return grid.load_trials([f'--config={path}{arg}', *flags])

  return load


def test_trials_have_the_overrides_and_what_get_config_takes(load):
  trials = load(
    "[{'optim.lr': lr, 'seed': s, 'arg': {'width': 6}}"
    ' for lr in (1e-3, 0.5) for s in (0, 1)]',
    '--config.steps=9',
    arg=':width=5',
  )
  assert [t.name for t in trials] == [
    'optim.lr=0.001_width=6_seed=0', 'optim.lr=0.001_width=6_seed=1',
    'optim.lr=0.5_width=6_seed=0', 'optim.lr=0.5_width=6_seed=1',
  ]  # fmt: skip
  config = trials[3].config
  assert config['optim']['lr'] == 0.5 and config['seed'] == 1
  assert config['steps'] == 9 and config['model']['audio']['widths'] == [6]
  assert config == json.loads(json.dumps(config))
  systems = [grid.find_system(t.overrides) for t in trials]
  assert len({grid.make_name(one) for one in systems}) == 2
  (text,) = load("[{'arg': 'width=7'}]")
  assert text.config['model']['audio']['widths'] == [7]
  assert text.name == 'width=7'


def test_sections_and_tuples_are_set_whole(load):
  (trial,) = load(
    "[{'model.use': ('video', 'audio'), 'augment': {'flip': {}}}]"
  )
  assert trial.config['model']['use'] == ['video', 'audio']
  assert trial.config['augment'] == {'flip': {}}


def test_a_grid_may_grow_and_names_stay():
  one = {'model.fusion.kind': 'late', 'seed': 1}
  assert grid.make_name(one) == 'fusion.kind=late_seed=1'
  assert grid.make_name(dict(reversed(one.items()))) == grid.make_name(one)
  names = {
    grid.make_name({'init.video': path})
    for path in ('runs/a b/c', 'runs/a-b/c', '../x' * 50)
  }
  assert len(names) == 3
  for name in names:
    assert '/' not in name and not name.startswith('.') and len(name) < 100
  assert grid.make_name({'data.mixture': {}, 'optim.ema': None}) != ''


def test_names_that_collide_follow_no_order(load, monkeypatch):
  monkeypatch.setattr(grid, 'make_name', lambda overrides: 'alike')
  names = [
    {trial.config['seed']: trial.name for trial in load(points)}
    for points in ("[{'seed': 1}, {'seed': 2}]", "[{'seed': 2}, {'seed': 1}]")
  ]
  assert names[0] == names[1] and len({*names[0].values()}) == 2
  assert names[0][1] == f'alike-{grid.hash_of({"seed": 1})}'
  assert [trial.name for trial in load("[{'seed': 1}]")] == ['alike']


def test_a_trial_whose_name_has_grown_is_in_the_sweep_once(tmp_path):
  config = {'seed': 1, 'steps': 1}
  words = ['--config=small.py']
  with folders.lock(tmp_path):
    for name in ('alike', 'alike-1234'):
      trial = grid.Trial(name, {'seed': 1}, config)
      sweep.open_sweep(tmp_path, words, [trial])
  note = folders.read(tmp_path / sweep.NOTE_FILE)
  assert note['trials'].keys() == {'alike-1234'}


@pytest.mark.parametrize(
  'points, words',
  [
    ("[{'optim.lrr': 1}]", ["'optim.lrr'", "'optim.lr'", 'trial 0']),
    ("[{'seed': 0}, {'modle.use': ('audio',)}]", ['trial 1', "'model'"]),
    ("[{'seed.x': 0}]", ['seed is no section']),
    ("[{'optim.lr': 'fast'}]", ['optim.lr']),
    ("[{'seed': 0}, {'seed': 0}]", ['there twice']),
    ("[{'optim.lr': 1.0}, {'optim.lr': 1.0, 'seed': 0}]", ['there twice']),
    ("[{'arg': {'widht': 3}}]", ['widht', 'width']),
    ('[]', ['no trial']),
    ("{'seed': 0}", ['list of dicts']),
    ('[{3: 4}]', ['key 3']),
    ('nothing', ['nothing', 'list of dicts']),
  ],
)
def test_what_is_wrong_is_said_before_anything_runs(load, points, words):
  with pytest.raises(errors.AvemoError) as error:
    load(points)
  for word in words:
    assert word in str(error.value)


def test_a_config_without_a_grid_says_how(load, tmp_path):
  with pytest.raises(errors.AvemoError, match='def get_sweep'):
    load('')
  with pytest.raises(errors.AvemoError, match='the grid sets it as well'):
    load("[{'seed': 1}]", '--config.seed=2')


def test_every_grid_of_the_configs_loads():
  root = pathlib.Path(__file__).parent.parent / 'configs'
  for path in root.glob('*.py'):
    if 'def get_sweep' in path.read_text():
      trials = grid.load_trials([f'--config={path}'])
      assert len({trial.name for trial in trials}) == len(trials)
  assert configs.load([f'--config={root}/tiny_crema_d.py']).seed == 0


# --------------------------------------------------------------------- slurm


@pytest.fixture
def trials(load):
  return load("[{'seed': s} for s in (0, 1, 2)]")


def test_the_script_of_an_array_job(tmp_path, trials):
  script = slurm.write_script(
    tmp_path / 'a b',
    ['--config=c.py:x=1'],
    trials,
    parallel=2,
    launcher_options=['time=4:00:00', '--gres=gpu:1', 'requeue'],
    options=['--snr=-5'],
  )
  text = script.read_text()
  for word in (
    '--array=0-2%2',
    '--time=4:00:00',
    '--gres=gpu:1',
    '--signal=B:TERM@120',
    '--config=c.py:x=1',
    '--snr=-5',
  ):
    assert word in text
  assert [path.name for path in script.parent.iterdir()] == ['sweep.sbatch']
  assert '#SBATCH --requeue\n' in text
  with pytest.raises(errors.AvemoError, match='NAME=VALUE'):
    slurm.make_script(
      tmp_path, [], ['x'], parallel=None, launcher_options=['=gpu'], options=[]
    )


def test_every_job_of_the_array_runs_its_own_trial(
  tmp_path, trials, monkeypatch
):
  # A scheduler that starts all jobs at once, and a Python that tells of it.
  told = tmp_path / 'told'
  python = tmp_path / 'python'
  python.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
  sbatch = tmp_path / 'sbatch'
  sbatch.write_text(
    '#!/bin/sh\n'
    'for task in 0 1 2; do SLURM_ARRAY_TASK_ID=$task bash "$1"; done\n'
    'echo Submitted batch job 7\n'
  )
  for path in (python, sbatch):
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
  monkeypatch.setattr(sweep.sys, 'executable', str(python))
  monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
  script = slurm.write_script(tmp_path / 'a b', ['--config=c.py'], trials)
  assert slurm.submit(script) == 'Submitted batch job 7'
  lines = told.read_text().splitlines()
  assert [line.rpartition('--trial=')[2] for line in lines] == [
    'seed=0', 'seed=1', 'seed=2',
  ]  # fmt: skip
  assert all('-m avemo sweep --config=c.py' in line for line in lines)
  # Jobs of an earlier submission, which sbatch has copied, keep their trials.
  copied = script.read_text()
  slurm.write_script(tmp_path / 'a b', ['--config=c.py'], trials[2:])
  script.write_text(copied)
  slurm.submit(script)
  assert told.read_text().splitlines() == 2 * lines
  sbatch.write_text('#!/bin/sh\necho no such partition >&2\nexit 1\n')
  with pytest.raises(errors.AvemoError, match='no such partition'):
    slurm.submit(script)
  monkeypatch.setenv('PATH', str(tmp_path / 'none'))
  with pytest.raises(errors.AvemoError, match='--launcher=local'):
    slurm.submit(script)


def test_a_dry_run_prints_and_leaves_nothing(
  tmp_path, tiny_crema_d_dataset, capsys
):
  path = small_grid.write_config(
    tmp_path, tiny_crema_d_dataset, "[{'seed': s} for s in (0, 1)]"
  )
  words = ['sweep', f'--config={path}', f'--workdir={tmp_path}/runs']
  cli.main([*words, '--dry-run'])
  assert capsys.readouterr().out.split() == ['seed=0', 'seed=1']
  cli.main([*words, '--dry-run', '--launcher=slurm'])
  assert '#SBATCH --array=0-1' in capsys.readouterr().out
  assert not (tmp_path / 'runs').exists()
  with pytest.raises(SystemExit):
    cli.main([*words, '--trial=seed=5'])
  assert 'there are: seed=0, seed=1' in capsys.readouterr().err
