"""The main job from end to end on a simulated corpus, on speakers unseen."""

import json
import os
import pathlib
import shutil
import time

import avemo
from avemo import errors, simulate
from avemo.data import folds, schema
from avemo.evaluate import page, plots, run, table
from avemo.experiment import configs
from avemo.predict import predictor
from avemo.runtime import writers
from avemo.train import loop

CONFIG = 'configs/tiny_crema_d.py'
# name -> modalities, fusion
SYSTEMS = {
  'early': (['video', 'audio'], 'early'),
  'late': (['video', 'audio'], 'late'),
  'audio': (['audio'], None),
  'video': (['video'], None),
}
SPEAKERS = 40
CLIPS_PER_SPEAKER = 12
# 24 speakers to learn from, 8 to choose on, 8 to be scored on.
PROTOCOL, FOLD = 'crema_d_hicmae_5fold', 0


def run_demo(
  out: str | os.PathLike,
  prepare,
  *,
  seed: int = 0,
  control: str | None = None,
  workers: int = 1,
) -> list[dict]:
  """Simulates, prepares, trains, evaluates, predicts and reports.

  A demo that was cut off goes on where it stood; a finished one is made anew.

  Args:
    out: the folder; holds `results.json`, `report.html` and `predict/`.
    prepare: builds a dataset from raw files, as `datasets_tfds.prepare`.
    seed: of the corpus and of the training.
    control: 'silent-voice' (the voice never shows the emotion), or
      'shuffled-labels' (the labels are dealt out at random), or None.
    workers: processes for simulation and preparation.

  Returns:
    What `results.json` holds.

  Raises:
    AvemoError: the folder holds something else, or cannot be written.
  """
  out = pathlib.Path(out)
  open_folder(out, {'seed': seed, 'control': control})
  started = time.monotonic()
  raw, data_dir = out / 'raw', out / 'data'
  if not (raw / 'simulation.json').exists():
    tell(started, f'simulating {SPEAKERS} speakers of CREMA-D')
    evidence = {'voice_evidence': 0.0} if control == 'silent-voice' else {}
    simulate.simulate(
      'crema_d',
      raw,
      speakers=SPEAKERS,
      clips_per_speaker=CLIPS_PER_SPEAKER,
      seed=seed,
      workers=workers,
      **evidence,
    )
  tell(started, 'preparing the dataset')
  print(prepare('crema_d', raw, data_dir=data_dir, workers=workers))
  results = []
  for name, (modalities, fusion) in SYSTEMS.items():
    workdir = out / name
    tell(started, f'training {name}')
    before, earlier = time.monotonic(), find_seconds(workdir)
    arguments = [
      f'--config={find_config()}:system={name}',
      f'--config.data_dir={data_dir}',
      f'--config.seed={seed}',
    ]
    if control == 'shuffled-labels':
      arguments.append('--config.data.shuffle_labels=True')
    summary = loop.train(configs.load(arguments), workdir)
    if summary.get('stopped') == 'signal':
      raise errors.AvemoError('stopped; run the same command again to go on')
    metrics = run.evaluate(workdir, checkpoint='best', split='test')
    best = find_oracle(raw, workdir, modalities)
    results.append(
      {
        'name': name,
        'modalities': modalities,
        'fusion': fusion,
        'uar': metrics['uar'],
        'war': metrics['war'],
        'oracle_uar': best,
        'seconds': round(time.monotonic() - before + earlier, 1),
        'parameters': summary['num_params'],
      }
    )
  tell(started, 'reading a film of a test speaker')
  film = find_film(raw, data_dir)
  failed = predictor.predict_files(
    [film], workdir=out / 'early', out=out / 'predict', every=0.5
  )
  if failed:
    raise errors.AvemoError(f'{film}: the film could not be read')
  report(out, results, film, seed, control, time.monotonic() - started)
  page.write_text(out / 'results.json', json.dumps(results, indent=1) + '\n')
  print(format_table(results))
  tell(started, f'done; open {out / "report.html"}')
  return results


def find_seconds(workdir: pathlib.Path) -> float:
  """Seconds that an interrupted run had trained already."""
  times = [row['time'] for row in writers.read_lines(workdir / 'metrics.jsonl')]
  return times[-1] - times[0] if times else 0.0


def open_folder(out: pathlib.Path, settings: dict) -> None:
  """Goes on with the same unfinished demo, clears a finished one.

  Only what a demo makes is removed.

  Raises:
    AvemoError: the folder holds something else, or a demo of other settings.
  """
  settings = {**settings, 'version': avemo.__version__}
  note = out / 'demo.json'
  if out.exists() and any(out.iterdir()):
    if not note.exists():
      raise errors.AvemoError(
        f'{out}: holds something else than a demo; give another --out'
      )
    found = json.loads(note.read_text(encoding='utf-8'))
    if {**found, 'version': None} != {**settings, 'version': None}:
      raise errors.AvemoError(
        f'{out}: holds a demo of other settings; give another --out'
      )
    if found == settings and not (out / 'results.json').exists():
      print(f'{out}: going on where the last run stopped')
      return
    for name in ('raw', 'data', 'predict', *SYSTEMS):
      shutil.rmtree(out / name, ignore_errors=True)
    for name in ('results.json', 'report.html'):
      (out / name).unlink(missing_ok=True)
  page.write_text(note, json.dumps(settings) + '\n')


def find_config() -> pathlib.Path:
  """The demo's config, from the working folder or from the clone."""
  for root in (pathlib.Path(), pathlib.Path(avemo.__file__).parent.parent):
    if (root / CONFIG).is_file():
      return root / CONFIG
  raise errors.AvemoError(
    f'{CONFIG}: no such file; run the demo in a clone of the repository'
  )


def find_oracle(raw, workdir, modalities) -> float:
  """The best UAR that the evidence in these modalities allows, on the test."""
  clips = table.read(workdir / 'eval/test/predictions.csv').clip_id
  best = simulate.oracle(raw, clips)
  return best['both' if len(modalities) == 2 else modalities[0]]


def find_film(raw: pathlib.Path, data_dir: pathlib.Path) -> pathlib.Path:
  """A film of the first test speaker, one that is not neutral."""
  dataset = schema.open_dataset('crema_d_av', data_dir)
  test = folds.find_split(dataset, PROTOCOL, FOLD).test
  clip = next(
    str(dataset.index['clip_id'][record])
    for record in test
    if dataset.index['emotion'][record] != 'neutral'
  )
  return raw / 'VideoFlash' / f'{clip}.flv'


def format_table(results: list[dict]) -> str:
  lines = ['system  UAR     WAR     best possible UAR  parameters  seconds']
  for r in results:
    lines.append(
      f'{r["name"]:6s}  {r["uar"]:.3f}   {r["war"]:.3f}   '
      f'{r["oracle_uar"]:17.3f}  {r["parameters"]:10,d}  {r["seconds"]:7.0f}'
    )
  return '\n'.join(lines)


def report(out, results, film, seed, control, seconds) -> None:
  """Writes `report.html`: the table, bars, confusions and the film."""
  classes = json.loads((out / 'early/eval/test/metrics.json').read_text())
  chance = 1 / len(classes['labels'])
  bars = {
    r['name']: {'UAR': r['uar'], 'best possible': r['oracle_uar']}
    for r in results
  }
  scores = page.Table(
    ['system', 'UAR', 'WAR', 'best possible UAR', 'parameters', 'seconds'],
    [
      [
        r['name'],
        f'{r["uar"]:.3f}',
        f'{r["war"]:.3f}',
        f'{r["oracle_uar"]:.3f}',
        f'{r["parameters"]:,}',
        f'{r["seconds"]:.0f}',
      ]
      for r in results
    ],
  )
  confusions = []
  for r in results:
    path = out / r['name'] / 'eval/test/confusion.png'
    confusions.append(page.Figure(path.read_bytes(), r['name']))
  clip = next((out / 'predict').glob('*.mp4'))
  page.write_page(
    out / 'report.html',
    'avemo demo',
    [
      page.Section(
        'Systems on unseen speakers',
        text=[
          f'{SPEAKERS} simulated speakers, {CLIPS_PER_SPEAKER} clips each; '
          'the face and the voice each show the emotion of a part of the '
          'clips, so no system can be right on all. "Best possible" is what '
          "Bayes' rule reaches on the test clips with the cues themselves. "
          'The faces and voices are drawn by a program: these figures test '
          'the code, not a method.',
          *([f'Control: {control}.'] if control else []),
        ],
        table=scores,
        figures=[
          page.Figure(
            plots.plot_bars(bars, ylabel='UAR', chance=chance),
            'UAR by system',
          )
        ],
      ),
      page.Section(
        'A film of a test speaker, read by early fusion',
        text=[film.stem],
        videos=[page.Video(str(clip.relative_to(out)), clip.stem)],
      ),
      page.Section('Confusion on the test speakers', figures=confusions),
    ],
    lead=f'seed {seed}, {seconds / 60:.1f} minutes',
  )


def tell(started: float, message: str) -> None:
  print(f'[{time.monotonic() - started:5.0f} s] {message}', flush=True)
