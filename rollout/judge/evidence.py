"""What is known of canary and stable: counts of requests in the same stretches of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from settings.rollout import LATENCY_BOUNDS

METRICS: Final = ("errors", "failures", "slow")
"""What is compared. `errors`: predictions that the model server answered with an error of any kind.
`failures`: requests that the gateway answered with a status of 500 or more, those among them that
no server ever saw. `slow`: predictions slower than the latency objective (`max_p95`).
"""


class Tally(NamedTuple):
    """`hits` of `trials` had the property in question."""

    hits: int
    trials: int


@dataclass(frozen=True)
class Counts:
    """One version's requests in one stretch of time.

    requests, errors: as its model servers counted. buckets: its predictions by latency, as many as
    fall between one bound of LATENCY_BOUNDS and the next, the last for those above all (19 whole
    numbers). arrived, failed: as the gateway counted.
    """

    requests: int = 0
    errors: int = 0
    buckets: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS) + 1)
    arrived: int = 0
    failed: int = 0

    def tally(self, metric: str, objective: float) -> Tally:
        """The tally of one of METRICS; `objective` in seconds, one of LATENCY_BOUNDS."""
        if metric == "errors":
            return Tally(self.errors, self.requests)
        if metric == "failures":
            return Tally(self.failed, self.arrived)
        return Tally(sum(self.buckets[LATENCY_BOUNDS.index(objective) + 1 :]), sum(self.buckets))

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True)),
            self.arrived + other.arrived,
            self.failed + other.failed,
        )

    def plain(self) -> list[Any]:
        """As the journal holds it."""
        return [self.requests, self.errors, list(self.buckets), self.arrived, self.failed]

    @classmethod
    def read(cls, plain: Sequence[Any]) -> Counts:
        """From what `plain` gave."""
        requests, errors, buckets, arrived, failed = plain
        return cls(requests, errors, tuple(buckets), arrived, failed)


def added(counts: Iterable[Counts]) -> Counts:
    """The sum."""
    return sum(counts, Counts())


@dataclass(frozen=True)
class Block:
    """Canary and stable from `start` to `end`, in seconds since 1970."""

    start: float
    end: float
    canary: Counts
    stable: Counts


@dataclass(frozen=True)
class Reading:
    """What one look at Prometheus gave: the blocks since the last one, oldest first, each of them
    complete, and a line for each thing that is missing (empty if nothing is).
    """

    blocks: tuple[Block, ...] = ()
    missing: tuple[str, ...] = ()
