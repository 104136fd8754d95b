"""Every config loads in each of its forms and makes the model it names."""

import pathlib

import jax
import numpy as np
import pytest

from avemo.data.clips import ClipOptions
from avemo.evaluate import restore
from avemo.experiment import configs, grid
from avemo.train import optim, run
from configs import sequences

ROOT = pathlib.Path(__file__).parent.parent
FORMS = {
  'cnn_fusion_msp_improv': (
    '',
    'size=tiny,fold=2',
    'target=activation,system=audio,size=tiny',
    'target=valence,system=video',
  ),
  'mfcc_cnn_ravdess': ('', 'size=tiny', 'system=audio,fold=1', 'system=video'),
  'frames_aff_wild2': ('', 'task=va,kind=mlp', 'task=au,size=tiny'),
  'frames_towers': ('', 'tower=vggish'),
  'mixture': (
    '',
    'corpora=crema_d+aff_wild2,fold=1',
    'corpora=msp_improv,derive,system=audio',
  ),
  'multitask': (
    '',
    'task=regression,corpus=enterface,fold=1',
    'task=classification,corpus=four,derive',
    'size=tiny,corpus=mafw',
  ),
  'pretrain_crema_d': ('', 'size=small', 'size=base,fold=1'),
  'sequences': (
    '',
    'strategy=bottleneck,corpus=enterface',
    'strategy=audio,corpus=ravdess,probe',
    'strategy=sfas,published,probe',
    'strategy=audio,pictures=mel,size=tiny',
  ),
  'tiny_crema_d': ('', 'system=late', 'system=audio', 'system=video,fold=2'),
}
CLIP_KEYS = (
  'frames', 'sampling', 'stride', 'fps', 'size', 'margin', 'squeeze', 'seconds',
)  # fmt: skip


# Parameters that a config's docstring states, by its form and classes.
COUNTS = {
  ('mfcc_cnn_ravdess', '', 8): 3_589_064,
  ('mfcc_cnn_ravdess', 'system=audio', 8): 98_024,
  ('cnn_fusion_msp_improv', '', 4): 767_572,
}


@pytest.mark.parametrize('name, form, classes', COUNTS)
def test_config_has_the_parameters_that_it_states(name, form, classes):
  path = ROOT / f'configs/{name}.py'
  shapes = make_shapes(
    configs.load([f'--config={path}:{form}']).to_dict(), classes
  )
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes['params']))
  assert count == COUNTS[name, form, classes]
  assert f'{count:,}' in path.read_text()


def make_shapes(config, classes):
  """The variables of a config's model, as shapes."""
  data = config['data']
  options = ClipOptions(
    use=tuple(config['model']['use']),
    **{k: data[k] for k in CLIP_KEYS},
  )
  # Their widths are known once they are opened.
  towers = config['features']['towers']
  if towers:
    config['model']['inputs'] = [[name, 8] for name in towers]
  model = restore.make_model(
    config['model'], num_classes=classes, augment=config['augment']
  )
  return jax.eval_shape(restore.make_init(model, options), jax.random.key(0))


def list_configs():
  paths = sorted((ROOT / 'configs').glob('*.py'))
  return [p for p in paths if p.stem not in ('common', '__init__')]


@pytest.mark.parametrize(
  'path, form',
  [(p, form) for p in list_configs() for form in FORMS.get(p.stem, ('',))],
  ids=lambda value: getattr(value, 'stem', value),
)
def test_config_makes_its_model(path, form):
  config = configs.load([f'--config={path}:{form}']).to_dict()
  run.check_sections(config)
  shapes = make_shapes(config, 6)
  assert jax.tree.leaves(shapes['params'])
  heads = set(restore.find_tasks(config['model']))
  for head in shapes['params'].get('head', {}).values():
    assert heads == {name for name in head if not name.startswith('layer_')}


def test_the_grid_of_sequences_names_each_way_by_three_seeds():
  trials = grid.load_trials([f'--config={ROOT}/configs/sequences.py:size=tiny'])
  assert len(trials) == 3 * len(sequences.STRATEGIES) == 36
  assert trials[0].name == 'strategy=fslf_seed=0'
  # The model too, which must find its options right.
  models = {
    restore.make_model(trial.config['model'], num_classes=6, augment={})
    for trial in trials[::3]
  }
  assert len(models) == len(sequences.STRATEGIES)


def test_a_probe_trains_the_norm_and_the_layer_after_it_alone():
  path = f'--config={ROOT}/configs/sequences.py:size=tiny,probe,strategy=video'
  config = configs.load([path]).to_dict()
  model = restore.make_model(config['model'], num_classes=7)
  options = ClipOptions(frames=16, size=64, use=('video',))
  shapes = jax.eval_shape(restore.make_init(model, options), jax.random.key(0))
  blocks = {'video': config['model']['video']['frozen_blocks']}
  trained = optim.find_trained(shapes['params'], blocks)
  names = {name for name, kept in trained.items() if np.any(kept)}
  assert names == {
    'video/fc_norm/scale',
    'video/fc_norm/bias',
    'head/joint/emotion/kernel',
    'head/joint/emotion/bias',
  }
