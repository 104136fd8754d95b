r"""VideoMAE pretrained on CREMA-D's pictures: no labels, nine tenths hidden.

One of three sizes: `tiny`, the tower of tiny_crema_d.py, for the demo's
simulated speakers and two CPU cores; `small` and `base`, the published
VideoMAE-S and -B at 224 pixels, for accelerators.

  avemo train --config=configs/pretrain_crema_d.py:size=tiny \
    --workdir=runs/pretrain --config.data_dir=runs/demo/data

What it learned is where a classifier starts:

  avemo train --config=configs/tiny_crema_d.py:system=video \
    --workdir=runs/tuned --config.data_dir=runs/demo/data \
    --config.init.video=runs/pretrain

On the demo's 24 training speakers it does not pay: over three seeds, UAR on
unseen speakers is 0.597 from it and 0.639 from scratch, with a quarter of the
labels 0.403 and 0.486 (`benchmarks/pretraining.py`).

The speakers of the fold's test part are seen by neither. To pretrain on the
validation speakers as well, add `--config.data.refit=True`.
"""

from configs import common, tiny_crema_d


def get_config(arg: str = ''):
  arg = common.parse(arg, size=('tiny', 'small', 'base'), fold=0)
  config = common.default()
  config.data.fold = arg.fold
  config.model = {
    'name': 'videomae_pretraining',
    'use': ('video',),
    'video': {'name': 'videomae', 'variant': arg.size},
    'decoder': {},
    'mask_ratio': 0.9,
    'dtype': 'float32',
  }
  config.augment = {'crop': {'area': (0.5, 1.0)}, 'flip': {}}
  # As published, at 1.5e-4 for each 256 clips.
  config.optim.update(b2=0.95, weight_decay=0.05, clip=1.0)
  config.control.update(metric='val/loss', mode='min', evaluate_every=500)
  config.checkpoint.every = 500
  if arg.size == 'tiny':
    shared = tiny_crema_d.get_config('system=video')
    config.steps = 2_000
    config.data.update(shared.data.to_dict(), fold=arg.fold)
    config.model.video = shared.model.video
    config.model.decoder = {
      'width': 64,
      'depth': 2,
      'num_heads': 2,
      'remat': 'none',
    }
    config.optim.update(lr=1.5e-3, warmup=200)
  else:
    config.steps = 50_000
    config.data.update(batch_size=256, sampling='dense', workers=8)
    config.optim.update(lr=1.5e-4, warmup=2_500)
  return config
