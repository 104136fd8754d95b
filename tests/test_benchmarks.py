"""Benchmarks: programs in turns, and what the figures are shares of."""

import cProfile
import os
import subprocess
import sys
import time

import films
import jax
import numpy as np
import pytest

from avemo.media import decode, encode
from avemo.predict import predictor
from benchmarks import (
  checkpoints,
  front_ends,
  pairs,
  pipeline,
  predict,
  processes,
  reading,
  saving,
  spectra,
  towers,
)

ANSWER = """
import json, sys, time
print('a word of a library')
print(json.dumps({'ready': 1}), flush=True)
for line in sys.stdin:
  open(sys.argv[1], 'a').write(sys.argv[2])
  print(json.dumps({'seconds': float(sys.argv[3])}), flush=True)
"""


def answer(*arguments):
  return [sys.executable, '-S', '-c', ANSWER, *map(str, arguments)]


def test_programs_run_in_turns_after_a_first_round(tmp_path):
  commands = {
    'one': answer(tmp_path / 'log', 'A', 0.5),
    'two': answer(tmp_path / 'log', 'B', 1.5),
    'three': [sys.executable, '-c', 'raise SystemExit("no such package")'],
    'four': ['/no/such/python'],
  }
  with pairs.start(commands) as (programs, failed):
    seconds = pairs.time_in_turns(programs, 3)
    assert programs['one'].ready == {'ready': 1}
  assert (tmp_path / 'log').read_text() == 'AB' + 3 * 'AABB'
  assert seconds == {'one': [0.5] * 3, 'two': [1.5] * 3}
  assert failed['three'] == 'no such package'
  assert '/no/such/python' in failed['four']
  assert pairs.compare(seconds['one'], seconds['two']) == 3


def test_a_program_that_dies_says_why(tmp_path):
  with pairs.start({'one': answer(tmp_path / 'log', 'A', 'x')}) as (one, _):
    with pytest.raises(pairs.Failed, match='ValueError.*float'):
      one['one'].ask()


@pytest.mark.parametrize('task', ['forward', 'finetune'])
def test_operations_are_those_that_xla_counts(task):
  shape = towers.VIDEO['S']._replace(depth=1)
  model = towers.make_model(
    'video', 'S', 'float32', depth=1, implementation='xla', remat='none'
  )
  batch = towers.make_batch('video', 1)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)

  def compute(variables, batch):
    return model.apply(variables, batch)['emotion'].sum()

  if task == 'finetune':
    compute = jax.grad(compute)
  counted = jax.jit(compute).lower(variables, batch).cost_analysis()['flops']
  # Norms and softmax are not products.
  assert counted == pytest.approx(towers.count_flops(shape, task), rel=0.05)


def test_what_children_use_is_counted():
  work = 'import time\nwhile time.process_time() < 0.4: pass\ninput()'
  call = f'subprocess.run([sys.executable, "-S", "-c", {work!r}])'
  parent = f'import subprocess, sys; {call}'
  process = subprocess.Popen(
    [sys.executable, '-S', '-c', parent], stdin=subprocess.PIPE
  )
  try:
    deadline = time.monotonic() + 120
    # Less than was used: the system counts whole ticks of 10 ms, rounded down.
    while processes.measure_processor(process.pid) < 0.3:
      assert time.monotonic() < deadline
      time.sleep(0.05)
    assert len(processes.find_family(process.pid)) == 2
    both = processes.measure_memory(process.pid)
    assert both > 1 << 20
  finally:
    process.communicate(b'\n')
  assert processes.measure_memory(process.pid) == 0


def test_processor_time_is_that_since_the_last_answer(tmp_path):
  work = """
import json, sys, time
print('{}', flush=True)
for line in sys.stdin:
  start = time.process_time()
  while time.process_time() < start + 0.2: pass
  print(json.dumps({'seconds': 9, 'line': line.strip()}), flush=True)
"""
  command = [sys.executable, '-S', '-c', work]
  usual = os.sched_getaffinity(0)
  with pairs.limit_cores(1), pairs.start({'one': command}) as (programs, _):
    assert len(os.sched_getaffinity(programs['one'].pid)) == 1
    found = pairs.ask_in_turns(programs, 2, 'go')['one']
  assert os.sched_getaffinity(0) == usual
  assert [one['line'] for one in found] == ['go', 'go']
  assert [one['cpu_seconds'] for one in found] == pytest.approx(
    [0.2] * 2, abs=0.06
  )


def test_python_without_the_packages_is_no_peer(capsys):
  assert pairs.find_python(sys.executable, ('json', 'sys')) == sys.executable
  for python in (sys.executable, '/no/such/python'):
    with pytest.raises(SystemExit, match=f'no peer: {python}: .*no.such'):
      pairs.find_python(python, ('no_such_package',))
  assert pairs.find_python(None, ('torch',)) is None
  assert 'torch' in capsys.readouterr().out


def test_reading_tells_clips_a_second_and_memory():
  answers = {
    'avemo': [{'seconds': 1.0, 'cpu_seconds': 2.0}] * 3,
    'mp4': [{'seconds': 6.0, 'cpu_seconds': 8.0}] * 3,
  }
  row = pipeline.summarize(answers, 16)
  assert row['avemo']['clips_a_second_of_processor'] == 8
  assert row['mp4']['clips_a_second'] == 2.7
  assert row['mp4']['times_as_fast'] == 4
  assert row['mp4']['times_as_fast_by_the_clock'] == 6
  held = reading.watch_memory(iter(range(10)), 8)
  assert len(held) == 8
  row |= {'workers': 0, 'memory': pipeline.compare_quarters(held)}
  row['memory']['batches'] = 8
  assert row['memory']['most_mib'] >= row['memory']['first_quarter_mib'] > 1
  assert 'memory over 8 batches' in pipeline.format_row(row)


@pytest.mark.parametrize('kind', ['mel', 'mfcc', 'picture'])
def test_front_ends_compared_are_the_same(kind):
  speech = spectra.make_speech(2, 0.5)
  ours = np.asarray(spectra.make_ours(kind, speech)())
  other = spectra.make_librosas(kind, speech)()
  if kind == 'picture':
    # Stretched window by window there, and by areas here.
    assert ours.shape == other.shape and ours.dtype == other.dtype
  else:
    np.testing.assert_allclose(ours, other.swapaxes(-1, -2), atol=2e-3)


def test_librosa_computes_in_the_precision_that_is_asked():
  speech = spectra.make_speech(1, 0.5)
  for dtype in (np.float32, np.float64):
    found = spectra.make_librosas('filterbank', speech, dtype)()
    assert found.dtype == dtype


def test_share_is_that_of_one_clip():
  row = {'avemo': {'cpu_ms': 16.0}}
  assert front_ends.find_share(row, 8, {'cpu_ms': 1000.0}) == 0.002


def test_state_is_saved_and_restored(tmp_path):
  state = saving.make_state('S', depth=1)
  found = saving.save_and_restore(state, tmp_path / 'saved')
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  assert found['bytes'] == pytest.approx(size, rel=0.2)
  assert 0 < found['blocked'] <= found['save'] < found['seconds']
  rounds = [found | {'cpu_seconds': 1.0}] * 2
  slow = found | {'blocked': 4 * found['blocked'], 'cpu_seconds': 3.0}
  said = checkpoints.summarize({'avemo': rounds, 'torch': [slow] * 2})
  assert said['times_as_fast']['blocked'] == 4
  assert said['times_as_fast']['cpu_seconds'] == 3
  assert '4.00 x' in checkpoints.format_table(said | {'state_mib': 1.0})


@pytest.mark.slow
def test_stages_of_predicting_are_found_and_sum_up(tmp_path):
  once = tmp_path / 'once.mp4'
  speech = films.hum(1.0)
  encode.write_media(once, films.paint_wall(25), fps=25, speech=speech)
  film = tmp_path / 'film.mp4'
  predict.repeat(once, film, 1.0, 3)
  times = [frame.time for frame in decode.read_frames(film)]
  np.testing.assert_allclose(times, np.arange(75) / 25, atol=1e-3)
  assert len(decode.read_audio(film)) == pytest.approx(48_000, abs=3_000)
  reader = predictor.Predictor(
    films.make_loaded(('video',)),
    tmp_path / 'out',
    predictor.Settings(every=2.0),
    'x',
  )
  (tmp_path / 'out').mkdir()
  profile = cProfile.Profile(time.process_time)
  profile.runcall(reader.read, film, 'film')
  stages = predict.count_stages(profile, 3.0)
  assert set(stages) == {*predict.STAGES, 'rest'}
  for name in ('decode', 'detect', 'model', 'draw', 'encode', 'sound'):
    assert stages[name] > 0, name
  # Nothing is counted twice.
  assert min(stages.values()) >= 0
