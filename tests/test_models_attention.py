"""Attention by blocks against the plain formulation, and what is chosen."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avemo import errors
from avemo.models import attention, layers


def draw(*shape, seed=0, scale=2.0):
  # Large enough for weights that are far from uniform.
  values = np.random.default_rng(seed).standard_normal(shape, np.float32)
  return jnp.asarray(scale * values)


def draw_inputs(batch=2, num_queries=10, num_keys=7, num_heads=3, width=8):
  query = draw(batch, num_queries, num_heads, width)
  key = draw(batch, num_keys, num_heads, width, seed=1)
  value = draw(batch, num_keys, num_heads, width, seed=2)
  return query, key, value


def attend_plainly(query, key, value, num_valid=None):
  """In one product, as in the papers."""
  logits = jnp.einsum('bnkd,bmkd->bknm', query, key) / query.shape[-1] ** 0.5
  if num_valid is not None:
    valid = jnp.arange(key.shape[1]) < num_valid[:, None]
    logits = jnp.where(valid[:, None, None], logits, -jnp.inf)
  weights = jax.nn.softmax(logits, axis=-1)
  return jnp.einsum('bknm,bmkd->bnkd', weights, value)


def differentiate(attend, gradient, inputs):
  """The output, and the gradient by query, key and value."""

  def call(*inputs):
    output, transpose = jax.vjp(attend, *inputs)
    return output, transpose(gradient.astype(output.dtype))

  return jax.device_get(jax.jit(call)(*inputs))


# 10 queries, 7 keys: blocks that divide some, one by one, all at once.
@pytest.mark.parametrize('block_size', [5, 4, 1, 10, 99])
@pytest.mark.parametrize('num_valid', [None, (7, 3)])
def test_blocks_equal_the_plain_form_with_gradients(block_size, num_valid):
  inputs = draw_inputs()
  gradient = draw(*inputs[0].shape, seed=3)
  num_valid = None if num_valid is None else jnp.array(num_valid)
  found = differentiate(
    lambda *inputs: attention.attend_by_blocks(
      *inputs, num_valid, block_size=block_size
    ),
    gradient,
    inputs,
  )
  expected = differentiate(
    lambda *inputs: attend_plainly(*inputs, num_valid), gradient, inputs
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    found,
    expected,
  )
  if num_valid is not None:
    _, (_, by_key, by_value) = found
    assert (by_key[1, 3:] == 0).all()
    assert (by_value[1, 3:] == 0).all()


def test_huge_logits_neither_overflow_nor_vanish():
  query, key, value = draw_inputs()
  inputs = (8 * query, 8 * key, value)
  gradient = draw(*query.shape, seed=3)
  found = differentiate(
    lambda *inputs: attention.attend_by_blocks(*inputs, block_size=4),
    gradient,
    inputs,
  )
  expected = differentiate(attend_plainly, gradient, inputs)
  for mine, plain in zip(
    jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
  ):
    assert np.isfinite(mine).all()
    np.testing.assert_allclose(mine, plain, rtol=1e-3, atol=1e-3)


def test_what_fills_up_a_block_of_keys_counts_for_nothing():
  _, key, value = draw_inputs()
  # All logits are far below 0, which those of zeros would be.
  key = 8 * jnp.sign(key)
  inputs = -key[:, :1], key[:, :1] + jnp.zeros_like(key), value
  gradient = draw(*inputs[0].shape, seed=3)
  found = differentiate(
    lambda *inputs: attention.attend_by_blocks(*inputs, block_size=4),
    gradient,
    inputs,
  )
  expected = differentiate(attend_plainly, gradient, inputs)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    found,
    expected,
  )


def test_bfloat16_stays_near_float32_and_sums_in_float32():
  inputs = draw_inputs(num_keys=300, num_queries=33)
  gradient = draw(*inputs[0].shape, seed=3)
  attend = lambda *inputs: attention.attend_by_blocks(*inputs, block_size=8)
  halves = [x.astype(jnp.bfloat16) for x in inputs]
  found = differentiate(attend, gradient, halves)
  rounded = [x.astype(jnp.float32) for x in halves]
  expected = differentiate(attend_plainly, gradient, rounded)
  for mine, plain in zip(
    jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
  ):
    assert mine.dtype == jnp.bfloat16
    error = np.abs(mine.astype(np.float32) - plain).max()
    assert error < 0.02 * np.abs(plain).max()


def test_no_buffer_holds_all_logits():
  query, key, value = draw_inputs(
    batch=1, num_queries=300, num_keys=301, num_heads=2
  )

  def loss(attend, *inputs):
    return attend(*inputs).sum()

  def find_sizes(attend):
    gradient = jax.grad(loss, argnums=(1, 2, 3))
    compiled = jax.jit(gradient, static_argnums=0).lower(
      attend, query, key, value
    )
    shapes = re.findall(r'f32\[([\d,]+)\]', compiled.compile().as_text())
    return {int(np.prod([int(n) for n in s.split(',')])) for s in shapes}

  by_blocks = lambda *inputs: attention.attend_by_blocks(*inputs, block_size=50)
  assert max(find_sizes(attend_plainly)) >= 2 * 300 * 301
  assert max(find_sizes(by_blocks)) <= 50 * 301


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """Sets what the system says of a core's cache."""

  def write(text):
    attention.find_block_bytes.cache_clear()
    if text is not None:
      (tmp_path / 'size').write_text(text)
    monkeypatch.setattr(attention, 'CACHE', tmp_path / 'size')

  yield write
  attention.find_block_bytes.cache_clear()


@pytest.mark.parametrize(
  ('kibibytes', 'batch', 'size', 'others', 'expected'),
  [
    (1024, 1, 1568, 1568, 392),
    (2048, 1, 1568, 1568, 784),
    (1024, 1, 1214, 1214, 405),
    (1024, 8, 1, 10**7, 1),
  ],
)
def test_blocks_fit_and_fill_up(
  kibibytes, batch, size, others, expected, cache
):
  cache(f'{kibibytes}K\n')
  found = attention.choose_block_size(batch, size, others)
  assert found == expected
  fits = 4 * batch * found * others <= attention.find_block_bytes()
  assert fits or found == 1


@pytest.mark.parametrize('text', [None, '', '2M\n'])
def test_blocks_are_of_a_usual_size_where_no_cache_is_told(text, cache):
  cache(text)
  assert attention.find_block_bytes() == 5 * 2**19


@pytest.mark.parametrize(
  ('text', 'mib'), [('0K', 1), ('512K', 1), ('24576K', 4)]
)
def test_blocks_are_bounded_whatever_cache_is_told(text, mib, cache):
  cache(text)
  assert attention.find_block_bytes() == 5 / 2 * mib * 2**20


def test_several_hosts_have_one_size_of_blocks(cache, monkeypatch):
  cache('2048K')
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  assert attention.find_block_bytes() == 5 * 2**19


def test_large_logits_are_not_written_out_on_a_cpu():
  choose = attention.choose_implementation
  assert choose((1, 1568, 12, 64), 1568, jnp.float32) == 'blocks'
  # A batch of the demo's clips, and one of 10 s of speech.
  assert choose((8, 32, 2, 32), 32, jnp.float32) == 'xla'
  assert choose((8, 1214, 3, 64), 1214, jnp.bfloat16) == 'blocks'


@pytest.mark.parametrize(
  ('capability', 'dtype', 'width', 'expected'),
  [
    ('9.0', jnp.bfloat16, 64, 'cudnn'),
    ('9.0', jnp.float32, 64, 'xla'),
    ('9.0', jnp.bfloat16, 256, 'xla'),
    ('7.5', jnp.float16, 64, 'xla'),
    ('gfx942', jnp.bfloat16, 64, 'xla'),
  ],
)
def test_flash_attention_where_the_device_has_it(
  monkeypatch, capability, dtype, width, expected
):
  class Device:
    compute_capability = capability

  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  monkeypatch.setattr(jax, 'devices', lambda: [Device()])
  shape = (8, 1568, 12, width)
  assert attention.choose_implementation(shape, 1568, dtype) == expected


def test_unknown_implementation_is_one_line():
  with pytest.raises(errors.AvemoError, match="'flash'.*blocks"):
    attention.attend(*draw_inputs(), implementation='flash')


@pytest.mark.parametrize('num_valid', [None, (7, 3)])
def test_module_attends_to_others_alike_in_every_implementation(num_valid):
  x, context = draw(2, 10, 16), draw(2, 7, 24, seed=1)
  num_valid = None if num_valid is None else jnp.array(num_valid)
  # A bias of all keys has no gradient but rounding.
  make = lambda kind: layers.Attention(2, False, implementation=kind)
  params = jax.jit(make('xla').init)(jax.random.key(0), x, context)

  def compute(kind):
    def loss(params, x, context):
      return jnp.square(make(kind).apply(params, x, context, num_valid)).sum()

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(params, x, context)

  # Sums in another order differ by roundings of the largest number.
  for found, expected in zip(
    jax.tree.leaves(compute('blocks')),
    jax.tree.leaves(compute('xla')),
    strict=True,
  ):
    assert abs(found - expected).max() <= 5e-6 * abs(expected).max()
