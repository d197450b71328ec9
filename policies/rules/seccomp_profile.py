"""Containers run under a seccomp profile."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule
from engine.values import get


def _messages(container: Container, given: Given) -> Iterator[str]:
    kind = get(container.effective("seccompProfile"), "type")
    if kind not in ("RuntimeDefault", "Localhost"):
        told = "is not set" if kind is None else f"is {kind}"
        yield f"{container.called}: seccompProfile.type {told}, in the container and in the pod"


RULE = Rule(
    name="seccomp-profile",
    title="Seccomp",
    description="Containers run under the runtime's seccomp profile, or one of the node's.",
    severity="medium",
    remediation="Set seccompProfile: {type: RuntimeDefault} in the pod's securityContext.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted",),
    check=of_containers(_messages),
)
