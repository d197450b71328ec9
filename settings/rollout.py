"""How a canary gets its clients, and how it is judged and moved: `sticky` and `rollout` of a model,
with their defaults.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings.faults import between_keys, fault
from settings.types import (
    CookieName,
    Duration,
    GateName,
    HeaderName,
    HttpUrl,
    Number,
    Percentage,
    Section,
    Share,
    Steps,
    Text,
    duration_seconds,
)

# The bounds of the buckets of model_prediction_latency_seconds: a request is known to be slower
# than these and than no other time.
LATENCY_BOUNDS = (
    0.001,
    0.0025,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)


def _is_a_bound(value: str) -> str:
    if duration_seconds(value) not in LATENCY_BOUNDS:
        known = ", ".join(f"{bound * 1000:g}ms" for bound in LATENCY_BOUNDS)
        raise PydanticCustomError("slipway", f"is no bound of the latency buckets ({known})")
    return value


LatencyBound = Annotated[Duration, AfterValidator(_is_a_bound)]


class Sticky(Section):
    """What keeps a client with one version while the weight stands: a `header` that names the
    client, or a `cookie` that the gateway sets for `ttl`.
    """

    header: HeaderName | None = None
    cookie: CookieName | None = None
    ttl: Duration = Field(default="24h", description="how long the cookie lasts")

    @model_validator(mode="after")
    def _one_of_two(self) -> Sticky:
        if bool(self.header) == bool(self.cookie):
            found = {"header": self.header, "cookie": self.cookie} if self.header else None
            raise between_keys("takes one of header and cookie", found)
        if self.header in ("host", "cookie", "set-cookie", "x-canary"):
            raise fault(
                "header", self.header, "names no client; take a header of yours, such as x-user"
            )
        if self.header and "ttl" in self.model_fields_set:
            found = {"header": self.header, "ttl": self.ttl}
            raise between_keys("has a ttl, which belongs to a cookie", found)
        return self


class Gate(Section):
    """A gate of the user's own, which must be open before each step and before promotion.

    One of: `promql` with a `max` or a `min` (or both) for the one number that it returns;
    `webhook`, a URL that answers 200 to open it; `approval: true`, opened by a person with
    `slipway approve`. What a number out of bounds or a webhook's refusal leads to is `then`.
    """

    name: GateName
    promql: Text | None = None
    max: Number | None = None
    min: Number | None = None
    webhook: HttpUrl | None = None
    approval: bool = False
    before: Literal["each step", "promotion"] = "each step"
    then: Literal["hold", "roll back"] = Field(default="hold", description="what a refusal does")

    @model_validator(mode="after")
    def _one_kind(self) -> Gate:
        kinds = [kind for kind in ("promql", "webhook", "approval") if getattr(self, kind)]
        if len(kinds) != 1:
            raise PydanticCustomError(
                "slipway", "takes one of promql, webhook and approval: true, not {found}",
                {"found": " and ".join(kinds) or "none", "at": "name", "value": self.name},
            )  # fmt: skip
        bounded = self.max is not None or self.min is not None
        if bounded != (self.promql is not None):
            raise fault(
                "name",
                self.name,
                "has a promql without max or min"
                if self.promql
                else "has a max or min, which belong to a promql",
            )
        if self.max is not None and self.min is not None and self.max < self.min:
            raise fault(
                "max", self.max, f"is less than the min of {self.min:g}, so no number would do"
            )
        if self.name == "predictions":
            raise fault(
                "name", self.name, "is the name of the built-in check of predictions; take another"
            )
        if self.approval and self.then == "roll back":
            raise fault(
                "then",
                self.then,
                "would roll back until somebody approves; an approval holds, and "
                "`slipway rollback` rolls back",
            )
        return self


class Predictions(Section):
    """A check of the predictions themselves: `percent` of the requests are mirrored while the
    rollout runs, and answered by stable and canary for comparison alone.
    """

    percent: Percentage = 10
    max_disagreement: Share = Field(
        default=0.05, description="the share of mirrored requests that may be answered differently"
    )
    max_psi: Number = Field(
        default=0.2, description="the population stability index of the predicted values"
    )


class Rollout(Section):
    """How a canary moves to promotion, and what stops it. Shares are of requests, from 0 to 1."""

    steps: Steps = Field(
        default=[5, 10, 25, 50, 100], description="weights of the canary, in percent, rising"
    )
    interval: Duration = Field(default="60s", description="the least time that a step lasts")
    patience: Duration = Field(
        default="2h",
        description="the most time that a step waits for enough evidence",
        validate_default=True,
    )
    without_evidence: Literal["roll back", "pause"] = Field(
        default="roll back", description="what the end of patience does"
    )
    max_error_rate: Share = Field(default=0.05, description="of the canary's requests")
    max_p95: LatencyBound = Field(
        default="1s", description="95 % of the canary's requests must be faster; a bucket's bound"
    )
    max_regression: Share = Field(
        default=0.03,
        description="a canary with this much more of errors, or of slow requests, than stable "
        "must not be promoted",
    )
    on_change: Literal["stop", "go on"] = Field(
        default="stop", description="what a change of the weight by hand does"
    )
    rollback_window: Duration = Field(
        default="10m", description="how long the version before stays warm after promotion"
    )
    gates: list[Gate] = Field(default_factory=list)
    predictions: Predictions | None = None

    @field_validator("patience")
    @classmethod
    def _not_below_interval(cls, value: str, info: Any) -> str:
        least = info.data.get("interval")
        if least is not None and duration_seconds(value) < duration_seconds(least):
            raise PydanticCustomError("slipway", f"is less than the interval of {least}")
        return value

    @field_validator("gates")
    @classmethod
    def _named_once(cls, value: list[Gate]) -> list[Gate]:
        names = [gate.name for gate in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError("slipway", f"has two gates called {twice[0]}")
        return value
