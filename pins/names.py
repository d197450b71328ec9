"""Names of images, in their parts, and by the caches of them in ECR. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from settings.placeholder import PLACEHOLDER

DOCKER: Final = "docker.io"
# A registry -> the name of its cache in ECR, as the project's own rules call it.
CACHES: Final[Mapping[str, str]] = {
    DOCKER: "hub",
    "ghcr.io": "github",
    "public.ecr.aws": "ecr",
    "quay.io": "quay",
    "registry.k8s.io": "k8s",
}
_SHAPE: Final = re.compile(
    r"(?P<path>[a-z0-9][\w./:-]*?)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_ECR: Final = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class Name:
    """`registry/repository:tag@digest`; tag, digest: empty where there is none."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    def at(self, digest: str) -> Name:
        """The same image by this digest."""
        return replace(self, digest=digest)

    def without(self) -> Name:
        """The same image by its tag alone."""
        return replace(self, digest="")


def parse(text: str) -> Name:
    """The parts of an image's name; without a registry it is Docker's.

    Raises:
        ValueError: it is no name of an image; the message is one line.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is no name of an image")
    first, slash, rest = found["path"].partition("/")
    hosted = bool(slash) and (first == "localhost" or any(mark in first for mark in ".:"))
    registry, repository = (first, rest) if hosted else (DOCKER, found["path"])
    if registry == DOCKER and "/" not in repository:
        repository = f"library/{repository}"
    return Name(registry, repository, found["tag"] or "", found["digest"] or "")


def cached(name: Name, prefix: str, caches: Mapping[str, str] = CACHES) -> Name:
    """The name by which ECR has it from its cache; `prefix` is a registry, and maybe a path in it.
    What is in no registry that is cached stays as it is.
    """
    cache = caches.get(name.registry)
    if cache is None:
        return name
    registry, _, path = prefix.partition("/")
    repository = "/".join(filter(None, (path, cache, name.repository)))
    return replace(name, registry=registry, repository=repository)


def is_ecr(host: str) -> bool:
    """Whether it is the host of an account's registry in ECR."""
    return _ECR.fullmatch(host) is not None


def in_any(name: str, stack: str) -> str:
    """`name` as a stack's file has it, so that a copy of it is another's: what is in ECR below
    `slipway-<stack>` is below `slipway-{stack}`. Any other stays as it is.
    """
    host, slash, path = name.partition("/")
    own = f"slipway-{stack}/"
    if not _ECR.fullmatch(host) or not path.startswith(own):
        return name
    return f"{host}{slash}slipway-{PLACEHOLDER}/{path.removeprefix(own)}"


def origin(name: Name, caches: Mapping[str, str] = CACHES) -> Name:
    """Where an image is from that a cache in ECR has, first in its path or below a prefix of one
    part; any other is from where it is.
    """
    parts = name.repository.split("/")
    if _ECR.fullmatch(name.registry):
        for place in range(min(2, len(parts) - 1)):
            for registry, cache in caches.items():
                if parts[place] == cache:
                    rest = "/".join(parts[place + 1 :])
                    return replace(name, registry=registry, repository=rest)
    return name
