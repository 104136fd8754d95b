r"""One VideoMAE over pictures of a face and of its sound; other ways beside it.

After MultiMAE-DER (Xiang et al., 2024): windows of the sound are drawn as MFCC
pictures and stand among the frames. `strategy` is one of its six, fslf, ffls,
cfas, ofos, sfas and rfas (see avemo/models/strategies.py), or another way of
the same tower: early, late, cross_attention or bottleneck with a spectrogram
transformer beside it, or the pictures of video or audio alone.

  avemo convert videomae TFVideoMAE_L_K400_16x224_FT --out weights/videomae
  avemo train --config=configs/sequences.py:strategy=fslf,corpus=ravdess,probe \
    --workdir=runs/fslf --config.init.video=weights/videomae

Arguments: `corpus`, crema_d, ravdess or enterface; `fold`; `pictures`, of MFCC
or of mel bands; `probe`, as published: the encoder stays as it is, and the norm
and the dense layer after it are trained; otherwise all is. `published` turns to
whole frames pressed into squares (prepare with --config frame), from the first
second or so alone, with tubelets that mix both, sums that wrap and an order
drawn once for each clip.

`size=tiny` is for simulated speakers and two CPU cores, a minute a run; the
grid below at that size compares code, not strategies:

  avemo simulate crema_d --speakers 40 --clips-per-speaker 12 --out RAW
  avemo simulate crema_d --speakers 40 --clips-per-speaker 12 --seed 1 \
    --other-than RAW --out OTHER_RAW
  avemo prepare crema_d --raw OTHER_RAW --data-dir OTHER
  avemo train --config=configs/pretrain_crema_d.py:size=tiny \
    --workdir=runs/pretrain --config.data_dir=OTHER
  avemo prepare crema_d --raw RAW --data-dir DATA
  avemo train --config=configs/sequences.py:size=tiny,strategy=fslf \
    --workdir=runs/fslf --config.data_dir=DATA --config.init.video=runs/pretrain
  avemo sweep --config=configs/sequences.py:size=tiny --workdir=runs/sequences \
    --config.data_dir=DATA --config.init.video=runs/pretrain
"""

from configs import common, tiny_crema_d

BOTH = ('video', 'audio')
SEQUENCES = ('fslf', 'ffls', 'cfas', 'ofos', 'sfas', 'rfas')
FUSIONS = ('early', 'late', 'cross_attention', 'bottleneck')
STRATEGIES = (*SEQUENCES, *FUSIONS, *BOTH)
# Those in which every frame stands beside a picture of sound.
PAIRED = ('cfas', 'sfas')

# Protocol, seconds of sound that hold almost every clip, training clips.
CORPORA = {
  'crema_d': ('crema_d_hicmae_5fold', 4.0, 4_400),
  'ravdess': ('ravdess_hicmae_6fold', 5.0, 960),
  'enterface': ('enterface_maedfer_5fold', 5.0, 770),
}
# As they were drawn: see avemo/audio/picture.py.
PUBLISHED_PICTURES = {
  'hop': 1e-4,
  'limits': 'window',
  'top_db': None,
  'amin': 2.220446049250313e-16,
}
SEEDS = (0, 1, 2)


def get_config(arg: str = ''):
  arg = common.parse(
    arg,
    strategy=STRATEGIES,
    corpus=CORPORA,
    pictures=('mfcc', 'mel'),
    size=('full', 'tiny'),
    fold=0,
    probe=False,
    published=False,
  )
  protocol, seconds, num_clips = CORPORA[arg.corpus]
  config = make_tiny() if arg.size == 'tiny' else make_full(seconds, num_clips)
  config.data.update(name=f'{arg.corpus}_av', protocol=protocol, fold=arg.fold)
  for key, value in list_overrides(arg.strategy).items():
    *sections, last = key.split('.')
    section = config
    for name in sections:
      section = section[name]
    section[last] = value
  if arg.pictures == 'mel':
    config.model.fusion.sequence.pictures.kind = 'mel'
  if arg.probe:
    config.model.video.frozen_blocks = config.model.video.depth
    config.optim.update(
      lr=1e-2, weight_decay=0.05, layer_decay=1.0, schedule='constant', warmup=0
    )
  if arg.published:
    config.data.update(
      name=f'{arg.corpus}_av/frame',
      margin=None,
      squeeze=True,
      sampling='head',
      stride=48 // config.data.frames,
    )
    config.model.fusion.sequence.update(run=1, saturate=False, shuffle='clip')
    config.model.fusion.sequence.pictures.update(PUBLISHED_PICTURES)
  return config


def get_sweep():
  """All strategies, other fusions and single modalities, by three seeds."""
  return [
    {'arg': {'strategy': strategy}, 'seed': seed}
    for strategy in STRATEGIES
    for seed in SEEDS
  ]


def list_overrides(strategy: str) -> dict:
  """What a strategy sets, by dotted keys."""
  whole = strategy in (*PAIRED, *BOTH)
  overrides = {
    'model.use': (strategy,) if strategy in BOTH else BOTH,
    'model.fusion.kind': strategy if strategy in FUSIONS else 'sequence',
    'data.frames': 16 if whole else 8,
  }
  if strategy in SEQUENCES:
    overrides['model.fusion.sequence.strategy'] = strategy
  return overrides


def make_full(seconds: float, num_clips: int):
  """VideoMAE-L at 224 pixels; batches as published, for an accelerator."""
  config = common.default()
  config.data.update(batch_size=16, seconds=seconds, workers=8)
  epoch = num_clips // config.data.batch_size
  config.steps = 100 * epoch
  tower = {'width': 1024, 'depth': 24, 'num_heads': 16, 'frozen_blocks': 0}
  config.model.video = {'name': 'videomae', 'variant': 'large', **tower}
  # As wide and deep as the other, which a bottleneck needs.
  config.model.audio = {'name': 'spectrogram_vit', 'variant': 'base', **tower}
  config.model.fusion.cross_attention.num_heads = 16
  config.model.fusion.bottleneck.join_at = 16
  config.model.dtype = 'bfloat16'
  config.augment = {'flip': {}, 'modality_dropout': {}}
  config.optim.update(
    lr=1e-4, weight_decay=0.05, layer_decay=0.75, warmup=5 * epoch
  )
  config.control.evaluate_every = 5 * epoch
  config.checkpoint.every = 5 * epoch
  return config


def make_tiny():
  """The towers of tiny_crema_d.py, on as many pictures of 64 pixels."""
  config = tiny_crema_d.get_config('system=early')
  config.steps = 200
  config.model.video.frozen_blocks = 0
  fusion = config.model.fusion
  fusion.cross_attention = {'depth': 1, 'num_heads': 3, 'remat': 'none'}
  fusion.bottleneck.join_at = 1
  # Half as many frames as columns: a picture of 64 pixels shows no more.
  fusion.sequence.update(size=64, pictures={'columns': 32})
  return config
