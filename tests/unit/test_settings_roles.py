"""Settings of a model's roles and of its rollout: what is taken, and what each fault says."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import SettingsError, parse
from settings.model import Model
from settings.rollout import LATENCY_BOUNDS, Rollout
from settings.types import duration_seconds

from .test_settings import BASE, ROOT, churn, faults

SHARE = "is not a share from 0.0001 to 1"
STEPS = "is not a list of rising whole percentages from 1 to 100, as in [5, 25, 100]"
TIME = "is not a time such as 500ms, 90s, 10m or 2h"
KINDS = "takes one of promql, webhook and approval: true, not"
BOUNDS = ", ".join(f"{bound * 1000:g}ms" for bound in LATENCY_BOUNDS)
KEYS = (
    "gates, interval, max_error_rate, max_p95, max_regression, on_change, patience, predictions, "
    "rollback_window, steps, without_evidence"
)
OPEN = {"name": "a", "approval": True}
CALL = {"name": "a", "webhook": "https://gate.example/"}
QUERY = {"name": "a", "promql": "up", "max": 1}


def model(**keys: Any) -> Model:
    return parse({**BASE, **churn(**keys)}).models["churn"]


def told(rollout: Any, line: str) -> None:
    assert faults(**churn(rollout=rollout)) == [f"slipway:models.churn.rollout{line}"]


@pytest.mark.parametrize(
    "keys, line",
    [
        ({"previous": 1}, "previous: 1 is the stable version too; a previous is another one"),
        (
            {"previous": 2, "canary": {"version": 2}},
            "previous: 2 is the canary version too; a previous is another one",
        ),
        (
            {"shadow": {"version": 1}},
            "shadow.version: 1 is the stable version too; a shadow is another one",
        ),
        (
            {"shadow": {}},
            "shadow.version: is not set; it takes a version of the model in the registry",
        ),
        (
            {"shadow": {"version": 2, "percent": 0}},
            "shadow.percent: 0 is not a whole percentage from 1 to 100",
        ),
        (
            {"floors": {"x": 3}},
            'floors.x: "x" is not a version: a whole number from 1 to 2147483647; '
            "resolve an alias to its version first (MLflow's get_model_version_by_alias)",
        ),
        (
            {"floors": {"1": 0}},
            "floors.1: 0 is not a whole number of replicas from 1 to 500",
        ),
        ({"floors": 3}, "floors: 3 is not an object"),
        ({"sticky": {}}, "sticky: {} takes one of header and cookie"),
        ({"sticky": {"ttl": "1h"}}, 'sticky: {"ttl": "1h"} takes one of header and cookie'),
        (
            {"sticky": {"header": "x-user", "cookie": "ab"}},
            'sticky: {"header": "x-user", "cookie": "ab"} takes one of header and cookie',
        ),
        (
            {"sticky": {"header": "x-user", "ttl": "1h"}},
            'sticky: {"header": "x-user", "ttl": "1h"} has a ttl, which belongs to a cookie',
        ),
        (
            {"sticky": {"header": "x-canary"}},
            'sticky.header: "x-canary" names no client; take a header of yours, such as x-user',
        ),
        (
            {"sticky": {"header": "X-User"}},
            'sticky.header: "X-User" is not a header\'s name in lower case',
        ),
        ({"sticky": {"cookie": "a b"}}, 'sticky.cookie: "a b" is not a cookie\'s name'),
        ({"sticky": {"cookie": "ab", "ttl": "1"}}, f'sticky.ttl: "1" {TIME}'),
    ],
)
def test_a_bad_role_is_one_line(keys: dict[str, Any], line: str) -> None:
    assert faults(**churn(**keys)) == [f"slipway:models.churn.{line}"]


def test_a_role_that_is_taken_is_told_beside_other_faults() -> None:
    weight = "slipway:models.churn.canary.weight: 110 is not a whole percentage from 0 to 100"
    line = "slipway:models.churn.previous: 2 is the canary version too; a previous is another one"
    assert faults(**churn(canary={"version": 2, "weight": 110}, previous=2)) == [weight, line]


def test_a_version_may_be_a_shadow_besides_another_role() -> None:
    both = model(canary={"version": 2}, shadow={"version": 2, "percent": 5})
    assert both.versions == (1, 2)
    assert both.roles == {"stable": 1, "canary.version": 2, "shadow.version": 2}
    assert model(previous=2, shadow={"version": 2}).versions == (1, 2)


def test_every_role_has_a_server_stable_first() -> None:
    found = model(stable=3, canary={"version": 4}, previous=2, shadow={"version": 5})
    assert found.versions == (3, 4, 2, 5)
    assert found.roles == {"stable": 3, "canary.version": 4, "previous": 2, "shadow.version": 5}


def test_sticky() -> None:
    by_header, by_cookie = (
        model(sticky=keys).sticky for keys in ({"header": "x-user"}, {"cookie": "ab"})
    )
    assert by_header is not None and by_header.header == "x-user" and by_header.cookie is None
    assert by_cookie is not None and by_cookie.cookie == "ab" and by_cookie.ttl == "24h"


@pytest.mark.parametrize(
    "steps, shown",
    [
        ([10, 5], "[10, 5]"),
        ([5, 5], "[5, 5]"),
        ([], "[]"),
        ([0, 5], "[0, 5]"),
        ([50, 101], "[50, 101]"),
        (["5"], '["5"]'),
        ([True], "[true]"),
        ([2.5], "[2.5]"),
        (5, "5"),
    ],
)
def test_steps_that_do_not_rise(steps: object, shown: str) -> None:
    told({"steps": steps}, f".steps: {shown} {STEPS}")


@given(st.sets(st.integers(1, 100), min_size=1))
def test_every_rising_list_is_one_of_steps(steps: set[int]) -> None:
    assert model(rollout={"steps": sorted(steps)}).rollout.steps == sorted(steps)


@pytest.mark.parametrize(
    "rollout, line",
    [
        (5, f": 5 is not an object of {KEYS}"),
        ({"stps": [5]}, f".stps: is not a known key; did you mean steps? (known: {KEYS})"),
        ({"interval": "1"}, f'.interval: "1" {TIME}'),
        ({"rollback_window": 10}, f".rollback_window: 10 {TIME}"),
        ({"patience": "30s"}, '.patience: "30s" is less than the interval of 60s'),
        ({"interval": "3h"}, '.patience: "2h" is less than the interval of 3h'),
        ({"max_p95": "3s"}, f'.max_p95: "3s" is no bound of the latency buckets ({BOUNDS})'),
        ({"max_p95": "fast"}, f'.max_p95: "fast" {TIME}'),
        ({"max_error_rate": 0}, f".max_error_rate: 0 {SHARE}"),
        ({"max_error_rate": 1.5}, f".max_error_rate: 1.5 {SHARE}"),
        ({"max_regression": "3"}, f'.max_regression: "3" {SHARE}'),
        ({"without_evidence": "go"}, '.without_evidence: "go" is not one of roll back or pause'),
        ({"on_change": "go"}, '.on_change: "go" is not one of stop or go on'),
        (
            {"predictions": {"percent": 0}},
            ".predictions.percent: 0 is not a whole percentage from 1 to 100",
        ),
        ({"predictions": {"max_disagreement": 2}}, f".predictions.max_disagreement: 2 {SHARE}"),
        ({"predictions": {"max_psi": "x"}}, '.predictions.max_psi: "x" is not a number'),
        ({"predictions": {"max_psi": True}}, ".predictions.max_psi: true is not a number"),
        ({"gates": {}}, ".gates: {} is not a list"),
        (
            {"gates": [1]},
            ".gates[0]: 1 is not an object of approval, before, max, min, name, promql, then, "
            "webhook",
        ),
    ],
)
def test_a_bad_rollout_is_one_line(rollout: Any, line: str) -> None:
    told(rollout, line)


@pytest.mark.parametrize(
    "gate, line",
    [
        ({"name": "a"}, f'.name: "a" {KINDS} none'),
        ({"name": "a", "approval": False}, f'.name: "a" {KINDS} none'),
        (OPEN | CALL, f'.name: "a" {KINDS} webhook and approval'),
        (QUERY | CALL, f'.name: "a" {KINDS} promql and webhook'),
        ({"name": "a", "promql": "up"}, '.name: "a" has a promql without max or min'),
        (OPEN | {"max": 1}, '.name: "a" has a max or min, which belong to a promql'),
        (CALL | {"min": 0}, '.name: "a" has a max or min, which belong to a promql'),
        (QUERY | {"max": "1"}, '.max: "1" is not a number'),
        (QUERY | {"max": float("nan")}, ".max: NaN is not a number"),
        (OPEN | {"name": "A"}, ".name: \"A\" is not a name of a-z, 0-9 and '-'"),
        (
            CALL | {"webhook": "gate"},
            '.webhook: "gate" is not a URL such as https://gate.example/churn',
        ),
        (
            OPEN | {"then": "roll back"},
            '.then: "roll back" would roll back until somebody approves; an approval holds, and '
            "`slipway rollback` rolls back",
        ),
        (
            QUERY | {"min": 2},
            ".max: 1.0 is less than the min of 2, so no number would do",
        ),
        (
            OPEN | {"name": "predictions"},
            '.name: "predictions" is the name of the built-in check of predictions; take another',
        ),
        (OPEN | {"then": "wait"}, '.then: "wait" is not one of hold or roll back'),
        (OPEN | {"before": "x"}, '.before: "x" is not one of each step or promotion'),
        (
            OPEN | {"promqls": "up"},
            ".promqls: is not a known key; did you mean promql? "
            "(known: approval, before, max, min, name, promql, then, webhook)",
        ),
    ],
)
def test_a_bad_gate_is_one_line(gate: dict[str, Any], line: str) -> None:
    told({"gates": [gate]}, f".gates[0]{line}")


def test_two_gates_of_one_name() -> None:
    shown = '[{"name": "a", "approval": true}, {"name": "a", "approval": true}]'
    told({"gates": [OPEN, OPEN]}, f".gates: {shown} has two gates called a")


def test_gates_that_are_good() -> None:
    gates = [OPEN, CALL | {"name": "b"}, {"name": "c", "promql": "up", "min": 0, "max": 0}]
    found = model(rollout={"gates": gates}).rollout.gates
    assert [gate.name for gate in found] == ["a", "b", "c"]
    assert {gate.before for gate in found} == {"each step"} and {gate.then for gate in found} == {
        "hold"
    }
    assert (found[2].min, found[2].max) == (0.0, 0.0)


def test_a_rollout_by_default() -> None:
    assert model().rollout.model_dump() == {
        "steps": [5, 10, 25, 50, 100],
        "interval": "60s",
        "patience": "2h",
        "without_evidence": "roll back",
        "max_error_rate": 0.05,
        "max_p95": "1s",
        "max_regression": 0.03,
        "on_change": "stop",
        "rollback_window": "10m",
        "gates": [],
        "predictions": None,
    }
    checked = model(rollout={"predictions": {}}).rollout.predictions
    assert checked is not None and checked.model_dump() == {
        "percent": 10, "max_disagreement": 0.05, "max_psi": 0.2,
    }  # fmt: skip


@given(st.sampled_from(LATENCY_BOUNDS))
def test_every_bound_can_be_the_objective(bound: float) -> None:
    assert duration_seconds(Rollout(max_p95=f"{bound * 1000:g}ms").max_p95) == bound


def test_a_bound_is_known_by_its_length_however_it_is_written() -> None:
    assert [Rollout(max_p95=text).max_p95 for text in ("250ms", "0.25s", "1s", "1000ms")]


def test_the_bounds_are_those_that_the_servers_count_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "serving_image"))
    from slipway_runtime.metrics import LATENCY_BUCKETS

    assert LATENCY_BOUNDS == LATENCY_BUCKETS
    assert "slipway_runtime.metrics" in sys.modules


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_whatever_stands_there_is_taken_or_told(value: Any) -> None:
    for key in ("previous", "shadow", "sticky", "rollout"):
        try:
            parse({**BASE, **churn(**{key: value})})
        except SettingsError as error:
            assert error.faults
            assert all(line.startswith(f"slipway:models.churn.{key}") for line in error.faults)
