"""The replicas of a workload keep apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.pods import pods, selects
from engine.resource import Resource
from engine.rule import Given, Rule, of_each
from engine.values import get, items
from engine.workloads import SINGLE_KNOB, pod_labels, replicated


def _messages(workload: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    if given.listed("single", workload.place):
        return
    mine = pod_labels(workload)
    for pod in pods(workload):
        where = (pod.spec, "affinity", "podAntiAffinity")
        terms = items(*where, "requiredDuringSchedulingIgnoredDuringExecution")
        terms = terms + [
            get(each, "podAffinityTerm")
            for each in items(*where, "preferredDuringSchedulingIgnoredDuringExecution")
        ]
        apart = any(
            get(term, "topologyKey") in given["topologies"]
            and get(term, "labelSelector") is not None
            and selects(get(term, "labelSelector"), mine)
            for term in terms
        )
        if not apart:
            yield f"{workload.place}: no podAntiAffinity keeps its pods on different nodes"


RULE = Rule(
    name="pod-anti-affinity",
    title="Replicas on different nodes",
    description="Replicas of a workload prefer different nodes.",
    severity="medium",
    level="advisory",
    remediation="Set affinity.podAntiAffinity over kubernetes.io/hostname, with a labelSelector "
    "that picks the workload's own pods.",
    references=("https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/",),
    stack_check=of_each(replicated, _messages),
    knobs={
        "single": SINGLE_KNOB,
        "topologies": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["kubernetes.io/hostname", "topology.kubernetes.io/zone"],
            "description": "labels of nodes that tell them apart",
        },
    },
)
