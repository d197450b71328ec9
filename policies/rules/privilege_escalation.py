"""No process gets more rights than the container's first one."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule
from engine.values import get


def _messages(container: Container, given: Given) -> Iterator[str]:
    if get(container.spec, "securityContext", "allowPrivilegeEscalation") is not False:
        yield f"{container.called}: allowPrivilegeEscalation is not false"


RULE = Rule(
    name="privilege-escalation",
    title="No privilege escalation",
    description="Containers forbid privilege escalation.",
    severity="high",
    remediation="Set allowPrivilegeEscalation: false in each container's securityContext.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted",),
    check=of_containers(_messages),
)
