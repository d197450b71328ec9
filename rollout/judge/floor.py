"""How many replicas a version needs before a step of weight sends it more traffic."""

from __future__ import annotations


def floor(ready: int, share: int, weight: int, low: int, high: int) -> int:
    """Replicas the canary needs before it gets `weight` percent of the live traffic.

    Stable's autoscaler has seen to it that `ready` replicas bear `share` percent, so as many for
    each percent bear the canary's; rounded up, from `low` to `high`. More than enough where stable
    has `low` replicas that have little to do, which an autoscaler takes back when the floor goes.

    ready: stable's replicas that are ready now. share: stable's share of the live traffic now, in
    percent. weight: the canary's share after the step, in percent. low, high: the `min` and `max`
    of the version's scaling.

    A stable version without traffic, or without a ready replica, says nothing of the load: `low`.
    """
    if share <= 0 or ready <= 0:
        return low
    needed = -(-ready * weight // share)
    return min(max(needed, low), high)
