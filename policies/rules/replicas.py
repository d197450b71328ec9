"""No workload hangs on one pod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.resource import Resource
from engine.rule import Given, Rule, of_each
from engine.workloads import SINGLE_KNOB, fewest, replicated


def _messages(workload: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    if given.listed("single", workload.place):
        return
    found = fewest(workload, stack)
    if found < given["minimum"]:
        yield f"{workload.place}: has {found} replicas at least (needed: {given['minimum']})"


RULE = Rule(
    name="replicas",
    title="Two replicas at least",
    description="Workloads have replicas enough to lose one.",
    severity="medium",
    level="advisory",
    remediation="Raise replicas, or the least of its autoscaler. What cannot be more than one pod "
    "goes into the knob single.",
    references=("https://kubernetes.io/docs/concepts/workloads/pods/disruptions/",),
    stack_check=of_each(replicated, _messages),
    knobs={
        "minimum": {"type": "integer", "default": 2, "description": "replicas at least"},
        "single": SINGLE_KNOB,
    },
)
