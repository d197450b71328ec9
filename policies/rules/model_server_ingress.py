"""A model server answers those who are named, and no neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine.pods import ACTIVATOR, COMPARER, MODEL_SERVER_KNOB, beside, pods, selects
from engine.resource import Resource
from engine.rule import Given, Rule, of_each
from engine.values import get, items, mapping, texts
from engine.workloads import pod_labels, replicated

_WORLD = ("0.0.0.0/0", "::/0")


def _anybody(peer: Any) -> str:
    """Whom a peer stands for, if for as good as everybody; else nothing."""
    if get(peer, "ipBlock", "cidr") in _WORLD:
        return f"everybody from {get(peer, 'ipBlock', 'cidr')}"
    if get(peer, "podSelector") is not None and mapping(peer, "podSelector"):
        return ""
    spaces = get(peer, "namespaceSelector")
    return "" if spaces is None or mapping(spaces) else "all pods of all namespaces"


def _messages(workload: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    if not any(pod.serves(given) for pod in pods(workload)):
        return
    mine = pod_labels(workload)
    for policy in stack:
        if not policy.kubernetes("NetworkPolicy", group="networking.k8s.io"):
            continue
        types = texts(policy.props, "spec", "policyTypes") or ["Ingress"]
        if (
            "Ingress" not in types
            or policy.namespace != workload.namespace
            or not selects(get(policy.props, "spec", "podSelector"), mine)
        ):
            continue
        for number, rule in enumerate(items(policy.props, "spec", "ingress")):
            peers = items(rule, "from")
            for whom in filter(None, map(_anybody, peers)) if peers else ("everybody",):
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
