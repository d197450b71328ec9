"""The settings of autoscaling: their defaults, and each fault as its line."""

from __future__ import annotations

from typing import Any

import pytest

from settings import SettingsError, parse
from settings.scaling import Keda, ScaleDown, ScaleUp, Scaling, needs_keda


def lines(scaling: Any) -> list[str]:
    models = {"churn": {"stable": 1, "scaling": scaling}}
    try:
        parse({"context": "test", "registry": "registry.test", "models": models})
    except SettingsError as error:
        return [line.removeprefix("slipway:models.churn.scaling") for line in error.faults]
    return []


def test_the_defaults() -> None:
    assert Scaling().model_dump() == {
        "min": 2,
        "max": 10,
        "cpu": 70,
        "memory": 80,
        "requests_per_second": None,
        "fallback": None,
        "idle": "5m",
        "cold_start": "60s",
        "up": {"stabilization": "0s", "percent": 100, "pods": 2, "period": "30s"},
        "down": {"stabilization": "5m", "percent": 50, "pods": None, "period": "60s"},
    }


@pytest.mark.parametrize(
    "scaling",
    [
        {},
        {"min": 10},
        {"min": 2, "max": 2},
        {"min": 500, "max": 500},
        {"min": 0, "requests_per_second": 5},
        {"min": 0, "requests_per_second": 5, "idle": "30s", "cold_start": "4m", "fallback": 1},
        {"min": 0, "requests_per_second": 5, "idle": "24h", "cold_start": "5s", "max": 2},
        {"requests_per_second": 0.01},
        {"requests_per_second": 100, "fallback": 2},
        {"requests_per_second": 100, "fallback": 10},
        {"up": {"pods": 4}, "down": {"percent": None, "pods": 1, "stabilization": "1h"}},
        {"up": {"percent": None}, "down": {"percent": 100, "period": "30m"}},
    ],
)
def test_what_is_allowed(scaling: dict[str, Any]) -> None:
    assert lines(scaling) == []


@pytest.mark.parametrize(
    ("scaling", "line"),
    [
        ({"min": 5, "max": 3}, ".max: 3 is less than the min of 5"),
        ({"min": 11}, ".max: 10 is less than the min of 11"),
        ({"min": 1}, ".min: 1 is not a whole number of replicas from 2 to 500, or 0"),
        ({"min": False}, ".min: false is not a whole number of replicas from 2 to 500, or 0"),
        ({"min": 0}, ".min: 0 needs requests_per_second beside it: CPU and memory wake nobody"),
        ({"idle": "5m"}, '.idle: "5m" needs min: 0 beside it'),
        ({"min": 2, "cold_start": "30s"}, '.cold_start: "30s" needs min: 0 beside it'),
        (
            {"min": 0, "requests_per_second": 5, "idle": "29s"},
            '.idle: "29s" is not a time from 30s to 24h, as in 5m',
        ),
        (
            {"min": 0, "requests_per_second": 5, "cold_start": "241s"},
            '.cold_start: "241s" is not a time from 5s to 4m, as in 60s',
        ),
        ({"min": 1, "idle": "5m"}, ".min: 1 is not a whole number of replicas from 2 to 500, or 0"),
        ({"max": 501}, ".max: 501 is not a whole number of replicas from 2 to 500"),
        ({"fallback": 3}, ".fallback: 3 needs requests_per_second beside it"),
        (
            {"requests_per_second": 10, "fallback": 11},
            ".fallback: 11 is not between the min of 2 and the max of 10",
        ),
        (
            {"requests_per_second": 10, "fallback": 3, "min": 4},
            ".fallback: 3 is not between the min of 4 and the max of 10",
        ),
        (
            {"requests_per_second": 0, "fallback": 3},
            ".requests_per_second: 0 is not a number of requests a second from 0.01 to 1000000",
        ),
        (
            {"requests_per_second": "100"},
            '.requests_per_second: "100" is not a number of requests a second from 0.01 to 1000000',
        ),
        (
            {"up": {"percent": None, "pods": None}},
            '.up: {"percent": null, "pods": null} takes percent or pods, or both',
        ),
        ({"down": {"percent": None}}, '.down: {"percent": null} takes percent or pods, or both'),
        ({"down": {"percent": 0}}, ".down.percent: 0 is not a whole percentage from 1 to 1000"),
        ({"up": {"pods": 0}}, ".up.pods: 0 is not a whole number of replicas from 1 to 500"),
        ({"up": {"period": "45m"}}, '.up.period: "45m" is not a time from 1s to 30m, as in 90s'),
        (
            {"down": {"stabilization": "2h"}},
            '.down.stabilization: "2h" is not a time from 0s to 1h, as in 90s',
        ),
        (
            {"up": {"policy": "Min"}},
            ".up.policy: is not a known key (known: percent, period, pods, stabilization)",
        ),
    ],
)
def test_what_is_refused(scaling: dict[str, Any], line: str) -> None:
    assert lines(scaling) == [line]


def test_every_fault_has_its_line() -> None:
    assert lines({"min": 5, "max": 3, "fallback": 4, "cpu": 0}) == [
        ".max: 3 is less than the min of 5",
        ".cpu: 0 is not a whole percentage from 1 to 100",
        ".fallback: 4 needs requests_per_second beside it",
    ]


def test_keda_is_needed_where_one_scales_by_requests() -> None:
    plain, by_requests = Scaling(), Scaling(requests_per_second=5)
    assert not needs_keda([])
    assert not needs_keda([plain, plain])
    assert needs_keda([plain, by_requests])


def test_a_pace_of_pods_alone() -> None:
    assert ScaleUp(percent=None).pods == 2
    assert ScaleDown(percent=None, pods=1).percent is None


def test_kedas_images_are_of_one_version() -> None:
    keda = Keda()
    assert keda.operator.rpartition(":")[2] == keda.adapter.rpartition(":")[2]
