"""The evidence of a rollout over time, as arrays to draw: counts in bins, bounds from the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rollout.journal import Rollout
from rollout.judge.evidence import METRICS, Block, Counts, added
from rollout.judge.gate import Gate
from rollout.judge.rules import Rules
from rollout.views.summary import QUANTILES, objective, quantile

Array = NDArray[Any]
VERSIONS: Final = ("canary", "stable")

MOST_BINS: Final = 180
MOST_REPLAYED: Final = 2500
"""Of blocks that are shown to the gate again, about two milliseconds each: above three hours of
them, neighbours are joined first, and the bounds are a little different from those of the time.
"""
_WIDTHS: Final = (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400)

# The two-sided 95 % quantile of the normal distribution.
_Z: Final = 1.959964


@dataclass(frozen=True)
class Shares:
    """One metric of one version, bin by bin; NaN where there were no requests. `now`: the share in
    each bin; `so_far`: that since the rollout began, `low` to `high` its Wilson interval of 95 %.
    """

    now: Array
    so_far: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Band:
    """canary - stable of one metric, after each bin: `estimate` of all requests so far; `low` to
    `high`, what the gate had proven; `needed`, what `high` had to reach for the step to end.
    """

    estimate: Array
    low: Array
    high: Array
    needed: Array


@dataclass(frozen=True)
class Series:
    """Times are seconds since 1970, all arrays have one value a bin, the keys of versions are
    VERSIONS, those of metrics evidence.METRICS.

    per_second: requests; NaN without evidence. quantiles: version -> share -> seconds. gaps: the
    stretches without evidence, (start, end).
    """

    start: float
    end: float
    width: float
    middles: Array
    ends: Array
    per_second: dict[str, Array]
    shares: dict[str, dict[str, Shares]]
    bands: dict[str, Band]
    quantiles: dict[str, dict[float, Array]]
    gaps: tuple[tuple[float, float], ...]


def series(rollout: Rollout, now: float) -> Series | None:
    """The evidence from the rollout's begin to its end, or to `now`; None without any."""
    blocks = rollout.blocks
    if not blocks:
        return None
    start = min(rollout.began, blocks[0].start)
    end = max(now if rollout.ended is None else rollout.ended, blocks[-1].end)
    width = next((w for w in _WIDTHS if (end - start) / w <= MOST_BINS), (end - start) / MOST_BINS)
    bins = max(1, int(np.ceil((end - start) / width)))
    middles = start + (np.arange(bins) + 0.5) * width
    times = np.array([(block.start + block.end) / 2 for block in blocks])
    where = np.clip(((times - start) / width).astype(int), 0, bins - 1)
    covered = np.bincount(where, [block.end - block.start for block in blocks], bins)
    counts = {"canary": [b.canary for b in blocks], "stable": [b.stable for b in blocks]}
    limit = objective(rollout)
    tallies = {
        metric: {
            version: _tallied(
                np.array([each.tally(metric, limit) for each in counts[version]], float),
                where,
                bins,
            )
            for version in VERSIONS
        }
        for metric in METRICS
    }
    requests = {
        version: np.bincount(where, [each.requests for each in counts[version]], bins)
        for version in VERSIONS
    }
    return Series(
        start,
        end,
        width,
        middles,
        middles + width / 2,
        {version: _ratio(requests[version], covered) for version in VERSIONS},
        {
            metric: {version: _shares(*tallies[metric][version]) for version in VERSIONS}
            for metric in METRICS
        },
        _bands(rollout, where, bins, tallies),
        {version: _quantiles(counts[version], where, bins) for version in VERSIONS},
        _gaps(rollout, end),
    )


def wilson(hits: Array, trials: Array) -> tuple[Array, Array]:
    """The 95 % interval of shares, NaN without trials. It holds at one moment, not at all at once.

    Wilson: Probable inference, the law of succession, and statistical inference, 1927.
    """
    share = _ratio(hits, trials)
    size = np.where(trials > 0, trials, np.nan)
    middle = (share + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z * np.sqrt(share * (1 - share) / size + (_Z / (2 * size)) ** 2) / (1 + _Z**2 / size)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def _ratio(part: Array, whole: Array) -> Array:
    """NaN where the whole is 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _tallied(tallies: Array, where: NDArray[np.int_], bins: int) -> tuple[Array, Array]:
    hits = np.bincount(where, np.minimum(tallies[:, 0], tallies[:, 1]), bins)
    return hits, np.bincount(where, tallies[:, 1], bins)


def _shares(hits: Array, trials: Array) -> Shares:
    all_hits, all_trials = hits.cumsum(), trials.cumsum()
    low, high = wilson(all_hits, all_trials)
    return Shares(_ratio(hits, trials), _ratio(all_hits, all_trials), low, high)


def _quantiles(counts: list[Counts], where: NDArray[np.int_], bins: int) -> dict[float, Array]:
    buckets = np.zeros((bins, len(counts[0].buckets)), int)
    np.add.at(buckets, where, np.array([each.buckets for each in counts]))
    found = [[quantile(row, share) for row in buckets.tolist()] for share in QUANTILES]
    table = np.array(found, float)
    return dict(zip(QUANTILES, table, strict=True))


def _bands(
    rollout: Rollout,
    where: NDArray[np.int_],
    bins: int,
    tallies: dict[str, dict[str, tuple[Array, Array]]],
) -> dict[str, Band]:
    """What the gate knew after each bin: it is shown the blocks again, as it was at the time."""
    rules = Rules.of(rollout.rules)
    gate = Gate(rules)
    known = np.full((len(METRICS), 2, bins), np.nan)
    needed = np.full(bins, np.nan)
    until = np.inf if rollout.promoted is None else rollout.promoted
    last = len(rollout.blocks) - 1
    joined = -(-len(rollout.blocks) // MOST_REPLAYED)
    for index in range(0, last + 1, joined):
        block = _join(rollout.blocks[index : index + joined])
        step = max(rollout.step_at(block.start), 0)
        gate.observe_block(block, step)
        here, after = where[index], min(index + joined, last)
        if block.start < until and (after == last or where[after] != here):
            known[:, :, here] = [gate.bounds(0, metric) for metric in range(len(METRICS))]
            needed[here] = min(rules.difference_for(step), 1.0)
    bands = {}
    for metric, (low, high) in zip(METRICS, known, strict=True):
        canary, stable = (
            _ratio(hits.cumsum(), trials.cumsum())
            for hits, trials in (tallies[metric][version] for version in VERSIONS)
        )
        estimate = np.where(np.isnan(low), np.nan, canary - stable)
        bands[metric] = Band(estimate, low, high, needed)
    return bands


def _join(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    canary, stable = added(each.canary for each in blocks), added(each.stable for each in blocks)
    return Block(blocks[0].start, blocks[-1].end, canary, stable)


def _gaps(rollout: Rollout, end: float) -> tuple[tuple[float, float], ...]:
    """Where no block lies, from the first step to the end; not what a late scrape leaves open."""
    least = 3 * max(block.end - block.start for block in rollout.blocks)
    edges = [rollout.blocks[0].start, *(block.end for block in rollout.blocks)]
    starts = [*(block.start for block in rollout.blocks), end]
    pairs = zip(edges, starts, strict=True)
    return tuple((before, after) for before, after in pairs if after - before > least)
