"""Images come from registries that are allowed."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule, patterns
from engine.values import get


def registry(image: str) -> str:
    """The registry of an image's name, docker.io where it names none.

    Source: https://pkg.go.dev/github.com/distribution/reference
    """
    first, slash, _ = image.partition("/")
    hosted = bool(slash) and (first == "localhost" or any(mark in first for mark in ".:"))
    return first if hosted else "docker.io"


def _messages(container: Container, given: Given) -> Iterator[str]:
    image = str(get(container.spec, "image") or "")
    home = registry(image)
    if not any(fnmatch.fnmatchcase(home, one) for one in given["allowed"]):
        allowed = ", ".join(given["allowed"]) or "none"
        yield f"{container.called}: image {image} is from {home} (allowed: {allowed})"


RULE = Rule(
    name="image-registry",
    title="Images from allowed registries",
    description="Containers run images from the registries that are allowed.",
    severity="high",
    remediation="Copy the image to a registry of yours, or add its registry to the knob allowed.",
    references=("https://kubernetes.io/docs/concepts/containers/images/",),
    check=of_containers(_messages),
    knobs={
        "allowed": patterns(
            "registries, as patterns: *.dkr.ecr.*.amazonaws.com",
            ["docker.io", "registry.k8s.io", "quay.io", "ghcr.io", "*.dkr.ecr.*.amazonaws.com"],
        )
    },
)
