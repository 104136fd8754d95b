r"""Small towers from scratch, where no published weights are at hand.

They stand in for those of `frames_aff_wild2.py`, on simulated corpora: an
EfficientNet over single faces, a VGGish over 0.975 s of speech, or a Wav2Vec2
over as much, learned from the emotions of CREMA-D; some two minutes each on two
CPU cores.

  avemo simulate crema_d --speakers 40 --clips-per-speaker 12 --out RAW
  avemo prepare crema_d --raw RAW --data-dir DATA
  avemo train --config=configs/frames_towers.py:tower=face \
    --workdir=runs/towers/face --config.data_dir=DATA
"""

from configs import common

TOWERS = {
  'face': {'name': 'efficientnet', 'variant': 'tiny'},
  'vggish': {'name': 'vggish', 'variant': 'tiny'},
  'wav2vec2': {'name': 'wav2vec2', 'variant': 'tiny'},
}


def get_config(arg: str = ''):
  arg = common.parse(arg, tower=TOWERS, fold=0)
  config = common.default()
  config.steps = 600
  config.data.fold = arg.fold
  config.data.update(batch_size=32, frames=2, size=64, seconds=0.975)
  config.model.dropout = 0.2
  if arg.tower == 'face':
    config.model.use = ('video',)
    config.model.video = TOWERS['face']
    config.augment = {'flip': {}}
  else:
    config.model.use = ('audio',)
    config.model.audio = TOWERS[arg.tower]
  config.loss.label_smoothing = 0.1
  config.optim.update(lr=2e-3, warmup=30, weight_decay=0.05, ema=0.97)
  config.control.evaluate_every = 200
  config.checkpoint.every = 200
  return config
