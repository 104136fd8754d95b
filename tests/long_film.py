"""Scores a film of some minutes that is made as it is read.

python tests/long_film.py MINUTES prints the peak of memory in MiB.
"""

import resource
import sys
import types

import numpy as np
import small_films
import test_evaluate_frames

from avemo.data import index

RATE, SECONDS = 25, 10
COUNT = RATE * SECONDS
# Beyond its end a JPEG may hold anything: as large as pictures are.
PADDING = 10_000


class Source:
  """Segments of ten seconds, nothing of which is kept."""

  def __init__(self, minutes):
    self.size = minutes * 60 // SECONDS
    self.few = small_films.make_record(0, 0)

  def __len__(self):
    return self.size

  def __getitem__(self, segment):
    number = segment * COUNT + np.arange(COUNT)
    valence = np.sin(number / 100).astype(np.float32)
    pictures = [bytes(x) + bytes(PADDING) for x in self.few['frames'] * 13]
    return self.few | {
      'segment': segment,
      'start': np.float32(segment * SECONDS),
      'frames': pictures[:COUNT],
      'face': np.ones(COUNT, np.uint8),
      'box': np.tile(self.few['box'][:1], (COUNT, 1)),
      'landmarks': np.zeros((COUNT, 10), np.float32),
      'speech': bytes(2 * 16_000 * SECONDS),
      'frame_index': number.astype(np.int32),
      'frame_time': (number / RATE).astype(np.float32),
      'frame_valence': valence,
      'frame_arousal': -valence,
      'frame_expression': (number // 10 % 3).astype(np.int32),
      'frame_action_units': np.zeros((COUNT, 12), np.float32),
    }


def main(minutes):
  source = Source(minutes)
  table = index.make_table(source[n] for n in range(len(source)))
  dataset = types.SimpleNamespace(
    source=source,
    index=small_films.read_columns(table),
    emotions=small_films.EMOTIONS,
    corpus='crema_d',
    name='long_av',
  )
  found = test_evaluate_frames.predict(dataset, range(len(source)), every=2.0)
  assert found.answered.all() and len(found.frame) == minutes * 60 * RATE
  print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == '__main__':
  main(int(sys.argv[1]))
