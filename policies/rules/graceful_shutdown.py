"""Model servers lose no request when they go."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import (
    ACTIVATOR,
    MODEL_SERVER_KNOB,
    Pod,
    beside,
    containers,
    environment,
    number,
    of_pods,
)
from engine.rule import Given, Rule
from engine.values import get, mapping

_DEFAULT_GRACE = 30


def _messages(pod: Pod, given: Given) -> Iterator[str]:
    if not pod.serves(given):
        return
    grace = get(pod.spec, "terminationGracePeriodSeconds")
    seconds = _DEFAULT_GRACE if grace is None else number(grace)
    for container in containers(pod):
        if container.kind != "containers":
            continue
        before = mapping(container.spec, "lifecycle", "preStop")
        if not any(before.get(how) is not None for how in ("sleep", "exec", "httpGet")):
            yield (
                f"{container.called}: lifecycle.preStop is not set, so requests still come while "
                "it ends"
            )
        told = environment(container)
        drains = [told[name] for name in given["drain"] if name in told]
        drain = number(get(before, "sleep", "seconds")) + sum(
            map(number, drains or [told.get(given["request"])])
        )
        if seconds <= drain:
            yield (
                f"{container.called}: terminationGracePeriodSeconds is {seconds:g}, and it drains "
                f"for up to {drain:g} s"
            )


RULE = Rule(
    name="graceful-shutdown",
    title="Model servers drain before they go",
    description="Model servers, and what holds their requests, have a preStop hook, and a grace "
    "period longer than their drain.",
    severity="high",
    remediation="Set lifecycle.preStop, and terminationGracePeriodSeconds above what preStop and "
    "the drain take together.",
    references=(
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
        "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/",
    ),
    check=of_pods(_messages),
    knobs={
        "model_server": MODEL_SERVER_KNOB,
        "beside": beside(ACTIVATOR),
        "drain": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["DRAIN_SECONDS", "GRACE_SECONDS"],
            "description": "variables of a container whose seconds add up to its drain",
        },
        "request": {
            "type": "string",
            "default": "REQUEST_SECONDS",
            "description": "the variable that says how long a request takes at most: the drain of "
            "a container that has none of those",
        },
    },
)
