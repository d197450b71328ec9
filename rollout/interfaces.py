"""What a rollout needs of the world, each behind one narrow interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rollout.adapters.configuration import Roles
from rollout.journal import Rollout
from rollout.judge.evidence import Reading
from rollout.judge.floor import Size

Log = Callable[[str], None]


class Stack(Protocol):
    """The stack's configuration and its updates."""

    def read_roles(self, model: str) -> Roles: ...

    def write_roles(self, model: str, roles: Roles) -> None: ...

    def update(self, log: Log) -> None: ...

    def deployed(self, model: str) -> Roles | None: ...


class Registry(Protocol):
    """The aliases of the registered models."""

    def alias(self, model: str, name: str) -> int | None: ...

    def set_alias(self, model: str, name: str, version: int | None) -> None: ...


class Prometheus(Protocol):
    """The counters of canary and stable."""

    def read(self, model: str, canary: int, stable: int, after: float, now: float) -> Reading: ...


class Store(Protocol):
    """The journal's file, and what people order of the one who holds the lease."""

    def append(self, entry: dict[str, Any]) -> dict[str, Any]: ...

    def entries(self) -> list[dict[str, Any]]: ...

    def orders(self) -> list[dict[str, Any]]: ...

    def take_order(self) -> dict[str, Any] | None: ...


class Clock(Protocol):
    """Time, in seconds since 1970."""

    def now(self) -> float: ...

    def wait(self, seconds: float) -> None: ...


class Opinion(Protocol):
    """What one of the user's own gates says. state: open, closed, or silent where there is nothing
    to go by. then: hold or roll back, which a closed one leads to. line: why, for a person.
    """

    @property
    def state(self) -> str: ...

    @property
    def line(self) -> str: ...

    @property
    def then(self) -> str: ...


# How many replicas of a version are ready; None where nobody counts them, or a line that says why
# whoever does cannot be asked.
Ready = Callable[[Rollout, int], int | str | None]

# The replicas that both versions of a rollout have, and may have, or such a line.
Sizes = Callable[[Rollout], Size | str]

# The user's own gates, given the rollout, and whether all else would let it advance now.
Checks = Callable[[Rollout, bool], Sequence[Opinion]]


@dataclass(frozen=True)
class World:
    """All of it together. `log` is told every event, `watch` shown the rollout after every look."""

    stack: Stack
    registry: Registry
    prometheus: Prometheus
    store: Store
    clock: Clock
    checks: Checks
    ready: Ready
    size: Sizes
    log: Log
    watch: Callable[[Rollout], None] = lambda rollout: None
