r"""MFCC by a 2-D CNN and faces by a 3-D CNN, joined by their features: RAVDESS.

Sound is 40 cepstral coefficients by 44 times, a film 20 frames of 112 x 112
pixels; pitch, speed and noise vary in the step. Adam, a rate that falls on a
plateau, early stopping and the best checkpoint. 3,589,064 parameters, 98,024
of the sound branch alone.

What is new: times and frames are spread over the whole clip, where a second
was cut off or padded before; folds have no actor twice; coefficients are
normalised by the training actors.

  avemo prepare ravdess --raw RAVDESS --data-dir DATA
  avemo train --config=configs/mfcc_cnn_ravdess.py:fold=0 \
    --workdir=runs/mfcc_cnn/0 --config.data_dir=DATA

`system=audio` and `system=video` are its branches alone; the sound branch
needs no accelerator. `size=tiny` is for simulated actors and two CPU cores,
about a minute a fold:

  avemo simulate ravdess --out RAW --speakers 24 --clips-per-speaker 32
  avemo prepare ravdess --raw RAW --data-dir DATA
  avemo cross-validate --config=configs/mfcc_cnn_ravdess.py:size=tiny \
    --protocol=ravdess_hicmae_6fold --workdir=runs/mfcc_cnn \
    --config.data_dir=DATA
"""

from configs import common

SYSTEMS = {
  'both': ('video', 'audio'),
  'audio': ('audio',),
  'video': ('video',),
}
NUM_TIMES = 44


def get_config(arg: str = ''):
  arg = common.parse(arg, system=SYSTEMS, size=('full', 'tiny'), fold=0)
  tiny = arg.size == 'tiny'
  config = common.default()
  config.data.update(
    name='ravdess_av',
    protocol='ravdess_hicmae_6fold',
    fold=arg.fold,
    batch_size=32,
    frames=8 if tiny else 20,
    size=48 if tiny else 112,
    seconds=2.5 if tiny else 4.0,
  )
  config.measure = ('features',)
  config.model.use = SYSTEMS[arg.system]
  config.model.features = {
    'num_mfcc': 40,
    'num_mels': 128,
    'n_fft': 2048,
    'window_length': 2048,
    'hop': int(config.data.seconds * 16_000) // (NUM_TIMES - 1),
    'kind': 'constant',
  }
  config.model.audio = {
    'name': 'cnn',
    'widths': (16, 32, 64) if tiny else (32, 64, 128),
    'keep_bands': True,
  }
  config.model.video = {
    'name': 'cnn3d',
    'widths': (8, 16, 32) if tiny else (32, 64, 128, 256, 256),
    'cells': 3 if tiny else 2,
  }
  config.model.fusion.kind = 'concatenation'
  config.model.fusion.concatenation = {
    'width': 64 if tiny else 256,
    'hidden': (64 if tiny else 256,),
  }
  config.model.dropout = 0.3
  config.augment = {
    # Time is stretched in the same pass.
    'pitch_shift': {'semitones': (-2.0, 2.0), 'tempo': (0.85, 1.18)},
    'noise': {'snr': (15.0, 40.0)},
  }
  if 'video' in config.model.use:
    config.augment.flip = {}
  config.steps = 160 if tiny else 4_000
  # Adam: no weight decay.
  config.optim.update(
    lr=2e-3 if tiny else 1e-3,
    warmup=20,
    schedule='constant',
    weight_decay=0.0,
    clip=1.0,
  )
  config.control.update(
    evaluate_every=20 if tiny else 50,
    plateau_patience=3 if tiny else 5,
    plateau_factor=0.5,
    patience=8 if tiny else 15,
  )
  config.checkpoint.every = config.control.evaluate_every
  return config
