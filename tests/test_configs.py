"""Every config loads in each of its forms and makes the model it names."""

import pathlib

import jax
import pytest

from avemo.data.clips import ClipOptions
from avemo.evaluate import restore
from avemo.experiment import configs
from avemo.train import run

ROOT = pathlib.Path(__file__).parent.parent
FORMS = {
  'frames_aff_wild2': ('', 'task=va,kind=mlp', 'task=au,tiny'),
  'frames_towers': ('', 'tower=vggish'),
  'mixture': (
    '',
    'corpora=crema_d+aff_wild2,fold=1',
    'corpora=msp_improv,derive,system=audio',
  ),
  'pretrain_crema_d': ('', 'size=small', 'size=base,fold=1'),
  'tiny_crema_d': ('', 'system=late', 'system=audio', 'system=video,fold=2'),
}


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
  data = config['data']
  options = ClipOptions(
    use=tuple(config['model']['use']),
    **{k: data[k] for k in ('frames', 'sampling', 'stride', 'size', 'seconds')},
  )
  # Their widths are known once they are opened.
  towers = config['features']['towers']
  if towers:
    config['model']['inputs'] = [[name, 8] for name in towers]
  model = restore.make_model(
    config['model'], num_classes=6, augment=config['augment']
  )
  shapes = jax.eval_shape(restore.make_init(model, options), jax.random.key(0))
  assert jax.tree.leaves(shapes['params'])
  heads = set(restore.find_tasks(config['model']))
  assert all(
    heads == head.keys() for head in shapes['params'].get('head', {}).values()
  )
