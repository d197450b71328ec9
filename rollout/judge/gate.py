"""The gate: evidence so far → advance, hold, roll back, or not enough evidence.

One vectorised rule serves the rollout that runs and the thousands that `simulate` runs. A gate is a
fold over the blocks it was shown: the same blocks in the same order give the same verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollout.judge import verdict
from rollout.judge.codes import Assessment, Code
from rollout.judge.evidence import METRICS, Block
from rollout.judge.rules import LEAST_REQUESTS, LIMITED, TROUBLE_MEMORY, Rules
from rollout.judge.sequential import Array, Bools, Comparison, Limit
from rollout.judge.verdict import Verdict

_LIMITED: Final = [METRICS.index(name) for name in LIMITED]

__all__ = ["Gate", "Verdict"]

# The differences at which bounds are shown, as shares; a decision has thresholds of its own.
_SIZES: Final = [float(size) for size in np.geomspace(0.0005, 0.98, 60)]
_SHOWN: Final = [-size for size in reversed(_SIZES)] + [0.0, *_SIZES]

# The regressions that are looked for first, as multiples of the guarded one.
_MARGINS: Final = (1.0, 3.0, 10.0, 30.0)


class Gate:
    """Judges `batch` rollouts of the same `rules`, each from the blocks it is shown.

    bounds: whether `judge` can show bounds at all differences; costs time, so a simulation goes
    without. Tallies are (4, batch, metrics): hits and trials of the canary, then of stable.
    """

    def __init__(self, rules: Rules, batch: int = 1, bounds: bool = True) -> None:
        self.rules = rules
        self._steps = len(rules.steps)
        needed = [min(rules.difference_for(step), 0.999) for step in range(self._steps)]
        shown = _SHOWN if bounds else []
        self.comparison = Comparison(
            batch, len(METRICS), (rules.tolerance, *shown), (*needed, *shown),
            [min(by * rules.regression, 0.9) for by in _MARGINS],
        )  # fmt: skip
        self.limit = Limit(batch, rules.limits)
        self.tallies: Array = np.zeros((4, batch, len(METRICS)))
        self.step_tallies: Array = np.zeros((4, batch, len(METRICS)))
        self.step: NDArray[np.int_] = np.zeros(batch, int)
        self._lately: Array = np.zeros((2, batch, len(LIMITED)))

    def observe(
        self,
        canary_hits: ArrayLike,
        canary_trials: ArrayLike,
        stable_hits: ArrayLike,
        stable_trials: ArrayLike,
        step: ArrayLike,
    ) -> None:
        """Takes the next block of each rollout: arrays (batch, metrics) of numbers of requests in
        the order of METRICS, and the step, (batch,) or one, that they were served in.

        Raises ValueError for a number below 0, or a step that is not of the rules.
        """
        parts = (canary_hits, canary_trials, stable_hits, stable_trials)
        shape = self.tallies.shape[1:]
        counts = np.stack([np.broadcast_to(np.asarray(part, float), shape) for part in parts])
        if not (counts >= 0).all():
            raise ValueError("numbers of requests must be 0 or more")
        # Two counters of one server may be read a request apart.
        counts[0], counts[2] = np.minimum(counts[0], counts[1]), np.minimum(counts[2], counts[3])
        changed = self._enter(step)
        self.tallies += counts
        self.step_tallies += counts
        anew = np.array([self.rules.proves_anew(at) for at in range(self._steps)])
        self.comparison.observe(counts, changed, changed & anew[self.step])
        # While stable is above a limit too, the canary cannot be blamed for it.
        stable = counts[2:, :, _LIMITED]
        lately = self._lately + stable
        self._lately = lately / np.maximum(lately[1] / TROUBLE_MEMORY, 1)
        counted = ~self.trouble(self.step)
        self.limit.observe(counts[0][:, _LIMITED] * counted, counts[1][:, _LIMITED] * counted)

    def observe_block(self, block: Block, step: int) -> None:
        """Takes the next block, served in `step`, of the one rollout of this gate."""
        rows = [
            [getattr(block, side).tally(metric, self.rules.objective) for metric in METRICS]
            for side in ("canary", "stable")
        ]
        counts = np.array(rows, float).transpose(0, 2, 1)[:, :, None]
        self.observe(counts[0, 0], counts[0, 1], counts[1, 0], counts[1, 1], step)

    def trouble(self, step: NDArray[np.int_]) -> Bools:
        """Where stable itself is above a limit of late, (batch, limited metrics); nowhere at a
        weight of 100, at which it is not seen.
        """
        above: Bools = _share(*self._lately) > self.limit.limits
        return above & (np.array(self.rules.steps)[step] < 100)[:, None]

    def _enter(self, step: ArrayLike) -> Bools:
        entered = np.broadcast_to(np.asarray(step, int), self.step.shape)
        if not ((entered >= 0) & (entered < self._steps)).all():
            raise ValueError(f"steps are numbered from 0 to {self._steps - 1}")
        changed: Bools = entered != self.step
        self.step_tallies[:, changed] = 0
        self.step = entered.copy()
        return changed

    def assess(
        self,
        step: ArrayLike,
        seconds_in_step: ArrayLike,
        silent: ArrayLike = False,
        closed: ArrayLike = False,
        refused: ArrayLike = False,
        starved: ArrayLike | None = None,
        alone: ArrayLike = False,
    ) -> Assessment:
        """The rule. All arguments are (batch,) or one for all.

        silent: the last look at Prometheus did not give all that was asked. closed: a custom gate
        is closed; refused: one asks for a rollback.
        starved: seconds that evidence has been lacking while somebody watched, by default all of
        the step. alone: a weight of 100 that no comparison led to, so that the absolute limits
        are all there is to prove.
        """
        rules, comparison = self.rules, self.comparison
        step = np.broadcast_to(np.asarray(step, int), self.step.shape)
        here = np.arange(len(step))
        # A step that has just been entered has no tallies of its own yet.
        tallies = np.where((step == self.step)[None, :, None], self.step_tallies, 0)
        weight = np.array(rules.steps)[step]
        after = np.array([rules.weight_after(at) for at in range(self._steps)])[step]
        demand = np.array([rules.difference_for(at) for at in range(self._steps)])[step]
        compared = (weight < 100)[:, None]

        harm = comparison.log_above[..., 0] >= rules.log_harm
        beyond = self.limit.log_above >= rules.log_harm
        proven = comparison.log_below[here, :, step] >= rules.log_promote
        proven |= (demand >= 1)[:, None] | ~compared
        unproven = ~compared & (np.asarray(alone, bool) | (rules.steps[0] == 100))
        proven[:, _LIMITED] &= (self.limit.log_below >= rules.log_promote) | ~unproven

        share, stable_share = _share(*tallies[:2]), _share(*tallies[2:])
        high = self.limit.share() > self.limit.limits
        trouble = self.trouble(step)
        worse = compared & ((share - stable_share) * after[:, None] / 100 > rules.regression)
        seen: Bools = tallies[1].min(axis=-1) >= LEAST_REQUESTS

        enough = seen & proven.all(axis=-1) & ~np.asarray(silent, bool)
        fine = enough & ~(high | trouble).any(axis=-1) & ~worse.any(axis=-1)
        seconds = np.asarray(seconds_in_step, float)
        lacking = seconds if starved is None else np.asarray(starved, float)
        shut = np.asarray(closed, bool)
        code = np.select(
            [
                harm.any(axis=-1) | beyond.any(axis=-1) | np.asarray(refused, bool),
                np.broadcast_to(seconds < rules.interval, fine.shape),
                fine & ~shut,
                fine,
                np.broadcast_to(lacking >= rules.patience, fine.shape),
                ~enough,
            ],
            [Code.ROLL_BACK, Code.HOLD, Code.ADVANCE, Code.HOLD, Code.WANT_OF_EVIDENCE,
             Code.NOT_ENOUGH],
            Code.HOLD,
        )  # fmt: skip
        return Assessment(code, harm, beyond, high, trouble, worse, proven, seen)

    def codes(self, step: ArrayLike, seconds_in_step: ArrayLike, **others: Any) -> NDArray[np.int_]:
        """The verdicts of all rollouts, as Code; the arguments are those of `assess`."""
        return self.assess(step, seconds_in_step, **others).code

    def judge(
        self,
        step: int,
        seconds_in_step: float,
        missing: Sequence[str] = (),
        closed: Sequence[str] = (),
        refused: Sequence[str] = (),
        *,
        starved: float | None = None,
        alone: bool = False,
    ) -> Verdict:
        """The verdict on the one rollout of this gate.

        missing: what the last look at Prometheus lacked. closed, refused: custom gates that are
        closed, and those that ask for a rollback. Each a line for a person. starved, alone: as in
        `assess`.
        """
        found = self.assess(
            step, seconds_in_step, bool(missing), bool(closed), bool(refused), starved, alone
        )
        return verdict.explain(self, found, step, seconds_in_step, missing, closed, refused)

    def keep(self, rows: Bools) -> None:
        """Forgets all rollouts of the batch but those of `rows`, (batch,)."""
        self.comparison.keep(rows)
        self.limit.keep(rows)
        self.tallies, self.step_tallies = self.tallies[:, rows], self.step_tallies[:, rows]
        self.step, self._lately = self.step[rows], self._lately[:, rows]

    def bounds(self, row: int, metric: int) -> tuple[float, float]:
        """What canary - stable is proven to lie between, for one rollout and metric; -1 and 1 where
        nothing is proven. Each end is the last of the differences, from its own side, that is
        disproven without a gap.
        """
        over, under = np.argsort(self.comparison.above), np.argsort(-self.comparison.below)
        above = self.comparison.log_above[row, metric, over] >= self.rules.log_harm
        below = self.comparison.log_below[row, metric, under] >= self.rules.log_promote
        low, high = int(np.cumprod(above).sum()), int(np.cumprod(below).sum())
        return (
            float(self.comparison.above[over[low - 1]]) if low else -1.0,
            float(self.comparison.below[under[high - 1]]) if high else 1.0,
        )


def _share(hits: Array, trials: Array) -> Array:
    return hits / np.maximum(trials, 1)
