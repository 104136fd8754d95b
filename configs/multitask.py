r"""Emotion, and valence and arousal, from picture and sound at once.

One of three tasks (`classification`, `regression`, `multitask`) on one of
three corpora, or on four mixed, each under a protocol of its own:

  avemo prepare crema_d --raw CREMA-D --labels affect.csv --data-dir DATA
  avemo train --config=configs/multitask.py:task=multitask,corpus=crema_d \
    --workdir=runs/multitask --config.data_dir=DATA \
    --config.init.video=weights/videomae --config.init.audio=weights/ast

VideoMAE-B and an audio transformer of AST's size meet as tokens; what comes
out goes through dense layers with batch norm and dropout that the tasks share,
then to a layer a task. The loss is the weighted sum of cross entropy and
1 - CCC. 16 frames of 224 pixels, spread over the clip as it is shown at 25
frames a second, so that corpora of several rates are read alike.

The corpora annotate no valence and arousal: they come from your own table
(`prepare --labels`), or, where you ask for it by `derive`, from a published
table by emotion, for training alone. Clips without them are learned from by
their emotion, and the other way round.

`multitask` keeps the checkpoint of the best UAR; by concordance with
`--config.control.metric=val/ccc_mean`. `size=tiny` is for two CPU cores and
simulated speakers, a minute a run:

  avemo simulate crema_d --speakers 40 --clips-per-speaker 12 --affect --out RAW
  avemo prepare crema_d --raw RAW --labels RAW/affect.csv --data-dir DATA
  avemo train --config=configs/multitask.py:size=tiny --workdir=runs/tiny \
    --config.data_dir=DATA
"""

from configs import common, mixture, tiny_crema_d

TASKS = {
  'multitask': ('emotion', 'valence_arousal'),
  'classification': ('emotion',),
  'regression': ('valence_arousal',),
}
# The fourth corpus of the system that this follows is not named in its source;
# that it is RAVDESS is an assumption.
CORPORA = {
  'crema_d': ('crema_d',),
  'enterface': ('enterface',),
  'mafw': ('mafw',),
  'four': ('crema_d', 'enterface', 'mafw', 'ravdess'),
}


def get_config(arg: str = ''):
  arg = common.parse(
    arg,
    task=TASKS,
    corpus=CORPORA,
    size=('full', 'tiny'),
    fold=0,
    derive=False,
  )
  config = make_tiny() if arg.size == 'tiny' else make_full()
  config.data.fps = 25.0
  set_corpora(config, CORPORA[arg.corpus], arg.fold)
  config.model.heads = TASKS[arg.task]
  config.loss.continuous = 'ccc'
  config.loss.task_weights = dict.fromkeys(config.model.heads, 1.0)
  if arg.task == 'regression':
    config.loss.label_smoothing = 0.0
    config.control.metric = 'val/ccc_mean'
  elif len(CORPORA[arg.corpus]) > 1 or arg.corpus == 'mafw':
    config.loss.class_weights = 'balanced'
  if arg.derive:
    config.data.derive = 'russell_mehrabian_1977'
  return config


def make_full():
  """The sizes of published weights, for accelerators."""
  config = common.default()
  config.steps = 10_000
  config.data.update(batch_size=64, frames=16, size=224, workers=8)
  config.model.features = {'front_end': 'filterbank'}
  config.model.head = {'layers': (512, 256), 'batch_norm': True}
  config.model.dropout = 0.3
  config.model.dtype = 'bfloat16'
  config.augment = {'flip': {}, 'time_shift': {'max_samples': 3200}}
  config.augment.modality_dropout = {'video': 0.1, 'audio': 0.1}
  config.loss.label_smoothing = 0.1
  config.optim.update(lr=5e-4, warmup=500, layer_decay=0.75, ema=0.999)
  config.control.evaluate_every = 500
  config.checkpoint.every = 500
  return config


def make_tiny():
  """The towers of tiny_crema_d.py."""
  config = tiny_crema_d.get_config()
  config.model.head = {'layers': (96,), 'batch_norm': True}
  return config


def set_corpora(config, corpora, fold):
  """One dataset and its protocol, or several, each of the same weight."""
  if len(corpora) == 1:
    (name,) = corpora
    config.data.update(
      name=f'{name}_av', protocol=mixture.PROTOCOLS[name], fold=fold
    )
    return
  for key in ('name', 'protocol', 'fold'):
    del config.data[key]
  config.data.mixture = {
    name: {'protocol': mixture.PROTOCOLS[name], 'fold': fold, 'weight': 1.0}
    for name in corpora
  }
