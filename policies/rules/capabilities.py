"""Containers have no capability that they are not listed for."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule, patterns
from engine.values import texts


def _messages(container: Container, given: Given) -> Iterator[str]:
    where = ("securityContext", "capabilities")
    if "ALL" not in texts(container.spec, *where, "drop"):
        yield f"{container.called}: capabilities.drop does not hold ALL"
    for added in texts(container.spec, *where, "add"):
        place = f"{container.pod.resource.place}:{added}"
        if added not in given["allowed"] and not given.listed("more", place):
            yield f"{container.called}: capabilities.add holds {added}"


RULE = Rule(
    name="capabilities",
    title="All capabilities dropped",
    description="Containers drop all capabilities.",
    severity="high",
    remediation="Set capabilities.drop: [ALL] in each container's securityContext.",
    references=("https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted",),
    check=of_containers(_messages),
    knobs={
        "allowed": patterns("capabilities that may be added", ["NET_BIND_SERVICE"]),
        "more": patterns(
            "capabilities of single workloads, as patterns of namespace/name:capability"
        ),
    },
)
