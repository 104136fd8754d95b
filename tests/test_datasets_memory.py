"""A film of an hour takes no more memory than one of minutes."""

import subprocess
import sys

import numpy as np
import pytest

from avemo.data import schema
from avemo.media import encode
from avemo.simulate import actor, trajectory

FPS = 5

PROGRAM = """
import resource, sys
from datasets_tfds import prepare
raw, data, config = sys.argv[1:]
if __name__ == '__main__':
  prepare.prepare(
    'aff_wild2', raw, data_dir=data, config=config, workers=0, progress=False
  )
  # Kilobytes, of this process at its largest.
  print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_film(root, minutes):
  """A talking face, over and over, with a label for every frame."""
  performer = actor.Actor(
    'F01',
    actor.draw_traits('F01', 'female', 0),
    seed=0,
    size=(160, 120),
    fps=FPS,
  )
  images, speech, _ = trajectory.perform(performer, 'a', 10.0)
  images = list(images)
  count = minutes * 60 * FPS
  (root / 'batch1').mkdir(parents=True)
  with encode.MediaWriter(
    root / 'batch1/video1.mp4', size=(160, 120), fps=FPS, sample_rate=16_000
  ) as writer:
    for number in range(count):
      writer.write_frame(images[number % len(images)])
      if number % len(images) == 0:
        writer.write_speech(speech)
  folder = root / '6th ABAW Annotations/VA_Estimation_Challenge/Train_Set'
  folder.mkdir(parents=True)
  values = np.sin(np.arange(count) / 100).round(3)
  lines = [f'{value},{-value}' for value in values]
  text = '\n'.join(['valence,arousal', *lines])
  (folder / 'video1.txt').write_text(text)
  return values


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize('config', schema.CONFIGS)
def test_memory_does_not_grow_with_the_film(tmp_path, config):
  peaks = []
  for minutes in (10, 40):
    raw, data = tmp_path / f'raw{minutes}', tmp_path / f'data{minutes}'
    values = write_film(raw, minutes)
    done = subprocess.run(
      [sys.executable, '-c', PROGRAM, str(raw), str(data), config],
      capture_output=True,
      text=True,
      check=True,
    )
    peaks.append(int(done.stdout.split()[-1]) / 1024)
    source = schema.open_dataset(f'aff_wild2_av/{config}', data).source
    # The sound, coded in whole blocks, is a little longer than the film.
    assert len(source) in (minutes * 6, minutes * 6 + 1)
    found = [source[n]['frame_valence'] for n in range(len(source))]
    np.testing.assert_allclose(np.concatenate(found), values, atol=1e-6)
    index = [source[n]['frame_index'] for n in range(len(source))]
    np.testing.assert_array_equal(np.concatenate(index), np.arange(len(values)))
  print(f'{config}: {peaks[0]:.0f} MB for 10 minutes, {peaks[1]:.0f} MB for 40')
  assert peaks[1] < peaks[0] + 40
