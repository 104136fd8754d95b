import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import linen as nn

from avemo import errors
from avemo.models import layers, operations, positions

WIDTH = 16


def make_encoder(**fields):
  return layers.Encoder(
    **{'width': WIDTH, 'depth': 4, 'num_heads': 2, 'key_bias': False} | fields
  )


def apply(module, variables, *inputs, key=0, **arguments):
  def call(variables, *inputs):
    rngs = {'dropout': jax.random.key(key)}
    return module.apply(variables, *inputs, rngs=rngs, **arguments)

  return jax.device_get(jax.jit(call)(variables, *inputs))


def init_shapes(module, *inputs):
  return jax.eval_shape(module.init, jax.random.key(0), *inputs)


def randomize(tree, seed=0):
  """Every leaf random, so that none of them can be forgotten unseen."""
  leaves, structure = jax.tree.flatten(tree)
  draw = np.random.default_rng(seed)
  leaves = [0.3 * draw.standard_normal(x.shape, np.float32) for x in leaves]
  return jax.tree.unflatten(structure, leaves)


@pytest.fixture(scope='module')
def tokens():
  return np.random.default_rng(1).standard_normal((3, 5, WIDTH), np.float32)


@pytest.fixture(scope='module')
def variables(tokens):
  return randomize(init_shapes(make_encoder(), tokens))


def test_stack_has_one_leaf_a_parameter_and_fresh_values_a_block(tokens):
  variables = jax.jit(make_encoder().init)(jax.random.key(0), tokens)
  blocks = variables['params']['blocks']
  assert {leaf.shape[0] for leaf in jax.tree.leaves(blocks)} == {4}
  assert 'bias' not in blocks['attn']['key']
  kernel = blocks['fc1']['kernel']
  assert not np.allclose(kernel[0], kernel[1])


def test_scan_equals_blocks_one_after_another(tokens, variables):
  block = layers.Block(2, key_bias=False)
  x = tokens
  for number in range(4):
    params = jax.tree.map(
      lambda leaf, n=number: leaf[n], variables['params']['blocks']
    )
    x, _ = apply(block, {'params': params}, x, 0.0)
  scanned = apply(make_encoder(), variables, tokens)
  np.testing.assert_allclose(scanned, x, rtol=1e-5, atol=1e-5)
  assert not np.allclose(scanned, tokens, atol=0.1)


@pytest.mark.parametrize(
  ('frozen_blocks', 'remat'), [(1, True), (3, False), (4, True)]
)
def test_split_at_frozen_blocks_changes_no_output(
  tokens, variables, frozen_blocks, remat
):
  plain = apply(make_encoder(), variables, tokens)
  split = make_encoder(frozen_blocks=frozen_blocks, remat=remat)
  np.testing.assert_allclose(
    apply(split, variables, tokens), plain, rtol=1e-6, atol=1e-6
  )


def test_ranges_run_one_after_another_equal_the_whole(tokens, variables):
  encoder = make_encoder(frozen_blocks=2)
  whole = apply(encoder, variables, tokens)
  x = apply(encoder, variables, tokens, stop=3)
  x = apply(encoder, variables, x, start=3)
  np.testing.assert_allclose(x, whole, rtol=1e-6, atol=1e-6)
  none = apply(encoder, variables, tokens, start=2, stop=2)
  np.testing.assert_array_equal(none, tokens)


def gradients(encoder, variables, tokens):
  def loss(variables, x):
    return jnp.square(encoder.apply(variables, x)).sum()

  grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, tokens)
  return jax.device_get(grads)


def test_frozen_blocks_and_what_precedes_them_get_no_gradient(
  tokens, variables
):
  whole, _ = gradients(make_encoder(), variables, tokens)
  part, inputs = gradients(make_encoder(frozen_blocks=2), variables, tokens)
  for frozen, free in zip(
    jax.tree.leaves(part), jax.tree.leaves(whole), strict=True
  ):
    assert (np.asarray(frozen[:2]) == 0).all()
    assert all(np.abs(layer).max() > 0 for layer in frozen[2:])
    np.testing.assert_allclose(frozen[2:], free[2:], rtol=1e-4, atol=1e-4)
  assert (np.asarray(inputs) == 0).all()


def test_remat_changes_no_gradient(tokens, variables):
  with_remat, _ = gradients(make_encoder(), variables, tokens)
  without, _ = gradients(make_encoder(remat=False), variables, tokens)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    with_remat,
    without,
  )


@pytest.mark.parametrize('post_norm', [False, True])
def test_every_block_is_collected_across_the_frozen_border(
  tokens, variables, post_norm
):
  encoder = make_encoder(frozen_blocks=2, post_norm=post_norm)
  every = apply(encoder, variables, tokens, collect=True)
  assert every.shape == (4, *tokens.shape)
  for stop in (1, 2, 4):
    expected = apply(encoder, variables, tokens, stop=stop)
    np.testing.assert_allclose(every[stop - 1], expected, rtol=1e-5, atol=1e-5)
  assert not np.allclose(every[0], every[1], atol=0.1)


def test_tokens_after_the_end_are_not_attended_to(tokens, variables):
  num_valid = np.array([2, 5, 1])
  before = apply(make_encoder(), variables, tokens, num_valid=num_valid)
  alone = apply(make_encoder(), variables, tokens[:1, :2])
  np.testing.assert_allclose(before[0, :2], alone[0], rtol=1e-5, atol=1e-5)
  after = np.arange(5) >= num_valid[:, None]
  changed = np.where(after[..., None], 9, tokens)
  found = apply(make_encoder(), variables, changed, num_valid=num_valid)
  np.testing.assert_array_equal(found[~after], before[~after])


def test_program_does_not_grow_with_depth(tokens):
  def count_lines(depth):
    encoder = make_encoder(depth=depth, frozen_blocks=1, drop_path=0.1)
    variables = init_shapes(encoder, tokens)

    def loss(variables):
      rngs = {'dropout': jax.random.key(0)}
      return encoder.apply(variables, tokens, train=True, rngs=rngs).sum()

    return len(jax.jit(jax.grad(loss)).lower(variables).as_text().splitlines())

  assert count_lines(4) == count_lines(8)


def test_drop_path_drops_whole_branches_at_the_blocks_rate():
  block = layers.Block(2, drop=True)
  x = np.random.default_rng(0).standard_normal((512, 2, 4), np.float32)
  variables = randomize(init_shapes(layers.Block(2), x, 0.0))
  # Without the second branch, what is left is x or x + branch / keep.
  variables['params']['fc2'] = jax.tree.map(
    np.zeros_like, variables['params']['fc2']
  )
  whole, _ = apply(layers.Block(2), variables, x, 0.0)
  dropped, _ = apply(block, variables, x, 0.25)
  change = np.asarray(dropped - x)
  kept = np.abs(change).max((1, 2)) > 0
  assert 0.68 < kept.mean() < 0.82
  np.testing.assert_allclose(
    change[kept], (whole - x)[kept] / 0.75, rtol=1e-4, atol=1e-5
  )


def test_drop_path_rises_from_zero_and_spares_evaluation_and_frozen_blocks(
  tokens, variables
):
  def run(encoder, **arguments):
    def call(key):
      rngs = {'dropout': key}
      return encoder.apply(variables, tokens, rngs=rngs, **arguments)

    keys = jax.random.split(jax.random.key(0))
    return jax.device_get(jax.jit(jax.vmap(call))(keys))

  encoder = make_encoder(drop_path=0.5, frozen_blocks=2)
  evaluated = run(encoder)
  plain = apply(make_encoder(), variables, tokens)
  np.testing.assert_allclose(evaluated[0], plain, rtol=1e-6, atol=1e-6)
  assert not np.allclose(*run(encoder, train=True))
  np.testing.assert_array_equal(*run(encoder, train=True, stop=2))
  free = make_encoder(drop_path=0.5)
  np.testing.assert_array_equal(*run(free, train=True, stop=1))
  assert not np.allclose(*run(free, train=True, stop=2))


def test_half_precision_computes_near_float32_and_keeps_parameters(
  tokens, variables
):
  half = make_encoder(dtype=jnp.bfloat16)
  fresh = init_shapes(half, tokens)
  assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {
    np.dtype('float32')
  }
  low = apply(half, variables, jnp.asarray(tokens, jnp.bfloat16))
  assert low.dtype == jnp.bfloat16
  high = apply(make_encoder(), variables, tokens)
  error = np.abs(np.asarray(low, np.float32) - high).max()
  assert error < 0.05 * np.abs(high).max()


def test_layer_norm_survives_a_large_mean():
  x = 1e4 + np.random.default_rng(0).standard_normal((4, 64))
  norm = layers.LayerNorm()
  variables = norm.init(jax.random.key(0), jnp.zeros((1, 64)))
  rounded = np.asarray(x, np.float32).astype(np.float64)
  expected = rounded - rounded.mean(-1, keepdims=True)
  expected /= np.sqrt(rounded.var(-1, keepdims=True) + 1e-6)
  found = norm.apply(variables, jnp.asarray(x, jnp.float32))
  np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_layer_norm_has_the_gradient_of_its_formula(dtype):
  draw = np.random.default_rng(0)
  x, gradient = (
    jnp.asarray(draw.standard_normal((3, 5, 16)) + 2, dtype) for _ in range(2)
  )
  scale, bias = (
    jnp.asarray(draw.standard_normal(16), jnp.float32) for _ in range(2)
  )

  def plain(x, scale, bias):
    wide = x.astype(jnp.float32)
    normal = (wide - wide.mean(-1, keepdims=True)) / jnp.sqrt(
      wide.var(-1, keepdims=True) + 1e-6
    )
    return (normal * scale + bias).astype(dtype)

  norm = lambda *inputs: operations.normalize(*inputs, 1e-6, dtype)
  found, expected = (
    jax.vjp(each, x, scale, bias)[1](gradient) for each in (norm, plain)
  )
  digit = 2e-2 if dtype == jnp.bfloat16 else 1e-5
  for mine, other in zip(found, expected, strict=True):
    assert mine.dtype == other.dtype
    np.testing.assert_allclose(
      np.asarray(mine, np.float32),
      np.asarray(other, np.float32),
      rtol=digit,
      atol=digit,
    )


def test_sums_of_products_are_the_same_by_both_ways(monkeypatch):
  draw = np.random.default_rng(0)
  x = draw.standard_normal((3, 5, 16)).astype(np.float32)
  weights = draw.standard_normal(16).astype(np.float32)
  expected = (x.astype(np.float64) * weights).sum(-1, keepdims=True)
  for backend in ('cpu', 'gpu'):
    monkeypatch.setattr(jax, 'default_backend', lambda name=backend: name)
    found = operations.sum_products(jnp.asarray(x), jnp.asarray(weights))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# How a result is rounded: in bfloat16 to half of its last digit.
@pytest.mark.parametrize(
  ('dtype', 'digit'), [(jnp.float32, 3e-7), (jnp.bfloat16, 2**-8)]
)
def test_gelu_is_exact(dtype, digit):
  x = jnp.linspace(-9, 9, 4001).astype(dtype)
  found = jax.jit(operations.gelu)(x)
  assert found.dtype == dtype
  wide = np.asarray(x, np.float64)
  exact = wide * (1 + scipy.special.erf(wide / 2**0.5)) / 2
  found = np.asarray(found, np.float64)
  np.testing.assert_allclose(found, exact, rtol=digit, atol=6e-7)


@pytest.mark.parametrize(
  ('shapes', 'count'),
  [
    (((2, 5, 6), (6, 4)), 1),
    (((2, 5, 6), (6, 2, 3)), 1),
    (((5, 2, 3), (2, 3, 4)), 2),
    (((0, 5, 6), (6, 4)), 1),
  ],
)
def test_rows_of_many_axes_are_multiplied_as_matrices(shapes, count):
  draw = np.random.default_rng(0)
  x, kernel = (draw.standard_normal(s).astype(np.float32) for s in shapes)
  axes = tuple(range(-count, 0)), tuple(range(count))
  dimensions = (tuple(x.ndim + axis for axis in axes[0]), axes[1]), ((), ())
  multiply = lambda x, kernel: operations.multiply_rows(x, kernel, dimensions)
  found, transpose = jax.vjp(multiply, x, kernel)
  expected = np.tensordot(x, kernel, axes)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
  by_x, by_kernel = transpose(found)
  other = tuple(range(count, kernel.ndim))
  np.testing.assert_allclose(
    by_x,
    np.tensordot(
      expected, kernel, (tuple(range(x.ndim - count, expected.ndim)), other)
    ),
    rtol=1e-4,
    atol=1e-4,
  )
  rows = tuple(range(x.ndim - count))
  np.testing.assert_allclose(
    by_kernel, np.tensordot(x, expected, (rows, rows)), rtol=1e-4, atol=1e-4
  )


def test_gradients_of_products_keep_options_and_dtypes():
  draw = np.random.default_rng(0)
  x = jnp.asarray(draw.standard_normal((2, 5, 64)), jnp.bfloat16)
  kernel = jnp.asarray(draw.standard_normal((64, 3)), jnp.bfloat16)

  def multiply(x, kernel):
    return operations.multiply_rows(
      x,
      kernel,
      (((2,), (0,)), ((), ())),
      precision=jax.lax.Precision.HIGHEST,
      preferred_element_type=jnp.float32,
    )

  def differentiate(x, kernel):
    product, transpose = jax.vjp(multiply, x, kernel)
    return product, *transpose(product)

  product, by_x, by_kernel = differentiate(x, kernel)
  wide = [np.asarray(each, np.float64) for each in (x, kernel)]
  expected = wide[0] @ wide[1]
  assert product.dtype == jnp.float32
  assert by_x.dtype == by_kernel.dtype == jnp.bfloat16
  np.testing.assert_allclose(product, expected, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(
    np.asarray(by_x, np.float64), expected @ wide[1].T, rtol=1e-2, atol=1e-1
  )
  np.testing.assert_allclose(
    np.asarray(by_kernel, np.float64),
    np.tensordot(wide[0], expected, ((0, 1), (0, 1))),
    rtol=1e-2,
    atol=1e-1,
  )
  program = str(jax.make_jaxpr(differentiate)(x, kernel))
  assert program.count('dot_general[') == 3
  assert program.count('Precision.HIGHEST, Precision.HIGHEST') == 3


def test_products_that_are_no_dense_layers_are_refused():
  x, kernel = jnp.zeros((2, 4, 4)), jnp.zeros((4, 4))
  with pytest.raises(ValueError, match='not the dimensions'):
    operations.multiply_rows(x, kernel, (((1,), (0,)), ((), ())))


def test_the_gradient_of_gelu_keeps_one_array_of_its_dtype():
  x = jnp.linspace(-4, 4, 9, dtype=jnp.bfloat16)
  _, transpose = jax.vjp(operations.gelu, x)
  kept = [leaf for leaf in jax.tree.leaves(transpose) if leaf.size == 9]
  assert [leaf.dtype for leaf in kept] == [jnp.bfloat16]
  slope = jax.grad(lambda x: operations.gelu(x).sum())(x.astype(jnp.float32))
  exact = jax.grad(lambda x: nn.gelu(x, approximate=False).sum())
  expected = exact(x.astype(jnp.float32))
  np.testing.assert_allclose(slope, expected, atol=1e-6)


def test_impossible_encoders_are_refused_with_their_numbers(tokens, variables):
  with pytest.raises(errors.AvemoError, match='frozen_blocks=5.* 4 blocks'):
    make_encoder(frozen_blocks=5).apply(variables, tokens)
  with pytest.raises(errors.AvemoError, match='width=16.* 3 heads'):
    make_encoder(num_heads=3).init(jax.random.key(0), tokens)
  with pytest.raises(errors.AvemoError, match='3 to 5.*4'):
    make_encoder().apply(variables, tokens, start=3, stop=5)


def test_sincos_table_interleaves_sines_and_cosines():
  table = positions.sincos_table(1568, 384)
  assert table.dtype == np.float32
  assert table.shape == (1568, 384)
  np.testing.assert_array_equal(table[0, :4], [0, 1, 0, 1])
  angle = 1567 / 10_000 ** (2 / 384)
  expected = np.float32([np.sin(1567), np.cos(1567), np.sin(angle)])
  np.testing.assert_array_equal(table[1567, :3], expected)
  with pytest.raises(ValueError, match='read-only'):
    table[0, 0] = 1
