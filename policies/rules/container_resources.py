"""Containers say what they need and what they may take at most."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule
from engine.values import get


def _messages(container: Container, given: Given) -> Iterator[str]:
    # An ephemeral container may not have any.
    if container.kind == "ephemeralContainers":
        return
    for kind in ("requests", "limits"):
        for resource in given[kind]:
            if get(container.spec, "resources", kind, resource) in (None, ""):
                yield f"{container.called}: resources.{kind}.{resource} is not set"


_LIST = {
    "type": "array",
    "items": {"type": "string"},
    "default": ["cpu", "memory"],
}
RULE = Rule(
    name="container-resources",
    title="Requests and limits",
    description="Containers have requests and limits of CPU and memory.",
    severity="medium",
    remediation="Set resources.requests and resources.limits of each container, init ones too.",
    references=("https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",),
    check=of_containers(_messages),
    knobs={
        "requests": _LIST | {"description": "resources that must be requested"},
        "limits": _LIST | {"description": "resources that must be limited"},
    },
)
