r"""Real speech from scratch: 8 emotions of RAVDESS by sound alone.

Functionals and one hidden layer, 133,000 parameters, for a few hundred clips
of a few speakers; a run takes some three minutes on one CPU core.

  avemo prepare ravdess --raw RAVDESS --data-dir DATA
  avemo train --config=configs/functionals_ravdess.py:fold=0 \
    --workdir=runs/ravdess/0 --config.data_dir=DATA

Nothing is chosen on validation records: the last step counts. To train on
them as well, add `--config.data.refit=True`.
"""

from configs import common


def get_config(arg: str = ''):
  arg = common.parse(arg, fold=0)
  config = common.default()
  config.steps = 1200
  config.log_every = 50
  config.data.update(
    name='ravdess_av',
    protocol='ravdess_hicmae_6fold',
    fold=arg.fold,
    batch_size=32,
    seconds=4.0,
  )
  config.augment = {
    'tempo': {},
    'vocal_tract': {},
    'equalizer': {},
    'noise_floor': {},
    'feature_mixup': {'alpha': 0.4},
  }
  config.model.use = ('audio',)
  config.model.audio = {'name': 'functionals', 'width': 256}
  config.loss.update(label_smoothing=0.1, class_weights='balanced')
  config.optim.update(lr=1e-3, warmup=50, weight_decay=0.3, ema=0.99)
  config.control.evaluate_every = config.steps
  config.checkpoint.every = 400
  return config
