"""What is made of roles that this rollout has not set: somebody else's hand is not undone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rollout import journal
from rollout.adapters.configuration import Roles
from rollout.journal import Decision, Rollout


@dataclass(frozen=True)
class Change:
    """`roles` were found. then: go on from them, stop until somebody orders more, or end as
    superseded, for they are of other versions.
    """

    then: Literal["go on", "stop", "superseded"]
    roles: Roles
    why: str

    def entries(self, by: str = "a change by hand") -> list[dict[str, Any]]:
        """What the journal holds of it."""
        plain = journal.plain_roles(self.roles)
        found: list[dict[str, Any]] = [
            {"kind": "change", "roles": plain, "then": self.then, "why": self.why, "by": by}
        ]
        if self.then == "superseded":
            found.append({"kind": "end", "outcome": "superseded"})
        if self.then == "stop":
            found.append({"kind": "pause", "why": self.why, "by": by, "stop": True})
        return found

    def __str__(self) -> str:
        said = {
            "go on": "changed by hand, going on from there",
            "stop": "stopped",
            "superseded": "superseded",
        }[self.then]
        return f"{said}: {self.why}" + ("" if self.then == "go on" else "; nothing was undone")


def same_versions(rollout: Rollout, found: Roles) -> bool:
    """Whether stable and canary are those of this rollout, whatever their weight."""
    known = (rollout.roles, *rollout.written)
    return (found.stable, found.canary) in [(roles.stable, roles.canary) for roles in known]


def in_configuration(rollout: Rollout, found: Roles) -> Change | None:
    """What is made of `found` in the configuration; None if the journal says the same."""
    if found == rollout.roles:
        return None
    why = (
        f"changed by hand: the configuration says {journal.describe(found)}, "
        f"not {journal.describe(rollout.roles)}"
    )
    if not same_versions(rollout, found):
        return Change("superseded", found, why)
    return Change("go on" if rollout.rules.on_change == "go on" else "stop", found, why)


def in_stack(rollout: Rollout, deployed: Roles | None) -> Change | None:
    """What is made of what is deployed where the configuration says what the journal says."""
    if deployed == rollout.roles:
        return None
    if deployed is None:
        why = "the stack is destroyed, or has no such model any more"
        return Change("superseded", rollout.roles, why)
    why = (
        f"the deployed stack says {journal.describe(deployed)}, the configuration here "
        f"{journal.describe(rollout.roles)}: it was deployed from somewhere else"
    )
    return Change("stop", deployed, why)


def before_act(rollout: Rollout, decision: Decision, wanted: Roles, found: Roles) -> Change | None:
    """What is made of `found` in the configuration before it is made to say `wanted`; None to go
    on. A rollback may follow on any weight: that is what whoever ordered or configured it wants.
    """
    if found in (wanted, *rollout.written):
        return None
    if decision.what == "roll back" and same_versions(rollout, found):
        return None
    return in_configuration(rollout, found)
