"""A rollout as its journal tells it: entries, and the state that they add up to.

Every entry is written before the act that it announces, and a decision lists its acts. So whoever
reads the journal after a kill knows what was decided and how much of it is done; nothing is decided
twice. Pure: `store` reads and writes the file.

| entry | says |
| --- | --- |
| begin | a rollout of `canary` against `stable` begins, with the rules that it goes by |
| decide | what happens next, why, by whom, and the `acts` it takes, in their order |
| act | act number `index` of the decision is `begun`, `done`, or `failed` with an error |
| evidence | the blocks of counts since the last such entry, and what was missing |
| verdict | what the gate says, where that changed |
| pause, resume, approve | what a person ordered, or why the rollout stopped by itself |
| refused | an order that could not be obeyed, and why |
| change | somebody changed the roles by hand; `then` is what was made of it |
| end | the outcome |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rollout.adapters.configuration import Roles
from rollout.judge.evidence import Block, Counts, added
from settings import rollout as configured

Entry = Mapping[str, Any]
What = Literal["step", "promote", "retire", "roll back"]


class JournalError(ValueError):
    """The entries do not tell a rollout; the message says which one."""


@dataclass(frozen=True)
class SetRoles:
    """An act: the configuration says `roles`, and an update has made the cluster say the same."""

    roles: Roles

    def plain(self) -> dict[str, Any]:
        return {"roles": plain_roles(self.roles)}

    def __str__(self) -> str:
        return f"update to {describe(self.roles)}"


@dataclass(frozen=True)
class SetAlias:
    """An act: the registry's `alias` points at `version`, or at nothing (None)."""

    alias: str
    version: int | None

    def plain(self) -> dict[str, Any]:
        return {"alias": self.alias, "version": self.version}

    def __str__(self) -> str:
        if self.version is None:
            return f"remove alias @{self.alias}"
        return f"move alias @{self.alias} to version {self.version}"


@dataclass(frozen=True)
class AwaitReplicas:
    """An act: `replicas` of the version are ready."""

    version: int
    replicas: int

    def plain(self) -> dict[str, Any]:
        return {"version": self.version, "replicas": self.replicas}

    def __str__(self) -> str:
        return f"wait for {self.replicas} replicas of version {self.version}"


@dataclass(frozen=True)
class Settle:
    """An act: `seconds` pass, in which an autoscaler sees the load that a version has now."""

    seconds: float

    def plain(self) -> dict[str, Any]:
        return {"settle": self.seconds}

    def __str__(self) -> str:
        return f"give the autoscaler {self.seconds:g} s"


Act = SetRoles | SetAlias | AwaitReplicas | Settle


@dataclass
class Decision:
    """What was decided, with how many of its acts are done."""

    what: What
    why: str
    by: str
    at: float
    acts: tuple[Act, ...]
    step: int | None = None
    done: int = 0
    failures: int = 0
    error: str = ""

    @property
    def settled(self) -> bool:
        return self.done == len(self.acts)


@dataclass(frozen=True)
class Judged:
    """A verdict of the gate at a time, as `gate.Verdict.plain` gives it."""

    at: float
    kind: str
    reasons: tuple[str, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Moved:
    """From `at` on, the canary had `weight` percent of the requests."""

    at: float
    weight: int


@dataclass
class Rollout:
    """A rollout as far as its journal has come. Times are seconds since 1970.

    `paused` says why no step is taken, and None that steps are; `stopped` that a change by hand is
    the reason, so nothing at all is done until somebody orders it. `written`: roles of updates that
    were begun and not done, any of which the configuration may say. `by_hand`: the present weight
    was not this rollout's decision.
    """

    id: str
    model: str
    stable: int
    canary: int
    steps: tuple[int, ...]
    rules: configured.Rollout
    before: Roles
    champion: int | None
    began: float
    by: str
    roles: Roles
    notes: tuple[str, ...] = ()
    step: int = -1
    step_began: float | None = None
    decision: Decision | None = None
    decisions: list[Decision] = field(default_factory=list)
    weights: list[Moved] = field(default_factory=list)
    promoted: float | None = None
    paused: str | None = None
    stopped: bool = False
    by_hand: bool = False
    written: list[Roles] = field(default_factory=list)
    approvals: set[tuple[str, int]] = field(default_factory=set)
    entered: list[tuple[float, int]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    verdicts: list[Judged] = field(default_factory=list)
    outcome: str | None = None
    ended: float | None = None
    last: float = 0.0

    @property
    def weight(self) -> int:
        """The canary's share of live traffic now, in percent; 100 from its promotion on."""
        if self.roles.stable == self.canary:
            return 100
        return self.roles.weight if self.roles.canary == self.canary else 0

    @property
    def pending(self) -> Decision | None:
        """The decision whose acts are not all done yet."""
        return self.decision if self.decision and not self.decision.settled else None

    @property
    def verdict(self) -> Judged | None:
        """The gate's last word."""
        return self.verdicts[-1] if self.verdicts else None

    @property
    def evidence_until(self) -> float | None:
        """The end of the last block of evidence."""
        return self.blocks[-1].end if self.blocks else None

    @property
    def phase(self) -> str:
        """One of: releasing, stepping, paused, stopped, promoting, warm, retiring, rolling back, or
        the outcome: promoted, rolled back, superseded.
        """
        if self.outcome or self.stopped:
            return self.outcome or "stopped"
        if self.pending:
            return {
                "step": "stepping" if self.step >= 0 else "releasing",
                "promote": "promoting" if self.promoted is None else "warm",
                "retire": "retiring",
                "roll back": "rolling back",
            }[self.pending.what]
        if self.paused is not None:
            return "paused"
        return "warm" if self.promoted else "stepping"

    def step_at(self, time: float) -> int:
        """The step that the requests of that time were served in, 0 before the first."""
        return max(0, next((step for at, step in reversed(self.entered) if at <= time), 0))

    def totals(self) -> tuple[Counts, Counts]:
        """Canary's and stable's counts over the whole rollout."""
        return (
            added(block.canary for block in self.blocks),
            added(block.stable for block in self.blocks),
        )


def plain_roles(roles: Roles) -> dict[str, Any]:
    """Roles as the journal holds them."""
    return {
        "stable": roles.stable,
        "canary": roles.canary,
        "weight": roles.weight,
        "previous": roles.previous,
        "shadow": list(roles.shadow) if roles.shadow else None,
        **({"floors": [list(floor) for floor in roles.floors]} if roles.floors else {}),
    }


def read_roles(plain: Mapping[str, Any]) -> Roles:
    """Roles from what `plain_roles` gave."""
    shadow = plain.get("shadow")
    return Roles(
        stable=plain["stable"],
        canary=plain.get("canary"),
        weight=plain.get("weight", 0),
        previous=plain.get("previous"),
        shadow=(shadow[0], shadow[1]) if shadow else None,
        floors=tuple((version, floor) for version, floor in plain.get("floors", ())),
    )


def describe(roles: Roles) -> str:
    """`stable 1, canary 2 at 10 %`."""
    parts = [f"stable {roles.stable}"]
    if roles.canary is not None:
        parts.append(f"canary {roles.canary} at {roles.weight} %")
    if roles.previous is not None:
        parts.append(f"previous {roles.previous} warm")
    if roles.shadow:
        parts.append(f"shadow {roles.shadow[0]}")
    parts += [f"{floor} or more replicas of {version}" for version, floor in roles.floors]
    return ", ".join(parts)


def begin(
    *,
    id: str,
    model: str,
    canary: int,
    rules: configured.Rollout,
    before: Roles,
    champion: int | None,
    by: str,
    notes: Sequence[str] = (),
    adopted: bool = False,
) -> dict[str, Any]:
    """The entry that begins a rollout. `before`: the roles to return to, `adopted`: they already
    hold the canary, which somebody deployed by hand.
    """
    return {
        "kind": "begin",
        "id": id,
        "model": model,
        "stable": before.stable,
        "canary": canary,
        "steps": list(rules.steps),
        "rules": rules.model_dump(mode="json"),
        "before": plain_roles(before),
        "champion": champion,
        "by": by,
        "notes": list(notes),
        "adopted": adopted,
    }


def decide(
    what: What, why: str, by: str, acts: Sequence[Act], step: int | None = None
) -> dict[str, Any]:
    """The entry of a decision."""
    plain = [act.plain() for act in acts]
    return {"kind": "decide", "what": what, "why": why, "by": by, "acts": plain, "step": step}


def act(index: int, state: Literal["begun", "done", "failed"], error: str = "") -> dict[str, Any]:
    """The entry of an act of the decision under way."""
    return {"kind": "act", "index": index, "state": state, **({"error": error} if error else {})}


def evidence(blocks: Iterable[Block], missing: Sequence[str]) -> dict[str, Any]:
    """The entry of what a look at Prometheus gave."""
    plain = [[b.start, b.end, b.canary.plain(), b.stable.plain()] for b in blocks]
    return {"kind": "evidence", "blocks": plain, "missing": list(missing)}


def verdict(kind: str, reasons: Sequence[str], details: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of the gate's word."""
    return {"kind": "verdict", "verdict": kind, "reasons": list(reasons), "details": dict(details)}


def rollouts(entries: Iterable[Entry]) -> list[Rollout]:
    """The rollouts that the entries tell, oldest first.

    Raises JournalError if they make no sense, naming the entry.
    """
    found: list[Rollout] = []
    for entry in entries:
        extend(found, entry)
    return found


def extend(found: list[Rollout], entry: Entry) -> None:
    """Take one more entry into the rollouts found so far.

    Raises JournalError if it makes no sense, naming it.
    """
    try:
        if entry["kind"] == "begin":
            found.append(_begun(entry))
        else:
            _fold(found[-1], entry)
        found[-1].last = _time(entry)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        told = " ".join(str(error).split())[:200]
        raise JournalError(
            f"entry {entry.get('seq', '?')} ({entry.get('kind', 'no kind')}) makes no sense "
            f"where it stands: {type(error).__name__} {told}"
        ) from None


def _begun(entry: Entry) -> Rollout:
    before = read_roles(entry["before"])
    at = _time(entry)
    rollout = Rollout(
        id=entry["id"],
        model=entry["model"],
        stable=entry["stable"],
        canary=entry["canary"],
        steps=tuple(entry["steps"]),
        rules=configured.Rollout.model_validate(entry["rules"]),
        before=before,
        champion=entry["champion"],
        began=at,
        by=entry["by"],
        roles=before,
        notes=tuple(entry["notes"]),
    )
    if entry.get("adopted"):
        _adopt(rollout, before, at)
        rollout.before = Roles(before.stable, None, 0, before.previous, before.shadow)
    return rollout


def _fold(rollout: Rollout, entry: Entry) -> None:
    at = _time(entry)
    match entry["kind"]:
        case "decide":
            acts = tuple(_read_act(plain) for plain in entry["acts"])
            rollout.decision = Decision(
                entry["what"], entry["why"], entry["by"], at, acts, entry["step"]
            )
            rollout.decisions.append(rollout.decision)
            if entry["what"] in ("promote", "roll back"):
                rollout.paused, rollout.stopped = None, False
        case "act":
            _fold_act(rollout, entry, at)
        case "evidence":
            for start, end, canary, stable in entry["blocks"]:
                rollout.blocks.append(Block(start, end, Counts.read(canary), Counts.read(stable)))
            rollout.missing = tuple(entry["missing"])
        case "verdict":
            reasons = tuple(entry["reasons"])
            rollout.verdicts.append(Judged(at, entry["verdict"], reasons, entry["details"]))
        case "pause":
            rollout.paused, rollout.stopped = entry["why"], bool(entry.get("stop"))
        case "resume":
            rollout.paused, rollout.stopped = None, False
            rollout.step_began = at if rollout.step_began is not None else None
        case "approve":
            rollout.approvals.add((entry["gate"], entry["step"]))
        case "change":
            if entry["then"] == "go on":
                _drop_step(rollout)
                _adopt(rollout, read_roles(entry["roles"]), at)
        case "refused":
            pass
        case "end":
            rollout.outcome, rollout.ended = entry["outcome"], at
        case other:
            raise ValueError(f"no such kind as {other}")


def _fold_act(rollout: Rollout, entry: Entry, at: float) -> None:
    decision = rollout.decision
    if decision is None or entry["index"] != decision.done or decision.settled:
        raise ValueError(f"act {entry['index']} is not the next one")
    done = decision.acts[decision.done]
    if entry["state"] == "begun" and isinstance(done, SetRoles):
        rollout.written.append(done.roles)
    if entry["state"] == "failed":
        decision.failures += 1
        decision.error = entry["error"]
    if entry["state"] != "done":
        return
    decision.done, decision.failures, decision.error = decision.done + 1, 0, ""
    if isinstance(done, SetRoles):
        weight = rollout.weight
        rollout.roles, rollout.written = done.roles, []
        if rollout.weight != weight or not rollout.weights:
            rollout.weights.append(Moved(at, rollout.weight))
        if done.roles.stable == rollout.canary and rollout.promoted is None:
            rollout.promoted = at
    if decision.settled and decision.what == "step" and decision.step is not None:
        _enter(rollout, decision.step, at)
        rollout.by_hand = False


def _drop_step(rollout: Rollout) -> None:
    """What was decided before somebody's hand came between is not done any more; giving up is."""
    decision = rollout.pending
    if decision is not None and decision.what in ("step", "promote"):
        decision.acts = decision.acts[: decision.done]


def _enter(rollout: Rollout, step: int, at: float) -> None:
    rollout.step, rollout.step_began = step, at
    rollout.entered.append((at, step))


def _adopt(rollout: Rollout, roles: Roles, at: float) -> None:
    """Take roles that somebody else deployed as the rollout's own."""
    rollout.roles, rollout.written, rollout.by_hand = roles, [], True
    rollout.weights.append(Moved(at, rollout.weight))
    _enter(rollout, sum(step <= rollout.weight for step in rollout.steps) - 1, at)


def _read_act(plain: Mapping[str, Any]) -> Act:
    if "alias" in plain:
        return SetAlias(plain["alias"], plain["version"])
    if "replicas" in plain:
        return AwaitReplicas(plain["version"], plain["replicas"])
    if "settle" in plain:
        return Settle(float(plain["settle"]))
    return SetRoles(read_roles(plain["roles"]))


def _time(entry: Entry) -> float:
    """Seconds since 1970 of an entry's `at`."""
    at = entry["at"]
    if not isinstance(at, int | float):
        raise TypeError(f"its time is {at!r}")
    return float(at)
