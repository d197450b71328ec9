"""What is compared with stable differs from it in its model alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.pods import pods
from engine.resource import Resource
from engine.rule import Given, Rule, of_each
from engine.values import get, known
from engine.workloads import routes, trials

_OF_VERSION = re.compile(
    r"labels\.\S*version$|matchLabels\.\S*version$|\.env\.MODEL_VERSION\.value$|"
    r"\.(command|args)\[\d+ after --(model-)?version\]$"
)
_OF_IMAGE = re.compile(r"ontainers\.[^.]+\.image$")


class _Omitted:
    def __str__(self) -> str:
        return "nothing"


_OMITTED = _Omitted()


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Path -> value of all that is neither object nor list. Items go by their name where they have
    one, words of a command by the option before them.
    """
    value = known(value)
    found: dict[str, Any] = {}
    if isinstance(value, Mapping):
        for key, item in value.items():
            found |= flat(item, f"{path}.{key}")
        return found
    if not isinstance(value, list):
        return {path: value}
    for at, item in enumerate(value):
        name, before = get(item, "name"), value[at - 1] if at else None
        if name:
            found |= flat(item, f"{path}.{name}")
        elif isinstance(before, str) and before.startswith("--"):
            found |= flat(item, f"{path}[{at} after {before}]")
        else:
            found |= flat(item, f"{path}[{at}]")
    return found


def _template(workload: Resource) -> dict[str, Any]:
    return {
        path: value
        for pod in pods(workload)
        for path, value in (flat(pod.metadata, "metadata") | flat(pod.spec, "spec")).items()
    }


def _messages(route: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
    for trial in trials(route, stack):
        names = trial.stable_name, trial.canary_name
        versions = names[0].rpartition("-v")[2], names[1].rpartition("-v")[2]
        canary = _template(trial.canary)
        # A label may be called as its server is, such as one that a Service picks.
        called = re.compile(rf"(?<=^metadata\.labels\.)(.*/)?{re.escape(names[0])}$")
        stable = {
            called.sub(rf"\g<1>{names[1]}", path): value
            for path, value in _template(trial.stable).items()
        }
        for path in sorted(stable.keys() | canary.keys()):
            old, new = stable.get(path, _OMITTED), canary.get(path, _OMITTED)
            if old == new or _OF_IMAGE.search(path):
                continue
            if isinstance(old, str) and old.replace(*names) == new:
                continue
            if _OF_VERSION.search(path) and (old, new) == versions:
                continue
            yield f"{names[0]} and {names[1]} differ in more than the model: {path}: {old}, {new}"


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
