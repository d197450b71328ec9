"""Pods stay out of the node's namespaces and ports."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Pod, containers, of_pods
from engine.rule import Given, Rule
from engine.values import get, items


def _messages(pod: Pod, given: Given) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if get(pod.spec, field) is True:
            yield f"{field} is true"
    for container in containers(pod):
        for port in items(container.spec, "ports"):
            if get(port, "hostPort"):
                yield f"{container.called}: hostPort is {get(port, 'hostPort')}"


RULE = Rule(
    name="host-namespaces",
    title="No host namespaces",
    description="Pods use neither the node's namespaces nor its ports.",
    severity="critical",
    remediation="Remove hostNetwork, hostPID, hostIPC and hostPort; a Service makes a port "
    "reachable.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline",),
    check=of_pods(_messages),
)
