"""How many replicas versions keep while their shares of the traffic change.

A version that is to get more traffic has the replicas for it before the traffic comes, and stable
keeps those that bear all of it, so that a rollback finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """stable, canary: replicas that are ready now; 0 of a canary that is not there yet. low, high:
    the `min` and `max` of the versions' scaling.
    """

    stable: int
    canary: int
    low: int
    high: int


@dataclass(frozen=True)
class Need:
    """What a step takes. floors: version -> replicas at least; only where that is more than `low`.
    replicas: how many of the canary's must be ready before its weight rises.
    """

    floors: Mapping[int, int]
    replicas: int


def need(
    size: Size, stable: int, canary: int, present: Mapping[int, int], share: int, weight: int
) -> Need:
    """What it takes for `canary` to get `weight` percent of the live traffic.

    Stable's autoscaler has seen to it that its replicas bear `share` percent of the traffic, so as
    many for each percent bear all of it. That counts where stable has more than it must have:
    those that an autoscaler may not take away say nothing of the load. Of as many replicas the
    canary needs `weight` percent, rounded up, at least one and at most `high`.

    A floor never sinks, and that of a canary that has enough replicas of its own is left as it is:
    its autoscaler holds them for longer than a step takes. Those of other versions stay.

    stable, canary: the versions. present: their floors now. share: stable's share now, in percent.
    """
    least = max(1, size.low, present.get(stable, 0))
    whole = least
    if size.stable > least and share > 0:
        whole = max(least, -(-size.stable * 100 // share))
    whole = min(whole, size.high)
    wanted = min(max(1, -(-whole * weight // 100)), size.high)
    kept = present.get(canary, 0) if size.canary >= wanted else max(present.get(canary, 0), wanted)
    if size.low < 1:
        # A version on trial is not scaled to zero: nobody could tell how it does.
        kept = max(kept, 1)
    floors = {**present, stable: whole, canary: kept}
    return Need({version: n for version, n in sorted(floors.items()) if n > size.low}, wanted)
