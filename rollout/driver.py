"""The loop that moves a rollout: take orders, do what is decided, look, decide.

Whatever it does is in the journal first, so it may be killed between any two acts and run again.
The caller holds the lease.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from rollout import journal, plan
from rollout.adapters.configuration import ConfigurationError, Roles
from rollout.adapters.registry import RegistryError
from rollout.adapters.stack import UpdateError
from rollout.interfaces import World
from rollout.journal import Act, Decision, Rollout, SetRoles
from rollout.judge.gate import Gate, Verdict
from rollout.judge.rules import Rules
from settings_types import duration_seconds

LOOK_SECONDS: Final = 5.0
"""Between two looks at Prometheus: as often as it scrapes."""

ORDER_SECONDS: Final = 0.5
"""Between two looks for an order."""

DEPLOYED_SECONDS: Final = 30.0
"""Between two comparisons of what is deployed with what the journal says."""

VERDICT_SECONDS: Final = 60.0
"""Between two entries of the same verdict, for its bounds change."""

MAX_BACKOFF_SECONDS: Final = 30.0
FORWARD_ATTEMPTS: Final = 2
"""Updates that fail before a release or a step is given up; a rollback is never given up."""


class LeaseLostError(Exception):
    """The rollout cannot go on from here; the message says why and what to do."""


class Driver:
    """Moves one rollout.

    Args:
        world: what it reads and changes.
        found: the model's rollouts, of which the last is moved.
        by: who is at it, as the journal names them.
        still_mine: says whether the lease is still held, asked before each act.
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

    @property
    def rollout(self) -> Rollout:
        """The rollout as it stands."""
        return self._found[-1]

    def note(self, entry: dict[str, Any]) -> None:
        """Write an entry to the journal, and take it in."""
        journal.extend(self._found, self._world.store.append(entry))

    def run(self, until: Callable[[Rollout], bool]) -> Rollout:
        """Go on until `until` says it is enough, the rollout has ended, or it is stopped.

        Raises LeaseLostError if the lease is lost.
        """
        while not self.rollout.outcome:
            self._obey()
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
        return self.rollout

    def _obey(self) -> None:
        # It is taken once the journal has it: an order may be obeyed twice, but is never lost.
        while waiting := self._world.store.orders():
            given = waiting[0]
            name, by = str(given.get("order")), str(given.get("by", "somebody"))
            try:
                if name == "resume" and self.rollout.stopped:
                    self._adopt_found(by)
                self.note(plan.order(self.rollout, name, by, str(given.get("gate", ""))))
                self._world.log(f"{by}: {name}")
            except ValueError as error:
                self._world.log(f"{by}: {name}: refused: {error}")
            self._world.store.take_order()

    # What is decided is done

    def _act(self) -> None:
        decision = self.rollout.pending
        assert decision is not None  # noqa: S101
        act = decision.acts[decision.done]
        if not self._still_mine():
            raise LeaseLostError("the lease is lost: somebody else runs this rollout now")
        self.note(journal.act(decision.done, "begun"))
        self._world.log(f"{decision.what}: {act} …")
        try:
            if isinstance(act, SetRoles):
                if not self._write(decision, act.roles):
                    return
                self._world.stack.update(self._world.log)
            else:
                self._world.registry.set_alias(self.rollout.model, act.alias, act.version)
        except (UpdateError, RegistryError, ConfigurationError) as error:
            self._failed(decision, act, error)
            return
        self.note(journal.act(decision.done, "done"))
        self._world.log(f"{decision.what}: {act}: done")

    def _write(self, decision: Decision, roles: Roles) -> bool:
        """Whether the configuration says `roles` now; not where somebody else has changed it."""
        stack, model = self._world.stack, self.rollout.model
        found = stack.read_roles(model)
        if found == roles:
            return True
        ours = [act.roles for act in decision.acts if isinstance(act, SetRoles)]
        if found not in [self.rollout.roles, self.rollout.before, *ours]:
            same = (found.stable, found.canary) == (self.rollout.roles.stable, self.rollout.canary)
            if not (same and decision.what == "roll back"):
                self._changed(found, "the configuration")
                return False
        stack.write_roles(model, roles)
        return True

    def _failed(self, decision: Decision, act: Act, error: Exception) -> None:
        self.note(journal.act(decision.done, "failed", str(error)))
        attempts = decision.failures
        self._world.log(f"{decision.what}: {act}: FAILED, attempt {attempts}: {error}")
        kind = getattr(error, "kind", "unreachable")
        if decision.what in ("step", "promote") and self.rollout.promoted is None:
            if kind == "failed" and attempts >= FORWARD_ATTEMPTS:
                why = f"the update failed {attempts} times: {error}"
                acts = plan.rollback_acts(self.rollout)
                self.note(journal.decide("roll back", why, self._by, acts))
                return
            # The canary may have requests while this goes on.
            verdict = self._judge(self._world.clock.now()) if self.rollout.step >= 0 else None
            entry = plan.decide(self.rollout, verdict) if verdict else None
            if entry is not None and entry.get("what") == "roll back":
                self.note(entry)
                return
        pause = min(MAX_BACKOFF_SECONDS, 2.0**attempts)
        self._world.log(f"{decision.what}: trying again in {pause:g} s")
        self._wait(pause)

    def _following(self) -> dict[str, Any] | None:
        """What follows from what is done, without a look at anything."""
        decision = self.rollout.decision
        if decision is None and self.rollout.step < 0:
            why = f"version {self.rollout.canary} is released"
            acts = plan.step_acts(self.rollout, 0)
            return journal.decide("step", why, self.rollout.by, acts, 0)
        outcome = {"retire": "promoted", "roll back": "rolled back"}
        if decision is not None and decision.what in outcome:
            return {"kind": "end", "outcome": outcome[decision.what]}
        return None

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
        entry = plan.decide(self.rollout, verdict)
        if entry is None and self.rollout.promoted is not None:
            entry = self._retired(self.rollout.promoted, now)
        if entry is not None:
            self.note(entry)
            self._world.log(f"{entry.get('what', entry['kind'])}: {entry['why']}")

    def _retired(self, promoted: float, now: float) -> dict[str, Any] | None:
        window = self.rollout.rules.rollback_window
        if now < promoted + duration_seconds(window):
            return None
        why = f"the rollback window of {window} is over"
        return journal.decide("retire", why, self._by, plan.retire_acts(self.rollout))

    def _judge(self, now: float) -> Verdict:
        rollout = self.rollout
        began = rollout.step_began or now
        reading = self._world.prometheus.read(
            rollout.model, rollout.canary, rollout.stable, rollout.evidence_until or began, now
        )
        if reading.blocks or reading.missing != rollout.missing:
            self.note(journal.evidence(reading.blocks, reading.missing))
        for block in reading.blocks:
            self._gate.observe_block(block, rollout.step_at(block.start))
        step, seconds = max(rollout.step, 0), now - began
        verdict = self._gate.judge(step, seconds, reading.missing)
        opinions = self._world.checks(rollout, verdict.kind == "advance")
        if any(opinion.state != "open" for opinion in opinions):
            silent = [opinion.line for opinion in opinions if opinion.state == "silent"]
            shut = [opinion for opinion in opinions if opinion.state == "closed"]
            verdict = self._gate.judge(
                step,
                seconds,
                [*reading.missing, *silent],
                [opinion.line for opinion in shut if opinion.then == "hold"],
                [opinion.line for opinion in shut if opinion.then == "roll back"],
            )
        last = rollout.verdict
        if last is None or last.kind != verdict.kind or now - last.at >= VERDICT_SECONDS:
            details = asdict(verdict)
            del details["kind"], details["reasons"]
            self.note(journal.verdict(verdict.kind, verdict.reasons, details))
        return verdict

    # Somebody else's hand

    def _compare(self, now: float) -> bool:
        """Whether the roles are not what the journal says; what is made of that is done then."""
        try:
            found, where = self._world.stack.read_roles(self.rollout.model), "the configuration"
            if found == self.rollout.roles and now >= self._next_comparison:
                self._next_comparison = now + DEPLOYED_SECONDS
                found = self._world.stack.deployed(self.rollout.model) or found
                where = "the deployed stack"
        except (ConfigurationError, UpdateError) as error:
            self._world.log(f"cannot compare with the stack: {error}")
            return False
        if found == self.rollout.roles:
            return False
        self._changed(found, where)
        return True

    def _changed(self, found: Roles, where: str) -> None:
        rollout = self.rollout
        shown = f"{where} says {journal.describe(found)}, not {journal.describe(rollout.roles)}"
        plain = journal.plain_roles(found)
        if (found.stable, found.canary) != (rollout.roles.stable, rollout.roles.canary):
            self.note({"kind": "change", "roles": plain, "then": "superseded"})
            self.note({"kind": "end", "outcome": "superseded"})
            self._world.log(f"superseded: {shown}; nothing was undone")
        elif rollout.rules.on_change == "go on" and not rollout.stopped:
            self.note({"kind": "change", "roles": plain, "then": "go on"})
            self._world.log(f"changed by hand, going on from there: {shown}")
        elif not rollout.stopped:
            self.note({"kind": "change", "roles": plain, "then": "stop"})
            why = f"changed by hand: {shown}"
            self.note({"kind": "pause", "why": why, "by": "a change by hand", "stop": True})
            self._world.log(f"stopped: {shown}; nothing was undone")

    def _adopt_found(self, by: str) -> None:
        """Who resumes after a change by hand goes on from what stands now."""
        found = self._world.stack.read_roles(self.rollout.model)
        self.note(
            {"kind": "change", "roles": journal.plain_roles(found), "then": "go on", "by": by}
        )

    def _wait(self, seconds: float) -> None:
        """Wait, but not longer than until an order comes."""
        until = self._world.clock.now() + seconds
        while (now := self._world.clock.now()) < until:
            self._world.clock.wait(min(ORDER_SECONDS, until - now))
