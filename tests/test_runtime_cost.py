"""Costs against hand counts."""

import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp

from avemo.data.clips import ClipOptions
from avemo.evaluate import cost as model_cost
from avemo.evaluate import restore
from avemo.models import layers
from avemo.runtime import cost


def count(module, *inputs, **options):
  variables = jax.eval_shape(
    lambda key: module.init(key, *inputs, **options), jax.random.key(0)
  )
  return cost.count_macs(
    lambda variables, *inputs: module.apply(variables, *inputs, **options),
    variables,
    *inputs,
  )


def test_a_dense_layer_by_hand():
  assert count(nn.Dense(7), jnp.zeros((3, 5, 11))) == 3 * 5 * 11 * 7


def test_convolutions_by_hand():
  x = jnp.zeros((2, 9, 9, 6))
  same = nn.Conv(10, (3, 3))
  assert count(same, x) == 2 * 9 * 9 * 10 * 3 * 3 * 6
  strided = nn.Conv(10, (3, 3), strides=3, padding='VALID')
  assert count(strided, x) == 2 * 3 * 3 * 10 * 3 * 3 * 6
  by_channel = nn.Conv(6, (3, 3), feature_group_count=6)
  assert count(by_channel, x) == 2 * 9 * 9 * 6 * 3 * 3


def test_a_loop_counts_every_turn_and_a_branch_the_dearest():
  def looped(x, w):
    x, _ = jax.lax.scan(lambda x, w: (x @ w, None), x, w)
    return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x.T @ x, lambda x: x, x)

  x, w = jnp.zeros((2, 8)), jnp.zeros((5, 8, 8))
  expected = 5 * 2 * 8 * 8 + 2 * (2 * 8 * 2)
  assert cost.count_macs(looped, x, w) == expected
  assert cost.count_macs(jax.jit(jax.checkpoint(looped)), x, w) == expected


def test_blocks_of_a_vit_by_hand():
  tokens, width, depth = 20, 32, 3
  encoder = layers.Encoder(depth=depth, width=width, num_heads=4, remat=True)
  found = count(encoder, jnp.zeros((1, tokens, width)), train=False)
  attention = tokens * width * 4 * width + 2 * tokens * tokens * width
  mlp = 2 * tokens * width * 4 * width
  assert found == depth * (attention + mlp)


def test_a_model_is_counted_from_shapes():
  model = restore.make_model(
    {
      'use': ('audio',),
      'audio': {'name': 'cnn', 'widths': (4,)},
      'features': {'num_mels': 8},
    },
    num_classes=6,
  )
  options = ClipOptions(use=('audio',), seconds=0.1)
  found = model_cost.describe_model(model, options)
  variables = restore.make_init(model, options)(jax.random.key(0))
  sizes = [x.size for x in jax.tree.leaves(variables['params'])]
  assert found['parameters'] == sum(sizes)
  longer = ClipOptions(use=('audio',), seconds=0.4)
  more = model_cost.describe_model(model, longer)
  assert more['parameters'] == found['parameters']
  assert 3 < more['gmacs'] / found['gmacs'] < 5


def test_peak_memory_grows_with_what_is_held():
  # In a process of its own: the peak of this one may be most of the machine.
  code = """
import numpy as np
from avemo.runtime import cost
before = cost.measure_peak_memory()
assert before['peak_memory_of'] == 'process'
held = np.ones(before['peak_memory'] // 8 + 20_000_000)
after = cost.measure_peak_memory()
assert after['peak_memory'] - before['peak_memory'] > 50_000_000
assert held.any()
"""
  subprocess.run([sys.executable, '-c', code], check=True)


def test_a_stopwatch_leaves_out_the_first_call():
  calls = []

  def step(x):
    calls.append(x)
    return x + 1

  watch = cost.Stopwatch(step)
  assert watch.measure() is None
  assert watch(1) == 2
  assert 0 <= watch.measure(repeats=2) < 1
  assert calls == [1, 1, 1]
