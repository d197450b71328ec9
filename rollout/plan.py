"""What a rollout does next, and the acts that it takes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rollout import journal
from rollout.adapters.configuration import Roles
from rollout.journal import Act, Rollout, SetAlias, SetRoles

if TYPE_CHECKING:
    from rollout.judge.gate import Verdict

CHAMPION = "champion"
GATE = "the gate"

# Orders that move a rollout, which one that is stopped takes too.
MOVING = ("resume", "rollback", "promote", "step")


def step_acts(rollout: Rollout, step: int) -> tuple[Act, ...]:
    """The canary gets the weight of `step`, and a copy of some requests where its predictions are
    compared.
    """
    before, compared = rollout.before, rollout.rules.predictions
    shadow = (rollout.canary, compared.percent) if compared else before.shadow
    previous = before.previous if before.previous != rollout.canary else None
    return (SetRoles(Roles(before.stable, rollout.canary, rollout.steps[step], previous, shadow)),)


def promote_acts(rollout: Rollout) -> tuple[Act, ...]:
    """The route moves to the canary, then the alias; the version before stays warm."""
    before = rollout.before
    shadow = before.shadow if before.shadow and before.shadow[0] != rollout.canary else None
    promoted = Roles(rollout.canary, None, 0, before.stable, shadow)
    return SetRoles(promoted), SetAlias(CHAMPION, rollout.canary)


def retire_acts(rollout: Rollout) -> tuple[Act, ...]:
    """The version before is not kept any longer."""
    return (SetRoles(replace(rollout.roles, previous=None)),)


def rollback_acts(rollout: Rollout) -> tuple[Act, ...]:
    """All requests go to the old stable version first; then the alias; then the canary's servers
    go.

    A canary that never came to serve is removed at once: an update that still named it would wait
    for its servers again.
    """
    before = rollout.before
    if rollout.promoted is not None:
        moved = Roles(before.stable, None, 0, rollout.canary, before.shadow)
        return SetRoles(moved), SetAlias(CHAMPION, rollout.champion), SetRoles(before)
    if rollout.step < 0:
        return (SetRoles(before),)
    shadow = rollout.roles.shadow
    zero = Roles(before.stable, rollout.canary, 0, rollout.roles.previous, shadow)
    return SetRoles(zero), SetRoles(before)


def forward(rollout: Rollout, why: str, by: str) -> dict[str, Any]:
    """The decision for the next step, or for promotion after the last."""
    step = rollout.step + 1
    if step == len(rollout.steps):
        return promote(rollout, why, by)
    return journal.decide("step", why, by, step_acts(rollout, step), step)


def promote(rollout: Rollout, why: str, by: str) -> dict[str, Any]:
    """The decision for promotion."""
    return journal.decide("promote", why, by, promote_acts(rollout))


def retire(rollout: Rollout, why: str, by: str) -> dict[str, Any]:
    """The decision to end the rollback window."""
    return journal.decide("retire", why, by, retire_acts(rollout))


def roll_back(rollout: Rollout, why: str, by: str) -> dict[str, Any]:
    """The decision to give up."""
    return journal.decide("roll back", why, by, rollback_acts(rollout))


def decide(rollout: Rollout, verdict: Verdict) -> dict[str, Any] | None:
    """The journal's next entry, or None where there is nothing to do but wait.

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
    return forward(rollout, why, GATE)


def order(
    rollout: Rollout, name: str, by: str, gate: str = "", step: int | None = None
) -> dict[str, Any]:
    """The journal's entry for what a person ordered: pause, resume, promote, rollback, step or
    approve. `step`: the one that the person saw; None is the present one.

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
    return promote(rollout, why, by) if name == "promote" else forward(rollout, why, by)


def _approval(rollout: Rollout, by: str, gate: str, step: int) -> dict[str, Any]:
    known = [known.name for known in rollout.rules.gates if known.approval]
    if gate not in known:
        listed = ", ".join(known) or "none"
        raise ValueError(f'"{gate}" is no approval gate of this rollout (there: {listed})')
    if step != rollout.step or step < 0 or rollout.pending:
        raise ValueError("another step is under way; look at `slipway status`, and approve that")
    return {"kind": "approve", "gate": gate, "step": step, "by": by}
