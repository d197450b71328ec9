"""A rollout in numbers and words, for whoever looks at it: shares, quantiles, clocks. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rollout.journal import Rollout
from rollout.judge.evidence import Block, Counts, added
from rollout.judge.rules import LIMITED, Rules
from settings.rollout import LATENCY_BOUNDS
from settings.types import duration_seconds

NONE: Final = "-"
QUANTILES: Final = (0.5, 0.95, 0.99)
_ANSI: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?")


def clean(text: object) -> str:
    """`text` on one line, without what steers a terminal or turns the direction of writing.

    Names, reasons and errors come from outside.
    """
    line = " ".join(_ANSI.sub("", str(text)).split())
    return "".join(
        f"\\x{ord(sign):02x}" if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co") else sign
        for sign in line
    )


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """Seconds that `share` of the requests are not slower than; None without requests.

    Estimated as Prometheus' histogram_quantile does: linear inside a bucket, from 0 in the first.
    Infinite above the last bound.
    """
    total = sum(buckets)
    if not total:
        return None
    rank, below = share * total, 0
    for index, count in enumerate(buckets):
        if count and below + count >= rank:
            if index == len(LATENCY_BOUNDS):
                return math.inf
            low = LATENCY_BOUNDS[index - 1] if index else 0.0
            return low + (LATENCY_BOUNDS[index] - low) * (rank - below) / count
        below += count
    return math.inf


def latency(seconds: float | None) -> str:
    """`12 ms`, `1.25 s`, `> 10 s`, or `-` for None."""
    if seconds is None:
        return NONE
    if math.isinf(seconds):
        return f"> {LATENCY_BOUNDS[-1]:g} s"
    if seconds >= 0.9995:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.3g} ms"


def name(metric: str, objective: float) -> str:
    """One of evidence.METRICS in words: `errors`, `failures`, `slow (over 1 s)`."""
    if metric != "slow":
        return metric
    shown = f"{objective:g} s" if objective >= 1 else f"{objective * 1000:g} ms"
    return f"slow (over {shown})"


def percent(share: float | None) -> str:
    """`0.52 %` for 0.0052, or `-` for None."""
    if share is None or not math.isfinite(share):
        return NONE
    return f"{share * 100:.{0 if share >= 0.9995 else 1 if share >= 0.0995 else 2}f} %"


def span(seconds: float) -> str:
    """`48 s`, `1 min 12 s`, `2 h 5 min`, `3 d 4 h`; no less than 0 s."""
    whole = max(0, round(seconds))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (lesser, least) in zip(units, units[1:], strict=False):
        if whole >= size:
            rest = whole % size // least
            return f"{whole // size} {name}" + (f" {rest} {lesser}" if rest else "")
    return f"{whole} s"


def moment(at: float) -> str:
    """`2026-11-21 17:42:03`, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def share(hits: int, trials: int) -> float | None:
    """`hits / trials`, or None without trials."""
    return hits / trials if trials else None


@dataclass(frozen=True)
class Side:
    """One version in numbers: `total` of the whole rollout; `lately` of the last minute of
    evidence, which `seconds` of it cover.
    """

    total: Counts
    lately: Counts
    seconds: float

    @property
    def per_second(self) -> float | None:
        """Requests a second in the last minute of evidence; None without evidence."""
        return self.lately.requests / self.seconds if self.seconds else None

    def rate(self, metric: str, objective: float) -> float | None:
        """The share of one of evidence.METRICS over the whole rollout; None without requests."""
        return share(*self.total.tally(metric, objective))


def sides(rollout: Rollout) -> tuple[Side, Side]:
    """Canary and stable."""
    canary, stable = rollout.totals()
    until = rollout.evidence_until or 0.0
    late = [block for block in rollout.blocks if block.start >= until - 60.5]
    seconds = sum(block.end - block.start for block in late)
    return (
        Side(canary, added(block.canary for block in late), seconds),
        Side(stable, added(block.stable for block in late), seconds),
    )


def between(blocks: Iterable[Block], start: float, end: float) -> list[Block]:
    """The blocks that lie in the middle between `start` and `end`."""
    return [block for block in blocks if start <= (block.start + block.end) / 2 < end]


def objective(rollout: Rollout) -> float:
    """The latency objective in seconds."""
    return duration_seconds(rollout.rules.max_p95)


def limits(rollout: Rollout) -> dict[str, float]:
    """Metric -> the most of it, as a share, that a canary may have; none for some metrics."""
    return dict(zip(LIMITED, Rules.of(rollout.rules).limits, strict=True))


def since(rollout: Rollout) -> float:
    """When the gate began to say what it says; when the rollout began, before its first word."""
    at = rollout.began
    for judged in reversed(rollout.verdicts):
        if judged.kind != rollout.verdicts[-1].kind:
            break
        at = judged.at
    return at


@dataclass(frozen=True)
class Clock:
    """Seconds: in the step so far; of its interval, its patience, and the rollback window that are
    left, None where they do not apply, below 0 where they are over.
    """

    in_step: float | None = None
    interval: float | None = None
    patience: float | None = None
    warm: float | None = None


def clock(rollout: Rollout, now: float) -> Clock:
    """What the clocks of the rollout show at `now`; none runs after its end."""
    if rollout.outcome:
        return Clock()
    if rollout.promoted is not None:
        window = duration_seconds(rollout.rules.rollback_window)
        return Clock(warm=rollout.promoted + window - now)
    if rollout.step_began is None:
        return Clock()
    spent = now - rollout.step_began
    return Clock(
        spent,
        duration_seconds(rollout.rules.interval) - spent,
        None if rollout.paused is not None else duration_seconds(rollout.rules.patience) - spent,
    )


def duration(rollout: Rollout, now: float) -> float:
    """Seconds from the rollout's begin to its end, or to `now`."""
    return (now if rollout.ended is None else rollout.ended) - rollout.began


def highest(rollout: Rollout) -> int:
    """The most weight that the canary had, in percent."""
    return max((moved.weight for moved in rollout.weights), default=0)


def why(rollout: Rollout) -> str:
    """Why the rollout ended, or stands where it does: one line, which may be empty."""
    return "; ".join(reasons(rollout))


def reasons(rollout: Rollout) -> tuple[str, ...]:
    """The reasons why the rollout ended, or stands where it does."""
    if rollout.outcome:
        for decision in reversed(rollout.decisions):
            if decision.what in ("promote", "roll back"):
                # A decision of the gate is for the reasons of a verdict, put on one line.
                given = [
                    j.reasons for j in rollout.verdicts if "; ".join(j.reasons) == decision.why
                ]
                return tuple(map(clean, given[-1] if given else (decision.why,)))
    if rollout.paused is not None:
        return (f"paused: {clean(rollout.paused)}",)
    if rollout.verdict:
        first, *others = rollout.verdict.reasons or ("",)
        return tuple(map(clean, (f"{rollout.verdict.kind}: {first}", *others)))
    return ()


def estimates(rollout: Rollout) -> dict[str, Mapping[str, Any]]:
    """Metric -> what the gate's last verdict knew of it: the fields of rollout.verdict.Estimate."""
    details = rollout.verdict.details if rollout.verdict else {}
    return {estimate["metric"]: estimate for estimate in details.get("estimates", ())}


def to_go(rollout: Rollout) -> str:
    """`about 320 requests of the canary, 2 min 10 s`; empty where that is not known."""
    details = rollout.verdict.details if rollout.verdict else {}
    requests, seconds = details.get("more_requests"), details.get("more_seconds")
    parts = [f"{requests:,} requests of the canary"] if requests else []
    parts += [span(seconds)] if seconds else []
    return f"about {', '.join(parts)}" if parts else ""


def difference(lower: float, upper: float) -> str:
    """`-0.4 to +0.6 points`, of percent; one side where the other is not known."""
    low, high = (f"{end * 100:+.2g}" for end in (lower, upper))
    if lower > -1:
        return f"{low} to {high} points" if upper < 1 else f"more than {low} points"
    return f"less than {high} points" if upper < 1 else "not known yet"


def shorten(text: str, most: int) -> str:
    """`text`, cut at a word to `most` characters."""
    return text if len(text) <= most else f"{text[: most - 4].rsplit(' ', 1)[0]} ..."
