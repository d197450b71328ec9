"""What is said of versions that may sleep, and of traces, beyond what the recordings have."""

from __future__ import annotations

from typing import Any

import pytest

from review import sleep
from review.platform import of_platform
from review.preview import State, Step
from review.roles import Scaling
from review.words import plain

URN = "urn:pulumi:dev::slipway::"


def asleep(least: int = 0, idle: int | None = 300) -> Scaling:
    return Scaling("ScaledObject", least, 4, {}, idle)


def holder(*env: dict[str, Any], op: str = "same") -> Step:
    urn = f"{URN}slipway:index:Activator$kubernetes:apps/v1:Deployment::activator-deployment"
    containers = [{"env": list(env)}]
    state = State({"spec": {"template": {"spec": {"containers": containers}}}})
    return Step(op, urn, state, None if op == "delete" else state)


@pytest.mark.parametrize(
    ("old", "new", "waits", "said"),
    [
        (asleep(), asleep(), (60, 60), []),
        (asleep(2, None), asleep(3, None), (None, None), []),
        (asleep(1), asleep(0), (60, 60), ["may sleep again"]),
        (asleep(0), asleep(2), (60, 60), ["kept awake by at least 2 pods"]),
        (
            asleep(),
            asleep(idle=90),
            (60, 60),
            ["may sleep after 90 s without a request instead of 5 min"],
        ),
        (
            asleep(2, None),
            asleep(),
            (None, None),
            [
                "may sleep after 5 min without a request, and the next one waits for a pod (switch "
                "in a quiet moment: docs/scale-to-zero.md)"
            ],
        ),
        (asleep(), asleep(), (60, None), []),
    ],
)
def test_how_a_version_sleeps(
    old: Scaling, new: Scaling, waits: tuple[int | None, int | None], said: list[str]
) -> None:
    assert [plain(line) for line in sleep.changes(old, new, *waits)] == said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"churn-v1": {"seconds": 90}}', {"churn-v1": 90}),
        ('{"churn-v1": {"seconds": "90"}, "churn-v2": 4}', {}),
        ("[]", {}),
        ("{", {}),
    ],
)
def test_how_long_a_request_waits(text: str, found: dict[str, int]) -> None:
    step = holder({"name": "PORT", "value": "1"}, {"name": "SERVERS", "value": text})
    assert sleep.waits([step]) == (found, found)


def test_who_holds_requests_may_come_go_or_not_be_there() -> None:
    told = {"name": "SERVERS", "value": '{"churn-v1": {"seconds": 90}}'}
    assert sleep.waits([holder(told, op="delete")]) == ({"churn-v1": 90}, {})
    assert sleep.waits([holder()]) == ({}, {})
    assert sleep.waits([]) == ({}, {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (1.0, 5, "5 % of requests are traced instead of 1 %"),
        (None, 0.5, "0.5 % of requests are traced"),
        (5, None, "no request is traced any more"),
        (5, 5.0, ""),
    ],
)
def test_how_much_is_traced(old: float | None, new: float | None, said: str) -> None:
    before, after = (
        None
        if share is None
        else State({"spec": {"tracing": [{"randomSamplingPercentage": share}]}})
        for share in (old, new)
    )
    op = "create" if before is None else "delete" if after is None else "update"
    urn = f"{URN}kubernetes:telemetry.istio.io/v1:Telemetry::mesh-tracing-telemetry"
    (line,) = of_platform([Step(op, urn, before, after)], [])
    assert plain(line).partition(": 1 ")[2].partition("; ")[2] == said
