"""Images are named by digest."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator

from engine.pods import Container, of_containers
from engine.rule import Given, Rule, patterns
from engine.values import get

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def _messages(container: Container, given: Given) -> Iterator[str]:
    image = str(get(container.spec, "image") or "")
    if _DIGEST.search(image):
        return
    repository, _, tag = image.partition("@")[0].rpartition(":")
    if "/" in tag or not repository:
        repository, tag = image.partition("@")[0], ""
    if tag in ("", "latest"):
        yield f"{container.called}: image {image} is whatever was pushed last; name its digest"
    elif not any(fnmatch.fnmatchcase(repository, one) for one in given["by_tag"]):
        yield f"{container.called}: image {image} has no digest, so its tag may be moved"


RULE = Rule(
    name="image-digest",
    title="Images by digest",
    description="Containers run images named by digest.",
    severity="high",
    remediation="Name the image as repository@sha256:…; `docker buildx imagetools inspect` tells "
    "the digest. What can only be had by tag goes into the knob by_tag; `latest` never may.",
    references=(
        "https://kubernetes.io/docs/concepts/containers/images/#image-names",
        "https://kubernetes.io/docs/concepts/configuration/overview/",
    ),
    check=of_containers(_messages),
    knobs={"by_tag": patterns("repositories, as patterns, whose images may be named by tag")},
)
