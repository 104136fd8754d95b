"""Lines of a resumed run continue those of the run before it."""

import json
import math

import pytest

from avemo import errors
from avemo.runtime import writers


def write(workdir, steps, **options):
  writer = writers.make_writer(workdir, **options)
  for step in steps:
    writer.write_scalars(step, {'train/loss': step / 10})
  writer.flush()
  writer.close()
  return [
    line['step'] for line in writers.read_lines(workdir / 'metrics.jsonl')
  ]


def test_resumed_run_replaces_the_lines_beyond_its_step(tmp_path):
  assert write(tmp_path, [1, 2, 3, 4]) == [1, 2, 3, 4]
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 5, "ti')
  assert write(tmp_path, [3, 4, 5], first_step=2) == [1, 2, 3, 4, 5]
  assert write(tmp_path, [1]) == [1]
  assert [path.name for path in tmp_path.iterdir()] == ['metrics.jsonl']


def test_lines_are_json_whatever_the_value(tmp_path):
  writer = writers.make_writer(tmp_path)
  writer.write_scalars(7, {'a': math.nan, 'b': -math.inf, 'c': 0.1})
  writer.close()
  text = (tmp_path / 'metrics.jsonl').read_text()
  line = json.loads(text, parse_constant=pytest.fail)
  assert list(line) == ['step', 'time', 'a', 'b', 'c']
  assert (line['step'], line['a'], line['b'], line['c']) == (7, None, None, 0.1)


def test_only_the_first_process_writes(tmp_path):
  assert write(tmp_path, [1], is_first_process=False) == []
  assert not list(tmp_path.iterdir())


def test_damage_before_the_last_line_is_named(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text(
    '{"step": 1}\nnonsense\n{"step": 3}\n'
  )
  with pytest.raises(errors.AvemoError, match='metrics.jsonl'):
    writers.make_writer(tmp_path, first_step=3)


def test_joined_writers_all_get_every_call(tmp_path):
  paths = [tmp_path / 'a.jsonl', tmp_path / 'b.jsonl']
  joined = writers.JoinedWriter(*map(writers.JsonLinesWriter, paths))
  joined.write_scalars(1, {'x': 2.0})
  joined.flush()
  joined.close()
  for path in paths:
    assert [line['x'] for line in writers.read_lines(path)] == [2.0]
