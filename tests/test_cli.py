"""Every wrong command gets one clear line and a non-zero exit."""

import argparse
import itertools
import json
import pathlib
import subprocess
import sys

import pytest

from avemo import arguments, cli
from avemo.corpora import crema_d

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = str(ROOT / 'configs/tiny_crema_d.py')
GRID = str(ROOT / 'configs/sequences.py')


def run(capsys, *command: str) -> tuple[int, str, str]:
  """Exit status, what was printed, and the errors."""
  status = 0
  try:
    cli.main(command)
  except SystemExit as stop:
    status = stop.code or 0
  printed = capsys.readouterr()
  return status, printed.out, printed.err


@pytest.mark.parametrize(
  'command, words',
  [
    ([], ['VERB']),
    (['trian'], ["did you mean 'train'"]),
    (['simulate', 'crema', '--out', '{tmp}/x'], ['crema', 'crema_d']),
    (['simulate', 'crema_d', '--out', '{tmp}/x', '--speakers', '0'], ['below']),
    (['prepare', 'cremad', '--raw', '{tmp}'], ['cremad', 'crema_d']),
    (['prepare', 'crema_d', '--raw', '{tmp}/none'], ['none', 'no such folder']),
    (['prepare', 'crema_d', '--raw', '{tmp}', '--config', 'fce'], ["'face'"]),
    (['protocols', 'crema_d_hicme_5fold'], ['crema_d_hicmae_5fold']),
    (['protocols', 'crema_d_hicmae_5fold', '--names', '{tmp}/n'], ['{tmp}/n']),
    (['train', '--workdir', '{tmp}/w'], ['--config']),
    (
      ['train', '--config=none.py', '--workdir={tmp}/w'],
      ['none.py', 'configs'],
    ),
    (
      ['train', f'--config={CONFIG}:sytem=late', '--workdir={tmp}/w'],
      ['sytem', 'system'],
    ),
    (
      ['train', f'--config={CONFIG}', '--workdir={tmp}/w', '--config.sead=1'],
      ['sead', "'seed'"],
    ),
    (
      [
        'train',
        f'--config={CONFIG}',
        '--workdir={tmp}/w',
        '--config.optim.lr=fast',
      ],
      ["--config.optim.lr: 'fast' is no number"],
    ),
    (
      ['train', f'--config={CONFIG}', '--workdir={tmp}/w', '--config.steps=x'],
      ["--config.steps: 'x' is no whole number"],
    ),
    (
      [
        'train',
        f'--config={CONFIG}',
        '--workdir={tmp}/w',
        "--config.model.heads=('emotions',)",
      ],
      ['model.heads', "did you mean 'emotion'"],
    ),
    (
      [
        'train',
        f'--config={CONFIG}',
        '--workdir={tmp}/w',
        '--config.data_dir={tmp}',
        '--config.init.video={tmp}/run',
      ],
      ['init.video', 'no tower for video; it has audio'],
    ),
    # Of grids as well, before their first trial.
    *(
      (
        [verb, f'--config={path}', '--workdir={tmp}/w', '--config.steps=20'],
        ['optim.warmup=30', 'add --config.optim.warmup=2'],
      )
      for verb, path in (('train', CONFIG), ('sweep', f'{GRID}:size=tiny'))
    ),
    (['evaluate', '--workdir=x', '--snr=loud'], ["'loud' is no number"]),
    (['evaluate', '--workdir=x', '--views=a'], ["'a' is no whole number"]),
    (
      [
        'train',
        f'--config={CONFIG}',
        '--workdir={tmp}/w',
        '--config.data_dir={tmp}/none',
      ],
      ['crema_d_av', 'avemo prepare crema_d'],
    ),
    (
      ['train', '--config={tmp}/broken.py', '--workdir={tmp}/w'],
      ['broken.py', 'nmae'],
    ),
    (['evaluate', '--workdir={tmp}/none'], ['none', 'config.json']),
    (['evaluate', '--workdir={tmp}', '--split=tst'], ["'test'"]),
    (
      ['predict', '{tmp}/a.mp4', '--workdir={tmp}', '--out={tmp}/out'],
      ['config.json'],
    ),
    (
      ['predict', 'a', '--workdir=w', '--out=o', '--every=0'],
      ['--every'],
    ),
    (['demo', '--out={tmp}/other'], ['other', '--out']),
  ],
  ids=lambda value: ' '.join(value)[:40] if isinstance(value, list) else None,
)
def test_wrong_commands_get_one_line(tmp_path, capsys, command, words):
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other/file').write_text('mine')
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run/config.json').write_text('{"model": {"use": ["audio"]}}')
  (tmp_path / 'crema_d_av/face/1.0.0').mkdir(parents=True)
  (tmp_path / 'crema_d_av/face/1.0.0/dataset_info.json').touch()
  (tmp_path / 'broken.py').write_text('def get_config():\n  return nmae\n')
  fill = lambda text: text.replace('{tmp}', str(tmp_path))
  status, _, err = run(capsys, *map(fill, command))
  assert status != 0
  lines = [line for line in err.splitlines() if line.startswith('avemo: ')]
  assert len(lines) == 1, err
  assert 'Traceback' not in err
  assert 'internal error' not in err
  for word in words:
    assert fill(word) in lines[0]
  assert (tmp_path / 'other/file').read_text() == 'mine'


@pytest.mark.parametrize('folder', ['{tmp}/file', '/proc'])
def test_unwritable_folder_is_one_line(tmp_path, capsys, folder):
  # Below a file and in /proc not even root can make a folder.
  (tmp_path / 'file').write_text('mine')
  out = f'{folder.format(tmp=tmp_path)}/x'
  status, _, err = run(capsys, 'simulate', 'crema_d', '--out', out)
  assert status != 0
  (line,) = err.strip().splitlines()
  assert out in line and 'internal error' not in line


def test_debug_shows_the_traceback(capsys):
  status, _, err = run(capsys, 'protocols', 'nothing', '--debug')
  assert status == 1
  assert 'Traceback' in err


def list_verbs():
  (verbs,) = (
    action
    for action in arguments.build_parser()._actions
    if isinstance(action, argparse._SubParsersAction)
  )
  return verbs.choices


@pytest.mark.parametrize('verb', list_verbs())
def test_every_verb_has_help(capsys, verb):
  status, out, _ = run(capsys, verb, '--help')
  assert status == 0
  assert out.startswith(f'usage: avemo {verb}')
  for empty in ('None', 'False', '[]'):
    assert f'(default: {empty})' not in out
  for action in list_verbs()[verb]._actions:
    assert action.help, f'{verb} {action.dest} has no description'


MISSING = [
  (
    ['predict', '{tmp}/a.mp4', '{tmp}/b.mp4', '--workdir={tmp}/run'],
    ['a.mp4: no such file (nor 1 others)'],
  ),
  (['predict', '{tmp}/film.mp4', '--workdir={tmp}'], ['config.json']),
  (
    ['predict', '{tmp}/film.mp4', '--workdir={tmp}/run', '--audio={tmp}/a'],
    ['a: no such file', '--audio'],
  ),
  (
    ['predict', '{tmp}/film.mp4', '--workdir={tmp}/run', '--smooth=men:1'],
    ['mean'],
  ),
  (
    ['predict', '{tmp}/film.mp4', '--workdir={tmp}/run', '--face-model=none'],
    ['none', '--face-model'],
  ),
  (['evaluate', '--workdir={tmp}'], ['config.json']),
  (
    ['train', f'--config={CONFIG}', '--config.data_dir={tmp}/none'],
    ['avemo prepare crema_d'],
  ),
  (
    [
      'train',
      f'--config={CONFIG}',
      '--config.data.protocol=crema_d_hicme_5fold',
    ],
    ['crema_d_hicmae_5fold'],
  ),
  (
    ['train', f'--config={CONFIG}', '--config.init.video={tmp}/none'],
    ['init.video', 'none: no such folder'],
  ),
  (
    ['train', f'--config={CONFIG}', '--config.init.audio={tmp}'],
    ['init.audio', 'converted weights'],
  ),
  (
    [
      'cross-validate',
      f'--config={CONFIG}',
      '--workdir={tmp}/w',
      '--protocol=crema_d_hicme_5fold',
    ],
    ['crema_d_hicmae_5fold'],
  ),
  (
    ['sweep', f'--config={CONFIG}', '--workdir={tmp}/w'],
    ['no get_sweep()', "{'seed': seed}"],
  ),
]


def test_what_is_missing_is_said_before_jax_starts(
  tmp_path, tiny_crema_d_dataset
):
  (tmp_path / 'film.mp4').write_bytes(b'film')
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run/config.json').write_text('{}')
  commands = []
  for command, _ in MISSING:
    command = [word.format(tmp=tmp_path) for word in command]
    if command[0] == 'predict':
      command.append(f'--out={tmp_path}/out')
    if command[0] == 'train':
      command.insert(1, f'--workdir={tmp_path}/w')
      if 'data_dir' not in command[-1]:
        command.insert(3, f'--config.data_dir={tiny_crema_d_dataset}')
    commands.append(command)
  # One process for all of them: to start takes longer than to answer.
  program = (
    'import json, sys\n'
    'from avemo import cli\n'
    f'for command in json.loads({json.dumps(commands)!r}):\n'
    '  try:\n'
    '    cli.main(command)\n'
    '  except SystemExit as stop:\n'
    '    assert stop.code == 1\n'
    "  assert 'jax' not in sys.modules, command\n"
  )
  result = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr
  lines = result.stderr.splitlines()
  assert len(lines) == len(MISSING), lines
  for line, (_, words) in zip(lines, MISSING, strict=True):
    for word in words:
      assert word in line


def test_protocols_as_json_follow_the_contract(tmp_path, capsys):
  names = [n for n in crema_d.all_names() if n.startswith(('1001', '1020'))]
  names += [n for n in crema_d.all_names() if n.startswith('1040')]
  path = tmp_path / 'names.txt'
  path.write_text('\n'.join(names))
  status, out, _ = run(
    capsys, 'protocols', 'crema_d_hicmae_5fold', '--names', str(path), '--json'
  )
  assert status == 0
  content = json.loads(out)
  assert set(content) >= {
    'protocol', 'speaker_independent', 'source', 'sha256', 'expected_sha256',
    'folds',
  }  # fmt: skip
  assert content['sha256'] != content['expected_sha256']
  assert content['skipped'] == [3, 4]
  for fold in content['folds']:
    speakers = [
      {clip.split('_')[0] for clip in fold[part]}
      for part in ('train', 'val', 'test')
    ]
    assert [len(s) for s in speakers] == [1, 1, 1]
    assert len(set.union(*speakers)) == 3


def test_folds_of_a_list_of_paths_and_of_turns(tmp_path, capsys):
  names = tmp_path / 'names.txt'
  subjects = (1, 2, 11, 12, 20)
  lines = [
    f'subject_{s}/{emotion}/sentence_1/s{s}_{emotion[:2]}_1'
    for s in subjects
    for emotion in ('anger', 'fear')
  ]
  # As in the archive, and named as those of subject 12 are.
  lines[4] = 'subject 11/anger/sentence 1/s12_an_1.avi'
  names.write_text('\n'.join(lines))
  command = ['protocols', 'enterface_maedfer_5fold', '--json', '--names']
  status, out, _ = run(capsys, *command, str(names))
  content = json.loads(out)
  assert status == 0 and content['skipped'] == [3, 4]
  first, second, third = (fold['test'] for fold in content['folds'])
  assert first == sorted(lines[:4]) and third == sorted(lines[8:])
  assert 'subject_11/anger/sentence_1/s12_an_1' in second
  assert len(second) == 4

  names.write_text('\n'.join([*lines, 's1_an_1']))
  status, _, err = run(capsys, *command, str(names))
  assert status == 1 and f"{names}, line 11: 's1_an_1'" in err

  status, _, err = run(capsys, 'protocols', 'msp_improv_hicmae_6fold')
  assert status == 1 and '--names FILE' in err
  turns = [f'MSP-IMPROV-S01A-F0{n}-P-FM01' for n in range(1, 7)]
  names.write_text('\n'.join([*turns, 'UTD-IMPROV-S01A-M01-P-FM01.avi']))
  command = ['protocols', 'msp_improv_hicmae_6fold', '--names', str(names)]
  status, out, _ = run(capsys, *command, '--json')
  tested = [fold['test'] for fold in json.loads(out)['folds']]
  assert tested[0] == [turns[0], 'MSP-IMPROV-S01A-M01-P-FM01']
  assert tested[1:] == [[turn] for turn in turns[1:]]


def test_full_corpus_has_the_published_hash(capsys):
  for name in ('crema_d_hicmae_5fold', 'ravdess_hicmae_6fold_published'):
    status, out, _ = run(capsys, 'protocols', name, '--json')
    content = json.loads(out)
    assert status == 0
    assert content['sha256'] == content['expected_sha256']


def test_folds_are_a_table_with_the_clips_below(tmp_path, capsys):
  names = [n for n in crema_d.all_names() if n.startswith('10')][:3000]
  path = tmp_path / 'names.txt'
  suffixes = itertools.cycle(('', '.flv', '.WAV', '.mp4', '.avi', '.jpg'))
  path.write_text('\n'.join(map(''.join, zip(names, suffixes, strict=False))))
  command = ['protocols', 'crema_d_hicmae_5fold', '--names', str(path)]
  status, short, _ = run(capsys, *command, '--brief')
  assert status == 0 and names[0] not in short and 'fold  train' in short
  _, long, _ = run(capsys, *command)
  assert long.startswith(short) and names[0] in long
  path.write_text('a\nb\n' + '\n'.join(names))
  status, _, err = run(capsys, *command)
  assert status == 1 and "line 1: 'a'; line 2: 'b': are no clips" in err
  _, out, _ = run(capsys, 'protocols', 'ravdess')
  assert 'ravdess_hicmae_6fold ' in out and 'crema_d' not in out


def test_a_reader_that_has_seen_enough_ends_it_quietly():
  command = f'{sys.executable} -m avemo protocols | head -n 1'
  done = subprocess.run(command, shell=True, capture_output=True, text=True)
  assert 'crema_d' in done.stdout and not done.stderr
