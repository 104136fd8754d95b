"""What pretraining is worth: fine-tuned from it, and trained from scratch.

A corpus is simulated, a tower pretrained on the pictures of its training
speakers, and classifiers by picture trained from both starts, alike in all
else; they are scored on speakers that neither has seen. With a share of the
labels hidden, both see fewer labels and the pretraining as many pictures.

  python -m benchmarks.pretraining --out runs/pretraining

What was cut off goes on where it stood. Flags such as --config.steps=400 act
on the classifiers, --pretrain.steps=400 on the pretraining.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import time
from typing import Any

import numpy as np

from avemo import cli, memory, simulate
from avemo.data import folds, schema
from avemo.evaluate import page, run, table
from avemo.experiment import configs
from avemo.train import loop
from datasets_tfds import prepare

PROTOCOL, FOLD = 'crema_d_hicmae_5fold', 0
STARTS = ('scratch', 'pretrained')


def main() -> None:
  memory.take_large_pages()  # As `avemo` does, and for the peer too.
  args, flags = read_arguments()
  data_dir = make_data(args.out, args.speakers, args.clips_per_speaker)
  rows = []
  for seed in range(args.seeds):
    seconds, loss = pretrain(args.out, data_dir, seed, flags['pretrain'])
    for labelled in args.labelled:
      for start in STARTS:
        row = tune(args.out, data_dir, seed, labelled, start, flags['config'])
        rows.append(row | {'pretraining_loss': loss})
        print(json.dumps(rows[-1]), flush=True)
    print(f'seed {seed}: pretrained for {seconds:.0f} s', flush=True)
  summary = summarize(rows)
  settings = {k: v for k, v in vars(args).items() if k != 'out'}
  found = {'settings': settings | {'flags': flags}, 'rows': rows}
  found['summary'] = summary
  page.write_text(
    args.out / 'pretraining.json', json.dumps(found, indent=1) + '\n'
  )
  print(format_table(summary))


def read_arguments() -> tuple[argparse.Namespace, dict[str, list[str]]]:
  """What is asked for, and the flags of both configs."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--out', type=pathlib.Path, required=True)
  parser.add_argument('--speakers', type=int, default=40)
  parser.add_argument('--clips-per-speaker', type=int, default=12)
  parser.add_argument(
    '--labelled',
    type=float,
    nargs='+',
    default=[1.0, 0.25],
    help='shares of the training clips that keep their label',
  )
  parser.add_argument('--seeds', type=int, default=3)
  args, rest = parser.parse_known_args()
  flags: dict[str, list[str]] = {'config': [], 'pretrain': []}
  for word in rest:
    kind = word.removeprefix('--').split('.')[0]
    if kind not in flags or '=' not in word:
      parser.error(f'unknown argument {word!r}')
    flags[kind].append(word.replace(f'--{kind}', '--config', 1))
  return args, flags


def make_data(
  out: pathlib.Path, speakers: int, clips_per_speaker: int
) -> pathlib.Path:
  """Simulates and prepares, unless it is there."""
  raw, data_dir = out / 'raw', out / 'data'
  if not (raw / 'simulation.json').exists():
    simulate.simulate(
      'crema_d', raw, speakers=speakers, clips_per_speaker=clips_per_speaker
    )
  print(prepare.prepare('crema_d', raw, data_dir=data_dir))
  return data_dir


def load_config(
  name: str, data_dir: pathlib.Path, seed: int, flags: list[str]
) -> Any:
  return configs.load(
    [
      f'--config=configs/{name}',
      f'--config.data_dir={data_dir}',
      f'--config.seed={seed}',
      f'--config.data.fold={FOLD}',
      *flags,
    ]
  )


def pretrain(
  out: pathlib.Path, data_dir: pathlib.Path, seed: int, flags: list[str]
) -> tuple[float, float]:
  """Seconds that it took in this process, and the best val/loss."""
  config = load_config('pretrain_crema_d.py:size=tiny', data_dir, seed, flags)
  summary = loop.train(config, out / 'pretrained' / str(seed))
  return summary['seconds'], summary['best']


def tune(
  out: pathlib.Path,
  data_dir: pathlib.Path,
  seed: int,
  labelled: float,
  start: str,
  flags: list[str],
) -> dict[str, Any]:
  """Trains one classifier and scores it on the test speakers."""
  began = time.monotonic()
  flags = list(flags)
  if start == 'pretrained':
    flags.append(f'--config.init.video={out / "pretrained" / str(seed)}')
  name = 'tiny_crema_d.py:system=video'
  config = load_config(name, data_dir, seed, flags)
  dataset = schema.open_dataset(config.data.name, data_dir)
  workdir = out / f'{start}_{labelled}' / str(seed)
  loop.train(config, workdir, dataset=hide_labels(dataset, labelled, seed))
  metrics = run.evaluate(workdir)
  clips = table.read(workdir / 'eval/test/predictions.csv').clip_id
  return {
    'start': start,
    'labelled': labelled,
    'seed': seed,
    'uar': metrics['uar'],
    'war': metrics['war'],
    'best_possible': simulate.oracle(out / 'raw', clips)['video'],
    'seconds': round(time.monotonic() - began, 1),
  }


def hide_labels(
  dataset: schema.Dataset, labelled: float, seed: int
) -> schema.Dataset:
  """The dataset with labels in a share of each class's training clips alone."""
  emotion = np.asarray(dataset.index['emotion']).astype(str)
  train = folds.find_split(dataset, PROTOCOL, FOLD).train
  draw = np.random.default_rng(seed)
  for word in np.unique(emotion[train]):
    records = draw.permutation(train[emotion[train] == word])
    emotion[records[max(round(labelled * len(records)), 1) :]] = ''
  return dataclasses.replace(
    dataset, index=dataset.index | {'emotion': emotion}
  )


def summarize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Mean and standard deviation over the seeds, by share and start."""
  summary = []
  for labelled in dict.fromkeys(row['labelled'] for row in rows):
    for start in STARTS:
      found = [
        row
        for row in rows
        if (row['labelled'], row['start']) == (labelled, start)
      ]
      scores = [row['uar'] for row in found]
      summary.append(
        {
          'labelled': labelled,
          'start': start,
          'uar': statistics.mean(scores),
          'sd': statistics.stdev(scores) if len(scores) > 1 else None,
          'seeds': len(scores),
          'best_possible': found[0]['best_possible'],
          'seconds': statistics.mean(row['seconds'] for row in found),
        }
      )
  return summary


def format_table(summary: list[dict[str, Any]]) -> str:
  lines = ['labelled  start       UAR    sd     best possible  seconds']
  for row in summary:
    sd = '' if row['sd'] is None else f'{row["sd"]:.3f}'
    lines.append(
      f'{row["labelled"]:8.2f}  {row["start"]:10s}  {row["uar"]:.3f}  {sd:5s}  '
      f'{row["best_possible"]:13.3f}  {row["seconds"]:7.0f}'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.quiet_libraries()
  main()
