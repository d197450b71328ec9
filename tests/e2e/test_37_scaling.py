"""Autoscaling by requests, under a load that doubles and doubles again: replicas follow, nobody
waits or fails, and what watches and scales may go away meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.harness import Load, Walk, until
from tests.e2e.rollouts import await_stable, register, serve, shop_load

pytestmark = pytest.mark.long
PER_REPLICA, MIN, MAX = 10, 2, 6
OBJECTIVE = 1.0
"""Seconds: 95 of 100 answers come sooner, once the first pods were added."""

SCALING = {
    "min": MIN,
    "max": MAX,
    "cpu": 100,
    "memory": 100,
    "requests_per_second": PER_REPLICA,
    "up": {"period": "15s"},
    "down": {"stabilization": "20s", "period": "15s"},
}


@pytest.fixture(scope="module", autouse=True)
def scaled(walk: Walk) -> Iterator[None]:
    """The model `shop`, scaled by requests; gone at the end, and KEDA with it."""
    register(walk)
    # `up`, not Pulumi alone, brings what the first model that asks for it needs.
    serve(
        walk,
        {"scaling": SCALING, "resources": {"cpu": "50m", "memory": "384Mi"}},
        deploy=lambda: walk.local("up", seconds=400),
    )
    await_stable(walk)
    yield
    walk.pulumi("config", "rm", "--path", "slipway:models.shop", check=False)
    walk.deploy()
    assert not walk.objects("pods", "keda"), "nobody scales by requests, and KEDA is there still"


def replicas(walk: Walk) -> tuple[int, int]:
    """How many servers `shop` is to have, and how many are ready."""
    (deployment,) = walk.objects("deployments", "models", "slipway.dev/model=shop")
    return deployment["spec"]["replicas"], deployment["status"].get("readyReplicas", 0)


def ready(walk: Walk, count: int) -> Callable[[], bool]:
    """Whether there are `count` of them, all ready."""
    return lambda: replicas(walk) == (count, count)


def never_fewer(walk: Walk, count: int, seconds: float) -> None:
    """Fail if there is a server less than `count` within the next `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = replicas(walk)
        assert min(found) >= count, f"{found} of {count} replicas"
        time.sleep(2)


def p95(load: Load, since: float) -> float:
    """Seconds within which 95 % of the requests sent after `since` were answered."""
    return statistics.quantiles((a.seconds for a in load.answers if a.at >= since), n=20)[-1]


def test_replicas_follow_the_load_and_outlive_what_counts_it(walk: Walk) -> None:
    """15, 30, 60 requests a second and back; Prometheus and metrics-server away in between."""
    until("a ScaledObject that is ready", lambda: scaled_object(walk) == "True", 60, 2)
    until("the least replicas", ready(walk, MIN), 90, 2)
    began = time.monotonic()
    times = {}
    with shop_load(per_second=15) as load:
        time.sleep(8)
        load.per_second = 30
        doubled = time.monotonic()
        until("more replicas for twice the load", lambda: replicas(walk)[1] > MIN, 120, 1)
        added = time.monotonic()
        times["twice the load to the first new server"] = added - doubled
        load.per_second = 60
        doubled = time.monotonic()
        until("the most replicas for four times the load", ready(walk, MAX), 150, 1)
        times["four times the load to all servers"] = time.monotonic() - doubled
        # An update in the middle of it all has nothing to say of replicas.
        walk.pulumi("preview", "--expect-no-changes")
        walk.deploy()
        assert replicas(walk)[0] == MAX
        steady = time.monotonic()

        scale = ["scale", "deployment", "-n", "monitoring", "prometheus"]
        walk.kubectl(*scale, "--replicas=0")
        try:
            load.per_second = 10
            never_fewer(walk, MAX, 35)
        finally:
            walk.kubectl(*scale, "--replicas=1")
        metrics_server = walk.process("metrics-server")
        assert metrics_server
        os.kill(metrics_server, signal.SIGSTOP)
        try:
            never_fewer(walk, MAX, 25)
        finally:
            os.kill(metrics_server, signal.SIGCONT)
        fell = time.monotonic()
        until("the least replicas again", ready(walk, MIN), 240, 2)
        times["all is back to the least servers"] = time.monotonic() - fell
        time.sleep(5)
    load.assert_no_failure()
    slow = p95(load, added)
    assert slow < OBJECTIVE, f"p95 of {slow:.3f} s after the first scale-up"
    walk.note(
        f"scaling by requests: {len(load.answers)} requests in {time.monotonic() - began:.0f} s, "
        f"none failed; p95 {1000 * p95(load, 0):.0f} ms, after the first scale-up "
        f"{1000 * slow:.0f} ms, with all servers {1000 * p95(load, steady):.0f} ms"
    )
    walk.note("scaling: " + ", ".join(f"{what} {took:.0f} s" for what, took in times.items()))


def scaled_object(walk: Walk) -> str:
    """Whether KEDA says that it scales `shop`."""
    (found,) = walk.objects("scaledobjects", "models", "slipway.dev/model=shop")
    conditions = {it["type"]: it["status"] for it in found.get("status", {}).get("conditions", [])}
    return str(conditions.get("Ready"))


def test_a_drain_is_never_blocked(walk: Walk) -> None:
    """Each budget lets one pod go at any time."""
    budgets = json.loads(walk.kubectl("get", "pdb", "-n", "models", "-o", "json").out)["items"]
    assert budgets
    stuck = [it["metadata"]["name"] for it in budgets if it["status"]["disruptionsAllowed"] < 1]
    assert not stuck, stuck
