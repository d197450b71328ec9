"""The rule by which a rollout is decided, as numbers: from the configuration, with its risks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rollout.judge.evidence import METRICS
from settings.rollout import Rollout
from settings.types import duration_seconds

ALPHA_HARM = 0.01
"""The most of good versions that may ever be rolled back as worse, all tests together."""

ALPHA_PROMOTE = 0.01
"""The most of versions with the guarded regression that may ever be let through."""

TOLERANCE = 0.1
"""The share of the guarded regression that is nobody's reason for a rollback: with traffic enough
the slightest difference can be proven."""

SLOW_SHARE = 0.05
"""What may be slower than the objective: that is what a p95 promises."""

LEAST_REQUESTS = 10
"""What the canary must have answered in a step before it ends, however much is known already."""

TROUBLE_MEMORY = 100
"""The latest requests of stable, about so many, that tell whether stable is in trouble itself."""

LIMITED = ("failures", "slow")
"""The metrics with an absolute limit. The server's errors have none: a client's bad request is one
of them."""


_DEFAULTS = Rollout()


@dataclass(frozen=True)
class Rules:
    """steps: rising weights in percent. interval, patience: seconds. regression: the share more of
    a metric that must not be promoted. max_failures: share. objective: seconds; latency's limit.
    """

    steps: tuple[int, ...] = tuple(_DEFAULTS.steps)
    interval: float = duration_seconds(_DEFAULTS.interval)
    patience: float = duration_seconds(_DEFAULTS.patience)
    regression: float = _DEFAULTS.max_regression
    max_failures: float = _DEFAULTS.max_error_rate
    objective: float = duration_seconds(_DEFAULTS.max_p95)

    @classmethod
    def of(cls, rollout: Rollout) -> Rules:
        """The rules that a model's configuration asks for."""
        return cls(
            steps=tuple(rollout.steps),
            interval=duration_seconds(rollout.interval),
            patience=duration_seconds(rollout.patience),
            regression=rollout.max_regression,
            max_failures=rollout.max_error_rate,
            objective=duration_seconds(rollout.max_p95),
        )

    def weight_after(self, step: int) -> int:
        """The weight that the end of `step` leads to; promotion is a weight of 100."""
        return self.steps[step + 1] if step + 1 < len(self.steps) else 100

    def difference_for(self, step: int) -> float:
        """The most that canary - stable may still be, by proof, for `step` to end: at the next
        weight it then costs at most the guarded regression of all requests. 1 or more is no demand.
        """
        return 100 * self.regression / self.weight_after(step)

    def proves_anew(self, step: int) -> bool:
        """Whether `step` is the last before all requests are the canary's: what it proves must be
        proven within it, so that no version passes which was good only while its weight was small.
        """
        return self.steps[step] < 100 and self.weight_after(step) == 100

    @property
    def tolerance(self) -> float:
        """What canary - stable must be proven to exceed for a rollback."""
        return TOLERANCE * self.regression

    @property
    def limits(self) -> tuple[float, ...]:
        """The absolute limits of LIMITED, as shares."""
        return (min(self.max_failures, 0.9999), SLOW_SHARE)

    @property
    def log_harm(self) -> float:
        """The log wealth that proves harm: the risk is split over all tests that look for it."""
        return math.log((len(METRICS) + len(LIMITED)) / ALPHA_HARM)

    @property
    def log_promote(self) -> float:
        """The log wealth that proves a step safe. Every metric must, so the risk is not split."""
        return math.log(1 / ALPHA_PROMOTE)
