"""Promotion: the canary becomes the stable version, by a change of route alone."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.harness import Load, Walk, send, until


def identity(pod: dict[str, Any]) -> tuple[str, str, int]:
    """What a restart or a replacement of a pod would change."""
    status = pod["status"]["containerStatuses"][0]
    return pod["metadata"]["uid"], status["containerID"], status["restartCount"]


def test_promotion_restarts_nothing(walk: Walk) -> None:
    """Version 2 takes over with the pods it has; version 1's server goes; no request is lost."""
    before = {name: identity(pod) for name, pod in walk.pods(2).items()}
    deployment = walk.objects("deployments", "models", "slipway.dev/version=2")[0]
    assert len(before) >= 2
    walk.pulumi("config", "set", "--path", "slipway:models.churn.stable", "2")
    walk.pulumi("config", "rm", "--path", "slipway:models.churn.canary")
    with Load(per_second=25) as load:
        time.sleep(2)
        done = walk.deploy()
        walk.note(f"promotion under load: {done.seconds:.1f} s")
        until(
            "version 1 is gone", lambda: not walk.objects("pods", "models", "slipway.dev/version=1")
        )
        time.sleep(2)
    load.assert_no_failure()
    assert load.versions()["1"] > 0, "there was no load before the promotion"
    after = walk.pods(2)
    # The autoscaler may add a pod, or take away one beyond the first two; nothing else may.
    kept = before.keys() & after.keys()
    assert len(kept) >= 2
    assert {name: identity(after[name]) for name in kept} == {name: before[name] for name in kept}
    now = walk.objects("deployments", "models", "slipway.dev/version=2")[0]
    assert now["metadata"]["uid"] == deployment["metadata"]["uid"]
    assert now["spec"]["template"] == deployment["spec"]["template"]
    for kind in (
        "deployments",
        "services",
        "serviceaccounts",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
        "networkpolicies",
    ):
        left = walk.objects(kind, "models", "slipway.dev/model=churn")
        assert [item["metadata"]["name"] for item in left] == ["churn-v2"], kind
    assert send(100) == {"2": 100}
    served = json.loads(walk.pulumi("stack", "output", "--json").out)["models"]["churn"]
    assert (served["stable"], served.get("canary"), served["weight"]) == (2, None, 0)


def test_after_promotion_nothing_is_left_to_do(walk: Walk) -> None:
    """The route, the servers and the configuration agree."""
    walk.pulumi("preview", "--expect-no-changes")
