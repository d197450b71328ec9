"""Each control of the project's own resources is taken away in turn, and exactly the rule that is
about it must object; where the control is not known yet, it must say that it cannot decide.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from engine.resource import Resource
from engine.rule import Undecided
from rules import ALL
from tests.policy import stacks
from tests.policy.controls import CANARY, CONTROLS, server
from tests.policy.stacks import Control, Stack
from tests.policy.test_pack import TEST_KNOBS

LABELS = {"slipway.dev/owner": "risk", "slipway.dev/cost-center": "4711"}


@pytest.fixture(scope="module")
def base(everything: Stack) -> Stack:
    """The stack with the controls that dev does not have: labels of cost, and TLS."""
    found = []
    for resource in everything:
        props = copy.deepcopy(resource.props)
        if resource.type.startswith("kubernetes:") and isinstance(props.get("metadata"), dict):
            props["metadata"]["labels"] = props["metadata"].get("labels", {}) | LABELS
        if resource.kind == "Gateway":
            tls = {"mode": "SIMPLE", "credentialName": "edge"}
            port = {"number": 443, "name": "https", "protocol": "HTTPS"}
            props["spec"]["servers"] = [{"port": port, "hosts": ["*"], "tls": tls}]
        found.append(replace(resource, props=props))
    verdict = stacks.judge(found, TEST_KNOBS)
    assert not verdict.violations and not verdict.undecided, sorted(verdict.violations)
    return found


def model(resource: Resource) -> str:
    return resource.name.rpartition("-v")[0] if server(resource) else ""


def put(
    stack: Stack, resource: Resource, path: tuple[str | int, ...], value: object
) -> tuple[Stack, Stack]:
    """The stack with this change, made to every server of a model at once, and what changed."""
    if not path:
        return [each for each in stack if each is not resource], []
    changed = {
        id(each): stacks.changed(each, path, value)
        for each in stack
        if each is resource or (model(resource) and model(each) == model(resource))
    }
    return [changed.get(id(each), each) for each in stack], list(changed.values())


def mutants(
    stack: Stack, control: Control
) -> Iterator[tuple[Resource, tuple[str | int, ...], object]]:
    seen = set()
    for resource, path, new in control.mutants(stack):
        # The servers of a model are changed together, or the canary would differ from stable too.
        if (key := (model(resource), path)) in seen and model(resource):
            continue
        seen.add(key)
        yield resource, path, new


def test_every_mutant_is_killed_by_the_rule_that_is_about_it(
    base: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    none = stacks.Verdict(frozenset(), frozenset())
    made: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    open_: Counter[str] = Counter()
    wrong = []
    for control in CONTROLS:
        before = sum(made.values())
        for resource, path, new in mutants(base, control):
            made[control.rule] += 1
            stack, changed = put(base, resource, path, new)
            objected = stacks.judge(stack, TEST_KNOBS, changed).rules(none)
            if objected == {control.rule}:
                killed[control.rule] += 1
            else:
                wrong.append(f"{control.rule}: {resource.name} {path}: {sorted(objected)}")
            if path:
                stack, changed = put(base, resource, path, stacks.unknown(path))
                verdict = stacks.judge(stack, TEST_KNOBS, changed)
                said = {rule for rule, _, _ in verdict.undecided}
                if control.rule in said and not verdict.violations:
                    open_[control.rule] += 1
                else:
                    wrong.append(
                        f"{control.rule}: unknown {resource.name} {path}: {sorted(said)}, "
                        f"{sorted(verdict.violations)}"
                    )
                for length in range(1, len(path)):
                    stack, changed = put(
                        base, resource, path[:length], stacks.unknown(path[:length])
                    )
                    rule = stacks.RULES[control.rule]
                    seen = stack if rule.stack_check else changed
                    said_so = rule.judge(seen, TEST_KNOBS.get(rule.name))
                    if not said_so or not all(isinstance(each, Undecided) for each in said_so):
                        wrong.append(
                            f"{control.rule}: unknown {resource.name} {path[:length]}: {said_so}"
                        )
                    open_[control.rule] += 1
        if sum(made.values()) == before:
            wrong.append(f"{control.rule}: nothing in the stack is at {control.path}")
    _alone(base, made, killed, wrong)
    with capsys.disabled():
        print(
            f"\nmutants killed by exactly the right rule: {sum(killed.values())} of "
            f"{sum(made.values())}, of {len(made)} rules; not yet decidable where unknown: "
            f"{sum(open_.values())}"
        )
    assert not wrong, "\n".join(wrong[:20])
    about_clouds = {rule.name for rule in ALL if rule.name.split("-")[0] in _CLOUD}
    assert set(made) == {rule.name for rule in ALL} - about_clouds


_CLOUD = {"s3", "iam", "ec2", "eks", "rds", "data"}


def _alone(base: Stack, made: Counter[str], killed: Counter[str], wrong: list[str]) -> None:
    for control in CANARY:
        for resource, path, new in control.mutants(base):
            if not resource.name.endswith("-v2-deployment"):
                continue
            made[control.rule] += 1
            changed = stacks.changed(resource, path, new)
            stack = [changed if each is resource else each for each in base]
            verdict = stacks.judge(stack, TEST_KNOBS, [changed])
            objected = {rule for rule, _, _ in verdict.violations}
            if objected == {control.rule}:
                killed[control.rule] += 1
            else:
                wrong.append(f"{control.rule}: {resource.name} {path}: {sorted(objected)}")
