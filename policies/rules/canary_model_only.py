"""What is compared with stable differs from it in its model alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.pods import pods
from engine.resource import Resource
from engine.rule import Given, Rule, of_each
from engine.values import Undecidable, get, known
from engine.workloads import behind, routes, splits

_OF_VERSION = re.compile(
    r"(^|\.)labels\.|\.matchLabels\.|\.env\.MODEL_VERSION$|\.(command|args)\[\d+\]$"
)
_OF_IMAGE = re.compile(r"ontainers\.[^.]+\.image$")
_OMITTED = object()


def pairs(
    route: Resource, stack: Sequence[Resource]
) -> Iterator[tuple[tuple[str, Resource], tuple[str, Resource]]]:
    """Stable and each canary of a route: their hosts and workloads.

    Raises Undecidable where one of them is not of this stack.
    """
    seen = set()
    for shares in splits(route):
        hosts = [host for host, _ in shares]
        for canary in hosts[1:]:
            if (hosts[0], canary) in seen:
                continue
            seen.add((hosts[0], canary))
            found = [(host, behind(host, stack, route.namespace)) for host in (hosts[0], canary)]
            for host, workload in found:
                if workload is None:
                    raise Undecidable(f"what is behind {host}, which is not of this stack,")
            yield found[0], found[1]  # type: ignore[misc]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Path -> value of all that is neither object nor list. Items that have a name go by it."""
    value = known(value)
    if isinstance(value, Mapping):
        parts = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list):
        named = [get(item, "name") for item in value]
        parts = [
            (f"{path}.{name}" if name and path.split(".")[-1] != "args" else f"{path}[{at}]", item)
            for at, (name, item) in enumerate(zip(named, value, strict=True))
        ]
    else:
        return {path: value}
    found: dict[str, Any] = {}
    for where, item in parts:
        if where.endswith(f".env.{get(item, 'name')}"):
            item = get(item, "value") if get(item, "value") is not None else item
        found |= flat(item, where)
    return found


def _messages(route: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    for (stable_host, stable), (canary_host, canary) in pairs(route, stack):
        names = stable_host.partition(".")[0], canary_host.partition(".")[0]
        versions = names[0].rpartition("-v")[2], names[1].rpartition("-v")[2]
        first, second = (
            {
                k: v
                for pod in pods(each)
                for k, v in (flat(pod.metadata, "") | flat(pod.spec, ".spec")).items()
            }
            for each in (stable, canary)
        )
        for path in sorted(first.keys() | second.keys()):
            old, new = first.get(path, _OMITTED), second.get(path, _OMITTED)
            if old == new or _OF_IMAGE.search(path):
                continue
            if isinstance(old, str) and old.replace(*names) == new:
                continue
            if _OF_VERSION.search(path) and (old, new) == versions:
                continue
            told = " and ".join("nothing" if each is _OMITTED else str(each) for each in (old, new))
            yield f"{names[0]} and {names[1]} differ in more than the model: {path[1:]}: {told}"


RULE = Rule(
    name="canary-model-only",
    title="Canaries differ in the model alone",
    description="The pods of a canary differ from stable's in their model's version alone.",
    severity="high",
    remediation="Bring another configuration to both at once: a difference between them is then "
    "the model's.",
    references=("https://sre.google/workbook/canarying-releases/",),
    stack_check=of_each(routes, _messages),
)
