"""Cross-attention, bottleneck tokens and picture sequences in the model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_models_emotion import CNN, VIT, make_batch, randomize

from avemo import errors
from avemo.audio import picture
from avemo.models import emotion, layers, picture_sequence, strategies, videomae
from avemo.runtime import mesh as mesh_lib
from avemo.train import init, optim

TOWER = {'width': 16, 'depth': 2, 'num_heads': 2, 'remat': False}
FUSION = {
  'cross_attention': {'depth': 2, 'num_heads': 2},
  'bottleneck': {'tokens': 3, 'join_at': 1},
  'sequence': {'count': 8, 'size': 32, 'pictures': {'columns': 8}},
}
KINDS = tuple(FUSION)
BOTH = ('video', 'audio')


def make(kind, use=BOTH, audio=None, video=None, **options):
  fusion = FUSION | {'kind': kind, kind: FUSION[kind] | options}
  return emotion.Emotion(
    num_classes=4,
    use=use,
    video=TOWER | (video or {}),
    audio=audio or {'name': 'spectrogram_vit'} | TOWER,
    features={'num_mels': 32, 'n_fft': 400},
    fusion=fusion,
  )


def run(model, variables, batch):
  return jax.device_get(jax.jit(model.apply)(variables, batch)['emotion'])


def list_names(model):
  batch = emotion.example_batch(frames=8, size=32, samples=4000)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
  paths = jax.tree_util.tree_flatten_with_path(shapes['params'])[0]
  return {mesh_lib.name_of(path): leaf.shape for path, leaf in paths}


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_missing_is_not_seen(kind):
  model, batch, other = make(kind), make_batch(0), make_batch(1)
  variables = randomize(model, batch)
  # A clip without sound has no samples either.
  batch['speech_length'] = np.where(batch['has_audio'], 4000, 0)
  batch['speech_length'][2:] = 4000
  several = jax.jit(jax.vmap(model.apply, (None, 0)))
  batches = [
    batch,
    batch | {'frames': other['frames']},
    batch | {'speech': other['speech']},
  ]
  batches = jax.tree.map(lambda *rows: np.stack(rows), *batches)
  found = jax.device_get(several(variables, batches)['emotion'])
  assert np.isfinite(found).all()
  # Rows: both, no picture, no sound, neither.
  for changed, seen in ((found[1], [0, 2]), (found[2], [0, 1])):
    for row in range(4):
      same = np.array_equal(changed[row], found[0][row])
      assert same == (row not in seen), (kind, row)


@pytest.mark.parametrize('kind', KINDS)
def test_every_parameter_learns_from_both(kind):
  model, batch = make(kind), make_batch()
  variables = randomize(model, batch)

  def loss(params):
    outputs = model.apply(variables | {'params': params}, batch, True)
    return jnp.square(outputs['emotion']).sum()

  grads = jax.device_get(jax.jit(jax.grad(loss))(variables['params']))
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    name = mesh_lib.name_of(path)
    assert np.isfinite(leaf).all(), name
    assert np.abs(leaf).max() > 0, name


def test_parameters_have_the_names_of_their_parts():
  names = {kind: list_names(make(kind)) for kind in KINDS}
  tops = {
    kind: {name.split('/')[0] for name in found}
    for kind, found in names.items()
  }
  assert tops == {
    'cross_attention': {'video', 'audio', 'fusion', 'head'},
    'bottleneck': {'video', 'audio', 'fusion', 'head'},
    'sequence': {'video', 'head'},
  }
  assert names['bottleneck']['fusion/tokens'] == (3, 16)
  cross = names['cross_attention']
  assert cross['head/joint/emotion/kernel'] == (32, 4)
  assert cross['fusion/cross/blocks/video/cross_attn/query/kernel'][0] == 2
  for use in (('video',), ('audio',)):
    assert list_names(make('sequence', use)) == names['sequence']
  # The tower is the same everywhere, so weights of one serve all.
  towers = {
    kind: {k: v for k, v in found.items() if k.startswith('video/')}
    for kind, found in names.items()
  }
  assert towers['bottleneck'] == towers['sequence']
  # Whose feature is made of the crossed tokens instead.
  del towers['sequence']['video/fc_norm/scale']
  del towers['sequence']['video/fc_norm/bias']
  assert towers['cross_attention'] == towers['sequence']


@pytest.mark.parametrize('kind', KINDS)
def test_towers_load_and_freeze_by_path(kind):
  model, batch = make(kind), make_batch()
  params = randomize(model, batch, 0)['params']
  source = {'video': randomize(make('sequence'), batch, 1)['params']['video']}
  params = jax.tree.map(jnp.asarray, params)
  loaded, _ = init.load(params, source, 'video')
  jax.tree.map(
    np.testing.assert_array_equal,
    loaded['video']['encoder'],
    source['video']['encoder'],
  )
  frozen = optim.find_frozen_towers(loaded, ('video/.*',))
  assert frozen == ('video',)
  multipliers = optim.make_multipliers(loaded, 0.5)
  for name, factor in multipliers.items():
    if name.startswith(('fusion/', 'head/')):
      assert factor == 1, name
  decayed = optim.find_decayed(loaded)
  if kind == 'bottleneck':
    assert not decayed['fusion']['tokens']


def test_bottleneck_is_the_only_way_between_the_towers():
  """Block by block: own tokens and shared ones, whose mean goes on."""
  model, batch = make('bottleneck'), make_batch()
  variables = randomize(model, batch)
  params = variables['params']
  options = {name: TOWER[name] for name in ('width', 'depth', 'num_heads')}
  video = videomae.VideoMAE(**TOWER)
  audio = emotion.sections.spectrogram_vit.SpectrogramViT(**TOWER)
  encoders = {
    'video': layers.Encoder(**options, key_bias=False),
    'audio': layers.Encoder(**options),
  }

  def by_hand(params, batch):
    apply = lambda name, x, **keys: encoders[name].apply(
      {'params': params[name]['encoder']}, x, **keys
    )
    spectrogram = emotion.audio_features.features(
      batch['speech'], batch['speech_length'], {'num_mels': 32, 'n_fft': 400}
    )
    frames = videomae.normalize(batch['frames'])
    own = {
      'video': video.apply({'params': params['video']}, frames, method='embed'),
      'audio': audio.apply(
        {'params': params['audio']}, spectrogram, stop=0, method='begin'
      ),
    }
    own = {name: apply(name, x, stop=1) for name, x in own.items()}
    shared = jnp.broadcast_to(params['fusion']['tokens'], (4, 3, 16))
    made, seen = {}, {}
    for name, x in own.items():
      both = apply(name, jnp.concatenate([x, shared], 1), start=1)
      made[name] = both[:, :-3]
      feature = {'video': video, 'audio': audio}[name].apply(
        {'params': params[name]},
        made[name]
        if name == 'video'
        else audio.apply({'params': params[name]}, made[name], method='finish'),
        method='pool',
      )
      head = params['head'][name]['emotion']
      seen[name] = feature @ head['kernel'] + head['bias']
    return (seen['video'] + seen['audio']) / 2

  expected = jax.jit(by_hand)(params, batch)
  found = run(model, variables, batch)
  # Both are there in the first row alone.
  np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('strategy', ['ffls', 'rfas'])
def test_the_tower_reads_the_joined_pictures(strategy):
  model = make('sequence', strategy=strategy, shuffle='clip')
  batch = make_batch() | {'record': np.int32([5, 6, 7, 8])}
  variables = randomize(model, batch)
  tower = videomae.VideoMAE(**TOWER)
  each = strategies.count_each(strategy, 8)
  options = {}
  if strategy == 'rfas':
    keys = [jax.random.fold_in(jax.random.key(0), n) for n in (5, 6, 7, 8)]
    options['orders'] = strategies.draw_orders(jnp.stack(keys), 4)

  def by_hand(params, batch):
    pictures = picture.draw(
      batch['speech'], batch['speech_length'], windows=each, size=32, columns=8
    )
    frames = strategies.STRATEGIES[strategy](
      batch['frames'], pictures, count=8, size=32, **options
    )
    tokens = tower.apply(
      {'params': params['video']}, videomae.normalize(frames)
    )
    feature = tower.apply({'params': params['video']}, tokens, method='pool')
    head = params['head']['joint']['emotion']
    return feature @ head['kernel'] + head['bias']

  expected = jax.jit(by_hand)(variables['params'], batch)
  found = run(model, variables, batch)
  np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)


def test_sound_alone_needs_no_picture():
  model, batch = make('sequence', ('audio',)), make_batch()
  own = {key: batch[key] for key in ('speech', 'speech_length', 'has_audio')}
  logits = run(model, randomize(model, own), own)
  np.testing.assert_array_equal(np.abs(logits).max(-1) > 0, own['has_audio'])


def test_orders_are_drawn_by_step_or_by_clip():
  sequence = functools.partial(
    picture_sequence.PictureSequence, 'rfas', 8, 32, run=1
  )
  batch = make_batch() | {'record': np.int32([3, 3, 4, 5])}
  orders = lambda module, train, key=0: np.asarray(
    module.apply(
      {},
      batch,
      train,
      method='_choose_orders',
      rngs={'dropout': jax.random.key(key)},
    )
  )
  once = orders(sequence(shuffle='clip'), True)
  np.testing.assert_array_equal(once, orders(sequence(shuffle='clip'), False))
  np.testing.assert_array_equal(once[0], once[1])
  assert (once[1] != once[2]).any()
  steps = [orders(sequence(), True, key) for key in (0, 1)]
  assert (steps[0] != steps[1]).any()
  np.testing.assert_array_equal(orders(sequence(), False)[0], np.arange(8))


@pytest.mark.parametrize(
  ('make_it', 'message'),
  [
    (lambda: make('sequence', strategy='fsl'), "did you mean 'fslf'"),
    (lambda: make('sequence', shuffle='clp'), "did you mean 'clip'"),
    (lambda: make('sequence', count=6, strategy='ofos'), 'multiple of 4'),
    (lambda: make('sequence', pictures={'hpo': 1}), "did you mean 'hop'"),
    (lambda: make('bottleneck', audio=CNN), "'cnn' has no blocks"),
    (lambda: make('cross_attention', heads=2), 'did you mean'),
  ],
)
def test_wrong_options_are_refused(make_it, message):
  with pytest.raises(errors.AvemoError, match=message):
    make_it()


def test_heads_must_divide_the_width():
  with pytest.raises(errors.AvemoError, match='num_heads=3 does not divide'):
    list_names(make('cross_attention', num_heads=3))


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'audio': VIT}, 'one width and depth'),
    ({'join_at': 2}, 'one at least must follow'),
    ({'video': {'frozen_blocks': 2}}, 'freeze at most 1'),
  ],
)
def test_towers_that_cannot_go_in_step_are_refused(options, message):
  with pytest.raises(errors.AvemoError, match=message):
    list_names(make('bottleneck', **options))
