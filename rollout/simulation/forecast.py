"""Before a rollout starts: how long will each step take at today's traffic, and would a version
with the guarded regression be caught? Found by running the gate that will judge it on made-up
requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import numpy as np

from rollout.judge.codes import Code
from rollout.judge.gate import Gate
from rollout.judge.rules import LIMITED, Rules
from rollout.judge.sequential import Array
from rollout.simulation.simulate import BLOCK_SECONDS, Ends, simulate
from rollout.simulation.world import World

_ROLLOUTS: Final = 300

# Fewer requests than this are joined with the next by the gate, so finer blocks tell it no more.
_BLOCK_REQUESTS: Final = 20

# What a simulated rollout may last: so many blocks beside the steps' least time, which is at most
# so many blocks a step.
_MOST_BLOCKS: Final = 500
_INTERVAL_BLOCKS: Final = 20


@dataclass(frozen=True)
class Forecast:
    """Expected of a rollout, from simulated ones. Times in seconds, shares from 0 to 1.

    steps: (weight, median, 90 % quantile) of the time that each step of a good version needs,
    however long the patience; infinite where fewer rollouts than that came to its end. total:
    median and 90 % quantile of all steps. promoted: of good versions, within the patience. caught:
    of versions with the guarded regression, those not promoted; proven, those of them rolled back
    with proof. catch: the median time until then. lines: the same in words, a warning for each
    thing that stands in the way.
    """

    steps: tuple[tuple[int, float, float], ...]
    total: tuple[float, float]
    promoted: float
    caught: float
    proven: float
    catch: float
    lines: tuple[str, ...]


def forecast(
    rules: Rules, rate: float, errors: float, failures: float, slow: float, seed: int = 1
) -> Forecast:
    """The forecast for a rollout by `rules` at `rate` requests a second, canary and stable
    together, with stable's shares of errors, failures and slow requests. Takes a few seconds.

    Raises ValueError if there is no traffic, or a share is not from 0 to 1.
    """
    if not 0 < rate < float("inf"):
        raise ValueError(f"the rate of {rate:g} requests/s is not above 0: there is no traffic")
    for name, share in (("errors", errors), ("failures", failures), ("slow", slow)):
        if not 0 <= share <= 1:
            raise ValueError(f"the share of {name}, {share:g}, is not from 0 to 1")
    wrong = max(errors, failures)
    good = World(rate, wrong, slow, failures / wrong if wrong else 1.0)
    bad = replace(good, more_errors=rules.regression)
    length = max(BLOCK_SECONDS, _BLOCK_REQUESTS / rate, rules.interval / _INTERVAL_BLOCKS)
    longest = _MOST_BLOCKS * length + 2 * len(rules.steps) * rules.interval

    def run(world: World, judged: Rules) -> Ends:
        gate = Gate(judged, _ROLLOUTS, bounds=False)
        return simulate(world, gate, judged.steps, _ROLLOUTS, seed, longest, length)

    patient = run(good, replace(rules, patience=float("inf")))
    lasted = np.where(np.isnan(patient.step_seconds), np.inf, patient.step_seconds)
    in_time = (patient.code == Code.ADVANCE) & (lasted <= rules.patience + length).all(axis=1)
    whole = np.where(patient.code == Code.ADVANCE, patient.seconds, np.inf)
    regressed = run(bad, rules)
    proven = regressed.code == Code.ROLL_BACK
    steps = tuple((weight, *_quantiles(lasted[:, step])) for step, weight in enumerate(rules.steps))
    found = Forecast(
        steps=steps,
        total=_quantiles(whole),
        promoted=float(in_time.mean()),
        caught=1 - regressed.share(Code.ADVANCE),
        proven=float(proven.mean()),
        catch=float(np.median(regressed.seconds[proven])) if proven.any() else float("inf"),
        lines=(),
    )
    return replace(found, lines=tuple(_lines(rules, rate, good, found)))


def _quantiles(seconds: Array) -> tuple[float, float]:
    middle, late = np.quantile(seconds, [0.5, 0.9], method="higher")
    return float(middle), float(late)


def _lines(rules: Rules, rate: float, today: World, found: Forecast) -> list[str]:
    each = ", ".join(f"{weight} %: {_time(middle)}" for weight, middle, _ in found.steps)
    at = "at 1 request/s" if rate == 1 else f"at {rate:,.3g} requests/s"
    if np.isfinite(found.total[0]):
        lines = [
            f"{at} this schedule takes about {_time(found.total[0])}, and nine times of ten at most"
            f" {_time(found.total[1])} (steps {each})"
        ]
    else:
        lines = [f"{at} a version like stable would not be promoted by this schedule"]
    points = f"{100 * rules.regression:g} points"
    lines.append(
        f"a version with {points} more errors is stopped in {_rounded(found.caught)} of rollouts"
        + (f", mostly within {_time(found.catch)}" if found.proven > 0.5 else "")
        + f"; one like stable is promoted in {_rounded(found.promoted)}"
    )
    shares = (today.errors * today.failing, today.slow)
    for name, share, limit in zip(LIMITED, shares, rules.limits, strict=True):
        if share > 0.9 * limit:
            lines.append(
                f"warning: {name}: stable has {100 * share:.2g} % today, and the limit is "
                f"{100 * limit:g} %: set {_KEYS[name]} higher"
            )
    slow = [step for step in found.steps if rules.patience < step[2] < float("inf")]
    if slow:
        needs = ", ".join(f"{weight} %: {_time(late)}" for weight, _, late in slow)
        hours = ceil(1.5 * max(late for _, _, late in slow) / 3600)
        lines.append(
            f"warning: the patience of {_time(rules.patience)} is too short for one time of ten at "
            f"least (steps {needs}): set patience to {hours}h, or steps that give the canary more"
        )
    if rules.steps[0] == 100:
        lines.append(
            "warning: with all requests moved at once nothing is compared with stable; only the "
            "absolute limits are guarded"
        )
    elif found.proven < 0.5:
        lines.append(
            f"warning: {points} more errors are seldom proven within the patience: most such "
            "versions end for want of evidence"
        )
    return lines


_KEYS: Final = {"failures": "max_error_rate", "slow": "max_p95"}


def _rounded(share: float) -> str:
    """As precise as so many rollouts can tell."""
    return "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _time(seconds: float) -> str:
    if not np.isfinite(seconds):
        return "too long to tell"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min" if seconds >= 570 else f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.0f} h" if seconds >= 36000 else f"{seconds / 3600:.1f} h"
