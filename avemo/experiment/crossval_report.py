"""What `summary.json` says, as text and as a page."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from avemo.corpora.protocols import entry
from avemo.evaluate import page, plots, report
from avemo.experiment import pooling

# The figures that have a line.
NAMES = (*report.MAIN, *pooling.EXTRAS)
WIDTH = max(map(len, NAMES))


def summarize(summary: Mapping[str, Any]) -> str:
  """The main figures as lines of text."""
  unit, _ = report.find_intervals(summary['pooled'])
  lines = [
    f'{"":{WIDTH}s}  mean of folds  sd      pooled  95 % by {unit}',
    *(line for name in NAMES if (line := say_score(summary, name))),
    f'{len(summary["folds"])} trainings, chosen by {summary["chosen_by"]}',
  ]
  others = [say_score(summary, pooling.PREFIX + n) for n in report.MAIN]
  if any(others):
    lines.append(
      'for comparison alone, the checkpoint chosen on the test clips:'
    )
    lines += filter(None, others)
  for row in summary['conditions']:
    scores = [f'{n} {row[n]:.4f}' for n in NAMES if n in row]
    lines.append(f'{row["condition"]}: {", ".join(scores)}')
  lines += [f'warning: {warning}' for warning in summary['warnings']]
  return '\n'.join(lines)


def say_score(summary: Mapping[str, Any], name: str) -> str:
  cells = list_score(summary, name)
  if not cells:
    return ''
  shown = name.removeprefix(pooling.PREFIX)
  mean, sd, pooled, _, interval = cells
  return f'{shown:{WIDTH}s}  {mean:13s}  {sd:6s}  {pooled:6s}  {interval}'


def list_score(summary: Mapping[str, Any], name: str) -> list[str]:
  """Mean, sd over folds, pooled, sd over seeds and interval, as shown."""
  mean, pooled = summary['mean'].get(name), summary['pooled'].get(name)
  if mean is None and pooled is None:
    return []
  numbers = [mean, summary['sd'].get(name), pooled]
  numbers.append(summary['sd_of_seeds'].get(name))
  cells = ['' if number is None else f'{number:.4f}' for number in numbers]
  _, intervals = report.find_intervals(summary['pooled'])
  ends = intervals.get(name)
  return [*cells, f'{ends[0]:.4f} to {ends[1]:.4f}' if ends else '']


def write(workdir: pathlib.Path, summary: Mapping[str, Any]) -> None:
  """Writes `report.html`."""
  sections = [show_scores(summary), show_folds(summary)]
  if 'confusion' in summary:
    sections.append(show_confusion(summary['confusion']))
  if summary['conditions']:
    sections.append(show_conditions(summary))
  if len(summary['pooled'].get('speakers', ())) > 1:
    sections.append(
      report.show_speakers(summary['pooled']['speakers'], 'summary.json')
    )
  if summary['cost']:
    sections.append(page.Section('Cost', table=list_costs(summary['cost'])))
  sections += show_best_on_test(summary)
  seeds = ', '.join(map(str, summary['seeds']))
  page.write_page(
    workdir / 'report.html',
    f'Cross-validation: {summary["protocol"]}',
    sections,
    lead=f'{summary["dataset"]}; chosen by {summary["chosen_by"]}; seeds '
    f'{seeds}',
  )


def list_scores(summary: Mapping[str, Any], prefix: str = '') -> page.Table:
  rows = [
    [name, *cells]
    for name in NAMES
    if (cells := list_score(summary, prefix + name))
  ]
  unit, _ = report.find_intervals(summary['pooled'])
  columns = ['mean of folds', 'sd of folds', 'pooled', 'sd of seeds']
  return page.Table(['', *columns, f'95 % by {unit}'], rows)


def show_scores(summary: Mapping[str, Any]) -> page.Section:
  """The headline, and what must be known of it."""
  text = [f'Folds of {summary["source"]}.', *summary['warnings']]
  if summary['skipped']:
    numbers = ', '.join(map(str, summary['skipped']))
    text.append(f'Skipped, for they have no test clips here: fold {numbers}.')
  if summary['expected_sha256'] not in ('', summary['sha256']):
    count = sum(row['num_examples'] for row in summary['folds'])
    text.append(
      'These are the folds of a part of the corpus: '
      f'{count // len(summary["seeds"])} test clips.'
    )
  if summary['pooled']['intervals'] is None:
    text.append(summary['pooled']['intervals_note'])
  return page.Section('Scores', text=text, table=list_scores(summary))


def show_folds(summary: Mapping[str, Any]) -> page.Section:
  rows = summary['folds']
  names = [n for n in report.MAIN if any(n in row for row in rows)]
  chosen = [n for n in rows[0] if n.startswith('val/')]
  columns = ['fold', 'seed', 'num_examples', 'checkpoint', *chosen, *names]
  columns.append('seconds')
  cells = [
    [
      f'{row[n]:.0f}'
      if n == 'seconds' and row.get(n)
      else report.show(row.get(n))
      for n in columns
    ]
    for row in rows
  ]
  figures = []
  for name in names[:1]:
    bars = {f'fold {row["fold"]}': {} for row in rows}
    for row in rows:
      bars[f'fold {row["fold"]}'][f'seed {row["seed"]}'] = row.get(name, 0.0)
    count = len(summary.get('confusion', {}).get('labels', ()))
    png = plots.plot_bars(bars, ylabel=name, chance=1 / count if count else 0)
    figures.append(page.Figure(png, f'{name} of each fold'))
  heads = [name.replace('num_examples', 'examples') for name in columns]
  return page.Section(
    'By fold', table=page.Table(heads, cells), figures=figures
  )


def show_confusion(confusion: Mapping[str, Any]) -> page.Section:
  names = confusion['labels']
  averaged = np.array(confusion['averaged'], float)
  return page.Section(
    'Confusion',
    text=['Averaged, every fold has the same weight; pooled, every clip.'],
    figures=[
      page.Figure(plots.plot_confusion(confusion['pooled'], names), 'pooled'),
      page.Figure(
        plots.plot_confusion(np.nan_to_num(averaged), names),
        'averaged over folds and seeds',
      ),
    ],
  )


def show_conditions(summary: Mapping[str, Any]) -> page.Section:
  """Pooled scores of the same checkpoints under worse conditions."""
  clean = {'condition': 'as they are', **summary['pooled']}
  rows = [clean, *summary['conditions']]
  figures = plot_noise(clean, summary['conditions'])
  return page.Section(
    'Under worse conditions',
    text=['The same checkpoints; the scores above are of clips as they are.'],
    table=report.list_figures(rows, ('condition',)),
    figures=figures,
  )


def plot_noise(
  clean: Mapping[str, Any], rows: list[Mapping[str, Any]]
) -> list[page.Figure]:
  """Scores over the signal-to-noise ratio, where there are several."""
  noisy = [row for row in rows if 'snr' in row and 'without' not in row]
  if len(noisy) < 2:
    return []
  name = next(n for n in report.MAIN if clean.get(n) is not None)
  lines = {}
  for noise in dict.fromkeys(row['noise'] for row in noisy):
    own = sorted(
      (row['snr'], row[name]) for row in noisy if row['noise'] == noise
    )
    lines[f'{noise} noise'] = tuple(zip(*own, strict=True))
  png = plots.plot_lines(
    lines, xlabel='SNR, dB', ylabel=name, level=('clean', clean[name])
  )
  return [page.Figure(png, f'{name} by noise on the sound')]


def list_costs(cost: Mapping[str, Any]) -> page.Table:
  rows = []
  if 'training_seconds' in cost:
    rows.append(['seconds of training, all', f'{cost["training_seconds"]:.0f}'])
    mean = cost['training_seconds_mean']
    rows.append(['seconds of a training, mean', f'{mean:.0f}'])
  if 'parameters' in cost:
    rows.append(['parameters', f'{cost["parameters"]:,}'])
    example = 'a frame, with towers' if 'example' in cost else 'an example'
    rows.append([f'GMACs of {example}', f'{cost["gmacs"]:.4g}'])
  if 'peak_memory' in cost:
    rows.append(
      [
        f'peak memory of the {cost["peak_memory_of"]}, MiB',
        f'{cost["peak_memory"] / 2**20:.0f}',
      ]
    )
  if 'inference_seconds' in cost:
    value = 1e3 * cost['inference_seconds']
    rows.append(['milliseconds an example', f'{value:.3g}'])
  return page.Table(['', 'value'], rows)


def show_best_on_test(summary: Mapping[str, Any]) -> list[page.Section]:
  """The other choice, last and apart."""
  scores = list_scores(summary, pooling.PREFIX)
  if not scores.rows:
    return []
  return [
    page.Section(
      'best_on_test: not an estimate',
      text=[
        f'For comparison with work that does so: {entry.CHOSEN_ON_TEST}. '
        'Nothing above rests on it.'
      ],
      table=scores,
    )
  ]
