"""What the cache of features is worth: a linear probe with and without it.

1,440 sounds of three seconds, as many as RAVDESS has clips, are made and
prepared; a linear probe over a frozen transformer, of random weights, for only
time is asked, sees 100 times as many by `avemo train`: once while the cache is
filled, once from the full cache, and, for two epochs, without one.

  python -m benchmarks.features --out runs/features

Seconds are those of the command as a whole, its start and its evaluations
included, and of the processor; where other programs run the first are longer.
"""

import argparse
import csv
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import wave
from typing import Any

import numpy as np

from avemo import cli, memory
from avemo.evaluate import page
from datasets_tfds import prepare

CLIPS, EPOCHS, BATCH = 1440, 100, 32
SPEAKERS = 24
EMOTIONS = ('anger', 'fear', 'happiness', 'neutral', 'sadness', 'surprise')
RATE, SECONDS = 16_000, 3.0
RESULTS = pathlib.Path(__file__).parent / 'results' / 'features.json'

CONFIG = """
from configs import common


def get_config(arg=''):
  config = common.default()
  config.data.update(
    name='custom_av', protocol='custom_speaker_5fold', batch_size={batch}
  )
  config.model.use = ('audio',)
  config.model.audio = dict(
    name='spectrogram_vit', variant='small', depth=4, patch=(64, 4),
    stride=(64, 4), remat=False,
  )
  config.model.features = dict(num_mels=64, hop=160)
  config.features.views = 1
  config.optim.freeze = ('audio/.*',)
  config.optim.lr = 1e-2
  config.log_every = 45
  config.control.evaluate_every = 450
  config.checkpoint.every = 2250
  return config
"""


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--out', type=pathlib.Path, required=True)
  parser.add_argument('--clips', type=int, default=CLIPS)
  args = parser.parse_args()
  data_dir = make_data(args.out, args.clips)
  config = args.out / 'probe' / 'probe.py'
  page.write_text(config, CONFIG.format(batch=BATCH))
  steps = args.clips * EPOCHS // BATCH
  cache = args.out / 'cache'
  if cache.exists():
    raise SystemExit(f'{cache}: is there already; name a new --out')
  plans = (
    ('cache, being filled', steps, cache),
    ('cache, full', steps, cache),
    ('no cache, 2 epochs', steps * 2 // EPOCHS, None),
  )
  rows = []
  for name, count, folder in plans:
    workdir = args.out / name.replace(',', '').replace(' ', '_')
    rows.append(train(name, config, workdir, data_dir, count, folder))
    print(json.dumps(rows[-1]), flush=True)
  # Of the processor, which other work on the machine does not stretch.
  epoch = rows[2]['cpu_seconds'] / 2
  found = {
    'clips': args.clips,
    'epochs': EPOCHS,
    'batch_size': BATCH,
    'cores': os.cpu_count(),
    'load_at_end': os.getloadavg()[0],
    'rows': rows,
    'times_cheaper_an_epoch': epoch / (rows[1]['cpu_seconds'] / EPOCHS),
  }
  page.write_text(RESULTS, json.dumps(found, indent=1) + '\n')
  print(format_table(found))


def make_data(out: pathlib.Path, count: int) -> pathlib.Path:
  """Sounds whose pitch and tremor tell the emotion, and their dataset."""
  raw, data_dir = out / 'raw', out / 'data'
  if not any(data_dir.glob('custom_av/*/*/index.parquet')):
    raw.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
      rng = np.random.default_rng(number)
      emotion, speaker = number % len(EMOTIONS), number // len(EMOTIONS)
      path = raw / f'{number:05d}.wav'
      time_axis = np.arange(round(SECONDS * RATE)) / RATE
      pitch = (150 + 40 * emotion) * rng.uniform(0.95, 1.05)
      tone = np.sin(2 * np.pi * pitch * time_axis)
      tone *= 1 + 0.5 * np.sin(2 * np.pi * (2 + emotion) * time_axis)
      tone += 0.3 * rng.normal(size=len(tone))
      with wave.open(str(path), 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((6000 * tone).astype('<i2').tobytes())
      rows.append((path.name, f's{speaker % SPEAKERS:02d}', EMOTIONS[emotion]))
    labels = out / 'labels.csv'
    with labels.open('w', newline='') as file:
      csv.writer(file).writerows([('path', 'speaker', 'emotion'), *rows])
    prepare.prepare(
      'custom', raw, labels=labels, data_dir=data_dir, progress=False
    )
  return data_dir


def train(
  name: str,
  config: pathlib.Path,
  workdir: pathlib.Path,
  data_dir: pathlib.Path,
  steps: int,
  cache: pathlib.Path | None,
) -> dict[str, Any]:
  """A run of `avemo train` in a process of its own, timed."""
  command = [sys.executable, '-m', 'avemo', 'train', f'--config={config}']
  command += [f'--workdir={workdir}', f'--config.data_dir={data_dir}']
  command += [f'--config.steps={steps}']
  command += [f'--config.features.cache={cache}'] if cache else []
  root = pathlib.Path(__file__).parent.parent
  path = os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')])
  before, start = measure_children(), time.monotonic()
  subprocess.run(
    command, check=True, env=os.environ | {'PYTHONPATH': path}, cwd=root
  )
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  times = [json.loads(line)['time'] for line in lines]
  scores = [json.loads(line) for line in lines if 'val/uar' in line]
  return {
    'name': name,
    'steps': steps,
    'wall_seconds': round(time.monotonic() - start, 2),
    'cpu_seconds': round(measure_children() - before, 2),
    'seconds_of_steps': round(times[-1] - times[0], 2),
    'val_uar': scores[-1]['val/uar'],
  }


def measure_children() -> float:
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def format_table(found: dict[str, Any]) -> str:
  lines = ['run                     steps   wall s    cpu s  val UAR']
  for row in found['rows']:
    lines.append(
      f'{row["name"]:22s} {row["steps"]:6d} {row["wall_seconds"]:8.1f} '
      f'{row["cpu_seconds"]:8.1f} {row["val_uar"]:8.3f}'
    )
  faster = found['times_cheaper_an_epoch']
  lines.append(f'an epoch from the full cache is {faster:.0f} times cheaper')
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.quiet_libraries()
  main()
