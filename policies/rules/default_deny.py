"""Nothing reaches a pod that no policy lets in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.pods import makes_pods
from engine.resource import DEFAULT_NAMESPACE, Resource
from engine.rule import Finding, Given, Rule, guarded, patterns, some
from engine.values import get, items, mapping, texts


def _chart(resource: Resource) -> bool:
    return resource.type.startswith("kubernetes:helm.sh/") and resource.kind == "Release"


def shuts(policy: Resource, namespace: str) -> bool:
    """Whether it shuts every pod of the namespace to what comes in. Raises Undecidable."""
    return (
        policy.kubernetes("NetworkPolicy", group="networking.k8s.io")
        and get(policy.props, "spec") is not None
        and not mapping(policy.props, "spec", "podSelector")
        and "Ingress" in (texts(policy.props, "spec", "policyTypes") or ["Ingress"])
        and not items(policy.props, "spec", "ingress")
        and policy.namespace == namespace
    )


def _check(stack: Sequence[Resource], given: Given) -> Iterator[Finding]:
    judged: set[str] = set()

    def messages(resource: Resource) -> Iterator[str]:
        if _chart(resource):
            namespace = str(get(resource.props, "namespace") or DEFAULT_NAMESPACE)
        else:
            namespace = resource.namespace
        if namespace in judged or given.listed("exempt", namespace):
            return
        judged.add(namespace)
        if some(stack, lambda each: shuts(each, namespace)) is None:
            yield f"namespace {namespace} has pods and no default-deny NetworkPolicy"

    for resource in stack:
        if makes_pods(resource) or _chart(resource):
            yield from guarded(resource.urn, lambda resource=resource: messages(resource))  # type: ignore[misc]


RULE = Rule(
    name="default-deny-network-policy",
    title="Namespaces shut by default",
    description="Each namespace with pods has a NetworkPolicy that lets nothing in.",
    severity="high",
    remediation="Make a NetworkPolicy with podSelector: {} and policyTypes: [Ingress], without "
    "ingress rules, and one for each connection that is wanted.",
    references=("https://kubernetes.io/docs/concepts/services-networking/network-policies/",),
    stack_check=_check,
    knobs={"exempt": patterns("namespaces, as patterns, that need none")},
)
