"""What a rule is: a pure function from a resource, or from a whole stack, to findings."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from engine.resource import Resource
from engine.values import MalformedError, Undecidable

Level = Literal["advisory", "mandatory", "disabled"]
Severity = Literal["low", "medium", "high", "critical"]
T = TypeVar("T")


@dataclass(frozen=True)
class Violation:
    """A resource breaks the rule; `message` says where, and what stands there."""

    message: str
    urn: str


@dataclass(frozen=True)
class Undecided:
    """Nobody can say yet whether a resource keeps the rule: it hangs on an unknown value."""

    message: str
    urn: str


Finding = Violation | Undecided
# (stack, model, canary's version) -> the greatest weight that an open rollout has decided on.
Rollouts = Callable[[str, str, int], int | None]


def no_rollouts(stack: str, model: str, version: int) -> None:
    """There is no rollout."""


@dataclass(frozen=True)
class Given:
    """What a rule is told beside the resource: its knobs, and what rollouts have decided."""

    knobs: Mapping[str, Any] = field(default_factory=dict)
    rollouts: Rollouts = no_rollouts

    def __getitem__(self, knob: str) -> Any:
        return self.knobs[knob]

    def listed(self, knob: str, place: str) -> bool:
        """Whether one of the knob's patterns, as `models/*-comparer`, is that of `place`."""
        return any(fnmatch.fnmatchcase(place, pattern) for pattern in self.knobs[knob])


Check = Callable[[Resource, Given], Iterable[Finding]]
StackCheck = Callable[[Sequence[Resource], Given], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule with all that is said of it.

    check: judges one resource by its inputs, or (`stack_check`) a stack by its outputs.
    knobs: name -> its JSON schema, with a `default`. references: addresses of what it is founded
    on, the first one shown by Pulumi.
    """

    name: str
    title: str
    description: str
    severity: Severity
    remediation: str
    references: tuple[str, ...]
    check: Check | None = None
    stack_check: StackCheck | None = None
    level: Level = "mandatory"
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def defaults(self) -> dict[str, Any]:
        """Knob -> its default."""
        return {name: schema["default"] for name, schema in self.knobs.items()}

    def refuse_unknown(self, knobs: Iterable[str]) -> None:
        """Raises ValueError naming the first of these knobs that the rule does not have."""
        for knob in knobs:
            if knob not in self.knobs:
                known = ", ".join(self.knobs) or "none"
                raise ValueError(f"{self.name}: there is no knob {knob} (there: {known})")

    def judge(
        self,
        resources: Sequence[Resource],
        knobs: Mapping[str, Any] | None = None,
        rollouts: Rollouts = no_rollouts,
    ) -> list[Finding]:
        """What the rule finds among these resources.

        Raises ValueError naming a knob that the rule does not have.
        """
        self.refuse_unknown(knobs or {})
        given = Given(self.defaults() | dict(knobs or {}), rollouts)
        found = list(self.stack_check(resources, given)) if self.stack_check else []
        if self.check:
            found += [each for resource in resources for each in self.check(resource, given)]
        return found


def guarded(urn: str, messages: Callable[[], Iterable[str]]) -> Iterator[Finding]:
    """A violation for each message. What is not known yet, or makes no sense, ends them."""
    try:
        for message in messages():
            yield Violation(message, urn)
    except Undecidable as unknown:
        yield Undecided(f"{unknown.path} is known only after the update", urn)
    except MalformedError as error:
        yield Violation(str(error), urn)


def of_parts(
    parts: Callable[[Resource], Iterable[T]], messages: Callable[[T, Given], Iterable[str]]
) -> Check:
    """A check of each part of a resource by itself: one that is unknown hides no other."""

    def check(resource: Resource, given: Given) -> Iterator[Finding]:
        found: list[T] = []

        def collect() -> Iterator[str]:
            for part in parts(resource):
                found.append(part)  # those before an unknown one stay
            return iter(())

        yield from guarded(resource.urn, collect)
        for part in found:
            yield from guarded(resource.urn, lambda part=part: messages(part, given))  # type: ignore[misc]

    return check


def of_each(
    applies: Callable[[Resource], bool],
    messages: Callable[[Resource, Sequence[Resource], Given], Iterable[str]],
) -> StackCheck:
    """A check of each resource to which it applies, in view of the whole stack."""

    def check(stack: Sequence[Resource], given: Given) -> Iterator[Finding]:
        for resource in stack:
            if applies(resource):
                yield from guarded(
                    resource.urn,
                    lambda resource=resource: messages(resource, stack, given),  # type: ignore[misc]
                )

    return check


def picked(candidates: Iterable[T], true: Callable[[T], bool]) -> Iterator[T]:
    """Each of which it is true. Raises Undecidable, after all of them, if it is unknown of one."""
    unknown: Undecidable | None = None
    for candidate in candidates:
        try:
            if not true(candidate):
                continue
        except Undecidable as error:
            unknown = unknown or error
            continue
        yield candidate
    if unknown:
        raise unknown


def some(candidates: Iterable[T], true: Callable[[T], bool]) -> T | None:
    """The first of which it is true, None if there is none. Raises Undecidable if it is true of
    none and unknown of one.
    """
    return next(picked(candidates, true), None)


def patterns(description: str, default: Sequence[str] = ()) -> dict[str, Any]:
    """The schema of a knob that is a list of texts."""
    return {
        "type": "array",
        "items": {"type": "string"},
        "default": list(default),
        "description": description,
    }
