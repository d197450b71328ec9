"""The gate: what leads to each verdict, and what it says."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from rollout.judge.codes import Code
from rollout.judge.evidence import METRICS, Block, Counts
from rollout.judge.gate import Gate, Verdict
from rollout.judge.rules import Rules
from settings.rollout import LATENCY_BOUNDS, Rollout

RULES = Rules.of(Rollout())
LAST = RULES.steps.index(50)
FULL = RULES.steps.index(100)


def shown(
    gate: Gate, blocks: int, canary: tuple[int, int], stable: tuple[int, int], step: int
) -> Gate:
    """The gate after so many equal blocks; (hits, trials) of errors and failures, none slow."""
    for _ in range(blocks):
        gate.observe([canary[0], canary[0], 0], canary[1], [stable[0], stable[0], 0], stable[1],
                     step)  # fmt: skip
    return gate


def good(step: int, blocks: int = 60, rules: Rules = RULES) -> Gate:
    return shown(Gate(rules), blocks, (1, 100), (2, 200), step)


def test_the_rules_are_those_of_the_configuration() -> None:
    rollout = Rollout(steps=[1, 20], interval="30s", patience="3h", max_error_rate=0.1,
                      max_p95="250ms", max_regression=0.02)  # fmt: skip
    assert Rules.of(rollout) == Rules((1, 20), 30.0, 10800.0, 0.02, 0.1, 0.25)
    assert Rules() == RULES
    rules = Rules.of(rollout)
    assert [rules.weight_after(step) for step in (0, 1)] == [20, 100]
    assert [rules.difference_for(step) for step in (0, 1)] == [pytest.approx(0.1), 0.02]
    assert [rules.proves_anew(step) for step in (0, 1)] == [False, True]
    assert [RULES.proves_anew(step) for step in range(5)] == [False, False, False, True, False]


def test_it_advances_once_the_interval_has_passed_and_every_metric_is_proven() -> None:
    gate = good(LAST)
    assert gate.judge(LAST, 59.9).kind == "hold"
    verdict = gate.judge(LAST, 60)
    assert verdict.kind == "advance"
    assert verdict.reasons[0].startswith("errors: canary 1 % of 6,000, stable 1 % of 12,000; ")
    assert all(each.upper <= RULES.regression for each in verdict.estimates)


def test_a_step_needs_no_more_proof_than_its_next_weight_costs() -> None:
    blocks = 4
    first = shown(Gate(RULES), blocks, (0, 10), (2, 190), 0)
    assert first.judge(0, 60).kind == "advance"
    later = shown(Gate(RULES), blocks, (0, 10), (2, 190), 2)
    assert later.judge(2, 60).kind == "not enough evidence"


def test_every_metric_must_be_proven() -> None:
    gate = Gate(RULES)
    for _ in range(60):
        gate.observe([1, 0, 1], [100, 0, 100], [2, 0, 2], [200, 0, 200], LAST)
    verdict = gate.judge(LAST, 600)
    assert verdict.kind == "not enough evidence"
    assert verdict.reasons == ("failures: 0 canary requests counted in this step, and it takes 10",)


def test_the_last_step_before_all_requests_proves_anew() -> None:
    gate = good(LAST - 1)
    assert gate.judge(LAST - 1, 60).kind == "advance"
    assert shown(gate, 1, (1, 100), (1, 100), LAST).judge(LAST, 60).kind == "not enough evidence"
    assert shown(gate, 30, (1, 100), (1, 100), LAST).judge(LAST, 60).kind == "advance"


def test_a_step_that_has_just_begun_has_seen_nothing() -> None:
    verdict = good(0).judge(1, 60)
    assert verdict.kind == "not enough evidence"
    assert "0 canary requests counted in this step" in verdict.reasons[0]


def test_more_errors_are_rolled_back_at_once() -> None:
    gate = shown(Gate(RULES), 6, (4, 50), (5, 500), 0)
    verdict = gate.judge(0, 10)
    assert verdict.kind == "roll back"
    assert not verdict.for_want_of_evidence
    assert verdict.reasons[0].startswith("errors: canary 8 % of 300, stable 1 % of 3,000; ")
    assert verdict.reasons[0].endswith("points: worse by proof")
    assert verdict.estimates[0].lower >= RULES.tolerance


def test_two_failures_of_the_first_few_requests_are_enough_if_stable_never_fails() -> None:
    gate = shown(Gate(RULES), 1, (3, 3), (0, 60), 0)
    assert gate.judge(0, 10).kind == "roll back"


def test_slow_requests_are_rolled_back_too() -> None:
    gate = Gate(RULES)
    for _ in range(30):
        gate.observe([0, 0, 5], 50, [0, 0, 2], 100, 1)
    assert gate.judge(1, 10).kind == "roll back"


def test_a_difference_within_the_tolerance_is_never_harm() -> None:
    # A fifth of a point, on traffic that proves it: less than a tenth of the guarded regression.
    gate = shown(Gate(RULES), 300, (120, 10_000), (100, 10_000), LAST)
    assert gate.judge(LAST, 3000).estimates[0].lower > 0
    assert gate.judge(LAST, 3000).kind == "advance"


def test_above_the_absolute_limit_it_rolls_back_by_proof_and_holds_without() -> None:
    proven = shown(Gate(RULES), 40, (8, 100), (0, 0), FULL)
    verdict = proven.judge(FULL, 100)
    assert verdict.kind == "roll back"
    assert verdict.reasons[0] == (
        "failures: canary 8 % of 4,000, by proof above the limit of 5 %"
    )  # fmt: skip
    guessed = shown(Gate(RULES), 1, (6, 100), (0, 0), FULL)
    verdict = guessed.judge(FULL, 100)
    assert verdict.kind == "hold"
    assert verdict.reasons == (
        "failures: canary 6 % of 100 is above the limit of 5 %, not by proof yet",
    )
    assert guessed.judge(FULL, RULES.patience).for_want_of_evidence


def test_a_step_with_too_many_errors_of_its_own_is_not_left() -> None:
    gate = good(1)
    shown(gate, 1, (1, 10), (1, 100), 2)
    verdict = gate.judge(2, 60)
    assert verdict.kind == "hold"
    assert verdict.reasons[0].startswith(
        "errors: in this step the canary's were too many for the next weight; errors: canary 1 %"
    )
    shown(gate, 1, (0, 10), (1, 100), 2)
    assert gate.judge(2, 60).kind == "advance"


def test_what_stable_suffers_too_is_not_the_canarys_fault() -> None:
    gate = shown(good(2, 20), 30, (10, 100), (20, 200), 2)
    verdict = gate.judge(2, 300)
    assert verdict.kind == "hold"
    assert verdict.reasons == (
        "failures: stable itself is above the limit of 5 % now, so no weight is moved",
    )
    assert shown(gate, 5, (1, 100), (2, 200), 2).judge(2, 400).kind == "advance"


def test_at_full_weight_only_the_absolute_limits_are_left() -> None:
    gate = good(LAST)
    shown(gate, 6, (4, 100), (0, 0), FULL)
    assert gate.judge(FULL, 60).kind == "advance"
    assert gate.judge(FULL, 60).estimates[0].needed is None


def test_blue_green_needs_proof_below_the_absolute_limits() -> None:
    rules = replace(RULES, steps=(100,))
    few = shown(Gate(rules), 1, (0, 40), (0, 0), 0).judge(0, 600)
    assert few.kind == "not enough evidence"
    assert few.reasons[0] == (
        "failures: canary 0 % of 40, and must be proven to be below 5 %"
    )  # fmt: skip
    assert few.more_requests
    assert shown(Gate(rules), 10, (1, 100), (0, 0), 0).judge(0, 600).kind == "advance"
    assert shown(Gate(rules), 10, (4, 100), (0, 0), 0).judge(0, 600).kind == "not enough evidence"


def test_silence_is_no_pass_and_no_failure() -> None:
    gate = good(LAST)
    for seconds, kind in ((10, "hold"), (600, "not enough evidence")):
        verdict = gate.judge(LAST, seconds, ["Prometheus does not answer"])
        assert verdict.kind == kind
        assert "Prometheus does not answer" in verdict.reasons
    nothing = Gate(RULES).judge(0, 600, ["Prometheus does not answer"])
    assert nothing.kind == "not enough evidence"
    assert all(each.canary_share is None for each in nothing.estimates)


def test_patience_ends_for_want_of_evidence() -> None:
    gate = shown(Gate(RULES), 2, (0, 3), (1, 57), 0)
    assert gate.judge(0, RULES.patience - 1).kind == "not enough evidence"
    verdict = gate.judge(0, RULES.patience)
    assert verdict.kind == "roll back"
    assert verdict.for_want_of_evidence
    assert verdict.reasons[0].startswith("for want of evidence: it has been lacking for")
    # Hours at which nobody watched are not held against the canary.
    assert gate.judge(0, 1e6, starved=RULES.patience - 1).kind == "not enough evidence"
    # What is proven when patience ends still counts.
    assert good(LAST).judge(LAST, RULES.patience).kind == "advance"


def test_a_weight_of_100_that_nothing_led_to_wants_proof_below_the_limits() -> None:
    last = len(RULES.steps) - 1
    assert RULES.steps[last] == 100
    few = shown(Gate(RULES), 3, (0, 20), (0, 0), last)
    assert few.judge(last, 600).kind == "advance"
    assert few.judge(last, 600, alone=True).kind == "not enough evidence"
    many = shown(Gate(RULES), 30, (0, 200), (0, 0), last)
    assert many.judge(last, 600, alone=True).kind == "advance"


def test_gates_of_the_users_own() -> None:
    gate = good(LAST)
    closed = gate.judge(LAST, 600, closed=["approval: nobody has approved yet"])
    assert (closed.kind, closed.reasons) == ("hold", ("approval: nobody has approved yet",))
    # A person may take longer than the patience with evidence.
    assert gate.judge(LAST, 1e6, closed=["approval: nobody has approved yet"]).kind == "hold"
    refused = gate.judge(LAST, 600, refused=["profit: 3 is below the minimum of 5"])
    assert (refused.kind, refused.reasons) == (
        "roll back",
        ("profit: 3 is below the minimum of 5",),
    )


def test_it_says_how_much_is_wanting() -> None:
    gate = shown(Gate(RULES), 20, (1, 100), (1, 100), LAST - 1)
    shown(gate, 1, (1, 100), (1, 100), LAST)
    verdict = gate.judge(LAST, 10)
    assert verdict.more_requests is not None
    assert verdict.more_seconds is not None
    assert verdict.more_seconds >= verdict.more_requests / 10
    blocks = 0
    while gate.judge(LAST, 60).kind != "advance":
        shown(gate, 1, (1, 100), (1, 100), LAST)
        blocks += 1
    assert verdict.more_requests / 2 < 100 * blocks < verdict.more_requests * 2


def random_blocks(seed: int, number: int) -> list[Block]:
    dice = np.random.default_rng(seed)

    def counts(mean: float) -> Counts:
        n = int(dice.poisson(mean))
        late = int(dice.binomial(n, 0.02))
        buckets = [0] * (len(LATENCY_BOUNDS) + 1)
        buckets[3], buckets[-1] = n - late, late
        wrong = int(dice.binomial(n, 0.03))
        return Counts(n, wrong, tuple(buckets), n, wrong)

    return [Block(10.0 * i, 10.0 * (i + 1), counts(20), counts(60)) for i in range(number)]


def test_the_same_blocks_give_the_same_verdicts() -> None:
    blocks = [(block, i // 20) for i, block in enumerate(random_blocks(2, 80))]

    def tell(gate: Gate) -> list[Verdict]:
        verdicts = []
        for i, (block, step) in enumerate(blocks):
            gate.observe_block(block, step)
            verdicts.append(gate.judge(step, 10.0 * (i % 20)))
        return verdicts

    told = tell(Gate(RULES))
    assert told == tell(Gate(RULES))
    silent = Gate(RULES)
    for block, step in blocks:
        silent.observe_block(block, step)
    assert silent.judge(3, 190.0) == told[-1]
    assert json.loads(json.dumps(asdict(told[-1])))["kind"] == told[-1].kind


def test_blocks_of_zeros_change_no_verdict() -> None:
    gate = good(LAST, 5)
    before = gate.judge(LAST, 100)
    for _ in range(30):
        gate.observe(0, 0, 0, 0, LAST)
    assert gate.judge(LAST, 100) == before


def test_a_batch_is_judged_as_each_alone() -> None:
    dice = np.random.default_rng(4)
    batch, size, steps = Gate(RULES, 40, bounds=False), 40, np.arange(40) % 5
    alone = [Gate(RULES) for _ in range(size)]
    shares = np.linspace(0.0, 0.15, size)[:, None]
    for _ in range(25):
        trials = dice.poisson(30, (2, size, 3))
        hits = dice.binomial(trials[0], shares), dice.binomial(trials[1], 0.02)
        batch.observe(hits[0], trials[0], hits[1], trials[1], steps)
        for i, gate in enumerate(alone):
            gate.observe(hits[0][i], trials[0][i], hits[1][i], trials[1][i], int(steps[i]))
    found = batch.codes(steps, 250)
    assert found.tolist() == [
        int(gate.codes(int(steps[i]), 250)[0]) for i, gate in enumerate(alone)
    ]
    assert {Code.ADVANCE, Code.ROLL_BACK, Code.NOT_ENOUGH} <= set(found.tolist())
    odd = np.arange(size) % 2 == 1
    batch.keep(odd)
    assert (batch.codes(steps[odd], 250) == found[odd]).all()


def test_bounds_hold_the_truth_at_all_times_at_once() -> None:
    dice = np.random.default_rng(6)
    missed = 0
    for _ in range(40):
        gate = Gate(RULES)
        for _ in range(25):
            n, m = dice.poisson(15), dice.poisson(45)
            k, j = dice.binomial(n, 0.05), dice.binomial(m, 0.02)
            gate.observe(k, n, j, m, 1)
            lower, upper = gate.bounds(0, 0)
            if not lower <= 0.03 <= upper:
                missed += 1
                break
    assert missed <= 2
    assert -0.1 < lower < upper < 0.3


@pytest.mark.parametrize(
    ("numbers", "step", "line"),
    [
        ((-1, 5, 0, 5), 0, "0 or more"),
        ((float("nan"), 5, 0, 5), 0, "0 or more"),
        ((0, 5, 0, 5), 5, "from 0 to 4"),
        ((0, 5, 0, 5), -1, "from 0 to 4"),
    ],
)
def test_bad_input_is_refused(numbers: Any, step: int, line: str) -> None:
    gate = Gate(RULES)
    with pytest.raises(ValueError, match=line):
        gate.observe(numbers[0], numbers[1], numbers[2], numbers[3], step)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [(5, 100), (1,), (100,)])
@pytest.mark.parametrize("regression", [0.0001, 0.5, 1.0])
def test_no_number_of_requests_is_too_small_or_too_large(
    steps: tuple[int, ...], regression: float
) -> None:
    rules = replace(RULES, steps=steps, regression=regression, max_failures=1.0)
    for share, other in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)):
        for n, m in ((1, 1), (10**8, 10**8), (1, 10**9), (10**7, 3), (0, 50), (50, 0)):
            gate = Gate(rules)
            for _ in range(3):
                gate.observe(int(share * n), n, int(other * m), m, 0)
            json.dumps(asdict(gate.judge(0, 100)), allow_nan=False)
            assert np.isfinite(gate.comparison.log_above).all()
            assert np.isfinite(gate.comparison.log_below).all()


def test_more_hits_than_trials_are_as_many() -> None:
    gate = Gate(RULES)
    gate.observe(5, 3, 0, 9, 0)
    assert gate.judge(0, 1).estimates[METRICS.index("errors")].canary == (3, 3)
