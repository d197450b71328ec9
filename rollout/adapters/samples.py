"""Raw samples of Prometheus' counters to blocks of counts. Pure.

Blocks lie on a grid of BLOCK_SECONDS since 1970, the same stretches of time for canary and stable.
What a block holds follows from the stored samples alone: who looks late, twice, or after a restart
gets the same blocks.

A counter's increase from one scrape of a pod to the next belongs to the block in which the later
scrape lies. A pair of scrapes counts as a whole or not at all:

- Scrapes more than MAX_GAP seconds apart count nothing.
- Where any counter of the pod fell, its process began anew, and the counters that did not fall tell
  nothing either: the pair counts nothing. The same goes for a value that is no count.
- The first scrape of a pod counts nothing: when its requests came is unknown. But a series that is
  new in a pod that was scraped before began at 0 since then: the gateway's counters appear with
  their first request, and the first 503 of a version is what one looks for.

Nothing is extrapolated, so increments are whole numbers and add up to the counters' own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from rollout.judge.evidence import Block, Counts, Reading
from settings.rollout import LATENCY_BOUNDS

BLOCK_SECONDS: Final = 10
MAX_GAP: Final = 15
"""Seconds: three scrapes."""
SETTLE_SECONDS: Final = 10
"""A block is complete this long after its end: two scrapes, so that a late one is in."""
MAX_LINES: Final = 5

REQUESTS: Final = "model_predictions_total"
ERRORS: Final = "model_prediction_errors_total"
BUCKETS: Final = "model_prediction_latency_seconds_bucket"
ARRIVED: Final = "envoy_cluster_upstream_rq_completed"
FAILED: Final = "envoy_cluster_upstream_rq"
BEACON: Final = "xds-grpc"
"""The gateway's connection to its control plane. Its counters are always there, so they tell a
scrape in which a version had no counter yet from one that missed the gateway's counters.
"""

# A float holds every whole number up to here.
_MAX_COUNT = 2**53
# The year 9999.
_MAX_TIME = 253402300000
_BOUNDS = (*LATENCY_BOUNDS, math.inf)

_Field = str | float
"""requests, errors, arrived, failed, beacon; or the upper bound of a latency bucket."""


class Series(NamedTuple):
    """One series as Prometheus gives it: its labels with `__name__`, and pairs of a time in
    seconds since 1970 and a value in text.
    """

    labels: Mapping[str, str]
    samples: Sequence[Sequence[Any]]


class _Counter(NamedTuple):
    """What a series counts. `name` tells it from those that are summed with it."""

    version: str
    field: _Field
    name: frozenset[tuple[str, str]]


@dataclass
class _Target:
    """What is scraped at once: times of the scrapes, in ms, and what each gave (None: no count)."""

    name: str
    gateway: bool = False
    versions: set[str] = field(default_factory=set)
    scrapes: dict[int, dict[_Counter, int | None]] = field(default_factory=dict)


def first_start(after: float) -> int:
    """Where the first block begins that has nothing from before `after`; seconds since 1970."""
    return math.ceil(after / BLOCK_SECONDS) * BLOCK_SECONDS


def last_end(now: float) -> int:
    """Where the last block ends that is complete `now`; seconds since 1970."""
    return math.floor((now - SETTLE_SECONDS) / BLOCK_SECONDS) * BLOCK_SECONDS


def blocks(series: Iterable[Series], canary: int, stable: int, start: int, end: int) -> Reading:
    """The blocks from `start` to `end`, oldest first and without a hole, and what is missing.

    Args:
        series: of the model, with the samples from `start` - MAX_GAP - 1 to `end` at least; samples
            beside those change no count. A series may come in parts.
        canary: the version.
        stable: the version; may be the same.
        start: a multiple of BLOCK_SECONDS.
        end: likewise, and more than `start`.

    What is missing: a pair of scrapes that counts nothing, and why; a version or the gateway
    without a sample; a canary without a request. Stable may well have none: it has none at a weight
    of 100.
    """
    notes = _Notes(start * 1000, end * 1000)
    targets = _targets(series, notes)
    found: dict[tuple[str, int], Counts] = defaultdict(Counts)
    for target in targets:
        for time, increments in _increments(target, notes):
            index = time // (BLOCK_SECONDS * 1000)
            for version in target.versions:
                mine = {key: n for (of, key), n in increments.items() if of == version}
                found[version, index] += _counts(mine, target, time, notes)
    indices = range(start // BLOCK_SECONDS, end // BLOCK_SECONDS)
    absent = {
        version: notes.absence(f"version {version}", _newest(targets, end, version=version))
        for version in dict.fromkeys((str(canary), str(stable)))
    }
    notes.absence("the gateway", _newest(targets, end, gateway=True))
    counted = (found[str(canary), i] for i in indices)
    if not absent[str(canary)] and not any(one.requests or one.arrived for one in counted):
        between = f"between {clock(start)} and {clock(end)}"
        notes.first(f"version {canary} had no request {between}")
    made = (
        Block(
            float(i * BLOCK_SECONDS),
            float((i + 1) * BLOCK_SECONDS),
            found[str(canary), i],
            found[str(stable), i],
        )
        for i in indices
    )
    return Reading(tuple(made), short(notes.lines()))


def short(lines: Iterable[str]) -> tuple[str, ...]:
    """At most MAX_LINES different lines, and how many more there are."""
    unique = list(dict.fromkeys(lines))
    more = len(unique) - MAX_LINES
    return (*unique[:MAX_LINES], *([f"and {more} more"] if more > 0 else []))


def first_seen(series: Iterable[Series], version: int) -> float:
    """The time of the oldest sample of the version's predictions, in seconds since 1970; infinity
    where there is none.
    """
    times = (
        time
        for labels, samples in series
        if labels.get("__name__") == REQUESTS and labels.get("model_version") == str(version)
        for time in map(_time, samples)
        if time is not None
    )
    return min(times, default=math.inf) / 1000


def clock(seconds: float) -> str:
    """The time of day in UTC: 12:34:56Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%SZ")


class _Notes:
    """What is missing from `start` to `end`, both in ms."""

    def __init__(self, start: int, end: int) -> None:
        self._start, self._end = start, end
        self._first: list[str] = []
        self._others: list[tuple[int, str]] = []

    def at(self, time: int, line: str) -> None:
        if self._start <= time < self._end:
            self._others.append((time, line))

    def first(self, line: str) -> None:
        self._first.append(line)

    def absence(self, whose: str, newest: int | None) -> bool:
        """Whether no sample lies in the stretch, which is noted then."""
        absent = newest is None or newest < self._start
        if absent:
            since = self._start if newest is None else newest
            self.first(f"no sample of {whose} since {clock(since / 1000)}")
        return absent

    def lines(self) -> list[str]:
        return [*self._first, *(line for _, line in sorted(self._others))]


def _targets(series: Iterable[Series], notes: _Notes) -> list[_Target]:
    found: dict[tuple[str, str, str, str], _Target] = {}
    for labels, samples in series:
        counter = _counter(labels)
        if counter is None:
            continue
        instance, job = labels.get("instance", ""), labels.get("job", "")
        name = labels.get("pod") or instance
        key = labels.get("namespace", ""), name, job, instance
        target = found.setdefault(key, _Target(name))
        target.gateway |= counter.field in ("arrived", "failed", "beacon")
        target.versions.add(counter.version)
        for sample in samples:
            time, value = _time(sample), _value(sample)
            if time is None:
                notes.first(f"pod {name}: a sample without a time: {str(sample)[:40]}")
                continue
            if value is None:
                shown = f"{labels['__name__']} is {str(sample[1])[:20]!r}"
                notes.at(time, f"pod {name}: {shown}, no count, at {clock(time / 1000)}")
            target.scrapes.setdefault(time, {})[counter] = value
    # A pod that two jobs scrape would count twice.
    jobs: dict[tuple[str, str], str] = {}
    for namespace, name, job, _ in sorted(found):
        jobs.setdefault((namespace, name), job)
    return [target for key, target in sorted(found.items()) if jobs[key[:2]] == key[2]]


def _counter(labels: Mapping[str, str]) -> _Counter | None:
    version, name = labels.get("model_version", ""), labels.get("__name__")
    which: _Field | None = None
    if name == REQUESTS:
        which = "requests"
    elif name == ERRORS:
        which = "errors"
    elif name == BUCKETS:
        which = _bound(labels.get("le", ""))
    elif name == ARRIVED:
        which = "beacon" if labels.get("cluster_name") == BEACON else "arrived"
    # Each answer is counted by its code and by its class, under one name.
    elif name == FAILED and labels.get("response_code_class") == "5xx":
        which = "failed"
    return None if which is None else _Counter(version, which, frozenset(labels.items()))


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return bound if bound in _BOUNDS else None


def _time(sample: Sequence[Any]) -> int | None:
    """In ms, which is what Prometheus keeps."""
    seconds = sample[0] if len(sample) == 2 else None
    if not isinstance(seconds, int | float) or not 0 <= seconds < _MAX_TIME:
        return None
    return round(seconds * 1000)


def _value(sample: Sequence[Any]) -> int | None:
    try:
        value = float(sample[1]) if isinstance(sample[1], str) else math.nan
    except (ValueError, IndexError):
        return None
    return round(value) if 0 <= value <= _MAX_COUNT else None


def _increments(
    target: _Target, notes: _Notes
) -> Iterator[tuple[int, dict[tuple[str, _Field], int]]]:
    """The later time of each pair of scrapes that counts, and by how much the counters rose."""
    scrapes = sorted(target.scrapes.items())
    times = [time for time, _ in scrapes]
    for before, after in pairwise([*times, math.inf]):
        if after - before > MAX_GAP * 1000:
            line = f"no sample for more than {MAX_GAP} s after {clock(before / 1000)}"
            notes.at(int(before) + MAX_GAP * 1000, f"pod {target.name}: {line}")
    for time, values in scrapes[:1]:
        if any(n and counter.field in ("requests", "arrived") for counter, n in values.items()):
            line = f"requests before {clock(time / 1000)} are not known"
            notes.at(time, f"pod {target.name}: {line}")
    for (before, old), (time, new) in pairwise(scrapes):
        if time - before > MAX_GAP * 1000 or None in old.values() or None in new.values():
            continue
        rises = {counter: (n or 0) - (old.get(counter) or 0) for counter, n in new.items()}
        if any(rise < 0 for rise in rises.values()):
            line = f"its counters began anew before {clock(time / 1000)}"
            notes.at(time, f"pod {target.name}: {line}")
            continue
        summed: dict[tuple[str, _Field], int] = defaultdict(int)
        for counter, rise in rises.items():
            summed[counter.version, counter.field] += rise
        yield time, summed


def _counts(rises: Mapping[_Field, int], target: _Target, time: int, notes: _Notes) -> Counts:
    """One pod's counts between two scrapes.

    One scrape gives all counters, so errors are among the requests, but for one that was counted
    between the reading of the one counter and of the other. It is cut off and not carried on: that
    happens only where every request fails, and there it decides nothing.
    """
    requests, arrived = rises.get("requests", 0), rises.get("arrived", 0)
    lacking = [bound for bound in _BOUNDS if bound not in rises]
    buckets = (0,) * len(_BOUNDS)
    if not lacking:
        # The same goes for a bucket that was read before a narrower one.
        whole = list(accumulate((rises[bound] for bound in _BOUNDS), max))
        buckets = tuple(high - low for low, high in pairwise([0, *whole]))
    elif requests:
        notes.at(time, f"pod {target.name}: has no latency bucket of {lacking[0]:g} s")
    return Counts(
        requests=requests,
        errors=min(rises.get("errors", 0), requests),
        buckets=buckets,
        arrived=arrived,
        failed=min(rises.get("failed", 0), arrived),
    )


def _newest(
    targets: Iterable[_Target], end: int, version: str | None = None, gateway: bool = False
) -> int | None:
    """The last scrape before `end` (in s), in ms, of the gateway or of a version's servers."""
    times = (
        time
        for target in targets
        if target.gateway == gateway and (version is None or version in target.versions)
        for time in target.scrapes
        if time < end * 1000
    )
    return max(times, default=None)
