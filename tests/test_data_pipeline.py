"""Order, slices, resume, workers and padding of batches."""

import itertools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import small_dataset

from avemo import errors
from avemo.data import labels, pipeline, targets
from avemo.data.clips import ClipOptions

SPACE = labels.LabelSpace.of(small_dataset.EMOTIONS)
OPTIONS = ClipOptions(frames=2, size=16, seconds=0.1)


def make(count=12, **columns):
  words = itertools.cycle(small_dataset.EMOTIONS)
  made = [
    small_dataset.Clip(emotion=next(words), frames=6, samples=4000)
    for _ in range(count)
  ]
  return small_dataset.make_dataset(made, **columns)


def start(dataset, records=None, **options):
  records = range(len(dataset.source)) if records is None else records
  options = {'options': OPTIONS, 'batch_size': 4, 'seed': 7} | options
  return pipeline.train_batches(dataset, records, SPACE, **options)


def start_evaluation(dataset, records=None, **options):
  records = range(len(dataset.source)) if records is None else records
  options = {'options': OPTIONS, 'batch_size': 4} | options
  table = targets.make_table(dataset, SPACE)
  views = options.get('views', 1)
  looks = pipeline.list_looks(
    dataset, records, table, options=options['options'], views=views
  )
  return pipeline.eval_batches(dataset, looks, table, **options)


def take(dataset, count, records=None, **options):
  batches = start(dataset, records, **options)
  taken = list(itertools.islice(batches, count))
  batches.close()
  return taken


def evaluate(dataset, records=None, **options):
  batches = start_evaluation(dataset, records, **options)
  taken = list(batches)
  batches.close()
  return taken


def assert_equal(some, others):
  assert len(some) == len(others)
  for one, other in zip(some, others, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name], err_msg=name)
      assert one[name].dtype == other[name].dtype


def test_shapes_and_types_are_those_of_the_design():
  batch = take(make(), 1)[0]
  found = {name: (x.dtype.name, x.shape) for name, x in batch.items()}
  assert found == {
    'frames': ('uint8', (4, 2, 16, 16, 3)),
    'speech': ('int16', (4, 1600)),
    'speech_length': ('int32', (4,)),
    'has_video': ('bool', (4,)),
    'has_audio': ('bool', (4,)),
    'emotion': ('int32', (4,)),
    'target': ('float32', (4, 3)),
    'class_mask': ('bool', (4, 3)),
    'mask': ('bool', (4,)),
    'record': ('int32', (4,)),
    'view': ('int32', (4,)),
  }
  np.testing.assert_array_equal(batch['emotion'], batch['record'] % 3)
  np.testing.assert_array_equal(batch['target'].argmax(-1), batch['emotion'])
  # Green tells the clip: pictures, sound and labels belong together.
  np.testing.assert_allclose(
    batch['frames'][..., 1].mean((1, 2, 3)) / 8, batch['record'], atol=0.3
  )
  np.testing.assert_array_equal(batch['speech'].min(1) // 100, batch['record'])


def test_every_epoch_holds_every_record_once_in_another_order():
  order = [tuple(batch['record']) for batch in take(make(), 6)]
  epochs = [sum(order[:3], ()), sum(order[3:], ())]
  assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
  assert epochs[0] != epochs[1]
  assert epochs[0] != tuple(range(12))


def test_the_seed_fixes_everything():
  assert_equal(take(make(), 4), take(make(), 4))
  others = take(make(), 4, seed=8)
  assert any(
    (a['record'] != b['record']).any()
    for a, b in zip(take(make(), 4), others, strict=True)
  )


def test_resume_goes_on_where_the_run_stopped():
  whole = take(make(), 9)
  for first in (1, 3, 7):
    assert_equal(whole[first:], take(make(), 9 - first, first_step=first))


def test_workers_give_the_same_batches():
  whole = take(make(), 7)
  assert_equal(whole[2:], take(make(), 5, first_step=2, workers=2))
  assert_equal(
    evaluate(make(10), views=2), evaluate(make(10), views=2, workers=2)
  )


@pytest.mark.parametrize('num_hosts', [2, 4])
def test_hosts_hold_the_rows_of_one_batch_in_order(num_hosts):
  whole = take(make(), 3)
  parts = [
    take(make(), 3, host=h, num_hosts=num_hosts) for h in range(num_hosts)
  ]
  for number, batch in enumerate(whole):
    for name, value in batch.items():
      joined = np.concatenate([part[number][name] for part in parts])
      np.testing.assert_array_equal(joined, value)


PROGRAM = """
import test_data_pipeline
if __name__ == '__main__':
  dataset = test_data_pipeline.make()
  for batches in (
    test_data_pipeline.start(dataset, workers=2),
    test_data_pipeline.start_evaluation(dataset, workers=2),
  ):
    kept = [batch for batch, _ in zip(batches, range(4))]
    batches.close()
    batches.close()
    assert list(batches) == [] and all(b['record'].any() for b in kept)
"""


def test_workers_give_their_memory_back(tmp_path):
  program = tmp_path / 'program.py'
  program.write_text(PROGRAM)
  here = pathlib.Path(__file__).parent
  result = subprocess.run(
    [sys.executable, str(program)],
    env=os.environ | {'PYTHONPATH': f'{here}:{here.parent}'},
    capture_output=True,
    text=True,
    check=True,
  )
  # Python tells at the end of a process what it left behind.
  assert result.stderr == ''


def test_hosts_decode_their_own_rows_alone():
  dataset = make()
  read = []

  class Watched:
    def __getitem__(self, number):
      read.append(number)
      return small_dataset.make_record(number, small_dataset.Clip(frames=2))

  # One row a batch, however many are read ahead, and in whichever order the
  # threads come to them.
  ahead = 1 + 2 * pipeline.THREADS
  hosted = {'records': range(len(dataset.source)), 'host': 1, 'num_hosts': 4}
  own = [batch['record'][0] for batch in take(dataset, ahead, **hosted)]
  dataset.source = Watched()
  batch = take(dataset, 1, **hosted)[0]
  assert batch['record'][0] == own[0]
  assert own[0] in read
  assert set(read) <= set(own)
  assert len(read) <= ahead


def test_evaluation_sees_every_view_once_and_masks_padding():
  batches = evaluate(make(5), views=2)
  assert len(batches) == 3
  rows = [
    (record, view)
    for batch in batches
    for record, view, kept in zip(
      batch['record'], batch['view'], batch['mask'], strict=True
    )
    if kept
  ]
  assert rows == [(r, v) for r in range(5) for v in range(2)]
  padding = ~batches[-1]['mask']
  assert padding.tolist() == [False, False, True, True]
  last = batches[-1]
  assert (last['record'][padding] == -1).all()
  assert (last['emotion'][padding] == -1).all()
  for name in ('frames', 'speech', 'target', 'has_video', 'has_audio'):
    assert not last[name][padding].any(), name


def test_every_host_gets_as_many_evaluation_batches():
  for count in (1, 5, 8, 9):
    parts = [evaluate(make(count), host=h, num_hosts=4) for h in range(4)]
    assert len({len(part) for part in parts}) == 1
    seen = [b['record'][b['mask']] for part in parts for b in part]
    assert sorted(np.concatenate(seen)) == list(range(count))


def test_records_are_those_asked_for():
  seen = {r for b in take(make(), 6, records=[1, 4, 5, 9]) for r in b['record']}
  assert seen == {1, 4, 5, 9}


def test_balancing_repeats_rare_classes():
  words = ['anger'] * 6 + ['happiness'] * 2 + ['neutral']
  dataset = small_dataset.make_dataset(
    small_dataset.Clip(emotion=word, frames=2, samples=1600) for word in words
  )
  epoch = np.concatenate(
    [b['record'] for b in take(dataset, 9, batch_size=2, balanced=True)]
  )
  times = np.bincount(epoch)
  assert times.tolist() == [1] * 6 + [3, 3] + [6]


def test_balancing_counts_votes_and_not_missing_labels():
  words = ['anger'] * 4 + [''] * 3
  votes = [[0.0, 0.0, 0.0]] * 4 + [[3.0, 1.0, 0.0]] + [[0.0, 1.0, 4.0]] * 2
  dataset = small_dataset.make_dataset(
    (small_dataset.Clip(emotion=w, frames=2, samples=1600) for w in words),
    votes=np.array(votes),
  )
  options = {'batch_size': 2, 'balanced': True, 'soft_labels': 'votes'}
  batches = take(dataset, 5, **options)
  times = np.bincount(np.concatenate([b['record'] for b in batches]))
  # Five angry clips, one of them by its votes, and two neutral ones.
  assert times[:5].tolist() == [1] * 5
  assert sorted(times[5:]) == [2, 3]


def test_unlabelled_and_empty_records_are_not_trained_on_but_evaluated():
  clip = small_dataset.Clip
  dataset = small_dataset.make_dataset(
    [
      clip(),
      clip(emotion=''),
      clip(frames=0, samples=0),
      clip(frames=0),
      clip(faces=False, samples=0),
    ]
  )
  seen = {r for b in take(dataset, 8, batch_size=1) for r in b['record']}
  assert seen == {0, 3}
  batch = evaluate(dataset, batch_size=5)[0]
  assert batch['mask'].all()
  assert batch['emotion'].tolist() == [0, -1, 0, 0, 0]
  assert not batch['target'][1].any()
  assert batch['has_video'].tolist() == [True, True, False, False, False]
  with pytest.raises(errors.AvemoError, match='none of the training clips'):
    take(dataset, 1, records=[1, 2])


def test_votes_become_shares():
  votes = [[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [np.nan, 2.0, 2.0]]
  dataset = make(3, votes=np.array(votes))
  batch = take(dataset, 1, batch_size=3, soft_labels='votes')[0]
  found = batch['target'][np.argsort(batch['record'])]
  np.testing.assert_allclose(found, [[0.75, 0.25, 0], [0, 1, 0], [0, 0.5, 0.5]])
  with pytest.raises(errors.AvemoError, match='no such column'):
    take(dataset, 1, soft_labels='votes_both')


def test_classes_that_a_row_could_not_have_are_masked():
  could = [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
  batch = take(make(3, classes=np.array(could)), 1, batch_size=3)[0]
  found = batch['class_mask'][np.argsort(batch['record'])]
  np.testing.assert_array_equal(found, np.array(could, bool))


def test_shuffled_labels_keep_their_counts():
  dataset = make(30)
  batches = take(dataset, 15, batch_size=2, shuffle_labels_seed=3)
  record = np.concatenate([b['record'] for b in batches])
  emotion = np.concatenate([b['emotion'] for b in batches])
  assert np.bincount(emotion).tolist() == [10, 10, 10]
  assert (emotion == record % 3).sum() < 20
  target = np.concatenate([b['target'] for b in batches])
  np.testing.assert_array_equal(target.argmax(-1), emotion)
  assert_equal(batches, take(dataset, 15, batch_size=2, shuffle_labels_seed=3))


def test_batches_must_fit_the_hosts():
  with pytest.raises(errors.AvemoError, match='3 hosts'):
    take(make(), 1, num_hosts=3)
  with pytest.raises(errors.AvemoError, match='3 hosts'):
    evaluate(make(), num_hosts=3)
