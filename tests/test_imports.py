"""The import rules between rooms, read from the source of every module."""

import ast
import importlib
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import avemo
import datasets_tfds

ROOT = pathlib.Path(__file__).parent.parent

# A room may import itself, `errors`, `locks`, `words`, and the rooms listed
# here.
EVALUATE = {
  'features',
  'models',
  'audio',
  'augment',
  'data',
  'corpora',
  'media',
  'metrics',
  'runtime',
}
TRAIN = EVALUATE | {'evaluate', 'convert'}
ALLOWED = {
  'corpora': set(),
  'media': set(),
  'metrics': set(),
  'runtime': set(),
  'convert': set(),
  'audio': set(),
  'augment': set(),
  'data': {'corpora', 'media'},
  'models': {'audio', 'augment'},
  'features': {'audio', 'models', 'data', 'runtime'},
  'evaluate': EVALUATE,
  'train': TRAIN,
  'predict': EVALUATE | {'evaluate'},
  'extract': EVALUATE | {'evaluate', 'predict'},
  'experiment': TRAIN | {'train', 'simulate', 'predict'},
  'simulate': {'corpora', 'media'},
  'datasets_tfds': {'corpora', 'media', 'data'},
  'errors': set(),
  'words': set(),
  'locks': set(),
  'arguments': {'parser', 'verbs', 'experiment'},
  'parser': set(),
}

# Data workers start fast and stay small: these rooms leave JAX alone.
WITHOUT_JAX = ('corpora', 'media', 'metrics', 'simulate', 'datasets_tfds')
WITHOUT_JAX_IN_DATA = (
  'anchors',
  'clips',
  'dimensions',
  'folds',
  'index',
  'labels',
  'mixture',
  'parts',
  'schema',
  'seen',
  'targets',
  'windows',
)


def find_room(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT).parts
  if parts[0] != 'avemo':
    return parts[0]
  return parts[1].removesuffix('.py')


def find_imports(path: pathlib.Path) -> set[str]:
  """The full dotted names that the file imports from this project."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: relative import'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  # The package itself holds no room, only its version.
  names.discard('avemo')
  return {n for n in names if n.split('.')[0] in ('avemo', 'datasets_tfds')}


SOURCES = sorted(
  [*ROOT.glob('avemo/**/*.py'), *ROOT.glob('datasets_tfds/**/*.py')]
)


@pytest.mark.parametrize(
  'path', SOURCES, ids=lambda p: str(p.relative_to(ROOT))
)
def test_rooms_import_only_what_they_may(path):
  room = find_room(path)
  if room in ('cli', 'verbs', '__init__', '__main__'):
    return
  for name in find_imports(path):
    parts = name.split('.')
    target = parts[1] if parts[0] == 'avemo' else parts[0]
    shared = target in ('errors', 'locks', 'words')
    assert target == room or shared or target in ALLOWED[room], (
      f'{path.relative_to(ROOT)} imports {name}; {room} may import '
      f'{sorted(ALLOWED[room])}'
    )


def list_modules(package) -> list[str]:
  found = pkgutil.walk_packages(package.__path__, package.__name__ + '.')
  return sorted(m.name for m in found if not m.name.endswith('__main__'))


def test_every_module_imports():
  for name in list_modules(avemo) + list_modules(datasets_tfds):
    importlib.import_module(name)


def test_data_rooms_start_without_jax_and_nothing_needs_tensorflow():
  names = list_modules(avemo) + list_modules(datasets_tfds)
  rooms = [n for n in names if set(n.split('.')[:2]) & set(WITHOUT_JAX)]
  # The pipeline imports grain, which imports JAX; its workers do not.
  rooms += [f'avemo.data.{name}' for name in WITHOUT_JAX_IN_DATA]
  assert len(rooms) > 10
  program = (
    'import importlib, sys\n'
    f'for name in {rooms!r}: importlib.import_module(name)\n'
    "assert 'flax' not in sys.modules\n"
    "assert 'tensorflow' not in sys.modules\n"
    "print('jax' in sys.modules)\n"
    f'for name in {names!r}: importlib.import_module(name)\n'
    "assert 'tensorflow' not in sys.modules\n"
  )
  result = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.strip() == 'False'
