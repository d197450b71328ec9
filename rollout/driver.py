"""The loop that moves a rollout: take orders, do what is decided, look, decide.

Whatever it does is in the journal first, so it may be killed between any two acts and run again.
The caller holds the lease.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from rollout import changes, journal, plan
from rollout.adapters.configuration import ConfigurationError, Roles
from rollout.adapters.registry import RegistryError
from rollout.adapters.stack import StackError, UpdateError
from rollout.changes import Change
from rollout.interfaces import World
from rollout.journal import (
    Act,
    AwaitReplicas,
    Decision,
    Rollout,
    SetAlias,
    SetRoles,
    Settle,
)
from rollout.judge.floor import Size
from rollout.judge.gate import Gate, Verdict
from rollout.judge.rules import Rules
from settings.types import duration_seconds

LOOK_SECONDS: Final = 5.0
"""Between two looks at Prometheus: as often as it scrapes."""

ORDER_SECONDS: Final = 0.5
"""Between two looks for an order."""

DEPLOYED_SECONDS: Final = 30.0
"""Between two comparisons of what is deployed with what the journal says."""

VERDICT_SECONDS: Final = 60.0
"""Between two entries of the same verdict, for its bounds change."""

MAX_BACKOFF_SECONDS: Final = 30.0
READY_SECONDS: Final = 120.0
"""Within which the replicas that a step takes are ready, at each attempt."""
RELEASE_ATTEMPTS: Final = 2
FORWARD_ATTEMPTS: Final = 5
"""Updates that fail before a release, and before a step or promotion, is given up: those change a
route alone, so what fails is likely another's. A rollback is never given up.
"""


class NotReadyError(Exception):
    """A version has too few replicas for its next step; the message says how many.

    Attributes:
        kind: as that of an UpdateError.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


FAULTS: Final = (UpdateError, RegistryError, ConfigurationError, StackError, NotReadyError)
"""What may pass: it is said, and tried again."""


class LeaseLostError(Exception):
    """The rollout cannot go on from here; the message says why and what to do."""


class Driver:
    """Moves one rollout.

    Args:
        world: what it reads and changes.
        found: the model's rollouts, of which the last is moved.
        by: who is at it, as the journal names them.
        still_mine: says whether the lease is still held, asked before each act and entry.
    """

    def __init__(
        self,
        world: World,
        found: list[Rollout],
        by: str,
        still_mine: Callable[[], bool] = lambda: True,
    ) -> None:
        self._world = world
        self._found = found
        self._by = by
        self._still_mine = still_mine
        self._gate = Gate(Rules.of(self.rollout.rules))
        for block in self.rollout.blocks:
            self._gate.observe_block(block, self.rollout.step_at(block.start))
        self._next_look = self._next_comparison = 0.0
        # Patience is of somebody who watches: it begins anew with each who takes the rollout up.
        self._fed = world.clock.now()

    @property
    def rollout(self) -> Rollout:
        """The rollout as it stands."""
        return self._found[-1]

    def note(self, entry: dict[str, Any]) -> None:
        """Write an entry to the journal, and take it in. Raises LeaseLostError."""
        if not self._still_mine():
            raise LeaseLostError("the lease is lost: somebody else runs this rollout now")
        journal.extend(self._found, self._world.store.append(entry))

    def run(self, until: Callable[[Rollout], bool]) -> Rollout:
        """Go on until `until` says it is enough, the rollout has ended, or it is stopped.

        Raises LeaseLostError if somebody else has the lease.
        """
        while not self.rollout.outcome:
            self.obey()
            if self.rollout.stopped:
                break
            if self.rollout.pending:
                self._act()
            elif following := self._following():
                self.note(following)
            elif until(self.rollout):
                break
            else:
                self._look()
        self.obey()
        return self.rollout

    def obey(self) -> None:
        """Do what the orders say that wait; an act that one takes is not done yet.

        An order is taken once the journal has it, so it may be obeyed twice, but is never lost.
        """
        while waiting := self._world.store.orders():
            given = waiting[0]
            name, by = str(given.get("order")), str(given.get("by", "somebody"))
            try:
                if given.get("rollout") != self.rollout.id:
                    raise ValueError("it was for a rollout that is over")
                stopped = self.rollout.stopped
                if stopped and name in plan.MOVING:
                    self._resume_from_change(by, deploy=name == "resume")
                if not (stopped and name == "resume"):
                    self.note(
                        plan.order(
                            self.rollout,
                            name,
                            by,
                            str(given.get("gate", "")),
                            given.get("step"),
                            self._size,
                        )
                    )
                self._world.log(f"{by}: {name}")
            except ValueError as error:
                if not self.rollout.outcome:
                    self.note({"kind": "refused", "order": name, "by": by, "why": str(error)})
                self._world.log(f"{by}: {name}: refused: {error}")
            self._world.store.take_order()

    # What is decided is done

    def _act(self) -> None:
        decision = self.rollout.pending
        assert decision is not None  # noqa: S101
        act = decision.acts[decision.done]
        if isinstance(act, SetRoles) and not self._may_write(decision, act.roles):
            return
        self.note(journal.act(decision.done, "begun"))
        self._world.log(f"{decision.what}: {act} …")
        try:
            if isinstance(act, SetRoles):
                self._world.stack.write_roles(self.rollout.model, act.roles)
                self._world.stack.update(self._world.log)
            elif isinstance(act, SetAlias):
                self._move(decision, act)
            elif not self._waited(decision, act):
                return
        except FAULTS as error:
            self._failed(decision, act, error)
            return
        self.note(journal.act(decision.done, "done"))
        self._world.log(f"{decision.what}: {act}: done")

    def _may_write(self, decision: Decision, roles: Roles) -> bool:
        """Whether the configuration is as this rollout left it; what is made of it is done else."""
        try:
            found = self._world.stack.read_roles(self.rollout.model)
        except FAULTS as error:
            self.note(journal.act(decision.done, "begun"))
            self._failed(decision, decision.acts[decision.done], error)
            return False
        return not self._take(changes.before_act(self.rollout, decision, roles, found))

    def _move(self, decision: Decision, act: SetAlias) -> None:
        """Move an alias; a rollback leaves one that somebody else has moved meanwhile."""
        registry, rollout = self._world.registry, self.rollout
        if decision.what == "roll back":
            found = registry.alias(rollout.model, act.alias)
            if found not in (rollout.canary, act.version):
                self._world.log(f"alias @{act.alias} is at {found} by another hand: left there")
                return
        registry.set_alias(rollout.model, act.alias, act.version)

    def _waited(self, decision: Decision, act: AwaitReplicas | Settle) -> bool:
        """Whether it is as the act says; False where an order, the gate or somebody's hand decided
        otherwise. A pause holds it there, before the route moves.

        Raises NotReadyError: there are too few replicas after READY_SECONDS, or Prometheus does
        not answer. Where nobody counts replicas there is nothing to wait for.
        """
        clock = self._world.clock
        seconds = act.seconds if isinstance(act, Settle) else READY_SECONDS
        until = clock.now() + seconds
        while True:
            found: int | str | None = 0
            held = self.rollout.paused is not None and decision.what != "roll back"
            if isinstance(act, AwaitReplicas) and not held:
                found = self._world.ready(self.rollout, act.version)
                if isinstance(found, int) and found >= act.replicas:
                    return True
            if clock.now() >= until and not held:
                break
            if decision.what != "roll back" and self._compare(clock.now()):
                return False
            if self._protected(decision):
                return False
            self._wait(LOOK_SECONDS if held else min(LOOK_SECONDS, until - clock.now()))
            self.obey()
            if self.rollout.pending is not decision or self.rollout.stopped:
                return False
        if isinstance(act, Settle):
            return True
        if found is None:
            self._world.log("nobody counts replicas any more: they are left to the autoscalers")
            return True
        if isinstance(found, str):
            raise NotReadyError(found, "unreachable")
        raise NotReadyError(
            f"version {act.version} has {found} replicas ready, and needs {act.replicas}; see why: "
            f"kubectl --namespace models get pods "
            f"-l slipway.dev/model={self.rollout.model},slipway.dev/version={act.version}",
            "failed",
        )

    def _protected(self, decision: Decision) -> bool:
        """Whether the canary, which has requests while acts are under way, was given up."""
        if decision.what == "roll back" or self.rollout.step < 0:
            return False
        entry = plan.decide(self.rollout, self._judge(self._world.clock.now(), acting=True))
        if entry is None or entry.get("what") != "roll back":
            return False
        self.note(entry)
        return True

    def _failed(self, decision: Decision, act: Act, error: Exception) -> None:
        kind = getattr(error, "kind", "failed" if isinstance(error, ConfigurationError) else "")
        self.note(journal.act(decision.done, "failed", str(error)))
        attempts = decision.failures
        shown = f" ({kind})" if kind else ""
        self._world.log(f"{decision.what}: {act}: FAILED{shown}, attempt {attempts}: {error}")
        update = not isinstance(act, AwaitReplicas)
        most = RELEASE_ATTEMPTS if update and self.rollout.step < 0 else FORWARD_ATTEMPTS
        hopeless = kind == "failed" and attempts >= most
        if hopeless and decision.what in ("step", "promote") and self.rollout.promoted is None:
            why = f"the update failed {attempts} times: {error}"
            self.note(plan.roll_back(self.rollout, why, self._by))
            return
        if self._protected(decision):
            return
        pause = min(MAX_BACKOFF_SECONDS, 2.0**attempts)
        self._world.log(f"{decision.what}: trying again in {pause:g} s")
        self._wait(pause)

    def _following(self) -> dict[str, Any] | None:
        """What follows from what is done, without a look at anything."""
        rollout, decision = self.rollout, self.rollout.decision
        outcome = {"retire": "promoted", "roll back": "rolled back"}
        if decision is not None and decision.what in outcome:
            return {"kind": "end", "outcome": outcome[decision.what]}
        if rollout.step < 0 and rollout.paused is None:
            why = f"version {rollout.canary} is released"
            return plan.forward(rollout, why, rollout.by, self._size())
        return None

    def _size(self) -> Size | None:
        """The replicas of both versions; None where nobody knows, which is said."""
        size = self._world.size(self.rollout)
        if isinstance(size, str):
            self._world.log(f"replicas are left to the autoscalers: {size}")
            return None
        return size

    # What there is to see is seen

    def _look(self) -> None:
        now = self._world.clock.now()
        if now < self._next_look:
            self._world.clock.wait(min(ORDER_SECONDS, self._next_look - now))
            return
        self._next_look = now + LOOK_SECONDS
        if self._compare(now):
            return
        verdict = self._judge(now)
        self._world.watch(self.rollout)
        entry = plan.decide(self.rollout, verdict, self._size)
        if entry is None and self.rollout.promoted is not None:
            entry = self._retired(self.rollout.promoted, now)
        if entry is not None:
            self.note(entry)
            self._world.log(f"{entry.get('what', entry['kind'])}: {entry['why']}")

    def _retired(self, promoted: float, now: float) -> dict[str, Any] | None:
        window = self.rollout.rules.rollback_window
        seconds = duration_seconds(window)
        if self.rollout.roles.floors:
            seconds = max(seconds, plan.SETTLE_SECONDS)
        if now < promoted + seconds:
            return None
        why = f"the rollback window of {window} is over"
        return plan.retire(self.rollout, why, self._by)

    def _judge(self, now: float, acting: bool = False) -> Verdict:
        """acting: a step is under way, so nobody is asked whether to take one."""
        rollout = self.rollout
        began = rollout.step_began or now
        reading = self._world.prometheus.read(
            rollout.model, rollout.canary, rollout.stable, rollout.evidence_until or began, now
        )
        if reading.blocks or reading.missing != rollout.missing:
            self.note(journal.evidence(reading.blocks, reading.missing))
        for block in reading.blocks:
            self._gate.observe_block(block, rollout.step_at(block.start))
        verdict = self._opinion(rollout, now, now - began, reading.missing, acting)
        last = rollout.verdict
        if last is None or last.kind != verdict.kind or now - last.at >= VERDICT_SECONDS:
            details = asdict(verdict)
            del details["kind"], details["reasons"]
            self.note(journal.verdict(verdict.kind, verdict.reasons, details))
        return verdict

    def _opinion(
        self,
        rollout: Rollout,
        now: float,
        seconds: float,
        missing: Sequence[str],
        acting: bool,
    ) -> Verdict:
        """The verdict of the gate, and of the user's own gates where they matter."""
        step, starved = max(rollout.step, 0), now - max(self._fed, now - seconds)
        alone = rollout.by_hand
        verdict = self._gate.judge(step, seconds, missing, starved=starved, alone=alone)
        if verdict.kind == "advance":
            self._fed = now
        opinions = self._world.checks(rollout, verdict.kind == "advance" and not acting)
        if all(opinion.state == "open" for opinion in opinions):
            return verdict
        silent = [opinion.line for opinion in opinions if opinion.state == "silent"]
        shut = [opinion for opinion in opinions if opinion.state == "closed"]
        if silent:
            self._fed = now - starved
        return self._gate.judge(
            step,
            seconds,
            [*missing, *silent],
            [opinion.line for opinion in shut if opinion.then == "hold"],
            [opinion.line for opinion in shut if opinion.then == "roll back"],
            starved=starved,
            alone=alone,
        )

    # Somebody else's hand

    def _compare(self, now: float) -> bool:
        """Whether the roles are not what the journal says; what is made of that is done then."""
        stack, rollout = self._world.stack, self.rollout
        try:
            found = changes.in_configuration(rollout, stack.read_roles(rollout.model))
            if found is None and now >= self._next_comparison:
                self._next_comparison = now + DEPLOYED_SECONDS
                found = changes.in_stack(rollout, stack.deployed(rollout.model))
        except FAULTS as error:
            self._world.log(f"cannot compare with the stack: {error}")
            return False
        return self._take(found)

    def _take(self, change: Change | None) -> bool:
        """Whether there is a change by somebody else's hand, which is taken in then."""
        if change is None:
            return False
        for entry in change.entries():
            self.note(entry)
        self._world.log(str(change))
        return True

    def _resume_from_change(self, by: str, deploy: bool) -> None:
        """Go on, as ordered, from what the configuration says now; have that deployed, or not.

        Raises ValueError, and ends the rollout, where the versions are others.
        """
        stack, rollout = self._world.stack, self.rollout
        try:
            found = stack.read_roles(rollout.model)
            deployed = stack.deployed(rollout.model) if deploy else found
        except FAULTS as error:
            raise ValueError(str(error)) from None
        if not changes.same_versions(rollout, found):
            change = changes.in_configuration(rollout, found)
            self._take(change)
            raise ValueError(str(change))
        if found not in (rollout.roles, *rollout.written):
            for entry in Change("go on", found, f"ordered by {by}").entries(by):
                self.note(entry)
        self.note({"kind": "resume", "by": by})
        if rollout.pending is None and deployed != found:
            why = f"what the configuration says is deployed again, as ordered by {by}"
            self.note(journal.decide("step", why, by, (SetRoles(found),), rollout.step))

    def _wait(self, seconds: float) -> None:
        """Wait, but not longer than until an order comes."""
        until = self._world.clock.now() + seconds
        while (now := self._world.clock.now()) < until and not self._world.store.orders():
            self._world.clock.wait(min(ORDER_SECONDS, until - now))
