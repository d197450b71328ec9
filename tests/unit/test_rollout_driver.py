"""Rollouts against a world in memory: every kill, every change by hand, every fault has its end
state. The decisions, the journal and the gate are the real ones.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from rollout import journal
from rollout.adapters.configuration import Roles
from rollout.adapters.registry import RegistryError
from rollout.adapters.stack import StackError, UpdateError
from rollout.driver import Driver
from rollout.interfaces import World
from rollout.journal import Rollout
from rollout.judge.evidence import Block, Counts, Reading
from rollout.judge.floor import Size
from settings.rollout import Rollout as Rules

START = 1_000_000.0
RULES = Rules(steps=[5, 25, 100], interval="30s", patience="10m", rollback_window="60s")
NONE_BLOCK = 10.0


class Killed(BaseException):
    """kill -9: nothing catches it."""


@dataclass
class Machine:
    """All that outlives a kill: the journal, the configuration, the cluster, the registry, time.

    `moments` counts the points at which a kill can strike; `kill_at` is the one at which it does.
    """

    lines: list[str] = field(default_factory=list)
    file: Roles = field(default_factory=lambda: Roles(stable=1))
    cluster: Roles = field(default_factory=lambda: Roles(stable=1))
    aliases: dict[str, int] = field(default_factory=lambda: {"champion": 1})
    given: list[dict[str, Any]] = field(default_factory=list)
    time: float = START
    history: list[tuple[float, Roles]] = field(default_factory=lambda: [(START, Roles(stable=1))])
    error_rate: float = 0.01
    canary_error_rate: float = 0.01
    slow: float = 0.0
    requests: float = 100.0
    prometheus_down: tuple[float, float] = (0.0, 0.0)
    moments: int = 0
    kill_at: int = -1
    update_faults: list[UpdateError] = field(default_factory=list)
    registry_faults: int = 0
    at: dict[float, Callable[[], None]] = field(default_factory=dict)
    updates: int = 0
    destroyed: bool = False
    said: list[str] = field(default_factory=list)
    busy: int = 2
    """Replicas that stable's autoscaler has without a floor."""
    room: int = 100
    """Replicas of version 2 that the nodes have room for."""
    counted: bool = True

    def moment(self) -> None:
        self.moments += 1
        if self.moments == self.kill_at:
            raise Killed

    # Store

    def append(self, entry: dict[str, Any]) -> dict[str, Any]:
        self.moment()
        whole = {"seq": len(self.lines), "at": self.time, **entry}
        self.lines.append(json.dumps(whole))
        self.moment()
        return json.loads(self.lines[-1])

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def take_order(self) -> dict[str, Any] | None:
        return self.given.pop(0) if self.given else None

    def orders(self) -> list[dict[str, Any]]:
        return list(self.given)

    # Stack

    def read_roles(self, model: str) -> Roles:
        return self.file

    def write_roles(self, model: str, roles: Roles) -> None:
        self.moment()
        self.file = roles
        self.moment()

    def update(self, log: Callable[[str], None]) -> None:
        self.moment()
        self.updates += 1
        self.time += 4
        if self.update_faults:
            raise self.update_faults.pop(0)
        self.deploy()
        self.moment()

    def deploy(self) -> None:
        self.cluster = self.file
        self.history.append((self.time, self.cluster))

    def deployed(self, model: str) -> Roles | None:
        return None if self.destroyed else self.cluster

    # Registry

    def alias(self, model: str, name: str) -> int | None:
        return self.aliases.get(name)

    def set_alias(self, model: str, name: str, version: int | None) -> None:
        self.moment()
        if self.registry_faults:
            self.registry_faults -= 1
            raise RegistryError("mlflow does not answer")
        if version is None:
            self.aliases.pop(name, None)
        else:
            self.aliases[name] = version
        self.moment()

    # Prometheus

    def read(self, model: str, canary: int, stable: int, after: float, now: float) -> Reading:
        low, high = self.prometheus_down
        if low <= now < high:
            return Reading((), ("Prometheus does not answer",))
        blocks = []
        start = -(-after // NONE_BLOCK) * NONE_BLOCK
        while start + NONE_BLOCK + 5 <= now:
            blocks.append(self._block(start, canary, stable))
            start += NONE_BLOCK
        return Reading(tuple(blocks))

    def _block(self, start: float, canary: int, stable: int) -> Block:
        roles = [roles for at, roles in self.history if at <= start][-1]
        draw = np.random.default_rng(int(start))
        total = round(self.requests * NONE_BLOCK)
        share = 1.0 if roles.stable == canary else roles.weight / 100
        to_canary = int(draw.binomial(total, share if roles.canary or share == 1 else 0))

        def counts(number: int, rate: float, slow: float) -> Counts:
            errors = int(draw.binomial(number, rate))
            late = int(draw.binomial(number, slow))
            return Counts(number, errors, (number - late, *(0,) * 17, late), number, errors)

        return Block(
            start,
            start + NONE_BLOCK,
            counts(to_canary, self.canary_error_rate, self.slow),
            counts(total - to_canary, self.error_rate, 0.0),
        )

    def have(self, version: int) -> int:
        """The ready replicas: an autoscaler takes 20 s to follow a floor."""
        known = [roles for at, roles in self.history if at <= self.time - 20] or [Roles(stable=1)]
        floor = dict(known[-1].floors).get(version, 0)
        plain = self.busy if version == self.cluster.stable else 2
        return min(max(plain, floor), self.room if version == 2 else 100)

    def ready(self, rollout: Rollout, version: int) -> int | str | None:
        low, high = self.prometheus_down
        if low <= self.time < high:
            return "Prometheus does not answer"
        return self.have(version) if self.counted else None

    def size(self, rollout: Rollout) -> Size | str:
        if not self.counted:
            return "nobody counts replicas"
        canary = self.have(2) if self.file.canary else 0
        return Size(self.have(rollout.stable), canary, 2, 10)

    # Clock

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += max(seconds, 0.01)
        for at in sorted(self.at):
            if self.time >= at:
                self.at.pop(at)()
        if self.time > START + 20_000:
            raise AssertionError("the rollout never ends: " + "\n".join(self.said[-20:]))

    # Commands

    def order(self, name: str, gate: str = "") -> None:
        last = journal.rollouts(self.entries())[-1]
        self.given.append(
            {"order": name, "by": "ada", "gate": gate, "rollout": last.id, "step": last.step}
        )

    def driver(self, checks: Any = lambda rollout, advancing: ()) -> Driver:
        world = World(self, self, self, self, self, checks, self.ready, self.size, self.said.append)
        return Driver(world, journal.rollouts(self.entries()), "me")

    def begin(
        self,
        rules: Rules = RULES,
        champion: int | None = 1,
        name: str = "a1",
        adopted: bool = False,
    ) -> None:
        entry = journal.begin(
            id=name,
            model="churn",
            canary=2,
            rules=rules,
            before=self.file,
            champion=champion,
            by="me",
            adopted=adopted,
        )
        self.kill_at, kill_at = -1, self.kill_at
        self.append(entry)
        self.kill_at = kill_at

    def run(self, checks: Any = lambda rollout, advancing: ()) -> Rollout:
        return self.driver(checks).run(lambda rollout: False)

    def run_in_spite_of_kills(self) -> Rollout:
        while True:
            try:
                return self.run()
            except Killed:
                self.time += 7

    def weights(self) -> list[int]:
        """The canary's weights as the cluster had them, without repetitions."""
        found = []
        for _, roles in self.history:
            weight = 100 if roles.stable == 2 else roles.weight
            if not found or found[-1] != weight:
                found.append(weight)
        return found

    def assert_promoted(self, rollout: Rollout) -> None:
        assert rollout.outcome == "promoted", self.said
        assert self.file == self.cluster == rollout.roles == Roles(stable=2)
        assert self.aliases == {"champion": 2}

    def assert_rolled_back(self, rollout: Rollout) -> None:
        assert rollout.outcome == "rolled back", self.said
        assert self.file == self.cluster == rollout.roles == Roles(stable=1)
        assert self.aliases == {"champion": 1}


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.begin()
    return machine


def failed(kind: str) -> UpdateError:
    return UpdateError(f"the update is {kind}", kind)


def test_a_good_version_takes_each_step_once_and_is_promoted(machine: Machine) -> None:
    rollout = machine.run()
    machine.assert_promoted(rollout)
    assert machine.weights() == [0, 5, 25, 100]
    assert [decision.what for decision in rollout.decisions] == [
        "step", "step", "step", "promote", "retire",
    ]  # fmt: skip
    # Warm until the window is over.
    promoted = next(at for at, roles in machine.history if roles.stable == 2)
    warm = [roles for at, roles in machine.history if roles.previous == 1]
    assert warm
    assert machine.history[-1][0] >= promoted + 60


def test_a_bad_version_is_rolled_back_for_its_errors(machine: Machine) -> None:
    machine.canary_error_rate = 0.1
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert rollout.decision is not None
    assert "errors" in rollout.decision.why or "failures" in rollout.decision.why
    assert max(machine.weights()) <= 25


def test_a_slow_version_is_rolled_back(machine: Machine) -> None:
    machine.slow = 1.0
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert rollout.decision is not None
    assert "slow" in rollout.decision.why


def moments_of(prepare: Callable[[Machine], None]) -> Iterator[int]:
    """Every moment at which a kill can strike while a rollout runs to its end."""
    calm = Machine()
    calm.begin()
    prepare(calm)
    before = calm.moments
    calm.run()
    yield from range(before + 1, calm.moments + 1)


@pytest.mark.parametrize("bad", [False, True])
def test_a_kill_between_any_two_acts_changes_nothing_of_the_end(bad: bool) -> None:
    """The end state and the weights on the way are those of a rollout that nobody killed."""

    def prepare(machine: Machine) -> None:
        machine.canary_error_rate = 0.1 if bad else 0.01

    tried = 0
    for moment in moments_of(prepare):
        machine = Machine()
        machine.begin()
        prepare(machine)
        machine.kill_at = moment
        rollout = machine.run_in_spite_of_kills()
        assert machine.moments >= moment
        if bad:
            machine.assert_rolled_back(rollout)
            assert machine.weights() in ([0, 5, 0], [0, 5, 25, 0])
        else:
            machine.assert_promoted(rollout)
            assert machine.weights() == [0, 5, 25, 100]
        decided = [(decision.what, decision.step) for decision in rollout.decisions]
        assert len(decided) == len(set(decided)), "a step was decided twice"
        tried += 1
    assert tried > 40


def test_killed_at_every_moment_in_turn_it_still_ends(machine: Machine) -> None:
    """A process that lives for twelve moments at a time gets there all the same."""
    while True:
        machine.kill_at = machine.moments + 12
        try:
            rollout = machine.run()
        except Killed:
            continue
        break
    machine.assert_promoted(rollout)
    assert machine.weights() == [0, 5, 25, 100]


def test_a_silent_prometheus_is_neither_a_pass_nor_a_failure(machine: Machine) -> None:
    machine.prometheus_down = (START + 10, START + 130)
    rollout = machine.run()
    machine.assert_promoted(rollout)
    first = next(at for at, roles in machine.history if roles.weight == 25)
    assert first > START + 130, "a step was taken without evidence"


def test_for_want_of_evidence_patience_ends(machine: Machine) -> None:
    machine.at[START + 40] = lambda: setattr(machine, "requests", 0.0)
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert rollout.decision is not None
    assert rollout.decision.why.startswith("for want of evidence")


def test_for_want_of_evidence_it_may_pause_instead() -> None:
    machine = Machine(requests=0.0)
    machine.begin(RULES.model_copy(update={"without_evidence": "pause"}))
    machine.at[START + 2000] = lambda: machine.order("rollback")
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert any(line.startswith("pause: for want of evidence") for line in machine.said)
    assert rollout.decision is not None
    assert rollout.decision.why == "ordered by ada"


def by_hand(machine: Machine, **change: Any) -> Callable[[], None]:
    def change_it() -> None:
        machine.file = Roles(**{**vars(machine.file), **change})
        machine.deploy()

    return change_it


def test_a_weight_changed_by_hand_stops_the_rollout_and_is_not_undone(machine: Machine) -> None:
    machine.at[START + 20] = by_hand(machine, weight=40)
    rollout = machine.run()
    assert rollout.outcome is None
    assert rollout.stopped
    assert machine.cluster == machine.file == Roles(stable=1, canary=2, weight=40)
    assert "changed by hand" in str(rollout.paused)
    # Running again does nothing until somebody says so; then it goes on from there.
    assert machine.run().stopped
    machine.order("resume")
    machine.assert_promoted(machine.driver().run(lambda rollout: False))


def test_a_rollout_may_go_on_from_a_weight_changed_by_hand() -> None:
    machine = Machine()
    machine.begin(RULES.model_copy(update={"on_change": "go on"}))
    machine.at[START + 20] = by_hand(machine, weight=40)
    machine.assert_promoted(machine.run())
    assert machine.weights() == [0, 5, 40, 100]


def test_another_canary_by_hand_supersedes_the_rollout(machine: Machine) -> None:
    machine.at[START + 20] = by_hand(machine, canary=3)
    rollout = machine.run()
    assert rollout.outcome == "superseded"
    assert machine.cluster == Roles(stable=1, canary=3, weight=5)
    assert machine.aliases == {"champion": 1}


def test_a_change_that_only_the_cluster_shows_is_noticed(machine: Machine) -> None:
    def elsewhere() -> None:
        machine.cluster = Roles(stable=1, canary=2, weight=60)

    machine.at[START + 20] = elsewhere
    rollout = machine.run()
    assert rollout.stopped
    assert "deployed" in str(rollout.paused)


def test_a_rollback_is_tried_until_it_works(machine: Machine) -> None:
    machine.canary_error_rate = 0.2
    machine.at[START + 15] = lambda: machine.update_faults.extend(
        [failed("unreachable")] * 7 + [failed("failed")] * 3
    )
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert sum("FAILED" in line for line in machine.said) == 10
    assert rollout.decision is not None
    assert rollout.decision.what == "roll back"


def test_a_release_that_cannot_be_deployed_is_taken_back(machine: Machine) -> None:
    machine.update_faults.extend([failed("failed")] * 2)
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert machine.weights() == [0]
    assert rollout.decision is not None
    assert "the update failed 2 times" in rollout.decision.why


def test_a_canary_that_turns_bad_while_a_step_fails_is_rolled_back(machine: Machine) -> None:
    def unreachable() -> None:
        machine.canary_error_rate = 0.5
        machine.update_faults.extend([failed("unreachable")] * 8)

    machine.at[START + 40] = unreachable
    rollout = machine.run()
    machine.assert_rolled_back(rollout)


def test_an_mlflow_that_does_not_answer_only_delays_the_alias(machine: Machine) -> None:
    machine.registry_faults = 5
    machine.assert_promoted(machine.run())


def test_a_promotion_can_be_rolled_back_in_its_window(machine: Machine) -> None:
    driver = machine.driver()
    rollout = driver.run(lambda rollout: rollout.promoted is not None and not rollout.pending)
    assert rollout.phase == "warm"
    assert machine.cluster == Roles(stable=2, previous=1)
    machine.order("rollback")
    machine.assert_rolled_back(machine.run())
    assert machine.history[-2][1] == Roles(stable=1, previous=2), "the route moves first"


def test_a_promoted_version_that_turns_bad_in_its_window_is_rolled_back(machine: Machine) -> None:
    driver = machine.driver()
    driver.run(lambda rollout: rollout.promoted is not None and not rollout.pending)
    machine.canary_error_rate = 0.4
    machine.assert_rolled_back(machine.run())


def test_the_champion_that_was_not_there_is_removed_again() -> None:
    machine = Machine(aliases={})
    machine.begin(champion=None)
    driver = machine.driver()
    driver.run(lambda rollout: rollout.promoted is not None and not rollout.pending)
    assert machine.aliases == {"champion": 2}
    machine.order("rollback")
    machine.run()
    assert machine.aliases == {}


def test_paused_it_takes_no_step_but_still_protects(machine: Machine) -> None:
    machine.at[START + 20] = lambda: machine.order("pause")
    machine.at[START + 900] = lambda: setattr(machine, "canary_error_rate", 0.2)
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert machine.weights() == [0, 5, 0]
    assert machine.time > START + 900


def test_orders_that_make_no_sense_are_refused_and_said(machine: Machine) -> None:
    for name in ("resume", "approve", "step", "nonsense"):
        machine.order(name, "x")
    machine.assert_promoted(machine.run())
    assert sum("refused" in line for line in machine.said) >= 3


@dataclass
class Opinion:
    state: str
    line: str = "latency of the shop"
    then: str = "hold"


def test_a_closed_gate_holds_the_step(machine: Machine) -> None:
    opinion = Opinion("closed")
    machine.at[START + 3000] = lambda: setattr(opinion, "state", "open")
    machine.assert_promoted(machine.run(lambda rollout, advancing: [opinion]))
    assert next(at for at, roles in machine.history if roles.weight == 25) > START + 3000


def test_a_closed_gate_may_ask_for_a_rollback(machine: Machine) -> None:
    rollout = machine.run(lambda rollout, advancing: [Opinion("closed", then="roll back")])
    machine.assert_rolled_back(rollout)
    assert rollout.decision is not None
    assert "latency of the shop" in rollout.decision.why


def test_a_silent_gate_ends_with_patience(machine: Machine) -> None:
    rollout = machine.run(lambda rollout, advancing: [Opinion("silent")])
    machine.assert_rolled_back(rollout)
    assert rollout.decision is not None
    assert rollout.decision.why.startswith("for want of evidence")


def test_the_predictions_are_compared_while_the_rollout_runs() -> None:
    machine = Machine()
    rules = Rules.model_validate({**RULES.model_dump(), "predictions": {"percent": 20}})
    machine.begin(rules)
    machine.assert_promoted(machine.run())
    assert {roles.shadow for _, roles in machine.history} == {None, (2, 20)}


def test_blue_green_is_one_step() -> None:
    machine = Machine()
    machine.begin(RULES.model_copy(update={"steps": [100]}))
    machine.assert_promoted(machine.run())
    assert machine.weights() == [0, 100]
    assert any(roles == Roles(stable=2, previous=1) for _, roles in machine.history)


# What a strict reader found: a hand, an order or another rollout between a kill and its end.

HANDS: dict[str, Callable[[Machine], None]] = {
    "rollback": lambda machine: machine.order("rollback"),
    "pause, resume": lambda machine: (machine.order("pause"), machine.order("resume"))[0],
    "weight": lambda machine: by_hand(machine, weight=40 if machine.file.canary else 0)(),
    "removed": lambda machine: by_hand(machine, canary=None, weight=0)(),
    "other canary": lambda machine: by_hand(machine, canary=3, weight=7)(),
}


@pytest.mark.parametrize("hand", HANDS)
def test_a_kill_and_then_a_hand(hand: str) -> None:
    """After any kill and any hand, file, cluster, journal and alias say the same in the end."""
    for moment in moments_of(lambda machine: None):
        machine = Machine()
        machine.begin()
        machine.kill_at = moment
        with contextlib.suppress(Killed):
            machine.run()
        if journal.rollouts(machine.entries())[-1].outcome:
            continue
        HANDS[hand](machine)
        rollout = machine.run()
        for _ in range(2):
            if rollout.stopped:
                machine.order("resume")
                rollout = machine.run()
        told = f"kill at {moment}: {rollout.phase} {machine.file} {machine.said[-4:]}"
        assert rollout.outcome, told
        assert machine.file == machine.cluster, told
        if rollout.outcome == "promoted":
            # A hand that came after the last act changed what was no rollout's any more.
            over = rollout.roles == Roles(stable=2) and hand == "other canary"
            assert over or machine.file == Roles(stable=2), told
            assert machine.aliases == {"champion": 2}, told
        elif rollout.outcome == "rolled back":
            assert (machine.file, machine.aliases) == (Roles(stable=1), {"champion": 1}), told
        else:
            assert hand in ("removed", "other canary"), told


def to_last_step(machine: Machine) -> None:
    machine.driver().run(lambda rollout: rollout.step == 2 and not rollout.pending)


def to_window(machine: Machine) -> Rollout:
    return machine.driver().run(
        lambda rollout: rollout.promoted is not None and not rollout.pending
    )


def test_a_promotion_that_fails_again_and_again_is_rolled_back(machine: Machine) -> None:
    to_last_step(machine)
    machine.update_faults.extend([failed("failed")] * 5)
    machine.assert_rolled_back(machine.run())


def test_a_step_is_not_given_up_for_an_update_that_fails_for_a_while(machine: Machine) -> None:
    to_last_step(machine)
    machine.update_faults.extend([failed("failed")] * 4)
    machine.assert_promoted(machine.run())


def test_the_window_changed_by_hand_can_still_be_rolled_back(machine: Machine) -> None:
    to_window(machine)
    by_hand(machine, previous=None)()
    assert machine.run().stopped
    machine.order("rollback")
    machine.assert_rolled_back(machine.run())


def test_an_order_for_a_rollout_that_is_over_is_refused(machine: Machine) -> None:
    machine.order("promote")
    stale = machine.given.pop()
    machine.error_rate = machine.canary_error_rate = 0.01
    machine.run()
    machine.file = Roles(stable=1)
    machine.deploy()
    machine.begin(name="a2")
    machine.given.append(stale)
    machine.canary_error_rate = 0.3
    rollout = machine.run()
    assert rollout.outcome == "rolled back"
    assert not machine.given
    assert any("refused" in line and "over" in line for line in machine.said)


def dies() -> None:
    raise Killed


def test_who_removes_the_canary_by_hand_is_not_overruled(machine: Machine) -> None:
    machine.driver().run(lambda rollout: rollout.step == 0 and not rollout.pending)
    killed = machine.update
    machine.update = lambda log: dies()  # type: ignore[method-assign]
    with pytest.raises(Killed):
        machine.run()
    assert machine.file.weight == 25
    machine.update = killed  # type: ignore[method-assign]
    by_hand(machine, canary=None, weight=0)()
    rollout = machine.run()
    assert rollout.outcome == "superseded"
    assert machine.file == machine.cluster == Roles(stable=1)


def test_resume_does_not_take_over_another_canary(machine: Machine) -> None:
    machine.at[START + 20] = by_hand(machine, weight=40)
    assert machine.run().stopped
    by_hand(machine, canary=3, weight=9)()
    machine.order("resume")
    assert machine.run().outcome == "superseded"
    assert machine.cluster == Roles(stable=1, canary=3, weight=9)


def test_a_stack_deployed_from_elsewhere_is_deployed_again_when_resumed(machine: Machine) -> None:
    machine.driver().run(lambda rollout: rollout.step == 0 and not rollout.pending)
    machine.cluster = Roles(stable=1, canary=2, weight=60)
    assert machine.run().stopped
    machine.order("resume")
    machine.assert_promoted(machine.run())


def test_a_destroyed_stack_supersedes_the_rollout(machine: Machine) -> None:
    machine.at[START + 20] = lambda: setattr(machine, "destroyed", True)
    assert machine.run().outcome == "superseded"


def test_patience_is_that_of_somebody_who_watches(machine: Machine) -> None:
    """Hours without anybody, or at a closed gate, are not hours without evidence."""
    opinion = Opinion("closed")
    machine.at[START + 2000] = lambda: setattr(
        machine, "prometheus_down", (START + 2000, START + 2030)
    )
    machine.at[START + 3000] = lambda: setattr(opinion, "state", "open")
    driver = machine.driver(lambda rollout, advancing: [opinion])
    driver.run(lambda rollout: machine.time > START + 2500)
    assert journal.rollouts(machine.entries())[-1].outcome is None
    machine.time += 30_000 - 25_000
    machine.assert_promoted(machine.run())


def test_a_weight_of_100_by_hand_is_no_proof(machine: Machine) -> None:
    machine.canary_error_rate = 0.06
    machine.requests = 3
    machine.file = machine.cluster = Roles(stable=1, canary=2, weight=100)
    machine.lines.clear()
    machine.begin(adopted=True)
    assert machine.run().outcome == "rolled back"


def test_a_canary_taken_up_without_weight_gets_the_first_step() -> None:
    machine = Machine(file=Roles(stable=1, canary=2), cluster=Roles(stable=1, canary=2))
    machine.history.append((START, machine.cluster))
    machine.begin(adopted=True)
    machine.assert_promoted(machine.run())
    assert machine.weights() == [0, 5, 25, 100]


def test_a_promoted_version_is_watched_while_its_alias_does_not_move(machine: Machine) -> None:
    to_last_step(machine)
    machine.registry_faults = 40
    machine.at[machine.time + 60] = lambda: setattr(machine, "canary_error_rate", 0.5)
    rollout = machine.run()
    assert rollout.outcome == "rolled back"
    assert machine.cluster == Roles(stable=1)


def test_an_approval_counts_for_the_step_that_was_seen() -> None:
    machine = Machine()
    gates = [{"name": "sign-off", "approval": True}]
    machine.begin(Rules.model_validate({**RULES.model_dump(), "gates": gates}))
    machine.order("approve", "sign-off")  # before the first step is there
    rollout = machine.driver().run(lambda rollout: rollout.step == 0 and not rollout.pending)
    assert rollout.approvals == set()
    machine.order("approve", "sign-off")
    machine.driver().obey()
    assert journal.rollouts(machine.entries())[-1].approvals == {("sign-off", 0)}


def test_a_champion_moved_by_somebody_else_is_left(machine: Machine) -> None:
    to_window(machine)
    machine.aliases["champion"] = 7
    machine.order("rollback")
    assert machine.run().outcome == "rolled back"
    assert machine.aliases == {"champion": 7}


def test_a_stack_that_cannot_be_read_is_said_and_tried_again(machine: Machine) -> None:
    faults = [StackError("no backend")] * 3
    whole = machine.update

    def update(log: Callable[[str], None]) -> None:
        if faults:
            raise faults.pop()
        whole(log)

    machine.update = update  # type: ignore[method-assign]
    machine.assert_promoted(machine.run())
    assert sum("no backend" in line for line in machine.said) == 3


def test_pausing_what_was_never_deployed_deploys_nothing(machine: Machine) -> None:
    machine.order("pause")
    driver = machine.driver()
    driver.obey()
    driver.run(lambda rollout: True)
    assert machine.updates == 0


def test_a_lost_lease_ends_it_before_the_next_act(machine: Machine) -> None:
    from rollout.driver import LeaseLostError

    world = World(
        machine,
        machine,
        machine,
        machine,
        machine,
        lambda *_: (),
        machine.ready,
        machine.size,
        machine.said.append,
    )
    driver = Driver(world, journal.rollouts(machine.entries()), "me", lambda: False)
    with pytest.raises(LeaseLostError, match="lease"):
        driver.run(lambda rollout: False)
    assert machine.updates == 0


# Replicas before traffic


def sizes(machine: Machine) -> list[tuple[int, dict[int, int]]]:
    """The canary's weight and the floors of each update."""
    return [
        (100 if roles.stable == 2 else roles.weight, dict(roles.floors))
        for _, roles in machine.history
    ]


def changes(found: list[Any]) -> list[Any]:
    """The list without repetitions."""
    return [each for each, after in itertools.pairwise([*found, None]) if each != after]


def test_the_canary_has_its_replicas_before_its_traffic_and_stable_keeps_its_own() -> None:
    machine = Machine(busy=6)
    machine.begin()
    rollout = machine.run()
    machine.assert_promoted(rollout)
    assert sizes(machine) == [
        (0, {}),
        (5, {1: 6}),
        (25, {1: 6}),
        (25, {1: 6, 2: 6}),
        (100, {1: 6, 2: 6}),
        (100, {1: 6, 2: 6}),  # promoted
        (100, {}),
    ]
    raised, moved = [at for at, roles in machine.history if dict(roles.floors).get(2) == 6][:2]
    assert moved >= raised + 20, "traffic came before the replicas"


def test_blue_green_waits_for_as_many_replicas_as_stable_has() -> None:
    machine = Machine(busy=5)
    machine.begin(RULES.model_copy(update={"steps": [100]}))
    machine.assert_promoted(machine.run())
    assert sizes(machine)[:3] == [(0, {}), (0, {1: 5, 2: 5}), (100, {1: 5, 2: 5})]


def test_a_rollback_finds_stable_as_large_as_it_was() -> None:
    machine = Machine(busy=6)
    machine.begin()
    to_window(machine)
    machine.busy = 2
    machine.canary_error_rate = 0.4
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert sizes(machine)[-3:] == [(0, {1: 6, 2: 6}), (0, {1: 6}), (0, {})]
    kept, gone = (at for at, _ in machine.history[-2:])
    assert gone >= kept + 60, "the autoscaler has not seen what stable bears again"


def test_no_room_for_the_replicas_takes_the_step_back() -> None:
    machine = Machine(busy=6, room=4)
    machine.begin()
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert machine.weights() == [0, 5, 25, 0]
    assert rollout.decision is not None
    assert "version 2 has 4 replicas ready, and needs 6" in rollout.decision.why


def test_a_canary_that_turns_bad_while_replicas_come_is_rolled_back() -> None:
    machine = Machine(busy=6, room=4)
    machine.begin()
    machine.driver().run(lambda rollout: rollout.weight == 25 and not rollout.pending)
    machine.at[machine.time + 40] = lambda: setattr(machine, "canary_error_rate", 0.5)
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert rollout.decision is not None
    assert "errors" in rollout.decision.why or "failures" in rollout.decision.why


def test_an_order_ends_the_wait_for_replicas() -> None:
    machine = Machine(busy=6, room=4)
    machine.begin()
    driver = machine.driver()
    driver.run(lambda rollout: rollout.weight == 25 and not rollout.pending)
    machine.at[machine.time + 60] = lambda: machine.order("rollback")
    rollout = machine.run()
    machine.assert_rolled_back(rollout)
    assert rollout.decision is not None
    assert rollout.decision.why == "ordered by ada"


def test_where_nobody_counts_replicas_steps_are_taken_without_floors(machine: Machine) -> None:
    machine.counted = False
    machine.busy = 6
    machine.assert_promoted(machine.run())
    assert all(not floors for _, floors in sizes(machine))
    assert any("left to the autoscalers: nobody counts" in line for line in machine.said)


def waiting(room: int = 4) -> Machine:
    """Before 100 %, while the canary has four of six replicas."""
    machine = Machine(busy=6, room=room)
    machine.begin()
    machine.driver().run(lambda rollout: rollout.weight == 25 and not rollout.pending)
    return machine


def test_a_pause_while_replicas_come_holds_the_route() -> None:
    machine = waiting()
    machine.at[machine.time + 60] = lambda: machine.order("pause")
    machine.at[machine.time + 90] = lambda: setattr(machine, "room", 10)
    resumed = machine.time + 2000
    machine.at[resumed] = lambda: machine.order("resume")
    machine.assert_promoted(machine.run())
    assert next(at for at, roles in machine.history if roles.weight == 100) > resumed


def test_who_counts_replicas_may_go_away_while_they_come() -> None:
    machine = waiting()
    machine.at[machine.time + 60] = lambda: setattr(machine, "counted", False)
    machine.assert_promoted(machine.run())
    assert any("nobody counts replicas any more" in line for line in machine.said)


def test_a_prometheus_that_is_away_while_replicas_come_is_waited_for() -> None:
    machine = waiting()
    back = machine.time + 500
    machine.at[machine.time + 60] = lambda: setattr(machine, "prometheus_down", (0.0, back))
    machine.at[machine.time + 90] = lambda: setattr(machine, "room", 10)
    machine.assert_promoted(machine.run())
    assert next(at for at, roles in machine.history if roles.weight == 100) > back


def test_a_hand_while_replicas_come_is_noticed() -> None:
    machine = waiting()
    machine.at[machine.time + 60] = by_hand(machine, canary=None, weight=0)
    began = machine.time
    assert machine.run().outcome == "superseded"
    assert machine.time < began + 80


def test_a_release_waits_for_replicas_as_long_as_a_step() -> None:
    machine = Machine(busy=6, room=1)
    machine.begin(RULES.model_copy(update={"steps": [100]}))
    machine.at[START + 400] = lambda: setattr(machine, "room", 10)
    machine.assert_promoted(machine.run())


def test_floors_of_before_go_with_a_rollback() -> None:
    machine = Machine(file=Roles(stable=1, floors=((1, 4),)), canary_error_rate=0.3)
    machine.cluster = machine.file
    machine.begin()
    machine.assert_rolled_back(machine.run())


@pytest.mark.parametrize("bad", [False, True])
def test_a_kill_between_any_two_acts_changes_nothing_of_the_floors(bad: bool) -> None:
    def busy() -> Machine:
        machine = Machine(busy=6, canary_error_rate=0.2 if bad else 0.01)
        machine.begin(RULES.model_copy(update={"steps": [50, 100]}))
        return machine

    calm = busy()
    calm.run()
    for moment in range(2, calm.moments + 1, 2):
        machine = busy()
        machine.kill_at = moment
        rollout = machine.run_in_spite_of_kills()
        (machine.assert_rolled_back if bad else machine.assert_promoted)(rollout)
        assert changes(sizes(machine)) == changes(sizes(calm)), moment
