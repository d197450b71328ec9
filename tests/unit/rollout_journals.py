"""Journals of rollouts as they go, with the gate's own verdicts on traffic made from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rollout import journal
from rollout.adapters.configuration import Roles
from rollout.journal import Act, Rollout, SetAlias, SetRoles
from rollout.judge.evidence import Block, Counts
from rollout.judge.gate import Gate
from rollout.judge.rules import Rules as GateRules
from settings.rollout import LATENCY_BOUNDS
from settings.rollout import Rollout as Rules

START = 1_795_000_000.0
BLOCK = 5.0
STEPS = (5, 10, 25, 50, 100)
RULES: dict[str, Any] = {
    "steps": list(STEPS),
    "interval": "60s",
    "patience": "1h",
    "max_error_rate": 0.05,
    "max_p95": "1s",
    "max_regression": 0.03,
    "rollback_window": "10m",
}


class Tape:
    """A journal under way: entries, the time, and traffic from a seeded generator."""

    def __init__(
        self,
        *,
        model: str = "churn",
        canary: int = 2,
        stable: int = 1,
        by: str = "ada@desk",
        rules: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        start: float = START,
        seed: int = 5,
    ) -> None:
        self.entries: list[dict[str, Any]] = []
        self.at = start
        self.canary, self.stable = canary, stable
        self.random = np.random.default_rng(seed)
        self.weight = 0
        self.rules = Rules.model_validate({**RULES, **(rules or {})})
        self.gate = Gate(GateRules.of(self.rules))
        self.step_index, self.step_began = 0, start
        self.verdict = ("", 0.0)
        self.write(
            journal.begin(
                id=f"{model}-{canary}-1",
                model=model,
                canary=canary,
                rules=self.rules,
                before=Roles(stable, None, 0, None, None),
                champion=stable,
                by=by,
                notes=notes,
            )
        )

    def write(self, entry: Mapping[str, Any]) -> None:
        self.entries.append({**entry, "seq": len(self.entries) + 1, "at": self.at})

    def decide(
        self,
        what: journal.What,
        why: str,
        *acts: Act,
        step: int | None = None,
        by: str = "the gate",
        seconds: float = 8.0,
        failures: int = 0,
        error: str = "cluster API at https://10.0.0.1:6443 does not answer",
    ) -> None:
        """A decision and its acts, each of which takes `seconds`, the first after `failures`."""
        self.write(journal.decide(what, why, by, acts, step))
        for index, act in enumerate(acts):
            self.write(journal.act(index, "begun"))
            for _ in range(failures if index == 0 else 0):
                self.at += seconds
                self.write(journal.act(index, "failed", error))
                self.write(journal.act(index, "begun"))
            self.at += seconds if isinstance(act, SetRoles) else 0.4
            self.write(journal.act(index, "done"))
            if isinstance(act, SetRoles):
                roles = act.roles
                self.weight = roles.weight if roles.canary else 100 * (roles.stable == self.canary)

    def roles(self, weight: int) -> SetRoles:
        return SetRoles(Roles(self.stable, self.canary, weight, None, None))

    def step(self, index: int, why: str, **options: Any) -> None:
        weight = self.rules.steps[index]
        self.decide("step", why, self.roles(weight), step=index, **options)
        self.step_index, self.step_began = index, self.at

    def traffic(
        self,
        seconds: float,
        *,
        until: str = "",
        per_second: float = 40.0,
        errors: tuple[float, float] = (0.004, 0.004),
        slower: tuple[float, float] = (1.0, 1.0),
        missing: Sequence[str] = (),
        judged: bool = True,
    ) -> None:
        """Blocks of evidence. `errors` and `slower` (a factor) are the canary's and stable's.

        Ends at the verdict `until`, which must come within `seconds`.
        """
        for _ in range(round(seconds / BLOCK)):
            start = self.at
            self.at += BLOCK
            shares = (self.weight / 100, 1 - self.weight / 100)
            canary, stable = (
                self._counts(per_second * BLOCK * share, rate, factor)
                for share, rate, factor in zip(shares, errors, slower, strict=True)
            )
            blocks = [Block(start, self.at, canary, stable)] if not missing else []
            self.write(journal.evidence(blocks, missing))
            if not judged:
                continue
            for block in blocks:
                self.gate.observe_block(block, self.step_index)
            if self.judge(missing) == until:
                return
        assert not until, f"no {until} within {seconds} s, but {self.verdict}"

    def judge(self, missing: Sequence[str]) -> str:
        """The gate's verdict, written where it is new, or once a minute."""
        found = self.gate.judge(self.step_index, self.at - self.step_began, missing)
        if found.kind != self.verdict[0] or self.at - self.verdict[1] >= 60:
            self.verdict = (found.kind, self.at)
            details = asdict(found)
            del details["kind"], details["reasons"]
            self.write(journal.verdict(found.kind, found.reasons, details))
        return found.kind

    @property
    def reasons(self) -> str:
        """The gate's last reasons."""
        last = [entry for entry in self.entries if entry["kind"] == "verdict"][-1]
        return "; ".join(last["reasons"])

    def _counts(self, expected: float, errors: float, slower: float) -> Counts:
        requests = int(self.random.poisson(expected))
        failed = int(self.random.binomial(requests, errors))
        seconds = self.random.lognormal(-3.3, 0.7, requests) * slower
        edges = np.searchsorted(LATENCY_BOUNDS, seconds)
        buckets = np.bincount(edges, minlength=len(LATENCY_BOUNDS) + 1)
        unseen = int(self.random.binomial(requests, 0.0005))
        return Counts(
            requests,
            failed,
            tuple(int(count) for count in buckets),
            requests + unseen,
            failed + unseen,
        )

    def end(self, outcome: str) -> None:
        self.write({"kind": "end", "outcome": outcome})

    def state(self) -> Rollout:
        return journal.rollouts(self.entries)[-1]


def promoted(least: float = 0.0, **options: Any) -> Tape:
    """A good version, through all steps of `least` seconds or more, promoted, warm, retired."""
    tape = Tape(**options)
    tape.step(0, "released", by="ada@desk", seconds=35)
    for index in range(len(STEPS)):
        tape.traffic(least, judged=False)
        tape.traffic(1800, until="advance")
        if index + 1 < len(STEPS):
            tape.step(index + 1, tape.reasons)
    alias = SetAlias("champion", tape.canary)
    warm = SetRoles(Roles(tape.canary, None, 0, tape.stable, None))
    tape.decide("promote", tape.reasons, warm, alias)
    tape.traffic(600)
    why = "the rollback window of 10m is over"
    tape.decide("retire", why, SetRoles(Roles(tape.canary, None, 0, None, None)))
    tape.end("promoted")
    return tape


def rolled_back(**options: Any) -> Tape:
    """10 % errors in step 3 of 5; the first update of the rollback fails twice."""
    tape = Tape(**options)
    tape.step(0, "released", by="ada@desk", seconds=35)
    for index in (1, 2):
        tape.traffic(1800, until="advance")
        tape.step(index, tape.reasons)
    tape.traffic(30)
    tape.traffic(300, until="roll back", errors=(0.1, 0.004), slower=(1.4, 1.0))
    roll_back(tape, failures=2)
    tape.end("rolled back")
    return tape


def roll_back(tape: Tape, **options: Any) -> None:
    before = SetRoles(Roles(tape.stable, None, 0, None, None))
    tape.decide("roll back", tape.reasons, tape.roles(0), before, **options)


def starved(**options: Any) -> Tape:
    """Traffic stops in step 2; rolled back at the end of patience for want of evidence."""
    tape = Tape(rules={"patience": "15m"}, **options)
    tape.step(0, "released", by="ada@desk", seconds=35)
    tape.traffic(900, until="advance")
    tape.step(1, tape.reasons)
    tape.traffic(20, per_second=4.0)
    tape.traffic(420, per_second=0.0)
    tape.traffic(120, missing=["Prometheus at http://127.0.0.1:9090 does not answer"])
    tape.traffic(900, until="roll back", per_second=0.0)
    roll_back(tape)
    tape.end("rolled back")
    return tape


def running(**options: Any) -> Tape:
    """In step 2, paused once and gone on with."""
    tape = Tape(notes=["at 40 requests/s each step needs 3 to 12 minutes"], **options)
    tape.step(0, "released", by="ada@desk", seconds=35)
    tape.traffic(30)
    tape.write({"kind": "pause", "why": "ordered by grace@desk", "by": "grace@desk"})
    tape.traffic(60)
    tape.write({"kind": "resume", "by": "grace@desk"})
    tape.write({"kind": "approve", "gate": "owner", "step": 0, "by": "grace@desk"})
    tape.traffic(900, until="advance")
    tape.step(1, tape.reasons)
    tape.traffic(95)
    return tape


def fresh(**options: Any) -> Tape:
    """Released seconds ago: nothing is known of the canary yet."""
    tape = Tape(**options)
    tape.step(0, "released", by="ada@desk", seconds=35)
    return tape


ALL = {
    "promoted": promoted,
    "rolled back": rolled_back,
    "starved": starved,
    "running": running,
    "fresh": fresh,
}
