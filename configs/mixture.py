r"""Several corpora and several tasks in one model, with tiny towers.

Emotions of all corpora under one head, each example over its own corpus's
classes; valence and arousal where MSP-IMPROV or Aff-Wild2 is in play, action
units where Aff-Wild2 is. Every corpus is chosen and scored on by a protocol of
its own, and all have the same share of the examples, whatever their size.

  avemo train --config=configs/mixture.py:corpora=crema_d+ravdess \
    --workdir=runs/mixture --config.data.mixture.ravdess.weight=0.5
  avemo evaluate --workdir=runs/mixture              # all, and each
  avemo evaluate --workdir=runs/mixture --data ravdess

A run takes as long as one of tiny_crema_d.py. `derive` adds valence
and arousal from emotions by a published table, for training alone.
"""

from avemo import errors
from configs import common, tiny_crema_d

PROTOCOLS = {
  'crema_d': 'crema_d_hicmae_5fold',
  'ravdess': 'ravdess_hicmae_6fold',
  'enterface': 'enterface_maedfer_5fold',
  'mafw': 'mafw_official_5fold',
  'msp_improv': 'msp_improv_hicmae_6fold',
  'aff_wild2': 'aff_wild2_official',
}
VALENCE_AROUSAL = ('msp_improv', 'aff_wild2')
ACTION_UNITS = ('aff_wild2',)


def get_config(arg: str = ''):
  arg = common.parse(
    arg,
    corpora='crema_d+ravdess',
    system=tiny_crema_d.SYSTEMS,
    fold=0,
    derive=False,
  )
  corpora = arg.corpora.split('+')
  for name in corpora:
    if name not in PROTOCOLS:
      raise errors.AvemoError(
        f'corpora={arg.corpora!r}: join some of {", ".join(PROTOCOLS)} by +'
      )
  config = tiny_crema_d.get_config(f'system={arg.system}')
  for key in ('name', 'protocol', 'fold'):
    del config.data[key]
  config.data.mixture = {
    name: {'protocol': PROTOCOLS[name], 'fold': arg.fold, 'weight': 1.0}
    for name in corpora
  }
  config.data.every = 0.5
  heads = ['emotion']
  if arg.derive or set(corpora) & set(VALENCE_AROUSAL):
    heads.append('valence_arousal')
  if set(corpora) & set(ACTION_UNITS):
    heads.append('action_units')
    config.loss.action_unit_weights = 'balanced'
  config.model.heads = tuple(heads)
  config.loss.class_weights = 'balanced'
  config.loss.continuous = 'ccc+mse'
  if arg.derive:
    config.data.derive = 'russell_mehrabian_1977'
  return config
