"""Affect that moves within a film: what is shown when, frame by frame.

A film is a row of episodes, each of one expression; between them face and
labels go over smoothly. The face is moved by the action units that the labels
are read from, and the voice of each episode speaks in its manner.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from avemo.simulate import actor, cues, motion, prosody, voice

# In the order of the labels 0 to 7, and the pose and the manner of each.
EXPRESSIONS = {
  'neutral': cues.FLAT,
  'anger': 'anger',
  'disgust': 'disgust',
  'fear': 'fear',
  'happiness': 'happiness',
  'sadness': 'sadness',
  'surprise': 'surprise',
  'other': 'contempt',
}

# Valence and arousal, after Russell & Mehrabian 1977; the last one is weaker
# ground.
_ANCHORS = np.array(
  [
    (0.0, 0.0), (-0.51, 0.59), (-0.60, 0.35), (-0.64, 0.60), (0.81, 0.51),
    (-0.63, -0.27), (0.40, 0.67), (-0.55, 0.38),
  ]
)  # fmt: skip

# The units of the face that show the twelve annotated action units; 24 is a
# tightened mouth that is shut.
ACTION_UNITS = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
_UNITS = (
  'inner_brow_raiser', 'outer_brow_raiser', 'brow_lowerer', 'cheek_raiser',
  'lid_tightener', 'upper_lip_raiser', 'lip_corner_puller',
  'lip_corner_depressor', 'lip_tightener', 'lip_tightener', 'lips_part',
  'jaw_drop',
)  # fmt: skip
_SHOWN = 0.5

_EPISODE_SECONDS = (1.4, 2.6)
_CROSSING_SECONDS = 0.5


class Labels(NamedTuple):
  """What a frame shows, one row a frame.

  Attributes:
    affect: float64 [T, 2], valence and arousal in [-1, 1].
    expression: int64 [T], places in EXPRESSIONS.
    action_units: int64 [T, 12], 0 or 1, of ACTION_UNITS.
  """

  affect: np.ndarray
  expression: np.ndarray
  action_units: np.ndarray


def perform(
  performer: actor.Actor, name: str, seconds: float, *, redraw: bool = False
) -> tuple[Iterator[np.ndarray], np.ndarray, Labels]:
  """Frames, speech float32 [n] at 16 kHz, and the labels of the frames.

  Args:
    performer: who plays.
    name: of the film; with the performer's seed it fixes everything.
    seconds: how long.
    redraw: whether each frame shows an expression of its own, drawn anew: a
      control, in which nothing said of a frame tells of the next.
  """

  def generator(part):
    return cues.random_generator(performer.seed, part, name)

  edges = _draw_edges(seconds, generator('episodes'))
  # Everybody starts at rest; what follows differs from what was before.
  rng = generator('expressions')
  shown = [0]
  while len(shown) < len(edges) - 1:
    shown.append(int((shown[-1] + rng.integers(1, 8)) % 8))
  syllables, speech = _speak(performer, shown, edges, generator)
  times = np.arange(max(1, round(seconds * performer.fps))) / performer.fps
  weights = _weigh(shown, edges, times)
  if redraw:
    places = generator('redraw').integers(len(EXPRESSIONS), size=len(times))
    weights = np.eye(len(EXPRESSIONS))[places]
  poses = [motion.POSES[pose] for pose in EXPRESSIONS.values()]
  names = motion.UNITS + motion.HEAD
  table = np.array([[pose.get(n, 0.0) for n in names] for pose in poses])
  track = weights @ table
  count = len(motion.UNITS)
  rng = generator('face')
  course = motion.animate(
    track[:, :count], track[:, count:], syllables, times, rng
  )
  affect = weights @ _ANCHORS
  if not redraw:
    # Slower than the frames, and so what one frame tells of the next.
    affect += _draw_drift(times, generator('affect'))
  labels = Labels(
    affect=np.clip(affect, -1, 1),
    expression=weights.argmax(1),
    action_units=_read_units(course.units),
  )
  return performer.show(course, rng), speech, labels


def _draw_edges(seconds, rng):
  edges = [0.0]
  while edges[-1] < seconds:
    edges.append(edges[-1] + rng.uniform(*_EPISODE_SECONDS))
  # The last episode is long enough to speak in.
  edges[-2:] = [seconds] if len(edges) > 2 else [0.0, seconds]
  return edges


def _speak(performer, shown, edges, generator):
  """One list of syllables for the whole film, and its sound."""
  timbre = performer.traits.timbre
  lists, sounds = [], []
  words, sound = generator('syllables'), generator('voice')
  for number, start in enumerate(edges[:-1]):
    part = prosody.draw_syllables(edges[number + 1] - start, timbre.rate, words)
    manner = list(EXPRESSIONS.values())[shown[number]]
    profile = prosody.PROFILES[manner]
    sounds.append(voice.synthesise(part, timbre, profile, sound))
    lists.append((part, start))
  whole = prosody.Syllables(
    seconds=edges[-1],
    start=np.concatenate([part.start + start for part, start in lists]),
    **{
      field: np.concatenate([getattr(part, field) for part, _ in lists])
      for field in ('length', 'vowel', 'consonant', 'pitch', 'stress')
    },
  )
  return whole, np.concatenate(sounds)


def _weigh(shown, edges, times):
  """How far each expression is there, float64 [T, 8], rows of sum 1."""
  weights = np.zeros((len(times), len(EXPRESSIONS)))
  half = _CROSSING_SECONDS / 2
  for number, place in enumerate(shown):
    course = np.ones(len(times))
    if number:
      course *= motion.smooth_step((times - edges[number] + half) / (2 * half))
    if number + 1 < len(shown):
      end = edges[number + 1]
      course *= 1 - motion.smooth_step((times - end + half) / (2 * half))
    weights[:, place] += course
  return weights / weights.sum(1, keepdims=True)


def _draw_drift(times, rng):
  rates, phases = rng.uniform(0.1, 0.4, 2), rng.uniform(0, 2 * np.pi, 2)
  return 0.06 * np.sin(2 * np.pi * rates * times[:, None] + phases)


def _read_units(units):
  columns = [motion.UNITS.index(name) for name in _UNITS]
  shown = units[:, columns] > _SHOWN
  shut = ~shown[:, ACTION_UNITS.index(25)]
  shown[:, ACTION_UNITS.index(24)] &= shut
  return shown.astype(np.int64)
