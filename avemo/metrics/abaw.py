"""The scores of the ABAW challenges (Kollias 2022, arXiv:2202.10659).

Frames of all videos are joined before anything is computed. A frame counts
for valence and arousal unless either is -5, for the expression unless it is
-1, for action units unless any is -1; of several tasks each has its own mask.
"""

import numpy as np

from avemo.metrics import action_units, classification, regression

UNKNOWN_VALUE = -5
UNKNOWN_CLASS = -1

EXPRESSIONS = (
  'Neutral', 'Anger', 'Disgust', 'Fear', 'Happiness', 'Sadness', 'Surprise',
  'Other',
)  # fmt: skip
ACTION_UNITS = (
  'AU1', 'AU2', 'AU4', 'AU6', 'AU7', 'AU10', 'AU12', 'AU15', 'AU23', 'AU24',
  'AU25', 'AU26',
)  # fmt: skip

Score = dict[str, float]


def score_va(annotation: np.ndarray, prediction: np.ndarray) -> Score:
  """The mean of the concordances of valence and arousal.

  Args:
    annotation: `[N, 2]`, valence and arousal in [-1, 1] or -5.
    prediction: `[N, 2]`.

  Returns:
    `ccc_valence`, `ccc_arousal`, `score` (their mean) and `num_frames`; NaN
    where no frame counts.
  """
  annotation, prediction = _pair(annotation, prediction, 2)
  kept = (annotation != UNKNOWN_VALUE).all(1)
  valence, arousal = (
    regression.ccc(annotation[kept, place], prediction[kept, place])
    for place in (0, 1)
  )
  return {
    'ccc_valence': valence,
    'ccc_arousal': arousal,
    'score': (valence + arousal) / 2,
    'num_frames': int(kept.sum()),
  }


def score_expr(
  annotation: np.ndarray,
  prediction: np.ndarray,
  expressions: tuple[str, ...] = EXPRESSIONS,
) -> Score:
  """The mean over all classes of F1, 0 for one that never occurs.

  Args:
    annotation: int `[N]`, a class or -1.
    prediction: int `[N]`.
    expressions: names of the classes; 8 from the third challenge on.

  Returns:
    `f1_<class>`, `score` (their mean) and `num_frames`.
  """
  annotation, prediction = np.asarray(annotation), np.asarray(prediction)
  kept = annotation != UNKNOWN_CLASS
  counts = classification.confusion(
    annotation[kept], prediction[kept], len(expressions)
  )
  each = np.nan_to_num(classification.f1(counts))
  return _average(expressions, each, int(kept.sum()))


def score_au(annotation: np.ndarray, prediction: np.ndarray) -> Score:
  """The mean over the twelve units of the F1 of their presence.

  Args:
    annotation: `[N, 12]`, 0, 1 or -1.
    prediction: `[N, 12]`, 0 or 1.

  Returns:
    `f1_<unit>`, `score` (their mean) and `num_frames`.
  """
  size = len(ACTION_UNITS)
  annotation, prediction = _pair(annotation, prediction, size)
  kept = (annotation != UNKNOWN_CLASS).all(1)
  sums = action_units.counts(annotation[kept], prediction[kept] == 1)[0]
  each = np.nan_to_num(action_units.f1(sums))
  return _average(ACTION_UNITS, each, int(kept.sum()))


def score_mtl(annotation: np.ndarray, prediction: np.ndarray) -> Score:
  """The sum of the three scores, each over the frames that count for it.

  Args:
    annotation: `[N, 15]`: valence, arousal, expression, twelve units.
    prediction: `[N, 15]`, likewise.

  Returns:
    What the three say, with `score_va`, `score_expr`, `score_au`, their sum
    `score`, and `num_frames_<task>`.
  """
  annotation, prediction = _pair(annotation, prediction, 15)
  parts = {
    'va': score_va(annotation[:, :2], prediction[:, :2]),
    'expr': score_expr(
      annotation[:, 2].astype(int), prediction[:, 2].astype(int)
    ),
    'au': score_au(annotation[:, 3:], prediction[:, 3:]),
  }
  whole = {}
  for name, part in parts.items():
    whole |= {
      f'{k}_{name}' if k in ('score', 'num_frames') else k: v
      for k, v in part.items()
    }
  return whole | {'score': sum(part['score'] for part in parts.values())}


def _pair(annotation, prediction, width):
  """Both as float64 [N, width]."""
  annotation, prediction = (
    np.asarray(values, np.float64) for values in (annotation, prediction)
  )
  if annotation.shape != prediction.shape or annotation.shape[1:] != (width,):
    raise ValueError(
      f'annotation {annotation.shape} and prediction {prediction.shape} must '
      f'both be [N, {width}]'
    )
  return annotation, prediction


def _average(names, each, num_frames):
  mean = float(np.mean(each)) if num_frames else float('nan')
  values = {f'f1_{name}': float(f) for name, f in zip(names, each, strict=True)}
  return values | {'score': mean, 'num_frames': num_frames}
