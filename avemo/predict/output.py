"""The files that are left: a table, the same as JSON, and a page."""

import csv
import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avemo.data import labels
from avemo.evaluate import page
from avemo.predict import estimate, timeline

# A page with more rows opens slowly; the table has them all.
MAX_ROWS = 2_000

COLUMNS = ('time', 'track', 'x', 'y', 'w', 'h', 'face', 'sound', 'emotion')


@dataclasses.dataclass(frozen=True)
class Reading:
  """What was read from one file.

  Attributes:
    file: its name as given.
    duration: seconds.
    classes: C names.
    estimates: in the order of time.
    states: what a reader must know of the file, in words.
    model: about the model.
    settings: of the reading.
  """

  file: str
  duration: float
  classes: Sequence[str]
  estimates: Sequence[estimate.Estimate]
  states: Sequence[str]
  model: Mapping[str, Any]
  settings: Mapping[str, Any]


def make_rows(reading: Reading) -> list[dict[str, Any]]:
  """A row an estimate; None where a value does not apply."""
  rows = []
  for one in reading.estimates:
    box = (None,) * 4 if one.box is None else one.box
    head = (
      round(one.time, 3),
      one.track,
      *(None if side is None else round(float(side), 1) for side in box),
      int(one.track is not None),
      one.sound,
      one.emotion(reading.classes),
    )
    rows.append(
      dict(zip(COLUMNS, head, strict=True))
      | {
        f'p_{name}': read_number(value)
        for name, value in zip(reading.classes, one.probabilities, strict=True)
      }
      | {
        name: read_number(value)
        for name, value in zip(
          ('valence', 'arousal'), one.valence_arousal, strict=True
        )
      }
      | {
        name: read_number(value)
        # Without that head there are none.
        for name, value in zip(
          labels.VALUES[labels.ACTION_UNITS], one.action_units, strict=False
        )
      }
    )
  return rows


def read_number(value: np.floating) -> float | None:
  """A number with the digits that float32 carries; None for NaN."""
  return None if math.isnan(value) else float(f'{value:.7g}')


def write_csv(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """Writes the table; what does not apply is empty."""
  buffer = io.StringIO()
  writer = csv.DictWriter(buffer, list(rows[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  page.write_text(path, buffer.getvalue())


def write_json(
  path: pathlib.Path, reading: Reading, rows: Sequence[Mapping[str, Any]]
) -> None:
  """Writes the rows, and what they came from."""
  whole = {
    'file': reading.file,
    'duration': round(reading.duration, 3),
    'states': list(reading.states),
    'model': dict(reading.model),
    'settings': dict(reading.settings),
    'estimates': list(rows),
  }
  text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
  page.write_text(path, text + '\n')


def write_html(
  path: pathlib.Path,
  reading: Reading,
  rows: Sequence[Mapping[str, Any]],
  film: str | None,
) -> None:
  """Writes the page.

  Args:
    path: of the page.
    reading: what was read.
    rows: of the table.
    film: name of the labelled film beside the page, None without one.
  """
  tracks = {one.track for one in reading.estimates}
  caption = f'{timeline.name_series(reading.classes)} over time'
  if len(tracks) > timeline.MAX_PANELS:
    caption += (
      f'; {timeline.MAX_PANELS} of {len(tracks)} faces, those seen longest'
    )
  sections = [
    page.Section(text=list(reading.states)),
    page.Section(
      'Over time',
      figures=[
        page.Figure(
          timeline.plot_timeline(
            reading.estimates, reading.classes, reading.duration
          ),
          caption,
        )
      ],
    ),
    page.Section(
      'All estimates',
      text=[f'The first {MAX_ROWS} of {len(rows)} rows; the CSV file has all.']
      if len(rows) > MAX_ROWS
      else [],
      table=page.Table(
        list(rows[0]),
        [[show(v) for v in row.values()] for row in rows[:MAX_ROWS]],
      ),
    ),
  ]
  if film is not None:
    sections.insert(1, page.Section('Film', videos=[page.Video(film)]))
  page.write_page(
    path,
    pathlib.PurePath(reading.file).name,
    sections,
    lead=f'{reading.duration:.2f} s, {len(rows)} estimates',
  )


def show(value: Any) -> str:
  if value is None:
    return ''
  return f'{value:.2f}' if isinstance(value, float) else str(value)
