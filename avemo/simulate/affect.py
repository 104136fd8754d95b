"""Valence and arousal of a simulated clip, as a table that users could have.

What raters would say of what is shown: the face tells more of the valence, the
voice more of the arousal, and nobody says twice the same. A clip that shows
nothing lies near 0 whatever its class, so the values are no copy of the
labels. Places and weights are of this simulation alone.
"""

import csv
import io
import os
import pathlib

import numpy as np

from avemo import errors
from avemo.simulate import cues

FILE = 'affect.csv'

# Valence and arousal of what is shown at amplitude 1.
PLACES = {
  cues.FLAT: (0.0, 0.0),
  'anger': (-0.6, 0.7),
  'disgust': (-0.7, 0.2),
  'fear': (-0.5, 0.8),
  'happiness': (0.8, 0.5),
  'neutral': (0.0, 0.0),
  'sadness': (-0.6, -0.6),
  'surprise': (0.3, 0.8),
  'calm': (0.3, -0.7),
  'contempt': (-0.4, 0.1),
  'anxiety': (-0.4, 0.5),
  'helplessness': (-0.5, -0.3),
  'disappointment': (-0.5, -0.4),
}
# Shares of the face in valence and in arousal; the rest is the voice's.
FACE_SHARES = (0.65, 0.35)
# Standard deviation of the mean of the raters.
SPREAD = 0.1


def find_shown(clip: cues.Clip) -> np.ndarray:
  """Valence and arousal that a clip shows, float64 [2], without raters.

  NaN where neither face nor voice is there.
  """
  shares = np.array([FACE_SHARES, 1 - np.array(FACE_SHARES)])
  shown = [clip.face, clip.voice]
  there = np.array([cue != cues.MISSING for cue in shown])
  if not there.any():
    return np.full(2, np.nan)
  places = np.array([PLACES.get(cue, (0.0, 0.0)) for cue in shown])
  shares = shares * there[:, None]
  return clip.amplitude * (shares * places).sum(0) / shares.sum(0)


def rate(clip: cues.Clip, seed: int) -> np.ndarray:
  """What raters say: float64 [2] in [-1, 1]; NaN likewise."""
  rng = cues.random_generator(seed, 'affect', clip.clip_id)
  return np.clip(find_shown(clip) + SPREAD * rng.standard_normal(2), -1, 1)


def write(
  directory: str | os.PathLike, simulation: cues.Simulation | None = None
) -> pathlib.Path:
  """Writes `affect.csv`, which `prepare --labels` takes, into a corpus.

  Args:
    directory: of the simulated corpus.
    simulation: its cues; read from the directory when not given.

  Raises:
    AvemoError: no simulated corpus, or one with values of its own.
  """
  simulation = simulation or cues.load(directory)
  check(simulation.corpus)
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  writer.writerow(('clip_id', 'valence', 'arousal'))
  for clip in simulation.clips:
    values = rate(clip, simulation.seed)
    if not np.isnan(values).any():
      writer.writerow((clip.clip_id, *(f'{value:.4f}' for value in values)))
  path = pathlib.Path(directory, FILE)
  path.write_text(buffer.getvalue(), encoding='utf-8')
  return path


def check(corpus: str) -> None:
  """Raises an AvemoError for a corpus that has such values of its own."""
  if corpus in ('msp_improv', 'aff_wild2'):
    raise errors.AvemoError(
      f'{corpus} annotates valence and arousal itself; leave --affect out'
    )
