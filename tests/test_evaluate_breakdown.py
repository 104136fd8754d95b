"""Scores of tables: by task, by corpus, by speaker, with intervals."""

import hypothesis
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import strategies

from avemo.data import labels
from avemo.evaluate import breakdown, caveats, report, summary, table
from avemo.metrics import action_units, intervals, regression

CLASSES = ('anger', 'fear', 'sadness')


def make(size=240, speakers=10, seed=0, corpora=None):
  rng = np.random.default_rng(seed)
  truth = {
    'valence_arousal': rng.uniform(-1, 1, (size, 2)),
    'action_units': rng.integers(0, 2, (size, 12)).astype(float),
  }
  values = {
    'valence_arousal': np.clip(
      truth['valence_arousal'] + rng.normal(size=(size, 2)) / 2, -1, 1
    ),
    'action_units': np.clip(
      truth['action_units'] * 0.4 + rng.random((size, 12)) * 0.6, 0, 1
    ),
  }
  truth['valence_arousal'][rng.random(size) < 0.2] = np.nan
  truth['action_units'][rng.random(size) < 0.2] = np.nan
  label = rng.integers(-1, 3, size)
  number = np.arange(size) % speakers
  return table.Predictions(
    classes=CLASSES,
    clip_id=[f'clip_{n}' for n in range(size)],
    segment=np.zeros(size, int),
    speaker=[f's{n}' for n in number],
    label=[CLASSES[n] if n >= 0 else '' for n in label],
    probabilities=rng.dirichlet(np.ones(3), size),
    frame=np.arange(size),
    corpus=corpora and [corpora[n % len(corpora)] for n in number],
    values=values,
    truth=truth,
  )


def test_each_speaker_has_what_a_table_of_the_speaker_has():
  found = make(corpora=('x', 'y'))
  rows = breakdown.by_speaker(found)
  assert len(rows) == 10
  assert [row['uar'] for row in rows] == sorted(row['uar'] for row in rows)
  for row in rows:
    own = found.take(np.array(found.speaker) == row['speaker'])
    assert row['corpus'] == own.corpus[0]
    alone = summary.score_rows(own)
    for name in ('uar', 'war', 'f1_macro', 'ccc_mean', 'ccc_valence', 'f1_au'):
      assert row[name] == pytest.approx(alone[name], abs=1e-9), name
    assert row['num_examples'] == alone['num_examples']
  # One name in two corpora is two people.
  shared = make(corpora=('x', 'y'))
  shared.speaker[:] = ['same'] * 240
  assert len(breakdown.by_speaker(shared)) == 2
  # Without speakers films stand for them; clips stand for nobody.
  shared.speaker[:] = [''] * 240
  shared.clip_id[:] = ['film'] * 240
  rows = breakdown.by_speaker(shared)
  assert {(row['film'], row['corpus']) for row in rows} == {
    ('film', 'x'), ('film', 'y')
  }  # fmt: skip
  metrics = summary.score(shared)
  assert metrics['num_speakers'] == 0 and 'intervals_by_film' not in metrics
  # Each film is drawn as a whole, as a speaker would be.
  named = make(size=480, speakers=20)
  nameless = make(size=480, speakers=20)
  # Two people of a film are drawn together.
  sides = '_left', '_right', ''
  pairs = enumerate(named.speaker)
  nameless.clip_id[:] = [name + sides[n % 3] for n, name in pairs]
  nameless.speaker[:] = [''] * len(named.speaker)
  of_films, of_speakers = map(summary.score, (nameless, named))
  assert of_films['intervals_by_film'] == of_speakers['intervals'] is not None
  assert of_films['intervals'] is None and 'by film' in report.summarize(
    of_films
    | {'split': 'test', 'checkpoint': 1, 'chosen_by': 'x'}
    | {'warnings': []}
  )
  assert 'intervals_by_film' not in of_speakers
  shared.frame[:] = -1
  assert breakdown.by_speaker(shared) == []


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(strategies.integers(0, 999))
def test_scores_are_those_of_independent_computations(seed):
  found = make(size=60, speakers=3, seed=seed)
  metrics = summary.score(found)
  label, said = np.array(found.label), np.array(found.prediction)
  kept = label != ''
  assert metrics['uar'] == pytest.approx(
    sklearn.metrics.balanced_accuracy_score(label[kept], said[kept])
  )
  truth, given = (
    group['action_units'] for group in (found.truth, found.values)
  )
  kept = ~np.isnan(truth).any(1)
  assert metrics['f1_au'] == pytest.approx(
    sklearn.metrics.f1_score(
      truth[kept], given[kept] > 0.5, average='macro', zero_division=0
    )
  )
  truth, given = (
    group['valence_arousal'] for group in (found.truth, found.values)
  )
  expected = [regression.ccc(truth[:, k], given[:, k]) for k in (0, 1)]
  assert metrics['ccc_mean'] == pytest.approx(np.mean(expected))
  assert metrics['intervals'] is None and '8 are' in metrics['intervals_note']


def test_classes_that_do_not_occur_are_told():
  found = make()
  assert caveats.warn_of_absent(summary.score(found)) == []
  found.label[:] = ['fear' if name else '' for name in found.label]
  (warning,) = caveats.warn_of_absent(summary.score(found))
  assert warning.startswith('2 of 3 classes do not occur (anger, sadness)')


def test_intervals_hold_the_value_and_shrink_with_speakers():
  few, many = (
    summary.score(make(size=size, speakers=size // 24))['intervals']
    for size in (240, 2400)
  )
  for metrics in (few, many):
    names = {'uar', 'war', 'f1_macro', 'ccc_mean', 'ccc_valence', 'f1_au'}
    assert names < metrics.keys()
  for name in ('uar', 'ccc_mean', 'f1_au'):
    assert np.ptp(many[name]) < np.ptp(few[name])
    low, high = few[name]
    whole = summary.score(make())[name]
    assert low < whole < high


def test_intervals_of_values_are_those_of_each_alone():
  found = make()
  truth, given = (
    group['valence_arousal'] for group in (found.truth, found.values)
  )
  both = intervals.ccc_intervals(
    truth, given, found.speaker, ('v', 'a'), mean='m', num_resamples=200
  )
  for k, name in enumerate('va'):
    alone = intervals.ccc_interval(
      truth[:, k], given[:, k], found.speaker, num_resamples=200
    )
    np.testing.assert_allclose(both[name], alone, atol=1e-9)
  assert min(both['v'][0], both['a'][0]) <= both['m'][0]
  sums = action_units.counts(
    found.truth['action_units'], found.values['action_units'] > 0.5
  )
  low, high = intervals.action_unit_interval(
    found.truth['action_units'],
    found.values['action_units'] > 0.5,
    found.speaker,
  )
  assert low < action_units.f1_mean(sums[0]) < high


def test_speakers_are_ordered_by_what_they_have_labels_of():
  found = make()
  # A head of emotions, and labels of other tasks alone.
  found.label[:] = [''] * 240
  rows = breakdown.by_speaker(found)
  assert breakdown.find_main(rows) == 'ccc_mean'
  assert not any('uar' in row for row in rows)
  values = [row['ccc_mean'] for row in rows]
  assert len(values) == 10 and values == sorted(values)


def test_a_class_that_is_never_given_a_chance_is_missed():
  found = make(corpora=('x', 'y'))
  own = np.array(found.corpus) == 'x'
  # So improbable that float32 has nothing left.
  found.probabilities[own, 2] = 0
  metrics = summary.score(found)['corpora']['x']
  assert metrics['labels'] == list(CLASSES)
  assert sum(metrics['confusion'][2]) > 0 and metrics['confusion'][2][2] == 0


def test_what_no_row_has_a_label_of_is_not_told():
  found = make()
  found.truth['action_units'][:] = np.nan
  metrics = summary.score(found)
  assert 'f1_au' not in metrics and 'ccc_mean' in metrics
  empty = table.Predictions(
    classes=(),
    clip_id=found.clip_id,
    segment=found.segment,
    speaker=found.speaker,
    label=[''] * 240,
    probabilities=np.zeros((240, 0)),
    values=found.values,
    truth={task: np.full_like(v, np.nan) for task, v in found.truth.items()},
  )
  metrics = summary.score(empty)
  assert metrics['num_examples'] == 0 and metrics['num_unlabelled'] == 240
  assert metrics['speakers'] == []


def test_the_table_keeps_values_labels_and_frames(tmp_path):
  found = make(corpora=('x', 'y'))
  read = table.read(table.write(tmp_path / 'predictions.csv', found))
  np.testing.assert_array_equal(read.frame, found.frame)
  assert read.corpus == found.corpus
  for task in labels.VALUES:
    if task in found.values:
      for one, other in (
        (read.values, found.values),
        (read.truth, found.truth),
      ):
        np.testing.assert_allclose(one[task], other[task], rtol=1e-8)
