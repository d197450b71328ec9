"""Flagger's rule, to compare with: fixed thresholds and a number of failed checks.

As in Flagger's scheduler (fluxcd/flagger, pkg/controller): every `interval` it looks at the success
rate of the canary over the last `interval`. A check fails if it is below `min`, if the query fails,
or if there is no value, as without traffic. A check that passes moves to the next of `stepWeights`,
and promotes at the last. Failed checks are counted over the whole analysis; once there are
`threshold` of them, the next look rolls back. Stable is never looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollout.judge.codes import Code
from rollout.judge.evidence import METRICS
from rollout.judge.sequential import Array, Bools

_FAILURES = METRICS.index("failures")


class Flagger:
    """Judges `batch` rollouts in lockstep, as `gate.Gate` does.

    min_success: percent, Flagger's `request-success-rate` (99 in its examples). threshold: failed
    checks. interval, block_seconds: seconds between looks, and of a block.
    """

    def __init__(
        self,
        batch: int,
        min_success: float = 99.0,
        threshold: int = 5,
        interval: float = 60.0,
        block_seconds: float = 10.0,
    ) -> None:
        self._most = 1 - min_success / 100
        self._threshold = threshold
        self._blocks = max(1, round(interval / block_seconds))
        self._seen = 0
        self._failed: NDArray[np.int_] = np.zeros(batch, int)
        self._window: Array = np.zeros((2, batch))

    def observe(
        self,
        canary_hits: Array,
        canary_trials: Array,
        stable_hits: Array,
        stable_trials: Array,
        step: ArrayLike,
    ) -> None:
        """Takes the next block, as `gate.Gate.observe`; one that was not scraped is all zeros."""
        if self._seen % self._blocks == 0:
            self._window[:] = 0
        self._window += np.stack([canary_hits[:, _FAILURES], canary_trials[:, _FAILURES]])
        self._seen += 1

    def codes(
        self, step: ArrayLike, seconds_in_step: ArrayLike, silent: Bools, **_: Any
    ) -> NDArray[np.int_]:
        """The verdicts, as Code: HOLD between looks and after a failed check."""
        code = np.full(self._failed.shape, Code.HOLD)
        if self._seen % self._blocks:
            return code
        over = self._failed >= self._threshold
        failures, requests = self._window
        bad = silent | (requests == 0) | (failures > self._most * requests + 1e-9)
        self._failed = self._failed + bad
        return np.where(over, Code.ROLL_BACK, np.where(bad, Code.HOLD, Code.ADVANCE))

    def keep(self, rows: Bools) -> None:
        """Forgets all rollouts of the batch but those of `rows`, (batch,)."""
        self._failed, self._window = self._failed[rows], self._window[:, rows]
