"""What the backward pass keeps: the same gradient, and less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.models import layers, recompute

SHAPE = (2, 40, 32)


@functools.cache
def find_gradient(remat, implementation):
  """The gradient, and bytes that its program needs beside the inputs."""
  encoder = layers.Encoder(32, 3, 2, remat=remat, implementation=implementation)
  tokens = jax.random.normal(jax.random.key(0), SHAPE)
  variables = encoder.init(jax.random.key(1), tokens)

  def loss(variables, tokens):
    return jnp.square(encoder.apply(variables, tokens)).sum()

  gradient = jax.jit(jax.grad(loss)).lower(variables, tokens).compile()
  size = gradient.memory_analysis().temp_size_in_bytes
  return jax.device_get(gradient(variables, tokens)), size


@pytest.mark.parametrize(
  'implementation', [pytest.param('xla', marks=pytest.mark.slow), 'blocks']
)
def test_each_word_keeps_less_and_gives_the_same_gradient(implementation):
  found = {
    word: find_gradient(word, implementation)
    for word in ('none', 'dots', 'block')
  }
  sizes = [size for _, size in found.values()]
  assert sizes == sorted(sizes, reverse=True)
  assert len(set(sizes)) == 3
  for grads, _ in found.values():
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      grads,
      found['none'][0],
    )


@pytest.mark.parametrize(('old', 'word'), [(True, 'block'), (False, 'none')])
def test_booleans_are_words(old, word):
  assert find_gradient(old, 'xla')[1] == find_gradient(word, 'xla')[1]


def test_auto_takes_what_fits(monkeypatch):
  numbers = np.prod(SHAPE) * 12 * 4 / jax.device_count()

  def choose(kept):
    memory = kept * numbers / recompute.SHARE
    monkeypatch.setattr(recompute, 'measure_memory', lambda: memory)
    return recompute.choose(SHAPE, 12, jnp.float32)

  assert choose(recompute.KEPT['none'] + 1) == 'none'
  assert choose(recompute.KEPT['dots'] + 1) == 'dots'
  assert choose(recompute.KEPT['dots'] - 1) == 'block'


# Arrays of all tokens: block's input, what follows the first norm, query, key,
# value, mixed, their sum with the input, what follows the second norm, and of
# the wide layer, which counts four times, its slope and its output. With 'dots'
# products alone. Beside them numbers of each row.
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(('word', 'arrays'), [('none', 16), ('dots', 10)])
def test_blocks_keep_what_the_choice_counts_on(word, arrays, dtype):
  batch, num_tokens, width, depth = 2, 512, 64, 3
  encoder = layers.Encoder(
    width, depth, 4, remat=word, implementation='blocks', dtype=dtype
  )
  tokens = jnp.zeros((batch, num_tokens, width), dtype)
  variables = encoder.init(jax.random.key(0), tokens)

  def keep(tokens):
    apply = lambda tokens: encoder.apply(variables, tokens)
    return jax.vjp(apply, tokens)[1]

  rows = {num_tokens, batch * num_tokens}
  size = sum(
    leaf.size * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(jax.eval_shape(keep, tokens))
    if leaf.shape[0] == depth and rows & set(leaf.shape)
  )
  numbers = size / (depth * tokens.size * tokens.dtype.itemsize)
  assert arrays < numbers < arrays + 0.3
  assert numbers < recompute.KEPT[word]


def test_memory_of_this_machine_is_shared_by_its_devices():
  whole = recompute.measure_memory() * jax.local_device_count()
  assert 2**28 < whole < 2**45


def test_unknown_word_is_one_line():
  with pytest.raises(errors.AvemoError, match="remat='all': use one of"):
    layers.Encoder(32, 1, 2, remat='all').init(
      jax.random.key(0), jnp.zeros((1, 4, 32))
    )
