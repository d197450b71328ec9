"""Tests that may be looked at after every request: e-processes for the difference of two shares,
and for one share against a limit.

A test's wealth starts at 1 and, while its hypothesis is true, is expected not to grow, whatever was
seen before; so it ever reaches 1/alpha with a probability of at most alpha, however often one looks
(Ville's inequality). Wealth of 1/alpha is proof against the hypothesis.

Canary and stable are compared block by block, each block a stretch of time that both served. A
block's e-value is the likelihood of a chosen alternative over that of its projection on the
hypothesis: the point of the hypothesis with the least Kullback-Leibler divergence from it, weighted
by the block's requests. (Turner, Ly, Grünwald: Generic E-variables for exact sequential k-sample
tests that allow for optional stopping, 2021; Turner, Grünwald: Exact anytime-valid confidence
intervals for contingency tables, 2023.) The hypothesis is a difference alone, so the error rate of
both may drift from block to block as it likes.

Why it is right: with alternative t and projection u, the expectation of the e-value under s is
f(s) = Π ((s t/u) + (1-s)(1-t)/(1-u))^n over both versions. log f is concave in s, f(u) = 1, and its
gradient at u is minus that of the divergence, which points out of a convex hypothesis wherever one
goes from u. So f <= 1 on the hypothesis. The same holds for requests with unequal rates whose
averages lie in it. Alternatives are chosen from earlier blocks alone, and a mixture of wealths
is a wealth.

All arrays have the axes rollout, metric, and where there are several thresholds or alternatives,
these last. Trials and hits are numbers of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# A share of 0 or 1 as an alternative would risk all wealth on one request.
_EDGE = 1e-5

# Before the first request, shares are guessed as though this were seen: one of a hundred.
_PRIOR_HITS, _PRIOR_TRIALS = 0.5, 50.0

# Shares are learned from about this many latest requests, to follow a drift.
_MEMORY = 20_000.0

# The canary's share is guessed as stable's with the weight of so many requests, then its own.
_LIKE_STABLE = 400.0

# Blocks are joined until they hold so many requests, and one of each version: a block with one
# version alone compares nothing, and n requests carry a share of 1/n less than one block of all.
_LEAST_REQUESTS = 20

# The share of wealth that is spread anew over the alternatives after each block, so that a canary
# which turns bad late is found as soon as one bad from the start.
_SHARED = 0.002


def projection(
    canary: Array, stable: Array, canary_trials: Array, stable_trials: Array, difference: Array
) -> tuple[Array, Array]:
    """The point nearest to (`canary`, `stable`) at which canary - stable >= `difference`.

    Nearest in Kullback-Leibler divergence from (`canary`, `stable`), weighted by the trials. All
    arguments are broadcast; shares lie in (0, 1), trials are 1 or more, differences in (-1, 1).
    Returns the two shares, the given ones where they satisfy the hypothesis.

    On the boundary the condition is a cubic (Miettinen, Nurminen: Comparative analysis of two
    rates, 1985); its root is polished by Newton steps within the bracket that holds it.
    """
    n, m, d = canary_trials, stable_trials, difference
    total = n + m
    hits, stable_hits = n * canary + m * stable, m * stable
    l2 = ((n + 2 * m) * d - total - hits) / (3 * total)
    l1 = ((m * d - total - 2 * stable_hits) * d + hits) / (3 * total)
    l0 = stable_hits * d * (1 - d) / total
    q = l2**3 - 1.5 * l1 * l2 + 0.5 * l0
    p = np.copysign(np.sqrt(np.maximum(l2**2 - l1, 1e-300)), q)
    angle = (np.pi + np.arccos(np.clip(q / p**3, -1, 1))) / 3
    low = np.maximum(canary, d)
    high = np.minimum(stable + d, 1)
    a = 2 * p * np.cos(angle) - l2 + d
    for _ in range(2):
        a = np.clip(a, low + (high - low) * 1e-9, high - (high - low) * 1e-9)
        b = a - d
        va, vb = a * (1 - a), b * (1 - b)
        slope = n * (a - canary) / va + m * (b - stable) / vb
        curve = (
            n * (1 / va - (a - canary) * (1 - 2 * a) / va**2)
            + m * (1 / vb - (b - stable) * (1 - 2 * b) / vb**2)
        )  # fmt: skip
        a = a - slope / np.maximum(curve, 1e-300)
    a = np.clip(a, low + (high - low) * 1e-9, high - (high - low) * 1e-9)
    inside = canary - stable >= d
    return np.where(inside, canary, a), np.where(inside, stable, a - d)


def log_e_value(
    canary: Array, stable: Array, counts: tuple[Array, Array, Array, Array], difference: Array
) -> Array:
    """The log of a block's e-value against canary - stable >= `difference`.

    canary, stable: the alternative's shares. counts: hits and trials of the canary, hits and
    trials of stable, trials of 1 or more. All are broadcast.
    """
    hits, trials, stable_hits, stable_trials = counts
    a, b = projection(canary, stable, trials, stable_trials, difference)
    return (
        hits * np.log(canary / a) + (trials - hits) * np.log((1 - canary) / (1 - a))
        + stable_hits * np.log(stable / b)
        + (stable_trials - stable_hits) * np.log((1 - stable) / (1 - b))
    )  # fmt: skip


class Mixture:
    """Wealth spread over alternatives, one of which bets nothing, and a little of it anew after
    each block (the fixed share of Herbster and Warmuth, 1998).

    A block's e-value is then a mean of the alternatives', weighted by what earlier blocks left.
    shares: of the wealth at first, in proportion; that of the idle alternative comes first. `logs`
    has the log wealth of each alternative on its last axis, `wealth` the log of all.
    """

    def __init__(self, shape: tuple[int, ...], shares: Sequence[float]) -> None:
        self._prior = np.array(shares, float) / sum(shares)
        self.logs: Array = np.broadcast_to(np.log(self._prior), (*shape, len(shares))).copy()
        self.wealth: Array = np.zeros(shape)

    def bet(self, rows: Any, log_e: Array) -> None:
        """Multiplies the wealth at `rows` by each alternative's e-value, given as logs."""
        logs = self.logs[rows]
        logs[..., 1:] += log_e
        top = logs.max(axis=-1, keepdims=True)
        parts = np.exp(logs - top)
        total = parts.sum(axis=-1, keepdims=True)
        self.logs[rows] = np.log((1 - _SHARED) * parts + _SHARED * self._prior * total) + top
        self.wealth[rows] = (np.log(total) + top)[..., 0]


class Comparison:
    """Proof about canary - stable, for a batch of rollouts and several metrics.

    above: the thresholds d that canary - stable may be proven to exceed. below: those it may be
    proven to be less than. `log_above` and `log_below` are the tests' log wealths, of the shape
    (batch, metrics, thresholds); against "at most d" and "at least d".

    margins: the regressions that `log_above` looks for in the first place, as shares, the one that
    matters most first; others are found too, later.
    """

    def __init__(
        self,
        batch: int,
        metrics: int,
        above: Sequence[float],
        below: Sequence[float],
        margins: Sequence[float],
    ) -> None:
        self.above, self.below = np.array(above, float), np.array(below, float)
        self._margins = np.array(margins, float)
        shape = (batch, metrics)
        self._above = Mixture(
            (*shape, len(above)), (2, 1, *(4 / 2**n for n in range(len(margins))))
        )
        self.log_below: Array = np.zeros((*shape, len(below)))
        self.pending: Array = np.zeros((4, *shape))
        self._learned: Array = np.zeros((4, *shape))

    @property
    def log_above(self) -> Array:
        return self._above.wealth

    def guess(self) -> tuple[Array, Array]:
        """What is believed of canary and stable, each (batch, metrics), from the blocks so far."""
        return self._guess(self._learned)

    @staticmethod
    def _guess(learned: Array) -> tuple[Array, Array]:
        hits, trials, stable_hits, stable_trials = learned
        stable = (stable_hits + _PRIOR_HITS) / (stable_trials + _PRIOR_TRIALS)
        canary = (hits + _LIKE_STABLE * stable) / (trials + _LIKE_STABLE)
        return np.clip(canary, _EDGE, 1 - _EDGE), np.clip(stable, _EDGE, 1 - _EDGE)

    def observe(self, counts: Array, weight_changed: Bools, anew: Bools) -> None:
        """Takes the next block.

        counts: (4, batch, metrics), hits and trials of the canary, hits and trials of stable.
        weight_changed, (batch,): the block is the first after a change of the weight, so nothing
        before may be joined with it: a drift of the rates would pass for a difference. anew,
        (batch,): whose proof that canary - stable is below anything is given away before.
        """
        if weight_changed.any():
            self._close(weight_changed[:, None] & self._comparable())
            self.pending[:, weight_changed] = 0
        self.log_below[anew] = 0
        self.pending += counts
        enough = self.pending[1] + self.pending[3] >= _LEAST_REQUESTS
        self._close(enough & self._comparable())

    def _comparable(self) -> Bools:
        both: Bools = np.minimum(self.pending[1], self.pending[3]) > 0
        return both

    def _close(self, ready: Bools) -> None:
        rows: Any = np.nonzero(ready)
        if not len(rows[0]):
            return
        batch, metrics = rows
        block, learned = self.pending[:, batch, metrics], self._learned[:, batch, metrics]
        hits, trials, stable_hits, stable_trials = (part[:, None] for part in block)
        canary, stable = (share[:, None] for share in self._guess(learned))
        self.log_below[rows] += log_e_value(
            canary, stable, (hits, trials, stable_hits, stable_trials), self.below
        )
        # "At most d" is "at least -d" for stable - canary.
        alternatives = np.concatenate([canary, stable + self._margins], axis=1)
        self._above.bet(
            rows,
            log_e_value(
                stable[:, None],
                np.clip(alternatives, _EDGE, 1 - _EDGE)[:, None],
                (stable_hits[..., None], stable_trials[..., None], hits[..., None],
                 trials[..., None]),
                -self.above[:, None],
            ),
        )  # fmt: skip
        learned = learned + block
        most = np.maximum(learned[[1, 1, 3, 3]] / _MEMORY, 1)
        self._learned[:, batch, metrics] = learned / most
        self.pending[:, batch, metrics] = 0

    def keep(self, rows: Bools) -> None:
        """Forgets all rollouts of the batch but those of `rows`."""
        self._above.logs, self._above.wealth = self._above.logs[rows], self._above.wealth[rows]
        self.log_below = self.log_below[rows]
        self.pending, self._learned = self.pending[:, rows], self._learned[:, rows]


class Limit:
    """Proof that shares are above or below fixed limits, for a batch of rollouts.

    limits: one for each metric, in (0, 1). `log_above` and `log_below`, (batch, metrics), are the
    log wealths against "at most the limit" and "at least the limit".
    """

    def __init__(self, batch: int, limits: Sequence[float]) -> None:
        self.limits = np.array(limits, float)
        shape = (batch, len(limits))
        self._far = np.stack([np.minimum(self.limits * by, 0.95) for by in (1.5, 3.0, 20.0)], -1)
        self._above = Mixture(shape, (2, 1, 3, 2, 1))
        self.log_below: Array = np.zeros(shape)
        self._learned: Array = np.zeros((2, *shape))
        self._tally: Array = np.zeros((2, *shape))

    @property
    def log_above(self) -> Array:
        return self._above.wealth

    def guess(self) -> Array:
        """What is believed of the shares, (batch, metrics), from the blocks so far."""
        hits, trials = self._learned
        share: Array = np.clip((hits + _PRIOR_HITS) / (trials + _PRIOR_TRIALS), _EDGE, 1 - _EDGE)
        return share

    def share(self) -> Array:
        """The shares of all blocks so far, (batch, metrics); 0 without requests."""
        hits, trials = self._tally
        share: Array = hits / np.maximum(trials, 1)
        return share

    def observe(self, hits: Array, trials: Array) -> None:
        """Takes the next block, both (batch, metrics)."""
        self._tally += np.stack([hits, trials])

        def log_e(share: Array, limit: Array, hits: Array, trials: Array) -> Array:
            """Of the alternative `share`; 0 where that is the limit itself."""
            return hits * np.log(share / limit) + (trials - hits) * np.log(
                (1 - share) / (1 - limit)
            )

        guess = self.guess()
        self.log_below += log_e(np.minimum(guess, self.limits), self.limits, hits, trials)
        shares = np.concatenate(
            [guess[..., None], np.broadcast_to(self._far, (*guess.shape, 3))], axis=-1
        )
        limits = self.limits[:, None]
        self._above.bet(
            ..., log_e(np.maximum(shares, limits), limits, hits[..., None], trials[..., None])
        )
        learned = self._learned + np.stack([hits, trials])
        self._learned = learned / np.maximum(learned[1] / _MEMORY, 1)

    def keep(self, rows: Bools) -> None:
        """Forgets all rollouts of the batch but those of `rows`."""
        self._above.logs, self._above.wealth = self._above.logs[rows], self._above.wealth[rows]
        self.log_below = self.log_below[rows]
        self._learned, self._tally = self._learned[:, rows], self._tally[:, rows]
