"""Tables of rules: what they map, and what they refuse."""

import numpy as np
import pytest

from avemo import errors
from avemo.convert import rules

WIDTH, DEPTH, HEADS = 8, 3, 2
HEAD = WIDTH // HEADS


def draw(*shape):
  return np.random.default_rng(sum(shape)).standard_normal(shape)


def make_tensors():
  tensors = {'head.weight': draw(5, WIDTH), 'mask': draw(1)}
  for i in range(DEPTH):
    tensors |= {
      f'blocks.{i}.qkv.weight': draw(3 * WIDTH, WIDTH) + i,
      f'blocks.{i}.q_bias': draw(WIDTH) + i,
      f'blocks.{i}.v_bias': draw(WIDTH) - i,
    }
  for i, j in ((0, 0), (0, 1), (1, 0)):
    tensors[f'stages.{i}.{j}.conv.weight'] = draw(4, 3, 2, 5) + i + 2 * j
  return tensors


TABLE = (
  rules.Rule('head.weight', 'head/kernel', rules.transpose),
  rules.Rule(
    'blocks.{i}.qkv.weight',
    ('attn/query/kernel', 'attn/key/kernel', 'attn/value/kernel'),
    rules.split_qkv(HEADS),
  ),
  rules.Rule(
    ('blocks.{i}.q_bias', 'blocks.{i}.v_bias'),
    'attn/biases',
    lambda query, value: np.concatenate([query, value]),
  ),
  rules.Rule('stages.{s}.{j}.conv.weight', 'stages_{s}_{j}/kernel', rules.conv),
  rules.Rule('scale', 'scale', optional=True),
  rules.Rule('mask', None),
  rules.Rule('decoder.*', None),
)
SHAPES = {
  'head/kernel': (WIDTH, 5),
  'attn/query/kernel': (DEPTH, WIDTH, HEADS, HEAD),
  'attn/key/kernel': (DEPTH, WIDTH, HEADS, HEAD),
  'attn/value/kernel': (DEPTH, WIDTH, HEADS, HEAD),
  'attn/biases': (DEPTH, 2 * WIDTH),
  'stages_0_0/kernel': (2, 5, 3, 4),
  'stages_0_1/kernel': (2, 5, 3, 4),
  'stages_1_0/kernel': (2, 5, 3, 4),
}


def test_every_tensor_reaches_its_place():
  tensors = make_tensors()
  made = rules.convert(tensors, TABLE, SHAPES)
  assert {path: x.shape for path, x in made.items()} == SHAPES
  assert all(x.dtype == np.float32 for x in made.values())
  x = draw(WIDTH)
  for i in range(DEPTH):
    rows = (tensors[f'blocks.{i}.qkv.weight'] @ x).reshape(3, HEADS, HEAD)
    for row, part in zip(rows, ('query', 'key', 'value'), strict=True):
      kernel = made[f'attn/{part}/kernel'][i]
      np.testing.assert_allclose(
        np.einsum('d,dkh->kh', x, kernel), row, rtol=1e-4, atol=1e-5
      )
    biases = [tensors[f'blocks.{i}.{name}_bias'] for name in 'qv']
    np.testing.assert_array_equal(
      made['attn/biases'][i], np.concatenate(biases).astype(np.float32)
    )
  for place in ('0_0', '0_1', '1_0'):
    weight = tensors[f'stages.{place.replace("_", ".")}.conv.weight']
    kernel = made[f'stages_{place}/kernel']
    assert kernel[1, 4, 2, 3] == np.float32(weight[3, 2, 1, 4])


def test_layers_stack_by_number_not_by_text():
  tensors = {f'b.{i}.w': np.full(2, i) * 1.0 for i in reversed(range(11))}
  made = rules.convert(tensors, [rules.Rule('b.{i}.w', 'w')], {'w': (11, 2)})
  np.testing.assert_array_equal(made['w'][:, 0], np.arange(11))


def test_the_first_rule_that_matches_wins():
  table = [
    rules.Rule('b.{i}.w', 'w', lambda x: 2 * x),
    rules.Rule('b.{j}.w', 'w'),
  ]
  made = rules.convert({'b.0.w': np.ones(1)}, [table[0]], {'w': (1, 1)})
  assert made['w'] == 2
  with pytest.raises(errors.AvemoError, match=r"'b\.\{j\}\.w' is missing"):
    rules.convert({'b.0.w': np.ones(1)}, table, {'w': (1, 1)})


def test_projection_back_from_heads():
  weight, x = draw(5, WIDTH), draw(HEADS, HEAD)
  kernel = rules.out_heads(HEADS)(weight)
  np.testing.assert_allclose(
    np.einsum('kh,khd->d', x, kernel), weight @ x.reshape(-1)
  )


def test_fused_biases_split_like_kernels():
  bias = np.arange(3 * WIDTH)
  parts = rules.split_qkv_bias(HEADS)(bias)
  np.testing.assert_array_equal(np.stack(parts).reshape(-1), bias)
  np.testing.assert_array_equal(rules.bias_heads(HEADS)(bias[:8]), parts[0])
  weight = draw(3 * WIDTH, WIDTH)
  apart = rules.split_qkv(HEADS)(weight)
  for index, kernel in enumerate(apart):
    rows = weight[index * WIDTH : (index + 1) * WIDTH]
    np.testing.assert_array_equal(kernel, rules.split_heads(HEADS)(rows))


def change(**changes):
  """Tensors with some replaced; None: left out."""
  tensors = make_tensors() | {
    k.replace('__', '.'): x for k, x in changes.items()
  }
  return {name: x for name, x in tensors.items() if x is not None}


@pytest.mark.parametrize(
  ('changes', 'told'),
  [
    (
      {'head.weigth': np.ones(1)},
      r"'head\.weigth' is not expected \(near: head\.weight",
    ),
    ({'head.weight': None}, r"'head\.weight' is missing"),
    (
      {'blocks.1.q_bias': None},
      r"'blocks\.1\.q_bias' is missing \(near: blocks",
    ),
    ({'blocks.1.qkv.weight': None}, r'lacks layer 1 of 3'),
    ({'blocks.2.qkv.weight': None}, r'of shape \(2, 8, 2, 4\), the model has'),
    ({'blocks.02.qkv.weight': draw(1)}, 'is not expected'),
    ({'blocks.{i}.qkv.weight': draw(1)}, 'is not expected'),
    ({'blocks.1.qkv.weight': draw(WIDTH, WIDTH)}, 'cannot become'),
    ({'blocks.1.qkv.weight': draw(24)}, '1 axes where 2 are expected'),
    ({'blocks.1.qkv.weight': draw(24, 6)}, 'differ in shape'),
    ({'head.weight': draw(6, WIDTH)}, r'\(8, 6\), the model has \(8, 5\)'),
    ({'stages.2.0.conv.weight': draw(4, 3, 2, 5)}, 'the model does not have'),
    ({'head.weight': np.ones((5, 8), np.int8)}, 'holds int8'),
    ({'head.weight': np.ones((5, 8), bool)}, 'holds bool'),
    ({'head.weight': np.ones((5, 8), complex)}, 'holds complex128'),
    ({'head.weight': np.full((5, 8), 'x')}, 'not floating-point'),
    ({'head.weight': np.full((5, 8), np.nan)}, 'not finite'),
    ({'head.weight': np.full((5, 8), 1e300)}, 'not finite'),
    ({'scale': draw(1)}, "'scale', which the model does not have"),
    ({f'x{i}': draw(1) for i in range(99)}, '95 more like these'),
  ],
)
def test_what_differs_is_refused_in_one_line(changes, told):
  with pytest.raises(errors.AvemoError, match=told) as caught:
    rules.convert(change(**changes), TABLE, SHAPES)
  assert '\n' not in str(caught.value)
  assert len(str(caught.value)) < 2000


def test_a_parameter_that_nothing_fills_is_refused():
  shapes = SHAPES | {'extra/kernel': (2,)}
  with pytest.raises(errors.AvemoError, match="nothing fills 'extra/kernel'"):
    rules.convert(make_tensors(), TABLE, shapes)


def test_a_parameter_is_filled_once():
  table = [rules.Rule(name, 'w') for name in 'ab']
  tensors = {'a': np.ones(1), 'b': np.ones(1)}
  with pytest.raises(errors.AvemoError, match="'b' fills 'w' a second time"):
    rules.convert(tensors, table, {'w': (1,)})


def test_dropped_names_may_be_there_or_not():
  for extra in ({}, {'decoder.layers.0\n.norm': 1, 'decoder.x': 'text'}):
    made = rules.convert(make_tensors() | extra, TABLE, SHAPES)
    assert made.keys() == SHAPES.keys()


def test_half_precision_is_widened_before_its_transform():
  table = [rules.Rule('w', 'w', lambda x: x * 2.0**-14)]
  made = rules.convert(
    {'w': np.full(1, 2.0**-14, np.float16)}, table, {'w': (1,)}
  )
  assert made['w'] == 2.0**-28
  big = rules.convert(
    {'w': np.arange(3, dtype='>f4')}, [rules.Rule('w', 'w')], {'w': (3,)}
  )
  np.testing.assert_array_equal(big['w'], np.arange(3))
  assert big['w'].dtype == np.float32 and big['w'].dtype.isnative


def test_counters_stay_whole_numbers():
  table = [rules.Rule('n.{i}', 'n'), rules.Rule('step', 'step')]
  tensors = {'n.0': np.int64(3), 'n.1': np.int64(2**40), 'step': 7}
  made = rules.convert(tensors, table, {'n': (2,), 'step': ()})
  np.testing.assert_array_equal(made['n'], [3, 2**40])
  assert made['step'].shape == () and made['step'] == 7


@pytest.mark.parametrize(
  'rule',
  [
    rules.Rule(('a.{i}', 'b'), 'c'),
    rules.Rule('a', 'c_{i}'),
    rules.Rule('a.{i}.{j}', 'c'),
    rules.Rule('a.{i}', ('c_{i}', 'd')),
  ],
)
def test_a_rule_that_means_nothing_is_an_error_of_the_table(rule):
  with pytest.raises(ValueError, match='captures'):
    rules.convert({}, [rule], {})


def test_rename_applies_in_order():
  tensors = {'module.a.query.bias': 1, 'b': 2}
  renamed = rules.rename(
    tensors, [(r'^module\.', ''), (r'query\.bias$', 'q_bias'), ('^a', 'c')]
  )
  assert renamed == {'c.q_bias': 1, 'b': 2}


def test_rename_refuses_a_clash():
  with pytest.raises(errors.AvemoError, match="'module.a' and 'a' are both"):
    rules.rename({'module.a': 1, 'a': 2}, [(r'^module\.', '')])


def test_trees_and_paths():
  flat = {'a/b/c': 1, 'a/d': 2, 'e': 3}
  tree = {'a': {'b': {'c': 1}, 'd': 2}, 'e': 3}
  assert rules.nest(flat) == tree
  assert rules.flatten(tree) == flat
  for clash in ({'a': 1, 'a/b': 2}, {'a/b': 1, 'a': 2}):
    with pytest.raises(ValueError, match='leaf'):
      rules.nest(clash)
