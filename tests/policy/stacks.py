"""Stacks for the rules: the project's own, as the recording mocks give them, and their changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.resource import Resource
from engine.rule import Undecided, Violation
from engine.values import Unknown
from rules import ALL
from tests.conftest import ROOT, Program

Stack = list[Resource]
RULES = {rule.name: rule for rule in ALL}
REMOVED = object()


def of_program(program: Program, stack: str = "dev") -> Stack:
    """What a program registered, as the rules see it."""
    providers = {
        each.name: each.inputs
        for each in program.resources.values()
        if each.type.startswith("pulumi:providers:")
    }
    return [
        Resource(
            f"urn:pulumi:{stack}::slipway::{each.type}::{each.name}",
            each.type,
            each.name,
            each.inputs,
            each.protect,
            provider=providers.get(each.provider, {}),
        )
        for each in program.resources.values()
    ]


def configuration(environment: str) -> dict[str, dict[str, Any]]:
    """Rule -> its knobs, as policies/<environment>.json sets them; without levels."""
    told = json.loads((ROOT / f"policies/{environment}.json").read_text())
    return {
        name: {key: value for key, value in knobs.items() if key != "enforcementLevel"}
        for name, knobs in told.items()
    }


@dataclass(frozen=True)
class Verdict:
    """What all rules say of a stack: (rule, resource's name, message) each."""

    violations: frozenset[tuple[str, str, str]]
    undecided: frozenset[tuple[str, str, str]]

    def rules(self, beside: Verdict) -> set[str]:
        """The rules that object to more than they do there."""
        return {rule for rule, _, _ in self.violations - beside.violations}


def judge(
    stack: Stack, knobs: Mapping[str, Any], changed: Sequence[Resource] | None = None
) -> Verdict:
    """What all rules say. `changed`: rules of single resources look at these alone."""
    found: dict[type, set[tuple[str, str, str]]] = {Violation: set(), Undecided: set()}
    for rule in ALL:
        seen = stack if rule.stack_check or changed is None else changed
        for finding in rule.judge(seen, knobs.get(rule.name)):
            name = finding.urn.rpartition("::")[2]
            found[type(finding)].add((rule.name, name, finding.message))
    return Verdict(frozenset(found[Violation]), frozenset(found[Undecided]))


def places(value: Any, pattern: Sequence[str | int]) -> Iterator[tuple[str | int, ...]]:
    """The paths that a pattern stands for. `*` is each item; `name=x` the item of that name; a
    key that is not there yet may come last.
    """
    if not pattern:
        yield ()
        return
    head, rest = pattern[0], pattern[1:]
    keys: list[Any] = []
    if isinstance(value, list):
        if head == "*":
            keys = list(range(len(value)))
        elif isinstance(head, str) and "=" in head:
            key, _, wanted = head.partition("=")
            keys = [at for at, item in enumerate(value) if item.get(key) == wanted]
        elif isinstance(head, int) and head < len(value):
            keys = [head]
    elif isinstance(value, dict):
        if head == "*":
            keys = list(value)
        elif head in value or not rest:
            keys = [head]
    for key in keys:
        inner = value.get(key) if isinstance(value, dict) else value[key]
        for path in places(inner, rest):
            yield (key, *path)


def at(value: Any, path: Sequence[str | int]) -> Any:
    """What lies there, REMOVED where there is nothing."""
    for key in path:
        if isinstance(value, dict):
            value = value.get(key, REMOVED)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return REMOVED
    return value


def changed(resource: Resource, path: Sequence[str | int], value: Any) -> Resource:
    """The resource with this value there, or without what lies there."""
    props = copy.deepcopy(resource.props)
    inner: Any = props
    for key in path[:-1]:
        inner = inner[key]
    if value is REMOVED:
        del inner[path[-1]]
    elif isinstance(inner, list) and path[-1] == len(inner):
        inner.append(value)
    else:
        inner[path[-1]] = value
    return replace(resource, props=props)


def unknown(path: Sequence[str | int]) -> Unknown:
    """A value that is not known, at this place."""
    return Unknown(".".join(map(str, path)))


@dataclass(frozen=True)
class Control:
    """A control of a stack: what the rule objects to when `to` (or what it makes of what is there)
    stands at `path` of a resource that `where` picks.
    """

    rule: str
    where: Callable[[Resource], bool]
    path: tuple[str | int, ...]
    to: Any = REMOVED

    def mutants(self, stack: Stack) -> Iterator[tuple[Resource, tuple[str | int, ...], Any]]:
        """Resource, place and new value of each mutant of the stack."""
        for resource in filter(self.where, stack):
            for path in places(resource.props, self.path):
                old = at(resource.props, path)
                new = self.to(old) if callable(self.to) else self.to
                if new is REMOVED and old is REMOVED:
                    continue
                if new != old:
                    yield resource, path, new


def export(stack: Stack) -> dict[str, Any]:
    """The stack as `pulumi stack export` would write it once it is deployed."""
    root = "urn:pulumi:dev::slipway::pulumi:pulumi:Stack::slipway-dev"
    resources: list[dict[str, Any]] = [
        {"urn": root, "type": "pulumi:pulumi:Stack", "custom": False}
    ]
    providers = {}
    # Providers come before what they make.
    for each in sorted(stack, key=lambda it: not it.type.startswith("pulumi:providers:")):
        found = {
            "urn": each.urn,
            "type": each.type,
            "custom": not each.type.startswith("slipway:"),
            "parent": root,
        }
        if found["custom"]:
            found |= {"id": f"{each.name}-id", "inputs": each.props, "outputs": each.props}
        if each.type.startswith("pulumi:providers:"):
            providers[each.type.rpartition(":")[2]] = f"{each.urn}::{each.name}-id"
        elif found["custom"]:
            found["provider"] = providers[each.type.partition(":")[0]]
        resources.append(found)
    manifest = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": "v3.259.0"}
    return {"version": 3, "deployment": {"manifest": manifest, "resources": resources}}
