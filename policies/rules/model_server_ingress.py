"""A model server answers those who are named, and no neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.pods import ACTIVATOR, COMPARER, MODEL_SERVER_KNOB, beside, pods, selects
from engine.resource import Resource
from engine.rule import Given, Rule, of_each, picked
from engine.values import get, items, texts
from engine.workloads import anybody, pod_labels, replicated


def _messages(workload: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    if not any(pod.serves(given) for pod in pods(workload)):
        return
    mine = pod_labels(workload)

    def lets_in(policy: Resource) -> bool:
        return (
            policy.kubernetes("NetworkPolicy", group="networking.k8s.io")
            and "Ingress" in (texts(policy.props, "spec", "policyTypes") or ["Ingress"])
            and policy.namespace == workload.namespace
            and selects(get(policy.props, "spec", "podSelector"), mine)
        )

    for policy in picked(stack, lets_in):
        for number, rule in enumerate(items(policy.props, "spec", "ingress")):
            peers = items(rule, "from")
            for whom in filter(None, map(anybody, peers)) if peers else ("everybody",):
                yield f"{workload.place}: ingress[{number}] of {policy.object_name} lets {whom} in"


RULE = Rule(
    name="model-server-ingress",
    title="Model servers answer whom they know",
    description="No NetworkPolicy lets everybody in to model servers, or to what holds or copies "
    "their requests.",
    severity="high",
    remediation="Name the peers in `from`: the gateway's pods, and who reads their metrics.",
    references=("https://kubernetes.io/docs/concepts/services-networking/network-policies/",),
    stack_check=of_each(replicated, _messages),
    knobs={"model_server": MODEL_SERVER_KNOB, "beside": beside(ACTIVATOR, COMPARER)},
)
