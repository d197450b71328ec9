"""Which nodes pods run on: models with GPUs on the nodes that have them, and nothing else there.

The nodes have a taint, which keeps away all that does not tolerate it, and a label, which draws
what belongs there. https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from settings.gpu import RESOURCE, Gpu

from .common import Manifest

TAINT_KEY = RESOURCE
TAINT_VALUE = "present"
TAINT_EFFECT = "NoSchedule"
POOL_LABEL = "slipway.dev/node-pool"
CPU_POOL, GPU_POOL = "cpu", "gpu"


class GpuPool(Protocol):
    """Nodes with GPUs, whoever makes them: plain data for the pods that are to run there."""

    @property
    def tolerations(self) -> Sequence[Manifest]:
        """Of the nodes' taints, as in a pod's spec."""

    @property
    def node_selector(self) -> Mapping[str, str]:
        """Labels of the nodes; empty where the request for a GPU alone finds them."""


@dataclass(frozen=True)
class GpuNodes:
    """A GpuPool of plain values."""

    tolerations: Sequence[Manifest]
    node_selector: Mapping[str, str]


def toleration(key: str, value: str, effect: str = "") -> Manifest:
    """What lets a pod onto nodes with this taint. An empty value stands for any, an empty effect
    for all of them.
    """
    return {
        "key": key,
        **({"operator": "Equal", "value": value} if value else {"operator": "Exists"}),
        **({"effect": effect} if effect else {}),
    }


def own() -> GpuNodes:
    """The nodes with GPUs that a stack makes for itself."""
    return GpuNodes((toleration(TAINT_KEY, TAINT_VALUE, TAINT_EFFECT),), {POOL_LABEL: GPU_POOL})


def existing(gpu: Gpu) -> GpuNodes:
    """Those of a cluster that exists, as the configuration tells of them."""
    return GpuNodes((toleration(gpu.taint.key, gpu.taint.value),), dict(gpu.labels))


def scheduling(pool: GpuPool) -> Manifest:
    """The part of a pod's spec that puts it on these nodes."""
    return {
        "tolerations": [dict(each) for each in pool.tolerations],
        **({"nodeSelector": dict(pool.node_selector)} if pool.node_selector else {}),
    }
