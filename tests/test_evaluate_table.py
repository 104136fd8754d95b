"""predictions.csv keeps what it is given, and pages open from disk."""

import html.parser

import numpy as np
import pytest

from avemo import errors
from avemo.evaluate import page, plots, summary, table


def make_predictions() -> table.Predictions:
  rng = np.random.default_rng(0)
  probabilities = rng.dirichlet(np.ones(3), 4).astype(np.float32)
  return table.Predictions(
    classes=('anger', 'fear', 'sadness'),
    clip_id=['a,b', 'c"d', 'e f', 'ü'],
    segment=np.array([0, 0, 1, 2]),
    speaker=['1', '1', '2', '2'],
    label=['anger', 'fear', '', 'sadness'],
    probabilities=probabilities,
  )


def test_table_gives_back_every_float32(tmp_path):
  written = make_predictions()
  read = table.read(table.write(tmp_path / 'predictions.csv', written))
  np.testing.assert_array_equal(
    read.probabilities.astype(np.float32), written.probabilities
  )
  assert read.clip_id == written.clip_id
  assert read.label == written.label
  assert read.prediction == written.prediction
  assert read.classes == written.classes
  np.testing.assert_array_equal(read.segment, written.segment)


@pytest.mark.parametrize('text', ['', 'a,b\n1,2\n', 'clip_id,segment\nx,y\n'])
def test_table_refuses_other_files(tmp_path, text):
  path = tmp_path / 'predictions.csv'
  path.write_text(text)
  with pytest.raises(errors.AvemoError, match='predictions.csv'):
    table.read(path)


def test_missing_table_names_the_verb(tmp_path):
  with pytest.raises(errors.AvemoError, match='avemo evaluate'):
    table.read(tmp_path / 'predictions.csv')


def test_page_holds_its_figures_and_escapes_names(tmp_path):
  png = plots.plot_confusion(np.array([[3, 1], [0, 4]]), ['a', 'b'])
  assert png.startswith(b'\x89PNG')
  path = page.write_page(
    tmp_path / 'report.html',
    'Clip <script>alert(1)</script>',
    [
      page.Section(
        'Numbers',
        text=['so & so'],
        table=page.Table(['clip', 'UAR'], [['<b>', '0.5']]),
        figures=[page.Figure(png, 'confusion')],
        videos=[page.Video('odd name #1.mp4')],
      )
    ],
  )
  text = path.read_text()
  assert '<script>' not in text
  assert '&lt;b&gt;' in text
  assert 'odd%20name%20%231.mp4' in text
  sources = []

  class Parser(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
      sources.extend(v for k, v in attrs if k in ('src', 'href'))

  Parser().feed(text)
  assert len(sources) == 2
  assert not any(s.startswith(('http', '//')) for s in sources)


def test_page_that_cannot_be_written_is_one_line(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.AvemoError, match='cannot be written'):
    page.write_page(tmp_path / 'file' / 'report.html', 'x', [])


def test_same_figure_same_bytes():
  confusion = np.array([[3, 1], [0, 4]])
  first = plots.plot_confusion(confusion, ['a', 'b'])
  assert first == plots.plot_confusion(confusion, ['a', 'b'])


def test_clips_that_hold_nothing_are_counted_and_not_scored(tmp_path):
  found = table.Predictions(
    classes=('anger', 'neutral'),
    clip_id=['a', 'b', 'c'],
    segment=np.zeros(3, int),
    speaker=['1', '1', '2'],
    label=['anger', 'anger', 'neutral'],
    probabilities=np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]),
  )
  assert found.prediction == ['anger', '', 'neutral']
  again = table.read(table.write(tmp_path / 'p.csv', found))
  np.testing.assert_array_equal(again.probabilities, found.probabilities)
  metrics = summary.score(again)
  assert (metrics['uar'], metrics['num_examples']) == (1.0, 2)
  assert (metrics['num_without_input'], metrics['num_unlabelled']) == (1, 0)
