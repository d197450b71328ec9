"""GPUs of a cluster that exists: how its nodes are told apart, and what runs on them for all."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from settings.faults import fault
from settings.types import LabelKey, LabelValue, Section, matching

RESOURCE = "nvidia.com/gpu"


def _slices(value: object) -> object:
    if type(value) is not int or not 2 <= value <= 48:
        raise PydanticCustomError("slipway", "is not a whole number of slices from 2 to 48")
    return value


TimeSlices = Annotated[int, BeforeValidator(_slices)]
MigProfile = Annotated[
    str, matching(r"[1-7]g\.\d{1,3}gb", "is not a MIG profile's name, as in 1g.10gb")
]


class Sharing(Section):
    """How pods share a GPU: by turns, each of `time_slices` with all of its memory in reach, or
    by `mig`, each with a part of it that is its own. One of the two.

    https://docs.nvidia.com/datacenter/cloud-native/gpu-operator/latest/gpu-sharing.html
    """

    time_slices: TimeSlices | None = None
    mig: MigProfile | None = None

    @model_validator(mode="after")
    def _one(self) -> Sharing:
        if (self.time_slices is None) == (self.mig is None):
            raise PydanticCustomError(
                "slipway",
                "is not one of time_slices and mig",
                {"value": self.model_dump(exclude_none=True)},
            )
        return self


class Taint(Section):
    """The taint that keeps other pods off the nodes. An empty `value` stands for any."""

    key: LabelKey = RESOURCE
    value: LabelValue = "present"


class Gpu(Section):
    """The nodes with GPUs of a cluster that exists. Pods of models with `resources.gpu` tolerate
    `taint` and select `labels`. `plugin` and `exporter`: the stack brings NVIDIA's device plugin
    and DCGM exporter, for nodes with these labels; clusters that have them need neither.
    """

    taint: Taint = Taint()
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="that the nodes with GPUs have, and no others"
    )
    plugin: bool = False
    exporter: bool = False
    sharing: Sharing | None = None

    @model_validator(mode="after")
    def _parts(self) -> Gpu:
        brought = [part for part in ("plugin", "exporter") if getattr(self, part)]
        if brought and not self.labels:
            raise fault(
                "labels",
                {},
                f"is not set; with {brought[0]}: true it takes labels that the nodes with GPUs "
                "have, and no others",
            )
        if self.sharing and not self.plugin:
            raise fault(
                "sharing",
                self.sharing.model_dump(exclude_none=True),
                "is of the stack's own device plugin; set plugin: true, or configure the cluster's",
            )
        return self
