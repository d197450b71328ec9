"""A verdict in words: what the gate's rule found, with its numbers, for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from rollout.judge.codes import Assessment, Code
from rollout.judge.evidence import METRICS
from rollout.judge.rules import LEAST_REQUESTS, LIMITED
from rollout.judge.sequential import log_e_value

if TYPE_CHECKING:
    from rollout.judge.gate import Gate

Kind = Literal["advance", "hold", "roll back", "not enough evidence"]

_ADVANCE, _HOLD, _ROLL_BACK, _NOT_ENOUGH = get_args(Kind)


@dataclass(frozen=True)
class Estimate:
    """What is known of one metric, over the whole rollout. Shares from 0 to 1.

    canary and stable: (hits, trials); their shares are None before the first request. lower and
    upper bound canary - stable, at all times at once, with the risks that the rule takes: its part
    of ALPHA_HARM, ALPHA_PROMOTE; upper from the last step before 100 % alone while that lasts.
    needed: what upper must reach for this step to end; None at a
    weight of 100. limit: the canary's own share must stay below; None if there is no limit.
    """

    metric: str
    canary: tuple[int, int]
    stable: tuple[int, int]
    canary_share: float | None
    stable_share: float | None
    lower: float
    upper: float
    needed: float | None
    limit: float | None


@dataclass(frozen=True)
class Verdict:
    """reasons: lines for a person, the weightiest first. more_requests, more_seconds: about how
    many more canary requests, and how long, until the step can end; None if that is not known, or
    nothing is wanting.
    """

    kind: Kind
    reasons: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    for_want_of_evidence: bool = False
    more_requests: int | None = None
    more_seconds: float | None = None


def explain(
    gate: Gate,
    found: Assessment,
    step: int,
    seconds: float,
    missing: Sequence[str],
    closed: Sequence[str],
    refused: Sequence[str],
) -> Verdict:
    """The verdict of the rollout that `gate` judges alone, from what its rule `found`."""
    estimates = tuple(_estimate(gate, step, metric) for metric in range(len(METRICS)))
    code = Code(found.code[0])
    if code is Code.ROLL_BACK:
        return Verdict(_ROLL_BACK, (*_harm(gate, found, estimates), *refused), estimates)
    if code is Code.ADVANCE:
        return Verdict(_ADVANCE, tuple(_line(of) for of in estimates if of.canary[1]), estimates)
    wanting = _wanting(gate, found, step, estimates)
    requests = _more_requests(gate, found, step)
    before = gate.step_tallies[1, 0].min() if step == gate.step[0] else 0.0
    pace = before / seconds if seconds > 0 else 0.0
    wait = float(requests / pace) if requests and pace else None
    if code is Code.HOLD:
        left = gate.rules.interval - seconds
        reasons = [f"the step lasts {left:.0f} s more at least"] if left > 0 else []
        reasons += [*closed, *_high(found, estimates), *(missing if left > 0 else ())]
        more = max(wait or 0.0, left)
        return Verdict(_HOLD, (*reasons, *(wanting if left > 0 else ())), estimates, False,
                       requests or None, more if more > 0 else None)  # fmt: skip
    if code is Code.NOT_ENOUGH:
        return Verdict(
            _NOT_ENOUGH, (*missing, *wanting, *closed), estimates, False, requests or None, wait
        )
    patience = (
        f"for want of evidence: it has been lacking for {gate.rules.patience / 60:g} minutes, the "
        f"patience of a step; this one has lasted {seconds / 60:.0f}"
    )
    return Verdict(
        _ROLL_BACK,
        (patience, *missing, *wanting, *_high(found, estimates)),
        estimates,
        True,
        requests or None,
        wait,
    )


def _estimate(gate: Gate, step: int, metric: int) -> Estimate:
    hits, trials, stable_hits, stable_trials = (int(part) for part in gate.tallies[:, 0, metric])
    rules, name = gate.rules, METRICS[metric]
    lower, upper = gate.bounds(0, metric)
    return Estimate(
        metric=name,
        canary=(hits, trials),
        stable=(stable_hits, stable_trials),
        canary_share=hits / trials if trials else None,
        stable_share=stable_hits / stable_trials if stable_trials else None,
        lower=lower,
        upper=upper,
        needed=rules.difference_for(step) if rules.steps[step] < 100 else None,
        limit=rules.limits[LIMITED.index(name)] if name in LIMITED else None,
    )


def _harm(gate: Gate, found: Assessment, estimates: Sequence[Estimate]) -> list[str]:
    worse = [
        f"{_line(of)}: worse by proof"
        for of, is_so in zip(estimates, found.harm[0], strict=True)
        if is_so
    ]
    above = [
        f"{name}: canary {_share(gate.tallies[:2, 0, METRICS.index(name)])}, by proof above the "
        f"limit of {_percent(limit)}"
        for name, limit, is_so in zip(LIMITED, gate.rules.limits, found.beyond[0], strict=True)
        if is_so
    ]
    return worse + above


def _high(found: Assessment, estimates: Sequence[Estimate]) -> list[str]:
    lines = [
        f"{of.metric}: canary {_share(of.canary)} is above the limit of {_percent(of.limit or 0)}, "
        "not by proof yet"
        for of in estimates
        if of.limit is not None and found.high[0, LIMITED.index(of.metric)]
    ]
    lines += [
        f"{of.metric}: stable itself is above the limit of {_percent(of.limit or 0)} now, so no "
        "weight is moved"
        for of in estimates
        if of.limit is not None and found.trouble[0, LIMITED.index(of.metric)]
    ]
    return lines + [
        f"{of.metric}: in this step the canary's were too many for the next weight; {_line(of)}"
        for of, is_so in zip(estimates, found.worse[0], strict=True)
        if is_so
    ]


def _wanting(gate: Gate, found: Assessment, step: int, estimates: Sequence[Estimate]) -> list[str]:
    lines = []
    for metric, of in enumerate(estimates):
        answered = gate.step_tallies[1, 0, metric] if step == gate.step[0] else 0
        if answered < LEAST_REQUESTS:
            lines.append(
                f"{of.metric}: {answered:.0f} canary requests counted in this step, and it takes "
                f"{LEAST_REQUESTS}"
            )
        elif not found.proven[0, metric] and of.needed is not None:
            lines.append(f"{_line(of)}, and must be proven to be at most {_points(of.needed)}")
        elif not found.proven[0, metric]:
            lines.append(
                f"{of.metric}: canary {_share(of.canary)}, and must be proven to be below "
                f"{_percent(of.limit or 0)}"
            )
    return lines


def _more_requests(gate: Gate, found: Assessment, step: int) -> int | None:
    """About how many canary requests are wanting: the wealth that is wanting over what a request
    is expected to bring, if the shares are what they are believed to be. 0: none; None: so many
    that the proof may never come.
    """
    rules, weight = gate.rules, gate.rules.steps[step]
    most = 0
    for metric, name in enumerate(METRICS):
        answered = gate.step_tallies[1, 0, metric] if step == gate.step[0] else 0
        most = max(most, ceil(LEAST_REQUESTS - answered))
        if found.proven[0, metric]:
            continue
        if weight < 100:
            canary, stable = (share[0, metric] for share in gate.comparison.guess())
            others = np.array((100 - weight) / weight)
            gain = log_e_value(
                canary,
                stable,
                (canary, np.array(1.0), stable * others, others),
                np.array(rules.difference_for(step)),
            )
            wealth = gate.comparison.log_below[0, metric, step]
        else:
            at = LIMITED.index(name)
            share, limit = min(gate.limit.guess()[0, at], rules.limits[at]), rules.limits[at]
            gain = share * np.log(share / limit) + (1 - share) * np.log((1 - share) / (1 - limit))
            wealth = gate.limit.log_below[0, at]
        if gain <= 1e-7:
            return None
        most = max(most, ceil((rules.log_promote - wealth) / gain))
    return most


def _line(of: Estimate) -> str:
    line = f"{of.metric}: canary {_share(of.canary)}"
    if of.needed is None:
        return line
    line += f", stable {_share(of.stable)}; difference "
    if of.lower == -1 and of.upper == 1:
        return f"{line}unknown yet"
    if of.lower == -1:
        return f"{line}at most {_points(of.upper)}"
    if of.upper == 1:
        return f"{line}at least {_points(of.lower)}"
    return f"{line}{100 * of.lower:+.2g} to {_points(of.upper)}"


def _share(tally: Iterable[float]) -> str:
    hits, trials = tally
    return f"{_percent(hits / trials)} of {trials:,.0f}" if trials else "without requests"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.2g} points"
