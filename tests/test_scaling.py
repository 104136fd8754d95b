"""What a step sends and holds is what the formulas say, on every mesh."""

import jax
import numpy as np
import pytest

from avemo.runtime import mesh as mesh_lib
from benchmarks import collectives, paper_model, scaling

# Leaves of a megabyte in every block, so that fsdp splits them.
TOWER = scaling.TOWER | {'depth': 2, 'width': 512, 'remat': False}


def compile_step(data, fsdp, **options):
  mesh = mesh_lib.make_mesh(data, fsdp, devices=jax.devices()[: data * fsdp])
  parts = scaling.make_parts(mesh, **options)
  step = parts['step'].lower(parts['state'], parts['batch']).compile()
  return step, parts


def check(step, parts, data, fsdp):
  found = [one for one in collectives.find(step.as_text()) if one.shape]
  expected = scaling.list_expected(parts, data, fsdp)
  assert scaling.sum_up(found) == scaling.sum_up(expected)
  held = scaling.hold(step, parts, fsdp)
  assert held['arguments'] == held['expected']
  return held


def test_split_parameters_are_gathered_and_gradients_reduced():
  step, parts = compile_step(4, 2, tower=TOWER)
  held = check(step, parts, 4, 2)
  assert held['of_it_split'] > 20 * held['of_it_whole']


@pytest.mark.slow
@pytest.mark.parametrize('remat', [False, True])
@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('mesh', [(8, 1), (1, 8), (4, 2)])
def test_all_meshes_send_and_hold_what_the_formulas_say(
  mesh, accumulate, remat
):
  tower = TOWER | {'remat': remat}
  check(*compile_step(*mesh, tower=tower, accumulate=accumulate), *mesh)


@pytest.mark.slow
def test_meshes_agree_over_twenty_steps():
  found = {}
  for mesh in scaling.MESHES:
    step, parts = compile_step(*mesh)
    state, found[mesh] = parts['init'](), []
    for number in range(scaling.STEPS):
      batch = mesh_lib.shard_batch(
        scaling.make_batch(number), state.step.sharding.mesh
      )
      state, metrics = step(state, batch)
      found[mesh].append(float(metrics['loss']))
  for mesh, losses in found.items():
    np.testing.assert_allclose(losses, found[1, 1], atol=1e-5, err_msg=mesh)


def test_memory_of_what_is_split_falls_as_one_over_n():
  sizes = {'whole': 100, 'stacks': 8000, 'others': 800}
  held = {n: paper_model.count_held(sizes, n) for n in (1, 2, 4, 8)}
  for count, size in held.items():
    assert size - 400 == (held[1] - 400) // count


# Braces are doubled where a line is a format.
TURNS = 'backend_config={"known_trip_count":{"n":"%d"}}'
HLO = f"""
%add (a: f32[]) -> f32[] {{
  ROOT %x = f32[] add(%a, %a)
}}

%body.1 (p: f32[8]) -> f32[8] {{
  %g = f32[8,4]{{1,0}} all-gather(%p), replica_groups=[2,4]<=[8]
  ROOT %r = (f32[8], f32[]) all-reduce(%p), replica_groups={{{{0,1}},{{2,3}}}}
}}

%middle (p: f32[8]) -> f32[8] {{
  ROOT %w = f32[8] while(%p), body=%body.1, {TURNS % 3}
}}

%groups (p: f32[8]) -> f32[8] {{
  ROOT %e = f32[8] all-reduce(%p), to_apply=%add, GROUPS, use_global=true
}}

ENTRY %main (p: f32[8]) -> f32[8] {{
  %w = f32[8] while(%p), body=%middle, {TURNS % 5}
  ROOT %c = f32[8]{{0}} call(%w), to_apply=%groups
}}
"""
GROUPS = "replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}"


def test_collectives_are_counted_through_loops():
  found = sorted(collectives.find(HLO.replace('GROUPS', GROUPS)))
  assert found == [
    ('all-gather', (8, 4), 128, 4, 15),
    ('all-reduce', (), 4, 2, 15),
    ('all-reduce', (8,), 32, 2, 15),
    ('all-reduce', (8,), 32, 4, 1),
  ]
  assert found[0].sent == 15 * 128 * 3 / 4
  assert found[3].sent == 2 * 32 * 3 / 4
  unknown = HLO.replace(TURNS % 3, '')
  with pytest.raises(ValueError, match='body.1'):
    collectives.find(unknown)


def test_the_paper_model_adds_up():
  given = {
    'clips': 16,
    'flops': paper_model.count_flops(24, 1024, 1568),
    'sizes': {'whole': 10**6, 'stacks': 10**9, 'others': 10**7},
    'remat': False,
  }
  assumed = paper_model.Assumptions()
  alone = paper_model.predict(1, 1, assumed=assumed, **given)
  assert alone.sending == 0 and alone.efficiency == pytest.approx(1)
  expected = 3 * 16 * given['flops'] / (assumed.rate * assumed.utilisation)
  assert alone.compute == pytest.approx(expected)
  many = [
    paper_model.predict(n, 8, assumed=assumed, **given).efficiency
    for n in (8, 64, 512)
  ]
  assert sorted(many, reverse=True) == many and 0.5 < many[-1] < 1
  # The published figure of VideoMAE-L, 597 billion multiplications and sums.
  assert given['flops'] == pytest.approx(2 * 597e9, rel=0.01)
  hidden = paper_model.Assumptions(overlap=1.0)
  assert paper_model.predict(512, 8, assumed=hidden, **given).exposed == 0
  slow = paper_model.Assumptions(core_clips=1.0)
  read = paper_model.predict(64, 8, assumed=slow, **given)
  assert read.seconds == pytest.approx(8 * 16 / 112, rel=0.01)


def test_the_formula_of_operations_is_that_of_the_program():
  from avemo.models import layers

  encoder = layers.Encoder(512, 1, 8, remat=False)
  tokens = jax.ShapeDtypeStruct((1, 96, 512), np.float32)
  params = jax.eval_shape(encoder.init, jax.random.key(0), tokens)
  lowered = jax.jit(encoder.apply).lower(params, tokens)
  counted = lowered.cost_analysis()['flops']
  assert counted == pytest.approx(paper_model.count_flops(1, 512, 96), rel=0.05)
