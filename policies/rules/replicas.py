"""No workload hangs on one pod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.resource import Resource
from engine.rule import Given, Rule, of_each, patterns
from engine.workloads import SINGLE_KNOB, autoscaler, fewest, replicated


def _messages(workload: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    if given.listed("single", workload.place):
        return
    found = fewest(workload, stack)
    if found >= given["minimum"]:
        return
    scaler = autoscaler(workload, stack)
    # While a rollout is under way it has a floor, and may still have fewer than are needed.
    sleeps = scaler is not None and scaler.kind == "ScaledObject"
    if sleeps and given.listed("may_sleep", workload.place):
        return
    remedy = "; if it is to sleep, list it in the knob may_sleep" if sleeps and not found else ""
    yield f"{workload.place}: has {found} replicas at least (needed: {given['minimum']}){remedy}"


RULE = Rule(
    name="replicas",
    title="Two replicas at least",
    description="Workloads have replicas enough to lose one.",
    severity="medium",
    level="advisory",
    remediation="Raise replicas, or the least of its autoscaler. What cannot be more than one pod "
    "goes into the knob single, what is to sleep while nobody asks for it into may_sleep.",
    references=("https://kubernetes.io/docs/concepts/workloads/pods/disruptions/",),
    stack_check=of_each(replicated, _messages),
    knobs={
        "minimum": {"type": "integer", "default": 2, "description": "replicas at least"},
        "single": SINGLE_KNOB,
        "may_sleep": patterns(
            "workloads, as patterns of namespace/name, that KEDA may leave without a pod while "
            "nobody asks for them"
        ),
    },
)
