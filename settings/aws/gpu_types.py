"""Instance types of EC2 that have GPUs of NVIDIA, and how many.

Source: https://karpenter.sh/docs/reference/instance-types/ (karpenter.k8s.aws/instance-gpu-count),
in Karpenter 1.14. MIG: deployments/systemd/config-default.yaml of
https://github.com/NVIDIA/mig-parted, v0.13.1.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_G5 = {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "16xlarge": 1}
_G5 |= {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
_G7 = {"2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "12xlarge": 2, "24xlarge": 4, "48xlarge": 8}
# Family -> size -> GPUs.
FAMILIES: dict[str, dict[str, int]] = {
    "g4dn": {
        **dict.fromkeys(("xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge"), 1),
        "12xlarge": 4,
        "metal": 8,
    },
    "g5": _G5,
    "g6": _G5,
    "g6e": _G5,
    "gr6": {"4xlarge": 1, "8xlarge": 1},
    "g7": _G7,
    "g7e": _G7,
    "p4d": {"24xlarge": 8},
    "p4de": {"24xlarge": 8},
    "p5": {"4xlarge": 1, "48xlarge": 8},
    "p5e": {"48xlarge": 8},
    "p5en": {"48xlarge": 8},
    "p6-b200": {"48xlarge": 8},
    "p6-b300": {"48xlarge": 8},
}
_UNFIT = {
    ("g5g",): "is an ARM machine, and the serving image is for amd64",
    ("g4ad",): "has a GPU of AMD, not of NVIDIA",
    ("g6f", "gr6f"): "has a part of a GPU, which EKS' image of nodes has no driver for",
    ("g2", "g3", "g3s", "p2", "p3", "p3dn"): "has a GPU too old for CUDA 13, which the serving "
    "image is built with",
    ("inf1", "inf2", "trn1", "trn1n", "trn2"): "has an accelerator of AWS, not a GPU of NVIDIA",
}
# Family -> MIG profile -> parts that one GPU makes.
_A100_40 = {"1g.5gb": 7, "1g.10gb": 4, "2g.10gb": 3, "3g.20gb": 2, "4g.20gb": 1, "7g.40gb": 1}
_80 = {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "4g.40gb": 1, "7g.80gb": 1}
_141 = {"1g.18gb": 7, "1g.35gb": 4, "2g.35gb": 3, "3g.71gb": 2, "4g.71gb": 1, "7g.141gb": 1}
PARTS: dict[str, dict[str, int]] = {
    "p4d": _A100_40,
    "p4de": _80,
    "p5": _80,
    "p5e": _141,
    "p5en": _141,
}


def family(instance_type: str) -> str:
    """`p5`, of `p5.48xlarge`."""
    return instance_type.partition(".")[0]


def gpus(instance_type: str) -> int:
    """GPUs of a machine of this type. Raises KeyError for one without."""
    kind, _, size = instance_type.partition(".")
    return FAMILIES[kind][size]


def _instance_type(value: object) -> object:
    kind, _, size = value.partition(".") if isinstance(value, str) else ("", "", "")
    for kinds, reason in _UNFIT.items():
        if kind in kinds:
            raise PydanticCustomError("slipway", reason)
    if kind not in FAMILIES:
        raise PydanticCustomError(
            "slipway", f"is no instance type with a GPU of NVIDIA (families: {', '.join(FAMILIES)})"
        )
    if size not in FAMILIES[kind]:
        known = ", ".join(f"{kind}.{each}" for each in FAMILIES[kind])
        raise PydanticCustomError("slipway", f"is no instance type of EC2 (there: {known})")
    return value


GpuInstance = Annotated[str, BeforeValidator(_instance_type)]
