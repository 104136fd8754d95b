"""What training decides from evaluations, as a part of its state.

It is checkpointed with the rest, so that a resumed run decides alike.
"""

import math

import numpy as np

from avemo import errors

Control = dict[str, np.ndarray]


def start(*, mode: str = 'max') -> Control:
  """Before the first evaluation.

  `best` and `best_step` are those of the metric; `waited` counts evaluations
  since, `waited_plateau` those since the learning rate last changed or the
  metric was last best. `scale` multiplies the learning rate. `stopped` ends
  training.
  """
  if mode not in ('max', 'min'):
    raise errors.AvemoError(f"control.mode={mode!r}: use 'max' or 'min'")
  worst = -math.inf if mode == 'max' else math.inf
  return {
    'best': np.float64(worst).astype(np.float32),
    'best_step': np.int32(-1),
    'waited': np.int32(0),
    'waited_plateau': np.int32(0),
    'scale': np.float32(1),
    'stopped': np.bool_(False),
  }


def update(
  control: Control,
  value: float,
  step: int,
  *,
  mode: str = 'max',
  patience: int = 0,
  plateau_patience: int = 0,
  plateau_factor: float = 0.1,
) -> Control:
  """After an evaluation at `step` that measured `value`.

  A value that is not a number is never the best, and counts as waiting.

  Args:
    control: before it.
    value: of the metric.
    step: number of finished steps.
    mode: 'max' or 'min'.
    patience: evaluations without a new best after which training stops;
      0 never stops it.
    plateau_patience: evaluations without a new best after which the learning
      rate is multiplied by `plateau_factor`; 0 never.
    plateau_factor: see there.
  """
  value = np.float32(value)
  best = control['best']
  is_best = bool(value > best if mode == 'max' else value < best)
  new = dict(control)
  if is_best:
    new |= {'best': value, 'best_step': np.int32(step)}
  new['waited'] = np.int32(0 if is_best else control['waited'] + 1)
  waited = 0 if is_best else int(control['waited_plateau']) + 1
  if plateau_patience and waited >= plateau_patience:
    new['scale'] = np.float32(control['scale'] * np.float32(plateau_factor))
    waited = 0
  new['waited_plateau'] = np.int32(waited)
  new['stopped'] = np.bool_(
    control['stopped'] or (patience > 0 and new['waited'] >= patience)
  )
  return new
