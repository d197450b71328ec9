"""Simulated rollouts: the goals, the faults, Flagger's rule, recorded series, and the forecast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollout.judge.codes import Code
from rollout.judge.evidence import Block, Counts
from rollout.judge.gate import Gate
from rollout.judge.rules import Rules
from rollout.simulation.flagger import Flagger
from rollout.simulation.forecast import forecast
from rollout.simulation.simulate import Ends, main_table, render, simulate
from rollout.simulation.world import Incident, Series, Stretch, World
from settings.rollout import LATENCY_BOUNDS, Rollout

RULES = replace(Rules.of(Rollout()), patience=7200.0)
BAD = RULES.regression


def ends(world: World, rollouts: int = 300, rules: Rules = RULES, seed: int = 5) -> Ends:
    return simulate(world, Gate(rules, rollouts, bounds=False), rules.steps, rollouts, seed)


@pytest.mark.parametrize(("rate", "errors"), [(1.0, 0.01), (10.0, 0.01), (10.0, 0.001)])
def test_the_goals(rate: float, errors: float) -> None:
    kept = ends(World(rate, errors), 2000)
    assert 1 - kept.share(Code.ADVANCE) <= 0.01
    stopped = ends(World(rate, errors, more_errors=BAD), 2000)
    assert stopped.share(Code.ADVANCE) <= 0.01
    # It is found, not waited for.
    assert stopped.share(Code.ROLL_BACK) > 0.9
    assert np.median(kept.seconds) <= {1.0: 45 * 60, 10.0: 7 * 60}[rate]


def test_the_goals_with_three_percent_of_errors() -> None:
    assert ends(World(10, 0.03), 1000).share(Code.ADVANCE) > 0.99
    assert ends(World(10, 0.03, more_errors=BAD), 1000).share(Code.ADVANCE) <= 0.01


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_version_that_turns_bad_late_is_stopped(step: int) -> None:
    assert ends(World(10, more_errors=BAD, from_step=step), 1000).share(Code.ADVANCE) <= 0.01


def test_a_version_that_fails_always_is_stopped_within_seconds() -> None:
    end = ends(World(10, more_errors=0.99))
    assert (end.code == Code.ROLL_BACK).all()
    assert np.quantile(end.seconds, 0.9) <= 30


def test_slow_versions_are_stopped() -> None:
    end = ends(World(10, more_slow=BAD))
    assert end.share(Code.ROLL_BACK) > 0.98


@pytest.mark.parametrize(
    "fault",
    [
        {"gaps": (Stretch(100, 120),)},
        {"resets": 0.2},
        {"stops": (Stretch(90, 600),)},
        {"drift": 0.9},
        {"incidents": (Incident(120, 300, 0.1),)},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_faults_of_all_decide_nothing_about_the_canary(fault: dict[str, Any]) -> None:
    assert ends(World(10, **fault)).share(Code.ADVANCE) > 0.98
    assert ends(World(10, more_errors=BAD, **fault)).share(Code.ADVANCE) <= 0.01


@pytest.mark.parametrize("fault", ["gaps", "stops"])
def test_endless_silence_ends_for_want_of_evidence(fault: str) -> None:
    world: Any = {fault: (Stretch(30, 1e9),)}
    end = ends(World(10, **world), 50)
    assert (end.code == Code.WANT_OF_EVIDENCE).all()
    assert (end.seconds >= RULES.patience).all()
    assert (end.seconds <= RULES.patience + RULES.interval).all()


def test_a_seed_gives_the_same_rollouts_again() -> None:
    one, same, other = (ends(World(10), 50, seed=seed) for seed in (1, 1, 2))
    assert (one.seconds == same.seconds).all()
    assert (one.step_seconds == same.step_seconds)[~np.isnan(one.step_seconds)].all()
    assert (one.seconds != other.seconds).any()
    assert (np.nansum(one.step_seconds, axis=1)[one.code == Code.ADVANCE]
            == one.seconds[one.code == Code.ADVANCE]).all()  # fmt: skip


class Checked:
    """A Flagger fed by hand: one rollout, a block of (failures, requests) a check."""

    def __init__(self, **settings: Any) -> None:
        self.flagger = Flagger(1, interval=10.0, **settings)

    def check(self, failures: int, requests: int, silent: bool = False) -> Code:
        hits, trials = np.full((1, 3), float(failures)), np.full((1, 3), float(requests))
        self.flagger.observe(hits, trials, hits * 0, trials * 0, 0)
        return Code(self.flagger.codes(0, 0, silent=np.array([silent]))[0])


def test_flagger_advances_at_each_check_that_passes() -> None:
    checked = Checked()
    assert checked.check(1, 100) is Code.ADVANCE
    assert checked.check(2, 100) is Code.HOLD
    assert Checked(min_success=95.0).check(5, 100) is Code.ADVANCE


def test_flagger_counts_failed_checks_over_the_whole_analysis() -> None:
    checked = Checked()
    for _ in range(5):
        assert checked.check(50, 100) is Code.HOLD
        if _ < 4:
            assert checked.check(0, 100) is Code.ADVANCE
    assert checked.check(0, 100) is Code.ROLL_BACK


def test_flagger_counts_no_value_as_a_failed_check() -> None:
    checked = Checked()
    assert [checked.check(0, 0) for _ in range(3)] == [Code.HOLD] * 3
    assert [checked.check(0, 100, silent=True) for _ in range(2)] == [Code.HOLD] * 2
    assert checked.check(0, 100) is Code.ROLL_BACK


def test_flagger_looks_once_an_interval_at_the_last_interval() -> None:
    flagger = Flagger(1, interval=60.0)
    codes = []
    for block in range(12):
        failures = np.full((1, 3), 1.0 if block < 6 else 0.0)
        flagger.observe(failures, np.full((1, 3), 10.0), failures, failures, 0)
        codes.append(int(flagger.codes(0, 0, silent=np.array([False]))[0]))
    assert codes == [Code.HOLD] * 11 + [Code.ADVANCE]


def test_the_table_has_every_rule_for_every_case() -> None:
    told = []
    found = main_table(60, rates=(10.0,), seed=3, rules=RULES,
                       progress=lambda line, share: told.append((line, share)))  # fmt: skip
    assert told == [("good at 10 requests/s", 0.0),
                    ("+3 points of errors at 10 requests/s", 0.5)]  # fmt: skip
    rows = found["rows"]
    assert [(each["rule"], each["version"]) for each in rows] == [
        (rule, version)
        for version in ("good", "+3 points of errors")
        for rule in ("slipway", "flagger, success ≥ 99 %", "flagger, success ≥ 95 %")
    ]
    for each in rows:
        whole = each["promoted"] + each["rolled_back"] + each["want_of_evidence"]
        assert whole == pytest.approx(1)
    lines = render(rows).splitlines()
    assert len(lines) == 7
    assert lines[1].split()[:4] == ["good", "10", "1", "%"]


def test_a_recorded_series_sets_traffic_and_shares(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    lines = [f"{10 * i},{200 if i < 50 else 50},{4 if i < 50 else 1},0" for i in range(100)]
    path.write_text("seconds,requests,errors,slow\n" + "\n".join(lines) + "\n")
    series = Series.read(path)
    expected, errors, slow = World(series=series).traffic(0.0, 10.0, np.array([0.1, 0.9]))
    assert expected.tolist() == [200, 50]
    assert errors == pytest.approx(0.02)
    assert slow.tolist() == [0, 0]
    assert ends(World(series=series)).share(Code.ADVANCE) > 0.98
    assert ends(World(series=series, more_errors=BAD)).share(Code.ADVANCE) <= 0.01


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seconds,requests\n0,1\n10,1\n", "the first line is not seconds,requests,errors,slow"),
        ("seconds,requests,errors,slow\n0,1,0,0\n10,x,0,0\n", ":3: is not four numbers"),
        ("seconds,requests,errors,slow\n0,1,0,0\n10,1\n", ":3: is not four numbers"),
        ("seconds,requests,errors,slow\n0,1,0,0\n", "fewer than two lines"),
        ("seconds,requests,errors,slow\n0,1,0,0\n10,nan,0,0\n", "fewer than two lines, or numbers"),
        ("seconds,requests,errors,slow\n0,1,2,0\n10,1,0,0\n", "more errors or slow ones"),
        ("seconds,requests,errors,slow\n0,1,0,0\n10,1,0,0\n15,1,0,0\n", "not equally long"),
        ("seconds,requests,errors,slow\n0,0,0,0\n10,0,0,0\n", "holds no requests"),
    ],
)
def test_a_bad_series_is_refused_by_name(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "series.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=line):
        Series.read(path)


def test_a_journals_blocks_are_replayed() -> None:
    buckets = (0,) * LATENCY_BOUNDS.index(1.0) + (190, 10) + (0,) * 5
    stable = Counts(200, 6, buckets[: len(LATENCY_BOUNDS) + 1], 200, 6)
    canary = Counts(20, 20, (0,) * (len(LATENCY_BOUNDS) + 1), 20, 20)
    blocks = [Block(10.0 * i, 10.0 * (i + 1), canary, stable) for i in range(30)]
    series = Series.of_blocks(blocks, 1.0)
    assert (series.seconds, series.rate[0]) == (10.0, 22.0)
    assert series.errors == pytest.approx(0.03)
    assert series.slow == pytest.approx(0.05)
    with pytest.raises(ValueError, match="no blocks"):
        Series.of_blocks([], 1.0)


def test_the_forecast_of_a_schedule_that_can_do_it() -> None:
    found = forecast(RULES, 12, 0.01, 0.01, 0.01)
    assert [step for step, _, _ in found.steps] == list(RULES.steps)
    assert 300 <= found.total[0] <= 420
    assert found.total[0] <= found.total[1]
    assert found.promoted > 0.98
    assert found.caught > 0.99
    assert found.catch < 600
    assert len(found.lines) == 2
    assert found.lines[0].startswith("at 12 requests/s this schedule takes about ")
    assert "3 points more errors is stopped in more than 99 %" in found.lines[1]


def test_the_forecast_of_a_schedule_that_is_too_impatient() -> None:
    found = forecast(replace(RULES, patience=3600), 0.2, 0.01, 0.01, 0.01)
    assert found.promoted < 0.9
    assert any("patience of 60 min is too short" in line for line in found.lines)


@pytest.mark.parametrize(
    ("failures", "slow", "key"), [(0.08, 0.01, "max_error_rate"), (0.0, 0.2, "max_p95")]
)
def test_the_forecast_names_a_limit_that_stable_breaks(
    failures: float, slow: float, key: str
) -> None:
    found = forecast(RULES, 50, failures, failures, slow)
    assert found.promoted < 0.5
    assert any(line.startswith("warning: ") and key in line for line in found.lines)


def test_the_forecast_of_blue_green() -> None:
    found = forecast(replace(RULES, steps=(100,)), 5, 0.001, 0.001, 0.001)
    assert found.promoted > 0.98
    assert any("nothing is compared with stable" in line for line in found.lines)


def test_the_forecast_of_long_steps_and_of_hardly_any_traffic() -> None:
    day = forecast(replace(RULES, interval=86400.0, patience=2 * 86400.0), 10, 0.01, 0.01, 0.01)
    assert day.total[0] == pytest.approx(5 * 86400, rel=0.01)
    assert day.promoted > 0.98
    slow = forecast(RULES, 0.0005, 0.01, 0.01, 0.01)
    assert slow.promoted == 0
    assert slow.total[0] > 86400


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0.0), (float("nan"), 0.0), (1.0, 1.5)])
def test_the_forecast_refuses_what_is_no_traffic(rate: float, share: float) -> None:
    with pytest.raises(ValueError, match=r"no traffic|not from 0 to 1"):
        forecast(RULES, rate, share, 0, 0)
