"""Paired differences against a plain loop, Holm against its definition."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from avemo.metrics import classification, comparison, regression

C = 3


def make_counts(seed=0, speakers=12, clips=30, right=0.6):
  """Confusion matrices by speaker, and the examples that they count."""
  rng = np.random.default_rng(seed)
  truth = np.random.default_rng(99).integers(0, C, (speakers, clips))
  guess = rng.integers(0, C, truth.shape)
  said = np.where(rng.random(truth.shape) < right, truth, guess)
  counts = [
    classification.confusion(truth[s], said[s], C) for s in range(speakers)
  ]
  return np.stack(counts), truth, said


def test_equals_a_loop_over_resampled_speakers():
  one, truth, said = make_counts(0, right=0.7)
  other, _, other_said = make_counts(1, right=0.5)
  found = comparison.paired_bootstrap(
    one, other, classification.uar, num_resamples=300, seed=5
  )

  def score(said, speakers):
    counts = classification.confusion(
      truth[speakers].ravel(), said[speakers].ravel(), C
    )
    return classification.uar(counts)

  times = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), 300)
  values = []
  for row in times:
    speakers = np.repeat(np.arange(12), row)
    values.append(score(said, speakers) - score(other_said, speakers))
  everybody = np.arange(12)
  assert found.value == pytest.approx(
    score(said, everybody) - score(other_said, everybody)
  )
  low, high = np.quantile(values, (0.025, 0.975))
  assert found.low == pytest.approx(low) and found.high == pytest.approx(high)


def test_p_is_of_all_exchanges_of_speakers():
  one, truth, said = make_counts(0, speakers=8, right=0.7)
  other, _, other_said = make_counts(1, speakers=8, right=0.6)
  found = comparison.paired_bootstrap(one, other, classification.uar)
  uar = lambda said: classification.uar(
    classification.confusion(truth.ravel(), said.ravel(), C)
  )
  beyond = 0
  for chosen in itertools.product((False, True), repeat=8):
    side = np.array(chosen)[:, None]
    difference = uar(np.where(side, other_said, said))
    difference -= uar(np.where(side, said, other_said))
    beyond += abs(difference) >= abs(found.value) - 1e-9
  assert found.p == beyond / 256


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(strategies.integers(0, 999), strategies.floats(0.3, 0.9))
def test_the_other_way_round_is_the_negative(seed, right):
  one, other = make_counts(seed)[0], make_counts(seed + 1, right=right)[0]
  options = {'num_resamples': 200, 'seed': 3}
  found, back = (
    comparison.paired_bootstrap(*pair, classification.war, **options)
    for pair in ((one, other), (other, one))
  )
  np.testing.assert_allclose(
    [-back.value, -back.high, -back.low], found[:3], atol=1e-12
  )
  assert back.p == found.p and 0 < found.p <= 1
  assert found.low <= found.high


def test_a_system_does_not_differ_from_itself():
  one = make_counts()[0]
  found = comparison.paired_bootstrap(one, one, classification.uar)
  assert found == (0, 0, 0, 1)


def test_pairing_sees_what_unpaired_intervals_hide():
  # Speakers differ widely; each is understood a little better by the first.
  easy = np.linspace(0.1, 0.8, 16)[:, None, None] * np.ones((16, 2, 2))
  one, other = np.zeros((2, 16, 2, 2))
  for counts, gain in ((one, 0.1), (other, 0.0)):
    hits = 100 * (easy[:, 0, 0] + gain)
    counts[:, 0, 0] = counts[:, 1, 1] = hits
    counts[:, 0, 1] = counts[:, 1, 0] = 100 - hits
  found = comparison.paired_bootstrap(one, other, classification.uar)
  assert found.low == pytest.approx(0.1) and found.p < 0.001


def test_it_takes_the_moments_of_concordance():
  rng = np.random.default_rng(0)
  truth, groups = rng.normal(size=400), np.repeat(np.arange(10), 40)
  sums = [
    regression.moments(truth, truth + noise * rng.normal(size=400), groups, 10)
    for noise in (0.3, 1.0)
  ]
  found = comparison.paired_bootstrap(*sums, regression.ccc_of_moments)
  assert 0 < found.low < found.value < found.high


def test_too_few_speakers_give_nothing():
  one = make_counts(speakers=7)[0]
  assert comparison.paired_bootstrap(one, one, classification.uar) is None
  with pytest.raises(ValueError, match='7 and 6'):
    comparison.paired_bootstrap(one, one[:6], classification.uar)


def test_systems_that_are_alike_are_seldom_told_apart():
  found = 0
  for seed in range(60):
    one, other = (make_counts(2 * seed + k)[0] for k in (0, 1))
    p = comparison.paired_bootstrap(
      one, other, classification.uar, num_resamples=200
    ).p
    found += p < 0.05
  # 3 of 60 are expected, 8 and more once in a hundred.
  assert found <= 7


P_VALUES = strategies.dictionaries(
  strategies.text(min_size=1, max_size=3),
  strategies.floats(0, 1),
  min_size=1,
  max_size=8,
)


@hypothesis.given(P_VALUES, strategies.floats(0.001, 0.999))
def test_holm_is_its_step_down_procedure(p_values, level):
  # As Holm 1979 tells it: the smallest against level / m, the next against
  # level / (m - 1), until one is not rejected.
  rejected = set()
  order = sorted(p_values, key=p_values.get)
  for place, name in enumerate(order):
    if p_values[name] * (len(order) - place) > level:
      break
    rejected.add(name)
  adjusted = comparison.holm(p_values)
  assert {name for name, p in adjusted.items() if p <= level} == rejected
  assert list(adjusted) == list(p_values)
  for name, p in adjusted.items():
    assert p_values[name] <= p <= 1


def test_holm_by_hand():
  found = comparison.holm({'a': 0.01, 'b': 0.04, 'c': 0.03, 'd': 0.005})
  assert found == pytest.approx({'a': 0.03, 'b': 0.06, 'c': 0.06, 'd': 0.02})
  assert comparison.holm({}) == {}
