"""The tests' promises, checked exactly where outcomes can be enumerated, else by simulation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from rollout.judge.sequential import Comparison, Limit, Mixture, log_e_value, projection

SHARES = st.floats(1e-4, 1 - 1e-4)
TRIALS = st.integers(1, 10_000)
DIFFERENCES = st.floats(-0.95, 0.95)
LEVELS = np.linspace(0, 1, 21)


def divergence(p: Any, q: Any) -> Any:
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def project(c: float, s: float, n: int, m: int, d: float) -> tuple[float, float]:
    a, b = projection(*(np.array(float(value)) for value in (c, s, n, m, d)))
    return float(a), float(b)


def e_value(c: float, s: float, counts: tuple[Any, Any, Any, Any], d: float) -> Any:
    parts = tuple(np.asarray(part, float) for part in counts)
    return np.exp(log_e_value(np.array(c), np.array(s), parts, np.array(d)))  # type: ignore[arg-type]


def observe(comparison: Comparison, blocks: Any, changed: bool = False, anew: bool = False) -> None:
    for block in blocks:
        counts = np.asarray(block, float)
        comparison.observe(
            counts, np.full(counts.shape[1], changed), np.full(counts.shape[1], anew)
        )


@settings(max_examples=400, deadline=None)
@given(c=SHARES, s=SHARES, n=TRIALS, m=TRIALS, d=DIFFERENCES)
def test_the_projection_is_the_nearest_point_of_the_hypothesis(
    c: float, s: float, n: int, m: int, d: float
) -> None:
    a, b = project(c, s, n, m, d)
    assert a - b >= d - 1e-12
    if c - s >= d:
        assert (a, b) == (c, s)
        return
    low, high = max(c, d), min(s + d, 1)
    best = minimize_scalar(
        lambda x: n * divergence(c, x) + m * divergence(s, x - d),
        bounds=(low + (high - low) * 1e-9, high - (high - low) * 1e-9),
        method="bounded",
        options={"xatol": 1e-13},
    )
    here = n * divergence(c, a) + m * divergence(s, b)
    assert here <= best.fun + 1e-8 * max(1, best.fun)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (4, 3), (7, 1)])
@pytest.mark.parametrize("d", [-0.5, -0.1, 0.0, 0.03, 0.3, 0.8])
def test_no_point_of_the_hypothesis_expects_the_e_value_to_exceed_one(
    n: int, m: int, d: float
) -> None:
    k, j = np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij")
    for c, s in ((0.01, 0.01), (0.04, 0.01), (0.2, 0.6), (0.9, 0.3), (0.5, 0.5), (1e-5, 0.99)):
        values = e_value(c, s, (k, n, j, m), d)
        for p, q in itertools.product(LEVELS, LEVELS):
            if p - q >= d:
                likely = binom.pmf(k, n, p) * binom.pmf(j, m, q)
                assert (likely * values).sum() <= 1 + 1e-9
        a, b = project(c, s, n, m, d)
        likely = binom.pmf(k, n, a) * binom.pmf(j, m, b)
        assert (likely * values).sum() == pytest.approx(1, abs=1e-9)


def test_the_e_value_holds_for_rates_that_drift_within_a_block() -> None:
    # Each of three requests of either version has a rate of its own; the versions' mean rates
    # differ by exactly 0.2.
    d, rates, others = 0.2, (0.25, 0.5, 0.75), (0.05, 0.3, 0.55)
    expected = 0.0
    for outcome in itertools.product((0, 1), repeat=6):
        likely = np.prod(
            [r if hit else 1 - r for r, hit in zip(rates + others, outcome, strict=True)]
        )
        expected += likely * e_value(0.3, 0.3, (sum(outcome[:3]), 3, sum(outcome[3:]), 3), d)
    assert expected <= 1


def test_the_e_value_of_an_alternative_within_the_hypothesis_is_one() -> None:
    assert e_value(0.3, 0.1, (5, 9, 1, 30), 0.1) == 1


def test_a_mixture_stays_a_wealth_that_is_not_expected_to_grow() -> None:
    # Two rounds of a fair coin, and three alternatives about it.
    mixture_mean, ends = 0.0, list(itertools.product((0, 1), repeat=2))
    for end in ends:
        mixture = Mixture((1,), (2, 1, 1, 1))
        for head in end:
            chances = np.array([0.9, 0.5, 0.2])
            mixture.bet(..., np.log((chances if head else 1 - chances) / 0.5)[None])
        mixture_mean += np.exp(mixture.wealth[0]) / len(ends)
    assert mixture_mean == pytest.approx(1, abs=1e-12)


def test_a_mixture_bets_on_what_has_begun_to_win() -> None:
    mixture = Mixture((1,), (1, 1))
    for _ in range(2000):
        mixture.bet(..., np.full((1, 1), -0.1))
    lost = mixture.wealth[0]
    assert lost > -3
    for _ in range(100):
        mixture.bet(..., np.full((1, 1), 0.2))
    assert mixture.wealth[0] > 10


def crossings(difference: float, seed: int, rollouts: int = 1500) -> tuple[float, float]:
    """How many of the rollouts with exactly this difference ever had wealth of 20 against "at most
    it", and against "at least it"; looked at after each of 200 blocks with rates that drift.
    """
    dice = np.random.default_rng(seed)
    comparison = Comparison(rollouts, 1, [difference], [difference], [0.03, 0.3])
    over, under = np.zeros(rollouts, bool), np.zeros(rollouts, bool)
    for block in range(200):
        base = 0.03 + 0.025 * np.sin(block / 9) + max(0.0, -difference)
        n, m = dice.poisson(3, rollouts), dice.poisson(12, rollouts)
        counts = np.stack([dice.binomial(n, base + difference), n, dice.binomial(m, base), m])
        observe(comparison, [counts[:, :, None]])
        over |= comparison.log_above[:, 0, 0] >= np.log(20)
        under |= comparison.log_below[:, 0, 0] >= np.log(20)
    return float(over.mean()), float(under.mean())


@pytest.mark.parametrize("difference", [0.0, 0.003, 0.03, -0.02])
def test_looking_after_every_block_costs_no_false_alarms(difference: float) -> None:
    over, under = crossings(difference, seed=11)
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)
    assert over <= most
    assert under <= most
    # A test that never rejects would pass too.
    assert over + under > 0


def test_a_difference_is_found() -> None:
    dice = np.random.default_rng(3)
    comparison = Comparison(1, 1, [0.0, 0.02], [0.1, 0.02], [0.03])
    for _ in range(400):
        counts = [dice.binomial(40, 0.06), 40, dice.binomial(200, 0.01), 200]
        observe(comparison, [np.reshape(counts, (4, 1, 1))])
    assert comparison.log_above[0, 0, 0] > comparison.log_above[0, 0, 1] > 5
    assert comparison.log_below[0, 0, 0] > 5 > comparison.log_below[0, 0, 1]


def test_more_errors_of_the_canary_are_more_evidence_against_it() -> None:
    comparison = Comparison(31, 1, [0.003], [0.03], [0.03, 0.3])
    counts = np.array([np.arange(31), np.full(31, 30), np.full(31, 3), np.full(31, 300)], float)
    observe(comparison, [counts[:, :, None]])
    assert (np.diff(comparison.log_above[:, 0, 0]) > 0).all()
    assert (np.diff(comparison.log_below[:, 0, 0]) < 0).all()


def test_blocks_of_zeros_change_nothing() -> None:
    comparison = Comparison(1, 2, [0.0], [0.03], [0.03])
    observe(comparison, [np.full((4, 1, 2), [[[1]], [[9]], [[2]], [[80]]])])
    before = comparison.log_above.copy(), comparison.log_below.copy(), comparison.guess()
    observe(comparison, np.zeros((50, 4, 1, 2)))
    assert (comparison.log_above == before[0]).all()
    assert (comparison.log_below == before[1]).all()
    assert (np.array(comparison.guess()) == before[2]).all()


def test_rollouts_and_metrics_of_a_batch_are_strangers() -> None:
    dice = np.random.default_rng(5)
    trials = dice.integers(0, 40, (60, 2, 4, 3))
    hits = dice.binomial(trials, 0.1)
    blocks = np.stack([hits[:, 0], trials[:, 0], hits[:, 1], trials[:, 1]], axis=1)
    whole = Comparison(4, 3, [0.0, 0.1], [0.03], [0.03])
    observe(whole, blocks)
    order, metrics = [2, 0, 3, 1], [1, 2, 0]
    mixed = Comparison(4, 3, [0.0, 0.1], [0.03], [0.03])
    observe(mixed, blocks[:, :, order][..., metrics])
    assert np.allclose(mixed.log_above, whole.log_above[order][:, metrics], atol=1e-12)
    alone = Comparison(1, 1, [0.0, 0.1], [0.03], [0.03])
    observe(alone, blocks[:, :, 2:3, 1:2])
    assert np.allclose(alone.log_below, whole.log_below[2:3, 1:2], atol=1e-12)
    whole.keep(np.array([False, False, True, False]))
    assert np.allclose(alone.log_above, whole.log_above[:, 1:2], atol=1e-12)


def test_a_version_alone_compares_nothing_until_the_other_was_seen() -> None:
    comparison = Comparison(1, 1, [0.0], [0.03], [0.03])
    observe(comparison, [np.reshape([9, 50, 0, 0], (4, 1, 1))] * 3)
    assert comparison.log_above[0, 0, 0] == 0
    observe(comparison, [np.reshape([0, 0, 0, 50], (4, 1, 1))])
    assert comparison.log_above[0, 0, 0] > 1
    assert (comparison.pending == 0).all()


def test_nothing_is_joined_over_a_change_of_weight() -> None:
    comparison = Comparison(1, 1, [0.0], [0.03], [0.03])
    observe(comparison, [np.reshape([9, 50, 0, 0], (4, 1, 1))])
    observe(comparison, [np.reshape([0, 0, 0, 50], (4, 1, 1))], changed=True)
    assert comparison.log_above[0, 0, 0] == 0


def test_what_was_not_joined_yet_counts_when_the_weight_changes() -> None:
    comparison = Comparison(1, 1, [0.0], [0.03], [0.03])
    observe(comparison, [np.reshape([3, 4, 0, 12], (4, 1, 1))])
    assert comparison.log_above[0, 0, 0] == 0
    observe(comparison, np.zeros((1, 4, 1, 1)), changed=True)
    assert comparison.log_above[0, 0, 0] > 1
    assert comparison.log_below[0, 0, 0] < 0


def test_to_prove_anew_gives_all_proof_below_away_and_none_above() -> None:
    comparison = Comparison(1, 1, [0.0], [0.5], [0.03])
    for hits in (0, 3):
        observe(comparison, [np.reshape([hits, 10, 0, 90], (4, 1, 1))])
    observe(comparison, [np.reshape([0, 4, 0, 12], (4, 1, 1))])
    above = comparison.log_above.copy()
    observe(comparison, np.zeros((1, 4, 1, 1)), changed=True, anew=True)
    assert comparison.log_below[0, 0, 0] == 0
    assert comparison.log_above[0, 0, 0] == pytest.approx(above[0, 0, 0], abs=0.5)
    assert above[0, 0, 0] > 1


def test_a_limit_is_a_fair_bet_at_the_limit() -> None:
    # Two blocks of four requests, all outcomes.
    above = below = 0.0
    outcomes = list(itertools.product(range(5), repeat=2))
    limit = Limit(len(outcomes), [0.05])
    for block in np.array(outcomes).T:
        limit.observe(block[:, None].astype(float), np.full((len(outcomes), 1), 4.0))
    likely = np.array([binom.pmf(k, 4, 0.05) * binom.pmf(j, 4, 0.05) for k, j in outcomes])
    above = (likely * np.exp(limit.log_above[:, 0])).sum()
    below = (likely * np.exp(limit.log_below[:, 0])).sum()
    assert above == pytest.approx(1, abs=1e-9)
    assert below == pytest.approx(1, abs=1e-9)


def test_a_share_beyond_its_limit_is_found() -> None:
    limit = Limit(2, [0.05])
    for _ in range(30):
        limit.observe(np.array([[2.0], [0.0]]), np.array([[20.0], [20.0]]))
    assert limit.log_above[0, 0] > 5 > 1 > limit.log_above[1, 0]
    assert limit.log_below[1, 0] > 5 > 1 > limit.log_below[0, 0]
    assert limit.share().tolist() == [[0.1], [0.0]]
