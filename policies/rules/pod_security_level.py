"""Namespaces refuse what is below the restricted level, whoever brings it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts, patterns
from engine.values import get

_LABEL = "pod-security.kubernetes.io/enforce"


def _namespaces(resource: Resource) -> list[Resource]:
    return [resource] if resource.kubernetes("Namespace", group="") else []


def _messages(namespace: Resource, given: Given) -> Iterator[str]:
    level = get(namespace.props, "metadata", "labels", _LABEL)
    if level != "restricted" and not given.listed("exempt", namespace.object_name):
        yield f"label {_LABEL} is {level or 'not set'}, not restricted"


RULE = Rule(
    name="pod-security-level",
    title="Restricted namespaces",
    description="Namespaces enforce the restricted Pod Security level.",
    severity="high",
    remediation=f"Set the label {_LABEL}: restricted. It also holds for what charts bring, whose "
    "pods no policy sees.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-admission/",),
    check=of_parts(_namespaces, _messages),
    knobs={"exempt": patterns("namespaces, as patterns, that may have another level")},
)
