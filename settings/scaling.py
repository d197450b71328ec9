"""How many pods a model server has, and how quickly that changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings.faults import between_keys, fault
from settings.types import (
    ColdStart,
    Count,
    Directory,
    IdlePeriod,
    ImageName,
    LeastReplicas,
    Percentage,
    Replicas,
    RequestRate,
    ScalingPercent,
    ScalingPeriod,
    Section,
    Stabilization,
    duration_seconds,
)


class Pace(Section):
    """How quickly pods come or go: in each `period` the greater of `percent` of those there are
    and `pods`, once the need has lasted for `stabilization`.
    """

    stabilization: Stabilization
    percent: ScalingPercent | None = None
    pods: Count | None = None
    period: ScalingPeriod

    @model_validator(mode="after")
    def _some(self) -> Pace:
        if self.percent is None and self.pods is None:
            raise between_keys("takes percent or pods, or both", None)
        return self


class ScaleUp(Pace):
    """How quickly pods are added."""

    stabilization: Stabilization = "0s"
    percent: ScalingPercent | None = 100
    pods: Count | None = 2
    period: ScalingPeriod = "30s"


class ScaleDown(Pace):
    """How quickly pods are taken away."""

    stabilization: Stabilization = "5m"
    percent: ScalingPercent | None = 50
    pods: Count | None = None
    period: ScalingPeriod = "60s"


class Scaling(Section):
    """Bounds of the replicas of each version, and what one replica is to bear: the use of the
    requested CPU and memory, in percent, and requests a second at the gateway.

    With a `min` of 0 the pods of a version go when nobody asks for it, and come with the first
    request, which waits for them.
    """

    min: LeastReplicas = 2
    max: Replicas = Field(default=10, validate_default=True)
    cpu: Percentage = 70
    memory: Percentage = 80
    requests_per_second: RequestRate | None = Field(
        default=None, description="requests a second for one replica to bear; needs KEDA"
    )
    fallback: Count | None = Field(
        default=None,
        description="replicas at least while Prometheus does not answer; absent: those there are",
        validate_default=True,
    )
    idle: IdlePeriod = Field(
        default="5m", description="without requests for that long, the last pods go; of min 0"
    )
    cold_start: ColdStart = Field(
        default="60s", description="how long a request may wait for the first pod; of min 0"
    )
    up: ScaleUp = ScaleUp()
    down: ScaleDown = ScaleDown()

    @field_validator("max")
    @classmethod
    def _not_below_min(cls, value: int, info: Any) -> int:
        low = info.data.get("min")
        if low is not None and value < low:
            raise PydanticCustomError("slipway", f"is less than the min of {low}")
        return value

    @field_validator("fallback")
    @classmethod
    def _of_requests(cls, value: int | None, info: Any) -> int | None:
        if value is None:
            return value
        # A rate that is itself at fault is not there either, and has its own line.
        if info.data.get("requests_per_second", 0) is None:
            raise PydanticCustomError("slipway", "needs requests_per_second beside it")
        low, high = info.data.get("min"), info.data.get("max")
        if low is not None and high is not None and not low <= value <= high:
            raise PydanticCustomError(
                "slipway", f"is not between the min of {low} and the max of {high}"
            )
        return value

    @field_validator("idle", "cold_start")
    @classmethod
    def _of_none(cls, value: str, info: Any) -> str:
        # A min that is itself at fault is not there, and has its own line.
        if info.data.get("min", 0) != 0:
            raise PydanticCustomError("slipway", "needs min: 0 beside it")
        return value

    @model_validator(mode="after")
    def _woken_by_requests(self) -> Scaling:
        if self.to_zero and self.requests_per_second is None:
            raise fault(
                "min", self.min, "needs requests_per_second beside it: CPU and memory wake nobody"
            )
        return self

    @property
    def to_zero(self) -> bool:
        """Whether its last pods go when nobody asks."""
        return self.min == 0

    @property
    def idle_seconds(self) -> int:
        """`idle`, in seconds."""
        return int(duration_seconds(self.idle))

    @property
    def cold_start_seconds(self) -> int:
        """`cold_start`, in seconds."""
        return int(duration_seconds(self.cold_start))


class Keda(Section):
    """Where KEDA's chart lies and the images it runs; installed only where a model scales by
    `requests_per_second`.
    """

    chart: Directory = ".slipway/charts/keda"
    operator: ImageName = "ghcr.io/kedacore/keda:2.21.0"
    adapter: ImageName = "ghcr.io/kedacore/keda-metrics-apiserver:2.21.0"


def needs_keda(scalings: Iterable[Scaling]) -> bool:
    """Whether any of these model servers is scaled by requests a second."""
    return any(scaling.requests_per_second is not None for scaling in scalings)
