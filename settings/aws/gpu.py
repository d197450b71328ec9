"""The nodes of a stack on AWS that have GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from settings.aws import gpu_types
from settings.aws.gpu_types import GpuInstance
from settings.aws.network import Zone
from settings.faults import fault
from settings.gpu import Sharing
from settings.types import Section, matching, whole

if TYPE_CHECKING:
    from settings.aws.karpenter import Karpenter
    from settings.model import Model

Reservation = Annotated[
    str, matching(r"cr-[0-9a-f]{8,17}", "is not a capacity reservation, as in cr-0123456789abcdef0")
]
Release = Annotated[
    str,
    matching(
        r"1\.\d+\.\d+-\d{8}", "is not a release of EKS' image of nodes, as in 1.34.4-20260512"
    ),
]
NodeCount = Annotated[int, whole(0, 100, "a whole number of nodes")]
DiskSize = Annotated[int, whole(40, 16384, "a whole number of GiB")]
# Of a fixed group alone: Karpenter makes nodes as pods ask for them.
_FIXED = ("min", "size", "release")


class GpuPool(Section):
    """Nodes with GPUs: a managed group of `size` nodes, or, in a stack with `karpenter`, nodes that
    come and go with the pods that ask for them.
    """

    instance_types: list[GpuInstance] = Field(
        description="a list of instance types with GPUs, as in [g6.xlarge]"
    )
    min: NodeCount = Field(default=0, description="the fewest nodes that a fixed group may have")
    max: NodeCount = Field(default=4, description="the most nodes there are")
    size: NodeCount = Field(default=1, description="how many nodes a fixed group has")
    capacity: Literal["on-demand", "spot", "block"] = Field(
        default="on-demand",
        description="what AWS keeps for you, cheaper and taken back, or a capacity block for ML",
    )
    reservation: Reservation | None = Field(
        default=None, description="of the capacity block, which is of one type in one zone"
    )
    disk: DiskSize = Field(default=100, description="of each node, in GiB")
    sharing: Sharing | None = Field(default=None, description="how pods share a GPU")
    zones: list[Zone] = Field(default_factory=list, description="of the network; none: all of them")
    release: Release | None = Field(
        default=None, description="of the nodes' image; absent: the newest when the group is made"
    )

    @model_validator(mode="after")
    def _fits(self) -> GpuPool:
        for found in _of_pool(self):
            raise found
        return self

    @property
    def zone_of_block(self) -> str | None:
        """The zone of the capacity block; None without one."""
        return self.zones[0] if self.capacity == "block" else None

    @property
    def mig_parts(self) -> int | None:
        """Into how many parts each GPU is cut; None without MIG."""
        if not self.sharing or not self.sharing.mig:
            return None
        return gpu_types.PARTS[gpu_types.family(self.instance_types[0])][self.sharing.mig]

    def units(self, instance_type: str) -> int:
        """What a node of this type offers as nvidia.com/gpu: GPUs, or slices or parts of them."""
        slices = self.sharing.time_slices if self.sharing else None
        return gpu_types.gpus(instance_type) * (slices or self.mig_parts or 1)


def faults(
    models: Mapping[str, Model],
    gpu: GpuPool | None,
    karpenter: Karpenter | None,
    zones: Sequence[str] = (),
) -> Iterator[PydanticCustomError]:
    """What models ask of GPUs that the nodes of a stack on AWS do not have, and what the pool has
    that is not for its kind, or in none of `zones`, the network's. Keys are paths in namespace
    slipway.
    """
    asking = {name: model for name, model in models.items() if model.resources.gpu}
    if gpu is None:
        for name, model in asking.items():
            yield fault(
                f"models.{name}.resources.gpu",
                model.resources.gpu,
                "has no node to run on: the stack has no aws.gpu",
            )
        return
    for number, zone in enumerate(gpu.zones):
        if zones and zone not in zones:
            there = ", ".join(zones)
            yield fault(
                f"aws.gpu.zones[{number}]", zone, f"is no zone of the network (there: {there})"
            )
    too_large = list(_beyond_a_node(asking, gpu))
    yield from too_large
    if karpenter is not None:
        if gpu.sharing:
            yield fault(
                "aws.gpu.sharing",
                gpu.sharing.model_dump(exclude_none=True),
                "is of a fixed group: aws.karpenter counts whole GPUs, and would make a node for "
                "each share; leave one of the two out",
            )
        for key in _FIXED:
            if key in gpu.model_fields_set:
                yield fault(
                    f"aws.gpu.{key}",
                    getattr(gpu, key),
                    "is of a fixed group, and aws.karpenter makes nodes as pods ask for them; "
                    "leave it out",
                )
    elif not too_large:
        yield from _beyond_the_group(asking, gpu)


def _beyond_a_node(asking: Mapping[str, Model], gpu: GpuPool) -> Iterator[PydanticCustomError]:
    most = max(gpu.units(name) for name in gpu.instance_types)
    for name, model in asking.items():
        at, wanted = f"models.{name}.resources.gpu", model.resources.gpu
        if gpu.sharing and wanted > 1:
            yield fault(at, wanted, "is more than 1, and with aws.gpu.sharing a pod gets one share")
        elif wanted > most:
            yield fault(at, wanted, f"is more than a node of aws.gpu has, {most}: it stays pending")


def _beyond_the_group(asking: Mapping[str, Model], gpu: GpuPool) -> Iterator[PydanticCustomError]:
    there = gpu.size * min(gpu.units(name) for name in gpu.instance_types)
    needs = {name: _replicas(model) * model.resources.gpu for name, model in asking.items()}
    if sum(needs.values()) > there:
        told = ", ".join(f"{name} {count}" for name, count in needs.items())
        yield fault(
            "aws.gpu.size",
            gpu.size,
            f"is enough for {there} of nvidia.com/gpu, and the models' least replicas ask for "
            f"{sum(needs.values())} ({told}): what is beyond stays pending",
        )


def _replicas(model: Model) -> int:
    """The fewest pods of all its versions; one of a version that may sleep, for it wakes."""
    least = max(model.scaling.min, 1)
    return sum(
        min(max(least, model.floors.get(version, 0)), model.scaling.max)
        for version in model.versions
    )


def _of_pool(it: GpuPool) -> Iterator[PydanticCustomError]:
    if not it.instance_types:
        yield fault("instance_types", [], "is empty; it takes instance types with GPUs")
    if it.max < 1:
        yield fault("max", it.max, "is no pool; leave out gpu for none")
    if it.min > it.max:
        yield fault("min", it.min, f"is more than max, {it.max}")
    if not it.min <= it.size <= it.max:
        yield fault("size", it.size, f"is not from min to max, {it.min} to {it.max}")
    if it.capacity != "block":
        if it.reservation is not None:
            yield fault("reservation", it.reservation, "is of capacity: block alone")
    else:
        if it.reservation is None:
            yield fault(
                "reservation",
                None,
                "is not set; with capacity: block it takes the reservation's id, cr-…",
            )
        if len(it.zones) != 1:
            yield fault("zones", it.zones, "is not one zone, and a capacity block is in one")
        if len(it.instance_types) != 1:
            yield fault(
                "instance_types",
                it.instance_types,
                "is not one instance type, and a capacity block is of one",
            )
    if it.sharing and (profile := it.sharing.mig):
        for name in it.instance_types:
            known = gpu_types.PARTS.get(gpu_types.family(name), {})
            if profile not in known:
                there = ", ".join(known) or "none; its GPUs have no MIG"
                yield fault("sharing.mig", profile, f"is no profile of {name} (there: {there})")
                return
        counts = {gpu_types.PARTS[gpu_types.family(name)][profile] for name in it.instance_types}
        if len(counts) > 1:
            yield fault(
                "sharing.mig", profile, "cuts the GPUs of these instance types in unlike numbers"
            )
