"""How a face moves in a clip: action units, head, gaze and blinks."""

import dataclasses

import numpy as np

from avemo.simulate import prosody

# Action units of the Facial Action Coding System, then the head: degrees of
# roll, and yaw and pitch in pixels of the face's canvas (positive pitch looks
# down), then gaze in pixels.
UNITS = (
  'inner_brow_raiser',  # 1
  'outer_brow_raiser',  # 2
  'brow_lowerer',  # 4
  'upper_lid_raiser',  # 5
  'cheek_raiser',  # 6
  'lid_tightener',  # 7
  'nose_wrinkler',  # 9
  'upper_lip_raiser',  # 10
  'lip_corner_puller',  # 12
  'lip_corner_depressor',  # 15
  'chin_raiser',  # 17
  'lip_stretcher',  # 20
  'lip_tightener',  # 23
  'lips_part',  # 25
  'jaw_drop',  # 26
  'eyes_closed',  # 43
)
HEAD = ('roll', 'yaw', 'pitch', 'gaze_x', 'gaze_y')

POSES = {
  'flat': {},
  'anger': {
    'brow_lowerer': 1.1,
    'upper_lid_raiser': 0.35,
    'lid_tightener': 0.7,
    'lip_tightener': 1.0,
    'chin_raiser': 0.3,
    'lip_corner_depressor': 0.2,
    'pitch': 2.0,
  },
  'disgust': {
    'nose_wrinkler': 1.0,
    'upper_lip_raiser': 1.0,
    'brow_lowerer': 0.55,
    'cheek_raiser': 0.5,
    'lid_tightener': 0.9,
    'lip_corner_depressor': 0.5,
    'lips_part': 0.2,
    'roll': 5.0,
    'pitch': -2.0,
  },
  'fear': {
    'inner_brow_raiser': 1.0,
    'outer_brow_raiser': 0.3,
    'brow_lowerer': 0.3,
    'upper_lid_raiser': 1.0,
    'lip_stretcher': 1.0,
    'lips_part': 0.7,
    'jaw_drop': 0.1,
    'lip_corner_depressor': 0.4,
    'pitch': -2.0,
  },
  'happiness': {
    'cheek_raiser': 1.0,
    'lip_corner_puller': 1.0,
    'lips_part': 0.8,
    'jaw_drop': 0.1,
    'outer_brow_raiser': 0.15,
  },
  'sadness': {
    'inner_brow_raiser': 0.9,
    'brow_lowerer': 0.35,
    'lip_corner_depressor': 1.1,
    'chin_raiser': 0.7,
    'eyes_closed': 0.35,
    'pitch': 5.0,
    'gaze_y': 2.0,
  },
  'surprise': {
    'inner_brow_raiser': 1.1,
    'outer_brow_raiser': 1.1,
    'upper_lid_raiser': 0.9,
    'lips_part': 0.8,
    'jaw_drop': 1.0,
  },
  'contempt': {
    'lip_corner_puller': 0.7,
    'lip_tightener': 0.7,
    'eyes_closed': 0.3,
    'outer_brow_raiser': 0.8,
    'yaw': 5.0,
    'pitch': -4.0,
  },
  'anxiety': {
    'inner_brow_raiser': 0.7,
    'brow_lowerer': 0.7,
    'lip_stretcher': 0.6,
    'lip_tightener': 0.5,
    'upper_lid_raiser': 0.5,
    'gaze_x': 4.0,
  },
  'helplessness': {
    'inner_brow_raiser': 1.1,
    'outer_brow_raiser': 0.6,
    'lips_part': 0.5,
    'lip_corner_depressor': 0.7,
    'roll': 6.0,
    'gaze_y': -2.0,
  },
  'disappointment': {
    'brow_lowerer': 0.3,
    'eyes_closed': 0.55,
    'lip_tightener': 0.8,
    'lip_corner_depressor': 0.8,
    'chin_raiser': 0.8,
    'pitch': 7.0,
    'gaze_y': 3.0,
  },
  'calm': {
    'eyes_closed': 0.72,
    'lip_corner_puller': 0.5,
    'outer_brow_raiser': 0.35,
    'inner_brow_raiser': 0.35,
    'roll': -5.0,
    'pitch': -3.0,
  },
}


@dataclasses.dataclass(frozen=True)
class Motion:
  """The course of a clip.

  Attributes:
    units: float [T, len(UNITS)], 0 at rest, 1 fully there.
    head: float [T, len(HEAD)].
    shift: float [T, 2], the head's place in hundredths of the frame's height.
    scale: float [T], size of the face relative to its usual one.
  """

  units: np.ndarray
  head: np.ndarray
  shift: np.ndarray
  scale: np.ndarray


def smooth_step(x: np.ndarray) -> np.ndarray:
  x = np.clip(x, 0, 1)
  return x * x * (3 - 2 * x)


def move(
  syllables: prosody.Syllables,
  shown: str,
  amplitude: float,
  fps: float,
  rng: np.random.Generator,
) -> Motion:
  """Moves a face through a clip.

  Args:
    syllables: what is said, for the mouth. It must not depend on the class,
      or the mouth would betray what the face is not meant to show.
    shown: key of `POSES`.
    amplitude: how far the expression goes.
    fps: frames a second.
    rng: the clip's generator for the face.
  """
  num_frames = max(1, round(syllables.seconds * fps))
  times = np.arange(num_frames) / fps
  units, head = _express(shown, amplitude, times, syllables.seconds, rng)
  return animate(units, head, syllables, times, rng)


def animate(
  units: np.ndarray,
  head: np.ndarray,
  syllables: prosody.Syllables,
  times: np.ndarray,
  rng: np.random.Generator,
) -> Motion:
  """Adds what every living face does: it talks, sways and blinks.

  Args:
    units: float [T, len(UNITS)] of what it expresses; changed.
    head: float [T, len(HEAD)], likewise.
    syllables: what is said.
    times: float [T], seconds.
    rng: the clip's generator for the face.
  """
  sway, shift, scale = _sway(times, rng)
  head += sway
  talk = 0.75 * prosody.mouth_opening(syllables, times)
  column = {name: number for number, name in enumerate(UNITS)}
  part, jaw = column['lips_part'], column['jaw_drop']
  # A mouth that is already open opens less far for a vowel.
  units[:, part] += talk * (1 - 0.6 * np.clip(units[:, part], 0, 1))
  units[:, jaw] += 0.4 * talk * (1 - 0.6 * np.clip(units[:, jaw], 0, 1))
  closed = column['eyes_closed']
  units[:, closed] = np.maximum(units[:, closed], _blinks(times, rng))
  return Motion(units, head, shift, scale)


def _express(shown, amplitude, times, seconds, rng):
  """Onset, apex and offset of the expression; the rest of the face still."""
  place = times / seconds
  onset, apex = rng.uniform(-0.05, 0.06), rng.uniform(0.14, 0.24)
  offset, rest = rng.uniform(0.86, 0.95), rng.uniform(0.4, 0.7)
  course = smooth_step((place - onset) / (apex - onset))
  course *= 1 - (1 - rest) * smooth_step((place - offset) / (1 - offset))
  # Drawn in every case, so that flat clips of any class are drawn alike.
  gains = rng.uniform(0.85, 1.15, len(UNITS) + len(HEAD))
  side = rng.choice([-1.0, 1.0])
  pose = POSES[shown]
  values = np.array([pose.get(name, 0.0) for name in UNITS + HEAD]) * gains
  values[len(UNITS)] *= side
  track = amplitude * course[:, None] * values
  units, head = track[:, : len(UNITS)], track[:, len(UNITS) :]
  # Faces at rest are not frozen, nor quite symmetric in time.
  small = _wander(times, rng, len(UNITS), 0.04, 1.5)
  return units + np.abs(small), head.copy()


def _sway(times, rng):
  """Head and gaze of someone who talks, whatever the expression."""
  head = _wander(times, rng, len(HEAD), 1.0, 0.9)
  head = head * [1.2, 1.6, 1.0, 0.7, 0.3]
  head += rng.normal(size=len(HEAD)) * [1.0, 1.4, 0.7, 0.5, 0.2]
  shift = _wander(times, rng, 2, 0.5, 0.8) + rng.uniform(-1.5, 1.5, 2)
  scale = 1 + _wander(times, rng, 1, 0.006, 0.6)[:, 0]
  return head, shift, scale * rng.uniform(0.97, 1.04)


def _wander(times, rng, count, size, rate):
  """Slow random movement, float [T, count] of standard deviation `size`."""
  rates = rng.uniform(0.4, 1.4, (3, count)) * rate
  phases = rng.uniform(0, 2 * np.pi, (3, count))
  waves = np.sin(2 * np.pi * rates * times[:, None, None] + phases)
  return size * np.sqrt(2 / 3) * waves.sum(1)


def _blinks(times, rng):
  """Lid closure in [0, 1], about one blink in three seconds."""
  closed = np.zeros(len(times))
  when = rng.uniform(0.1, 3.0)
  while when < times[-1]:
    closed = np.maximum(closed, 1 - np.abs(times - when) / 0.1)
    when += rng.uniform(1.5, 4.0)
  return smooth_step(closed)
