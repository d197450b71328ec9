"""The canary's weight: what the gateway makes of it, and changing it under load."""

from __future__ import annotations

import json
import time
from collections import Counter

from scipy.stats import binom  # type: ignore[import-untyped]

from tests.e2e.harness import Load, Walk, send, until

REQUESTS = 2000
ONE_ROW = json.dumps(
    {
        "dataframe_split": {
            "columns": [
                "age",
                "tenure_months",
                "plan",
                "contract",
                "payment",
                "monthly_charge",
                "monthly_gigabytes",
                "support_calls",
                "late_payments",
                "satisfaction",
            ],
            "data": [[29, 3, "basic", "monthly", "invoice", 19.9, 12.5, 4, 2, 1.8]],
        }
    }
).encode()


def assert_split(answered: Counter[str], weight: int) -> None:
    """The canary's share is what a fair draw at `weight` gives in 999 of 1,000 runs."""
    assert set(answered) == {"1", "2"}
    low, high = binom.interval(0.999, answered.total(), weight / 100)
    assert low <= answered["2"] <= high, f"{answered} at {weight} %: not in {low:.0f}-{high:.0f}"


def steps(walk: Walk) -> list[tuple[str, str, str]]:
    """What a preview would do: operation, type and name of each resource that does not stay."""
    plan = json.loads(walk.pulumi("preview", "--json").out)
    changes = [step for step in plan["steps"] if step["op"] != "same"]
    counted = sum(count for op, count in plan["changeSummary"].items() if op != "same")
    assert counted == len(changes), plan["changeSummary"]
    found = []
    for step in changes:
        kind, name = step["urn"].split("::")[-2:]
        found.append((step["op"], kind.rsplit("$", 1)[-1], name))
    return found


ROUTE = ("update", "kubernetes:networking.istio.io/v1:VirtualService", "churn-virtual-service")


def test_split_at_10(walk: Walk) -> None:
    """One request in ten goes to the canary."""
    if walk.weight() != 10:
        walk.set_weight(10)
        walk.deploy()
    assert_split(send(REQUESTS, ONE_ROW), 10)


def test_shift_to_25_under_load(walk: Walk) -> None:
    """A new weight is one changed resource, takes seconds, and loses no request."""
    assert walk.weight() == 10
    before = walk.pods(1) | walk.pods(2)
    walk.set_weight(25)
    assert steps(walk) == [ROUTE]
    shown = walk.pulumi("preview", "--diff").text
    assert shown.count(": (update)") == 1, shown
    with Load() as load:
        time.sleep(2)
        done = walk.deploy()
        time.sleep(3)
    walk.note(f"pulumi up, weight alone, under load: {done.seconds:.1f} s")
    load.assert_no_failure()
    assert set(load.versions()) == {"1", "2"}
    assert "1 updated" in done.out and "created" not in done.out, done.out
    served = json.loads(walk.pulumi("stack", "output", "--json").out)["models"]["churn"]
    assert served["weight"] == 25
    after = walk.pods(1) | walk.pods(2)
    for name in before.keys() & after.keys():
        assert before[name]["metadata"]["uid"] == after[name]["metadata"]["uid"]
    assert len(before.keys() & after.keys()) >= 4, "the shift replaced pods"


def test_split_at_25(walk: Walk) -> None:
    """One request in four goes to the canary."""
    assert walk.weight() == 25
    assert_split(send(REQUESTS, ONE_ROW), 25)


def test_all_or_nothing(walk: Walk) -> None:
    """At 100 and at 0 one version answers everything, and the header still finds the canary."""
    try:
        with Load() as load:
            for weight, version in ((100, "2"), (0, "1")):
                walk.set_weight(weight)
                walk.deploy()
                until("the new weight", lambda: set(send(20)) == {version}, 10)  # noqa: B023
                assert send(100) == {version: 100}
                assert send(20, headers={"x-canary": "true"}) == {"2": 20}
        load.assert_no_failure()
    finally:
        walk.set_weight(25)
        walk.deploy()
