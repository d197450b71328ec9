"""What makes nodes of a stack on AWS as pods ask for them, and takes them away again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.aws import instances
from settings.faults import fault
from settings.types import Memory, Section, matching, whole

Cpus = Annotated[int, whole(1, 10000, "a whole number of CPUs")]
DiskSize = Annotated[int, whole(20, 16384, "a whole number of GiB")]
Category = Literal["c", "m", "r"]
Family = Annotated[
    str,
    matching(r"[cmr]\d[a-z]{0,4}(-flex)?", "is not a family of general instance types, as in m7i"),
]
After = Annotated[str, matching(r"(\d+[smh])+|Never", "is not a time such as 5m or 720h, or Never")]
Grace = Annotated[str, matching(r"(\d+[smh])+", "is not a time such as 10m or 1h")]
Budget = Annotated[
    str, matching(r"(100|\d{1,2})%|\d{1,4}", "is not a number or a percentage of nodes, as in 10%")
]
Version = Annotated[str, matching(r"\d+\.\d+\.\d+", "is not a version of Karpenter, as in 1.14.0")]
Image = Annotated[
    str, matching(r"v\d{8}", "is not a version of EKS' image of nodes, as in v20260512")
]
Chart = Annotated[
    str,
    matching(
        r"oci://[^\s@]+|[^\s:]+", "is neither a chart in a registry, oci://…, nor a directory"
    ),
]


class Turnover(Section):
    """When nodes go: `consolidate` those that are empty, or also those whose pods fit elsewhere,
    `after` so long without change; each is replaced at the age of `expire`, so that images do not
    grow old. At most `budget` of them at a time, and a node waits for its pods for `grace` at most.
    """

    consolidate: Literal["empty", "underused"] = "underused"
    after: After = "5m"
    expire: After = "336h"
    budget: Budget = "10%"
    grace: Grace = "15m"


class Cpu(Section):
    """Nodes without GPU beside the fixed ones: of `families`, or, where none is named, of the newer
    generations of `categories`; `cpus` and `memory` of all together at most. `disk`: GiB.
    """

    categories: list[Category] = ["c", "m", "r"]
    families: list[Family] = Field(default_factory=list)
    capacity: Literal["on-demand", "spot"] = "on-demand"
    cpus: Cpus = 64
    memory: Memory = "256Gi"
    disk: DiskSize = 50
    turnover: Turnover = Turnover()

    @model_validator(mode="after")
    def _some(self) -> Cpu:
        if not self.categories:
            raise fault("categories", [], "is empty; it takes some of c, m, r")
        for number, family in enumerate(self.families):
            # A size makes a name of it; which one is all the same.
            instance = instances.read(f"{family}.large")
            if instance and instance.arm:
                said = "has a processor for arm64, and the images are for amd64"
                raise fault(f"families[{number}]", family, said)
            if instance and not instance.nitro:
                said = "is not built on Nitro, so its nodes have too few addresses"
                raise fault(f"families[{number}]", family, said)
        return self


class Karpenter(Section):
    """Karpenter, on the fixed nodes; the nodes with GPUs are those of `aws.gpu`, made as models ask
    for them. `chart` and `crds`: where its two charts lie, in a registry or as directories.
    `image`: the version of the nodes' images, the same for both kinds of nodes.
    """

    version: Version = "1.14.0"
    chart: Chart = "oci://public.ecr.aws/karpenter/karpenter"
    crds: Chart = "oci://public.ecr.aws/karpenter/karpenter-crd"
    image: Image = "v20260512"
    cpu: Cpu = Cpu()
    gpu: Turnover = Turnover(consolidate="empty", after="15m")
