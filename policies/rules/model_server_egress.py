"""A model server, which runs a model's code, calls nobody but whom it needs."""

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

    def bounds(policy: Resource) -> bool:
        return (
            policy.kubernetes("NetworkPolicy", group="networking.k8s.io")
            and get(policy.props, "spec") is not None
            and selects(get(policy.props, "spec", "podSelector"), mine)
            and "Egress" in texts(policy.props, "spec", "policyTypes")
            and policy.namespace == workload.namespace
        )

    bounded = False
    # What one of several allows is allowed.
    for policy in picked(stack, bounds):
        bounded = True
        for number, rule in enumerate(items(policy.props, "spec", "egress")):
            peers = items(rule, "to")
            if not items(rule, "ports") and (not peers or any(map(anybody, peers))):
                where = f"egress[{number}] of {policy.object_name}"
                yield f"{workload.place}: {where} allows everything"
    if not bounded:
        yield f"{workload.place}: no NetworkPolicy bounds whom it may call"


RULE = Rule(
    name="model-server-egress",
    title="Model servers call whom they need",
    description="Model servers, and what holds or copies their requests, have a NetworkPolicy that "
    "bounds whom they may call.",
    severity="high",
    remediation="Make a NetworkPolicy with policyTypes: [Egress] that lets them reach the name "
    "server and where their models lie.",
    references=("https://kubernetes.io/docs/concepts/services-networking/network-policies/",),
    stack_check=of_each(replicated, _messages),
    knobs={"model_server": MODEL_SERVER_KNOB, "beside": beside(ACTIVATOR, COMPARER)},
)
