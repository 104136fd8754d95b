"""A dataset in memory, in the schema's records, for tests of what reads one.

Clip i has its own number written into its pictures and its sound, so that a
test can tell which frames of which clip came out.
"""

import dataclasses
import types

import cv2
import numpy as np

EMOTIONS = ('anger', 'happiness', 'neutral')
FPS = 25.0
SIDE = 64


@dataclasses.dataclass(frozen=True)
class Clip:
  """What a record is made from; `frames` and `samples` may be 0."""

  emotion: str = 'anger'
  frames: int = 30
  samples: int = 20_000
  faces: bool = True


class Source:
  """Random access to records, picklable."""

  def __init__(self, made):
    self.made = list(made)

  def __len__(self):
    return len(self.made)

  def __getitem__(self, number):
    return make_record(number, self.made[number])


def encode(picture):
  quality = [cv2.IMWRITE_JPEG_QUALITY, 100]
  return cv2.imencode('.jpg', picture[..., ::-1], quality)[1].tobytes()


def paint(number, frame):
  """Red tells the frame, green the clip; the face, at the right, is blue."""
  picture = np.zeros((SIDE, SIDE, 3), np.uint8)
  picture[..., 0] = 8 * frame
  picture[..., 1] = 8 * number
  picture[16:48, 30:62, 2] = 250
  return picture


def make_record(number, clip):
  count = clip.frames
  box = np.tile(np.float32([30, 16, 32, 32]), (count, 1))
  speech = (100 * number + np.arange(clip.samples) % 100).astype('<i2')
  return {
    'clip_id': f'clip_{number:03d}'.encode(),
    'start': np.float32(0),
    'fps': np.float32(FPS),
    'frames': [encode(paint(number, frame)) for frame in range(count)],
    'frame_index': np.arange(count, dtype=np.int32),
    'frame_time': (np.arange(count) / FPS).astype(np.float32),
    'face': np.full(count, clip.faces, np.uint8),
    'box': box if clip.faces else np.zeros_like(box),
    'speech': speech.tobytes(),
    'emotion': clip.emotion.encode(),
  }


def make_dataset(made, emotions=EMOTIONS, **columns):
  made = list(made)
  numbers = range(len(made))
  index = {
    'record': np.arange(len(made)),
    'clip_id': np.array([f'clip_{n:03d}' for n in numbers]),
    'video_id': np.array([f'clip_{n:03d}' for n in numbers]),
    'segment': np.zeros(len(made), np.int32),
    # One of each fold of CREMA-D, in turn.
    'speaker': np.array([str(1001 + 18 * (n % 5)) for n in numbers]),
    'recording': np.array([f'clip_{n:03d}' for n in numbers]),
    'audio_sha256': np.array([f'{n}' for n in numbers]),
    'num_frames': np.array([clip.frames for clip in made]),
    'num_faces': np.array([clip.frames * clip.faces for clip in made]),
    'num_samples': np.array([clip.samples for clip in made]),
    'duration': np.array([max(c.frames / FPS, c.samples / 16e3) for c in made]),
    'emotion': np.array([clip.emotion for clip in made]),
  }
  return types.SimpleNamespace(
    source=Source(made),
    index=index | columns,
    emotions=emotions,
    corpus='crema_d',
    directory=None,
    name='small_av',
  )
