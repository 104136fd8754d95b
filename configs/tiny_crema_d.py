r"""Tiny towers on CREMA-D, made for the demo's simulated speakers.

One of four systems: `early` (token concatenation), `late` (averaged logits),
`audio` and `video` alone. About a minute each on two CPU cores.

  avemo train --config=configs/tiny_crema_d.py:system=early \
    --workdir=runs/tiny --config.data_dir=runs/demo/data
"""

from configs import common

SYSTEMS = {
  'early': ('video', 'audio'),
  'late': ('video', 'audio'),
  'audio': ('audio',),
  'video': ('video',),
}


def get_config(arg: str = ''):
  arg = common.parse(arg, system=SYSTEMS, fold=0)
  config = common.default()
  config.steps = 250
  config.data.fold = arg.fold
  config.data.update(batch_size=32, frames=8, size=64, seconds=2.5)
  config.model.use = SYSTEMS[arg.system]
  config.model.video = {
    'name': 'videomae',
    'variant': 'tiny',
    'width': 96,
    'depth': 3,
    'num_heads': 3,
    'remat': 'none',
  }
  config.model.audio = {
    'name': 'spectrogram_vit',
    'variant': 'tiny',
    'width': 96,
    'depth': 3,
    'num_heads': 3,
    'patch': (64, 4),
    'stride': (64, 4),
    'remat': 'none',
  }
  config.model.features = {'num_mels': 64, 'hop': 160}
  config.model.fusion.kind = 'late' if arg.system == 'late' else 'early'
  config.augment = {'flip': {}, 'time_shift': {'max_samples': 3200}}
  if len(config.model.use) > 1:
    # The sound is learned sooner and would explain what the picture shows. The
    # picture is never dropped: on validation speakers that cost more than it
    # gave, so this model should not be asked to read sound alone.
    config.augment.modality_dropout = {'video': 0.0, 'audio': 0.3}
  config.loss.label_smoothing = 0.1
  config.model.dropout = 0.2
  # The average of late steps: few speakers make validation scores jump.
  config.optim.update(lr=1e-3, warmup=30, weight_decay=0.05, ema=0.97)
  config.control.evaluate_every = 50
  config.checkpoint.every = 50
  return config
