"""The nodes of a stack on AWS that have no GPU, and what makes nodes as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from settings.aws import instances
from settings.aws.karpenter import Karpenter as Karpenter
from settings.faults import fault
from settings.types import Section, whole

# CoreDNS, EBS' driver and metrics-server run two of each, and MLflow and models move between nodes.
LEAST = 2
_TOO_SMALL = {"nano", "micro", "small"}


def _instance_type(value: object) -> object:
    if not isinstance(value, str) or instances.read(value) is None:
        raise PydanticCustomError("slipway", "is not an instance type of EC2, as in m7i.xlarge")
    return value


InstanceType = Annotated[str, BeforeValidator(_instance_type)]
NodeCount = Annotated[int, whole(0, 450, "a whole number of nodes")]
DiskSize = Annotated[int, whole(20, 16384, "a whole number of GiB")]
Capacity = Literal["on-demand", "spot"]


class NodePool(Section):
    """Nodes for all that needs no GPU. Images are for amd64, and so are the nodes."""

    instance_types: list[InstanceType] = Field(
        default=["m7i.xlarge", "m7a.xlarge", "m6i.xlarge"],
        description="in order of preference; several find capacity where one does not",
    )
    min: NodeCount = Field(default=3, description="the fewest nodes there are")
    max: NodeCount = Field(default=6, description="the most nodes there are")
    size: NodeCount | None = Field(default=None, description="how many there are; absent: min")
    scaled_by_others: bool = Field(
        default=False, description="something else sets the size, and an update lets it be"
    )
    disk: DiskSize = Field(default=80, description="of each node, in GiB")
    capacity: Capacity = Field(
        default="on-demand", description="what AWS keeps for you, or cheaper and taken back"
    )

    @property
    def desired(self) -> int:
        """How many nodes there are, or begin with."""
        return self.min if self.size is None else self.size

    @model_validator(mode="after")
    def _fits(self) -> NodePool:
        for found in _faults(self):
            raise found
        return self


def _faults(it: NodePool) -> Iterator[PydanticCustomError]:
    if not it.instance_types:
        yield fault("instance_types", [], "is empty; name one at least, as in m7i.xlarge")
    for number, name in enumerate(it.instance_types):
        at, instance = f"instance_types[{number}]", instances.read(name)
        if instance is None:
            continue
        if instance.accelerated:
            yield fault(at, name, "has accelerators, which nothing here may use; gpu is for those")
        if instance.arm:
            yield fault(at, name, "has a processor for arm64, and the images are for amd64")
        if not instance.nitro:
            yield fault(at, name, "is not built on Nitro, so its nodes have too few addresses")
        if instance.size in _TOO_SMALL:
            yield fault(at, name, "is too small for a node; take a medium or larger one")
    if it.max < 1:
        yield fault("max", it.max, "leaves no node; what has no GPU runs on these")
    if it.min > it.max:
        yield fault("min", it.min, f"is more than max, {it.max}")
    if not it.min <= it.desired <= it.max:
        yield fault("size", it.size, f"is not from min to max, {it.min} to {it.max}")
    if it.desired < LEAST:
        key = "min" if it.size is None else "size"
        yield fault(
            key,
            it.desired,
            f"leaves too few nodes for what a cluster has itself; begin with {LEAST} or more",
        )
