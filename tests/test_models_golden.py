"""The towers against outputs of transformers, stored by golden/."""

import pathlib
import zlib

import einops
import jax
import numpy as np
import pytest

from avemo.models import spectrogram_vit, videomae

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'transformers.npz'
SIZES = {'variant': 'tiny', 'width': 24, 'depth': 2, 'num_heads': 3}


def draw(name, shape):
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  return (0.2 * generator.standard_normal(shape)).astype(np.float32)


def draw_norm(name):
  return {
    'scale': draw(f'{name}.weight', (24,)),
    'bias': draw(f'{name}.bias', (24,)),
  }


def draw_dense(name, sizes):
  return {
    'kernel': draw(f'{name}.weight', sizes[::-1]).T,
    'bias': draw(f'{name}.bias', sizes[1:]),
  }


def draw_block(name, biases):
  attention = f'{name}.attention.attention'
  attn = {}
  for part in ('query', 'key', 'value'):
    kernel = draw(f'{attention}.{part}.weight', (24, 24))
    attn[part] = {'kernel': einops.rearrange(kernel, '(k d) i -> i k d', k=3)}
    if part in biases:
      bias = draw(f'{attention}.{biases[part]}', (24,))
      attn[part]['bias'] = bias.reshape(3, 8)
  attn['out'] = draw_dense(f'{name}.attention.output.dense', (24, 24))
  attn['out']['kernel'] = attn['out']['kernel'].reshape(3, 8, 24)
  return {
    'attn': attn,
    'norm1': draw_norm(f'{name}.layernorm_before'),
    'norm2': draw_norm(f'{name}.layernorm_after'),
    'fc1': draw_dense(f'{name}.intermediate.dense', (24, 96)),
    'fc2': draw_dense(f'{name}.output.dense', (96, 24)),
  }


def draw_encoder(name, biases):
  blocks = [draw_block(f'{name}.encoder.layer.{i}', biases) for i in range(2)]
  return {'blocks': jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)}


def draw_videomae():
  projection = 'videomae.embeddings.patch_embeddings.projection'
  kernel = draw(f'{projection}.weight', (24, 3, 2, 16, 16))
  return {
    'patch_embed': {
      'kernel': einops.rearrange(kernel, 'o i t h w -> t h w i o'),
      'bias': draw(f'{projection}.bias', (24,)),
    },
    'encoder': draw_encoder('videomae', {'query': 'q_bias', 'value': 'v_bias'}),
    'fc_norm': draw_norm('fc_norm'),
  }


def draw_ast():
  name = 'audio_spectrogram_transformer'
  embeddings = f'{name}.embeddings'
  projection = f'{embeddings}.patch_embeddings.projection'
  kernel = draw(f'{projection}.weight', (24, 1, 16, 16))
  biases = {part: f'{part}.bias' for part in ('query', 'key', 'value')}
  return {
    'embedding': {
      'patch_embed': {
        'kernel': einops.rearrange(kernel, 'o i m t -> m t i o'),
        'bias': draw(f'{projection}.bias', (24,)),
      },
      'cls': draw(f'{embeddings}.cls_token', (1, 1, 24)),
      'distillation': draw(f'{embeddings}.distillation_token', (1, 1, 24)),
      'positions': draw(f'{embeddings}.position_embeddings', (1, 17, 24)),
    },
    'encoder': draw_encoder(name, biases),
    'norm': draw_norm(f'{name}.layernorm'),
    'fc_norm': draw_norm('classifier.layernorm'),
  }


def make_videomae():
  tower = videomae.VideoMAE(**SIZES, epsilon=1e-12, fc_epsilon=1e-5)
  head = draw_dense('classifier', (24, 5))
  return tower, draw_videomae(), head, draw('clip', (2, 4, 32, 32, 3))


def make_ast():
  tower = spectrogram_vit.SpectrogramViT(
    **SIZES, epsilon=1e-12, fc_epsilon=1e-12
  )
  head = draw_dense('classifier.dense', (24, 5))
  return tower, draw_ast(), head, draw('spectrogram', (2, 57, 36))


@pytest.mark.parametrize(
  ('name', 'make'), [('videomae', make_videomae), ('ast', make_ast)]
)
def test_tower_equals_transformers(name, make):
  tower, params, head, x = make()

  def run(params, x):
    tokens = tower.apply({'params': params}, x)
    return tokens, tower.apply({'params': params}, tokens, method='pool')

  shapes = jax.eval_shape(
    lambda x: tower.init(
      jax.random.key(0), x, method=lambda t, x: t.pool(t(x))
    )['params'],
    x,
  )
  assert jax.tree.structure(shapes) == jax.tree.structure(params)
  tokens, feature = jax.jit(run)(params, x)
  logits = feature @ head['kernel'] + head['bias']
  expected = np.load(GOLDEN)
  np.testing.assert_allclose(tokens, expected[f'{name}_tokens'], atol=1e-5)
  np.testing.assert_allclose(logits, expected[f'{name}_logits'], atol=1e-5)
