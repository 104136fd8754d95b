"""The checkpoint that would be chosen on test clips, for comparison alone.

Much published work reports it. It is kept apart from the headline in folder
and name, and says what it is.
"""

import json
import pathlib
from typing import Any

from avemo.corpora.protocols import entry
from avemo.data import mixture, parts
from avemo.evaluate import page, predictions, restore, scores, summary, table
from avemo.evaluate import run as evaluate
from avemo.runtime import distributed, writers
from avemo.train import run as run_lib

FOLDER = 'best_on_test'


class Watcher:
  """Scores the test clips whenever training evaluates; changes nothing.

  Leaves `best_on_test/` in the workdir: `curve.jsonl`, a line an evaluation,
  and after `finish` `predictions.csv` and `metrics.json` of the best.

  Args:
    workdir: of the run.
    data: of a mixture, the corpus to score on.
  """

  def __init__(self, workdir: pathlib.Path, data: str | None = None):
    self._folder = workdir / FOLDER
    self._data = data
    self._config_file = workdir / 'config.json'
    self._read: dict[int, Any] = {}
    self._writer: writers.JsonLinesWriter | None = None

  def __call__(self, run: run_lib.Run, step: int, variables: Any) -> None:
    feed = run.feed
    found = predictions.predict_records(
      run.predict_step,
      variables,
      feed.dataset,
      self._find_records(feed.dataset),
      feed.labels,
      tasks=feed.tasks,
      read=self._read,
      options=feed.options,
      batch_size=feed.batch_size,
      mesh=run.mesh,
      # As many as the fold's own score has, beside which this one stands.
      views=feed.views or 1,
      workers=feed.workers,
      every=feed.every,
    )
    if not distributed.is_first():
      return
    if self._writer is None:
      self._folder.mkdir(parents=True, exist_ok=True)
      # Steps that are trained once more are written once more.
      self._writer = writers.JsonLinesWriter(
        self._folder / 'curve.jsonl', first_step=step - 1
      )
    metrics = scores.measure(found, feed.tasks)
    line = {f'test/{name}': value for name, value in metrics.items()}
    rows = evaluate.make_rows(
      found, feed.dataset, feed.labels.names, feed.tasks
    )
    # Before the line that speaks of it.
    table.write(self._folder / f'step_{step}.csv', rows)
    self._writer.write_scalars(step, line)
    # A step that was the best in its time may be so again, in a run that
    # resumes from there.
    if self._find_best() != step:
      (self._folder / f'step_{step}.csv').unlink()

  def finish(self) -> dict[str, Any] | None:
    """Writes what was best; None where training has evaluated nothing."""
    if self._writer:
      self._writer.close()
    step = self._find_best()
    if step is None or not distributed.is_first():
      return None
    source = self._folder / f'step_{step}.csv'
    found = table.read(source)
    page.write_bytes(self._folder / 'predictions.csv', source.read_bytes())
    metrics = summary.score(found) | {
      'split': 'test',
      'checkpoint': step,
      'chosen_by': f'test/{self._name}',
      'warnings': [entry.CHOSEN_ON_TEST],
    }
    text = json.dumps(metrics, indent=1) + '\n'
    page.write_text(self._folder / 'metrics.json', text)
    for path in self._folder.glob('step_*.csv'):
      if path != source:
        path.unlink()
    return {'step': step, 'chosen_by': metrics['chosen_by']}

  def _find_best(self) -> int | None:
    """The first of the best steps by the metric that the run goes by."""
    control = restore.read_json(self._config_file).get('control', {})
    metric = control.get('metric', restore.DEFAULT_METRIC)
    self._name = metric.rpartition('/')[2]
    sign = 1 if control.get('mode', 'max') == 'max' else -1
    lines = [
      (sign * line[f'test/{self._name}'], -line['step'])
      for line in writers.read_lines(self._folder / 'curve.jsonl')
      if line.get(f'test/{self._name}') is not None
    ]
    return -max(lines)[1] if lines else None

  def _find_records(self, dataset: Any):
    config = restore.read_json(self._config_file)
    own = parts.read(config['data'])
    records = parts.find_split(dataset, own, 'test')
    if self._data is None or len(own) == 1:
      return records
    keys = mixture.list_keys(dataset)
    number = keys.index(self._data)
    return records[mixture.find_parts(dataset, records) == number]
