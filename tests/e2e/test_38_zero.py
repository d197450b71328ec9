"""Scale to zero on the real cluster: a version nobody asks for has no pod, the first requests wait
for one and are answered, and then nothing stands between them and the pods.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from components import dashboards
from tests.e2e.harness import PROMETHEUS, Answer, Walk, ask, http_client, until
from tests.e2e.rollouts import BODY, SHOP, await_stable, register, serve, shop_load
from tests.e2e.test_35_monitoring import values

IDLE, BURST = 30, 20
SCALING = {
    "min": 0,
    "max": 3,
    "cpu": 100,
    "memory": 100,
    "requests_per_second": 50,
    "idle": f"{IDLE}s",
    "cold_start": "90s",
}
METRICS = """
import json, urllib.request
text = urllib.request.urlopen("http://127.0.0.1:8081/metrics").read().decode()
lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith("activator_")]
print(json.dumps({name: float(value) for name, _, value in lines}))
"""


@pytest.fixture(scope="module", autouse=True)
def asleep(walk: Walk) -> Iterator[None]:
    """The model `shop`, which may have no pod; gone at the end, and the activator with it."""
    register(walk)
    serve(walk, {"scaling": SCALING}, deploy=lambda: walk.local("up", seconds=400))
    await_stable(walk)
    yield
    walk.pulumi("config", "rm", "--path", "slipway:models.shop", check=False)
    walk.deploy()
    assert not activators(walk), "no version sleeps, and who wakes them is there still"


def replicas(walk: Walk) -> tuple[int, int]:
    """How many servers `shop` is to have, and how many are ready."""
    (deployment,) = walk.objects("deployments", "models", "slipway.dev/model=shop")
    return deployment["spec"]["replicas"], deployment["status"].get("readyReplicas", 0)


def activators(walk: Walk) -> list[str]:
    """The activator's pods, without those that are going."""
    pods = walk.objects("pods", "models", "app.kubernetes.io/name=activator")
    return [it["metadata"]["name"] for it in pods if "deletionTimestamp" not in it["metadata"]]


def passed(walk: Walk) -> float:
    """How many requests the activators were done with, however they ended."""
    return sum(
        value
        for pod in activators(walk)
        for name, value in walk.python("models", pod, METRICS).items()
        if name.startswith("activator_requests_total")
    )


def none_at_all(walk: Walk) -> Callable[[], bool]:
    """Whether `shop` has no pod, not even one that is going."""

    def gone() -> bool:
        pods = walk.objects("pods", "models", "slipway.dev/model=shop")
        return replicas(walk) == (0, 0) and not pods

    return gone


def at_once(count: int) -> list[Answer]:
    """The answers to so many requests that are sent at the same time."""
    answers: list[Answer] = []
    lock = threading.Lock()

    def one() -> None:
        with httpx.Client(timeout=120, trust_env=False) as client:
            answer = ask(client, SHOP, BODY)
        with lock:
            answers.append(answer)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def parts(pod: dict[str, Any], asked: float) -> str:
    """When, in seconds after the first request, a pod got to where; Kubernetes counts whole
    seconds.
    """
    status = pod["status"]
    conditions = {it["type"]: it["lastTransitionTime"] for it in status["conditions"]}
    fetch = status["initContainerStatuses"][0]["state"]["terminated"]
    server = status["containerStatuses"][0]["state"]["running"]
    moments = {
        "pod": pod["metadata"]["creationTimestamp"],
        "scheduled": conditions["PodScheduled"],
        "fetch": fetch["startedAt"],
        "fetched": fetch["finishedAt"],
        "server": server["startedAt"],
        "ready": conditions["Ready"],
    }
    return ", ".join(
        f"{name} {datetime.fromisoformat(at).timestamp() - asked:.0f}"
        for name, at in moments.items()
    )


def test_nobody_asks_and_there_is_no_pod(walk: Walk) -> None:
    """A version without requests has no pod, and Pulumi has nothing to say of it."""
    until("no server", none_at_all(walk), 120, 1)
    assert len(activators(walk)) == 2
    walk.pulumi("preview", "--expect-no-changes")


def test_who_asks_waits_for_a_pod_and_the_next_ones_do_not(walk: Walk) -> None:
    """Requests at zero are all answered; later ones go past the activator; then zero again."""
    before = passed(walk)
    asked = time.time()
    answers = at_once(BURST)
    bad = [answer.reason for answer in answers if answer.reason]
    assert not bad, bad
    assert {answer.version for answer in answers} == {"1"}
    waited = sorted(answer.seconds for answer in answers)
    until("a server that is ready", lambda: replicas(walk)[1] >= 1, 60, 0.5)
    (pod, *_) = walk.objects("pods", "models", "slipway.dev/model=shop")
    walk.note(
        f"cold start: the first of {BURST} requests at zero answered after {waited[0]:.1f} s, "
        f"the last after {waited[-1]:.1f} s; in seconds from the first: {parts(pod, asked)}"
    )
    held = passed(walk) - before
    assert held >= BURST

    # A pod is ready for the gateway a little later than for the activator, which asks it itself.
    def out_of_the_path() -> bool:
        count = passed(walk)
        at_once(4)
        return passed(walk) == count

    until("requests that go past the activator", out_of_the_path, 60, 1)
    count = passed(walk)
    with shop_load(per_second=20) as load:
        walk.pulumi("preview", "--expect-no-changes")
        walk.deploy()
        # A second pod that starts is no reason to turn to the activator.
        walk.kubectl("scale", "deployment", "-n", "models", "shop-v1", "--replicas=2")
        until("a second server", lambda: replicas(walk)[1] == 2, 90, 1)
        time.sleep(3)
    load.assert_no_failure()
    assert passed(walk) == count, "the activator is in the path of a version that has a server"
    stopped = time.monotonic()
    board = dashboards.queries(dashboards.model_dashboard(), model="shop", version=".+")
    panels = [query for query in board if query.needs == "zero"]
    assert len(panels) == 3
    for query in panels:
        until(f"data of {query.panel}", lambda promql=query.promql: values(promql), 60, 2)
    until("no server", none_at_all(walk), IDLE + 150, 2)
    walk.note(f"scale to zero: no pod {time.monotonic() - stopped:.0f} s after the last request")
    walk.pulumi("preview", "--expect-no-changes")


def test_nothing_fires_over_a_version_without_pods(walk: Walk) -> None:
    """KEDA is content with what it scales; no alert is about to say that a server is missing."""
    (found,) = walk.objects("scaledobjects", "models", "slipway.dev/model=shop")
    conditions = {it["type"]: it["status"] for it in found["status"]["conditions"]}
    assert conditions["Ready"] == "True", json.dumps(found["status"], indent=1)
    assert conditions["Active"] == "False"
    until("no alert about its servers", lambda: not alarming(), 60, 2)


def alarming() -> list[dict[str, str]]:
    """The alerts that a server of `shop` is missing; one that waits for its time is pending."""
    with http_client() as client:
        answer = client.get(f"{PROMETHEUS}/api/v1/alerts").json()
    labels: list[dict[str, str]] = [alert["labels"] for alert in answer["data"]["alerts"]]
    return [
        each
        for each in labels
        if each["alertname"] in ("ModelServerDown", "ModelTrafficStopped", "TargetMissing")
        and (each.get("model_name") == "shop" or each.get("namespace") == "models")
    ]
