"""Versions that may have no pod: when they sleep, and how long the next request waits. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from review.preview import State, Step
from review.roles import Scaling
from review.values import at, objects
from review.words import Line, count

_ACTIVATOR: Final = "slipway:index:Activator"
_PAGE: Final = "docs/scale-to-zero.md"

# A server, as in `churn-v1` -> how long a request waits for its first pod, in seconds.
Waits = Mapping[str, int]


def waits(steps: Iterable[Step]) -> tuple[Waits, Waits]:
    """What the activator is told now, and what it is to be told."""
    for step in steps:
        if step.kind == "Deployment" and _ACTIVATOR in step.urn.split("::", 3)[2]:
            return _told(step.old), _told(step.new)
    return {}, {}


def begins(scaling: Scaling, wait: int | None) -> str:
    """That a version may sleep; empty if it may not."""
    if scaling.idle is None:
        return ""
    for_a_pod = f"up to {seconds(wait)} for a pod" if wait is not None else "for a pod"
    return f"may sleep after {seconds(scaling.idle)} without a request, and the next one waits " + (
        for_a_pod
    )


def changes(old: Scaling, new: Scaling, before: int | None, after: int | None) -> list[Line]:
    """What differs in how a version sleeps; `before` and `after`: how long a request waits."""
    if old.idle is None and new.idle is None:
        return []
    if old.idle is None:
        return [(f"{begins(new, after)} (switch in a quiet moment: {_PAGE})",)]
    if new.idle is None:
        least = count(new.least, "pod")
        return [(f"no longer sleeping, at least {least} (wake by a request first: {_PAGE})",)]
    said: list[Line] = []
    if old.least != new.least:
        awake = f"kept awake by at least {count(new.least, 'pod')}" if new.least else ""
        said.append((awake or "may sleep again",))
    if old.idle != new.idle:
        now, then = seconds(new.idle), seconds(old.idle)
        said.append((f"may sleep after {now} without a request instead of {then}",))
    if before is not None and after is not None and before != after:
        now, then = seconds(after), seconds(before)
        said.append((f"the next request waits up to {now} for a pod instead of {then}",))
    return said


def seconds(number: int) -> str:
    """`90 s`, `5 min`."""
    return f"{number // 60} min" if number >= 120 and number % 60 == 0 else f"{number} s"


def _told(state: State | None) -> dict[str, int]:
    if state is None:
        return {}
    for one in objects(at(state.inputs, "spec.template.spec.containers[0].env")):
        if one.get("name") == "SERVERS":
            try:
                servers = json.loads(str(one.get("value")))
            except ValueError:
                return {}
            return {
                str(name): told["seconds"]
                for name, told in (servers.items() if isinstance(servers, dict) else ())
                if isinstance(told, dict) and isinstance(told.get("seconds"), int)
            }
    return {}
