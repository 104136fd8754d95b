r"""Frame features over long films: EXPR, VA or AU of Aff-Wild2.

EfficientNet over faces, VGGish and Wav2Vec2 over speech, all frozen, their
features cached and aligned by time to the frames, fused early by an MLP or a
transformer encoder; what is said of frames is smoothed along whole films, by a
window that films of the training set, held out, have chosen.

  avemo convert efficientnet enet_b2_8_best.pt --out weights/face
  avemo train --config=configs/frames_aff_wild2.py:task=expr \
    --workdir=runs/expr --config.features.towers.face.path=weights/face \
    --config.features.towers.vggish.path=weights/vggish \
    --config.features.towers.wav2vec2.path=weights/wav2vec2
  avemo evaluate --workdir=runs/expr

Features are kept in ~/avemo_features (`--config.features.cache=DIR` elsewhere),
which may be deleted at any time. A tower without a path is left out. Size tiny
is for simulated films, with towers of `frames_towers.py`; half a minute on two
idle CPU cores once features are cached.
Smoothing helps where labels last, and must not where they are drawn anew for
every frame (`--redraw`):

  avemo simulate aff_wild2 --videos 24 --longer 4 --out RAW
  avemo prepare aff_wild2 --raw RAW --data-dir DATA
  avemo sweep --config=configs/frames_aff_wild2.py:size=tiny \
    --workdir=runs/frames --adaptive 0.01 --config.data_dir=DATA \
    --config.features.towers.face.path=runs/towers/face
"""

from configs import common

# Outputs of each task, and the metric that chooses.
TASKS = {
  'expr': (('emotion',), 'val/f1_macro'),
  'va': (('valence_arousal',), 'val/ccc_mean'),
  'au': (('action_units',), 'val/f1_au'),
}
KINDS = ('transformer', 'mlp')


def get_config(arg: str = ''):
  arg = common.parse(arg, task=TASKS, kind=KINDS, size=('full', 'tiny'))
  heads, metric = TASKS[arg.task]
  config = common.default()
  config.steps = 4_000
  config.data.update(
    name='aff_wild2_av',
    protocol=f'aff_wild2_official_{arg.task}',
    batch_size=32,
  )
  path = common.config_dict.placeholder
  config.features.update(cache='~/avemo_features', frames=128)
  config.features.towers = {
    'face': {'path': path(str), 'modality': 'video', 'checkpoint': 'best'},
    'vggish': {'path': path(str), 'modality': 'audio', 'checkpoint': 'best'},
    'wav2vec2': {'path': path(str), 'modality': 'audio', 'checkpoint': 'best'},
  }
  config.model = {
    'name': 'sequence',
    'use': ('video', 'audio'),
    'kind': arg.kind,
    'width': 256,
    'depth': 4,
    'num_heads': 4,
    'dropout': 0.2,
    'heads': heads,
    'dtype': 'float32',
  }
  config.loss.update(
    class_weights='balanced' if arg.task == 'expr' else None,
    action_unit_weights='balanced' if arg.task == 'au' else None,
    label_smoothing=0.1,
  )
  config.optim.update(lr=5e-4, warmup=200, weight_decay=0.05)
  config.control.update(evaluate_every=400, metric=metric)
  config.checkpoint.every = 400
  config.evaluate.smooth = 'chosen'
  if arg.size == 'tiny':
    config.steps = 300
    config.data.batch_size = 8
    config.features.frames = 32
    config.model.update(width=64, depth=2)
    config.optim.warmup = 30
    config.control.evaluate_every = 100
    config.checkpoint.every = 100
  return config


def get_sweep() -> list[dict[str, object]]:
  """The results table: each task by MLP and by transformer, three seeds."""
  return [
    {'arg': {'task': task, 'kind': kind}, 'seed': seed}
    for task in TASKS
    for kind in KINDS
    for seed in range(3)
  ]
