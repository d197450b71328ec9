"""What a rollout does next, and the acts that it takes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rollout import journal
from rollout.adapters.configuration import Roles
from rollout.journal import Act, AwaitReplicas, Rollout, SetAlias, SetRoles, Settle
from rollout.judge.floor import Size, need

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollout.judge.gate import Verdict

CHAMPION = "champion"
GATE = "the gate"
SETTLE_SECONDS = 60.0
"""How long floors stay once a version has more traffic, for its autoscaler to see that: it looks
every 15 s, at requests and CPU of up to the last minute.
"""

# Orders that move a rollout, which one that is stopped takes too.
MOVING = ("resume", "rollback", "promote", "step")


def step_acts(rollout: Rollout, step: int, size: Size | None = None) -> tuple[Act, ...]:
    """The canary gets the weight of `step`, and a copy of some requests where its predictions are
    compared; before that the replicas it takes. size: what there are; None where nobody knows.
    """
    before, compared = rollout.before, rollout.rules.predictions
    shadow = (rollout.canary, compared.percent) if compared else before.shadow
    previous = before.previous if before.previous != rollout.canary else None
    weight = rollout.steps[step]
    roles = Roles(
        before.stable, rollout.canary, weight, previous, shadow, floors=rollout.roles.floors
    )
    return _sized(rollout, roles, weight, size)


def promote_acts(rollout: Rollout, size: Size | None = None) -> tuple[Act, ...]:
    """The route moves to the canary, then the alias; the version before stays warm, and as large
    as it was.
    """
    before = rollout.before
    shadow = before.shadow if before.shadow and before.shadow[0] != rollout.canary else None
    promoted = Roles(rollout.canary, None, 0, before.stable, shadow, floors=rollout.roles.floors)
    return *_sized(rollout, promoted, 100, size), SetAlias(CHAMPION, rollout.canary)


def _sized(rollout: Rollout, roles: Roles, weight: int, size: Size | None) -> tuple[Act, ...]:
    """The acts to `roles`, where the canary has `weight`: its replicas first, if they are too few.

    A release makes servers anyway, so what they need is written with it; at other steps the route
    changes alone.
    """
    if size is None:
        return (SetRoles(roles),)
    now = rollout.roles
    needed = need(
        size, rollout.stable, rollout.canary, dict(now.floors), 100 - rollout.weight, weight
    )
    floors = tuple(needed.floors.items())
    released = now.canary == rollout.canary
    first: tuple[Act, ...] = ()
    if not released and needed.replicas > 1:
        first = (SetRoles(replace(roles, weight=0, floors=floors)),)
    elif released and floors != now.floors:
        first = (SetRoles(replace(now, floors=floors)),)
    # An update has waited for one replica of a version that is new.
    if needed.replicas > max(size.canary, 1):
        first += (AwaitReplicas(rollout.canary, needed.replicas),)
    return *first, SetRoles(replace(roles, floors=floors))


def retire_acts(rollout: Rollout) -> tuple[Act, ...]:
    """The version before is not kept any longer, and no version at its size."""
    return (SetRoles(replace(rollout.roles, previous=None, floors=())),)


def rollback_acts(rollout: Rollout) -> tuple[Act, ...]:
    """All requests go to the old stable version first; then the alias; then the canary's servers
    go; and once stable's autoscaler has seen what it bears again, its floor.

    A canary that never came to serve is removed at once: an update that still named it would wait
    for its servers again.
    """
    before, floors = replace(rollout.before, floors=()), rollout.roles.floors
    end: tuple[Act, ...] = (SetRoles(before),)
    kept = tuple(floor for floor in floors if floor[0] == before.stable)
    if kept:
        end = SetRoles(replace(before, floors=kept)), Settle(SETTLE_SECONDS), *end
    if rollout.promoted is not None:
        moved = Roles(before.stable, None, 0, rollout.canary, before.shadow, floors)
        return SetRoles(moved), SetAlias(CHAMPION, rollout.champion), *end
    if rollout.step < 0:
        return (SetRoles(before),)
    shadow = rollout.roles.shadow
    zero = Roles(before.stable, rollout.canary, 0, rollout.roles.previous, shadow, floors)
    return SetRoles(zero), *end


def forward(rollout: Rollout, why: str, by: str, size: Size | None = None) -> dict[str, Any]:
    """The decision for the next step, or for promotion after the last."""
    step = rollout.step + 1
    if step == len(rollout.steps):
        return promote(rollout, why, by, size)
    return journal.decide("step", why, by, step_acts(rollout, step, size), step)


def promote(rollout: Rollout, why: str, by: str, size: Size | None = None) -> dict[str, Any]:
    """The decision for promotion."""
    return journal.decide("promote", why, by, promote_acts(rollout, size))


def retire(rollout: Rollout, why: str, by: str) -> dict[str, Any]:
    """The decision to end the rollback window."""
    return journal.decide("retire", why, by, retire_acts(rollout))


def roll_back(rollout: Rollout, why: str, by: str) -> dict[str, Any]:
    """The decision to give up."""
    return journal.decide("roll back", why, by, rollback_acts(rollout))


def decide(
    rollout: Rollout, verdict: Verdict, size: Callable[[], Size | None] = lambda: None
) -> dict[str, Any] | None:
    """The journal's next entry, or None where there is nothing to do but wait. size: asked for the
    replicas there are, where the canary is to get more traffic.

    A pause stops steps, not the protection: a canary proven bad is rolled back even so.
    """
    why = "; ".join(verdict.reasons)
    if verdict.kind == "roll back" and not verdict.for_want_of_evidence:
        return roll_back(rollout, why, GATE)
    if rollout.paused is not None or rollout.promoted is not None:
        return None
    if verdict.kind == "roll back":
        if rollout.rules.without_evidence == "pause":
            return {"kind": "pause", "why": why, "by": GATE}
        return roll_back(rollout, why, GATE)
    if verdict.kind != "advance":
        return None
    return forward(rollout, why, GATE, size())


def order(
    rollout: Rollout,
    name: str,
    by: str,
    gate: str = "",
    step: int | None = None,
    size: Callable[[], Size | None] = lambda: None,
) -> dict[str, Any]:
    """The journal's entry for what a person ordered: pause, resume, promote, rollback, step or
    approve. `step`: the one that the person saw; None is the present one. size: as for `decide`.

    Raises ValueError, with a line that says why, if it cannot be done now.
    """
    why = f"ordered by {by}"
    if rollout.outcome:
        raise ValueError(f"the rollout has ended: {rollout.outcome}")
    pending = rollout.pending.what if rollout.pending else None
    if pending == "roll back":
        raise ValueError("the rollout is being rolled back already")
    match name:
        case "rollback":
            return roll_back(rollout, why, by)
        case "pause":
            if rollout.paused is not None:
                raise ValueError("the rollout is paused already")
            return {"kind": "pause", "why": why, "by": by}
        case "resume":
            if rollout.paused is None:
                raise ValueError("the rollout is not paused")
            return {"kind": "resume", "by": by}
        case "approve":
            return _approval(rollout, by, gate, rollout.step if step is None else step)
        case "step" | "promote":
            pass
        case _:
            raise ValueError(f"{name} is no order")
    if rollout.promoted is not None or pending == "promote":
        raise ValueError(f"version {rollout.canary} is promoted already, or being promoted")
    if pending:
        raise ValueError("an update is under way; order it again when it is done")
    if step is not None and step != rollout.step:
        raise ValueError("a step was taken since; look at `slipway status` and order it again")
    go_on = promote if name == "promote" else forward
    return go_on(rollout, why, by, size())


def _approval(rollout: Rollout, by: str, gate: str, step: int) -> dict[str, Any]:
    known = [known.name for known in rollout.rules.gates if known.approval]
    if gate not in known:
        listed = ", ".join(known) or "none"
        raise ValueError(f'"{gate}" is no approval gate of this rollout (there: {listed})')
    if step != rollout.step or step < 0 or rollout.pending:
        raise ValueError("another step is under way; look at `slipway status`, and approve that")
    return {"kind": "approve", "gate": gate, "step": step, "by": by}
