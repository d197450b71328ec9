"""Containers do not run as root."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule, patterns


def _messages(container: Container, given: Given) -> Iterator[str]:
    if given.listed("root", container.pod.resource.place):
        return
    if container.effective("runAsNonRoot") is not True:
        yield f"{container.called}: runAsNonRoot is not true, in the container or in the pod"
    if container.effective("runAsUser") == 0:
        yield f"{container.called}: runAsUser is 0"


RULE = Rule(
    name="run-as-non-root",
    title="No root",
    description="Containers run as a user that is not root.",
    severity="high",
    remediation="Set runAsNonRoot: true and a runAsUser above 0 in the securityContext.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted",),
    check=of_containers(_messages),
    knobs={"root": patterns("workloads, as patterns of namespace/name, that may be root")},
)
