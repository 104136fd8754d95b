r"""An audio spectrogram transformer from scratch, on real speech of few actors.

Patches are whole columns of 64 mel bands, 40 ms each; 4 seconds of sound. For
some hundred clips and CPU cores; `functionals_ravdess.py` does better there.

  avemo prepare ravdess --raw RAVDESS --data-dir DATA
  avemo cross-validate --config=configs/spectrogram_vit_ravdess.py \
    --protocol=ravdess_hicmae_6fold --seeds 0,1,2 --workdir=runs/ast \
    --config.data_dir=DATA
"""

from configs import common, tiny_crema_d


def get_config(arg: str = ''):
  arg = common.parse(arg, fold=0)
  config = tiny_crema_d.get_config('system=audio')
  config.steps = 600
  config.data.update(
    name='ravdess_av',
    protocol='ravdess_hicmae_6fold',
    fold=arg.fold,
    seconds=4.0,
  )
  config.model.dropout = 0.3
  config.augment = {
    'time_shift': {'max_samples': 3200},
    'noise': {'snr': (15.0, 40.0)},
    'spec_augment': {},
    'mixup': {},
  }
  config.loss.class_weights = 'balanced'
  config.optim.update(warmup=60, weight_decay=0.1)
  config.control.evaluate_every = 100
  config.checkpoint.every = 100
  return config
