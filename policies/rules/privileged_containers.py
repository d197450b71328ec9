"""No container is the node's root in disguise."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule
from engine.values import get


def _messages(container: Container, given: Given) -> Iterator[str]:
    context = get(container.spec, "securityContext")
    if get(context, "privileged") is True:
        yield f"{container.called}: privileged is true"
    if get(context, "procMount") not in (None, "Default"):
        yield f"{container.called}: procMount is {get(context, 'procMount')}"
    if container.effective("windowsOptions") and (
        get(container.effective("windowsOptions"), "hostProcess") is True
    ):
        yield f"{container.called}: windowsOptions.hostProcess is true"


RULE = Rule(
    name="privileged-containers",
    title="No privileged containers",
    description="Containers are not privileged, see a masked /proc, and are no host processes.",
    severity="critical",
    remediation="Remove privileged, procMount and hostProcess from the securityContext.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline",),
    check=of_containers(_messages),
)
