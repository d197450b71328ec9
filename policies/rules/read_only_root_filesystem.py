"""Containers cannot write to their root file system."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule
from engine.values import get


def _messages(container: Container, given: Given) -> Iterator[str]:
    if get(container.spec, "securityContext", "readOnlyRootFilesystem") is not True:
        yield f"{container.called}: readOnlyRootFilesystem is not true"


RULE = Rule(
    name="read-only-root-filesystem",
    title="Read-only root file system",
    description="Containers run on a read-only root file system.",
    severity="medium",
    remediation="Set readOnlyRootFilesystem: true, and mount an emptyDir where it must write.",
    references=("https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",),
    check=of_containers(_messages),
)
