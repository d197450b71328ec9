"""The values of Karpenter's chart, and its objects: which nodes it makes, and when they go.

https://karpenter.sh/v1.14/concepts/nodepools/ and /nodeclasses/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from settings.aws.gpu import GpuPool
from settings.aws.karpenter import Cpu, Karpenter, Turnover

from . import placement
from .common import Manifest, Text

NAMESPACE = "kube-system"  # whose pods the API server serves first
NAME = "karpenter"
GROUP, CLASS_GROUP = "karpenter.sh", "karpenter.k8s.aws"
POOL_API, CLASS_API = f"{GROUP}/v1", f"{CLASS_GROUP}/v1"
_MAKES = {"on-demand": ["on-demand"], "spot": ["spot", "on-demand"], "block": ["reserved"]}
_WHEN = {"empty": "WhenEmpty", "underused": "WhenEmptyOrUnderutilized"}
# The first of those that have neither Xen nor old processors.
_GENERATION_ABOVE = "5"


@dataclass(frozen=True)
class Ground:
    """What all nodes stand on.

    profile: the name of their instance profile. subnets, security_group: ids. tags: of instances
    and disks; called: their Name begins with it.
    """

    profile: Text
    subnets: Sequence[Text]
    security_group: Text
    tags: Mapping[str, str]
    called: str


def selector() -> dict[str, str]:
    """The labels that pick the controller's pods, as its chart sets them."""
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME}


def values(cluster: Text, endpoint: Text, queue: Text, region: str) -> Manifest:
    """Values of the chart. The controller runs on the fixed nodes alone, for it cannot make the
    node that it runs on. It is told the region, for a pod does not reach the metadata service.
    """
    return {
        "serviceAccount": {"name": NAME},
        "nodeSelector": {"kubernetes.io/os": "linux", placement.POOL_LABEL: placement.CPU_POOL},
        "settings": {
            "clusterName": cluster,
            "clusterEndpoint": endpoint,
            "interruptionQueue": queue,
        },
        "controller": {
            "env": [{"name": "AWS_REGION", "value": region}],
            "resources": {
                "requests": {"cpu": "250m", "memory": "1Gi"},
                "limits": {"cpu": "1", "memory": "1Gi"},
            },
        },
    }


def node_class(
    ground: Ground, karpenter: Karpenter, disk: int, reservation: str | None
) -> Manifest:
    """The spec of an EC2NodeClass: how a node starts. For instance types with GPUs the image of
    this version is the one with NVIDIA's driver.
    """
    return {
        "amiSelectorTerms": [{"alias": f"al2023@{karpenter.image}"}],
        "instanceProfile": ground.profile,
        "subnetSelectorTerms": [{"id": subnet} for subnet in ground.subnets],
        "securityGroupSelectorTerms": [{"id": ground.security_group}],
        **({"capacityReservationSelectorTerms": [{"id": reservation}]} if reservation else {}),
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpProtocolIPv6": "disabled",
            "httpPutResponseHopLimit": 1,
            "httpTokens": "required",
        },
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/xvda",
                "rootVolume": True,
                "ebs": {
                    "volumeSize": f"{disk}Gi",
                    "volumeType": "gp3",
                    "encrypted": True,
                    "deleteOnTermination": True,
                },
            }
        ],
        "tags": {**ground.tags, "Name": ground.called},
    }


def cpu_pool(cpu: Cpu) -> Manifest:
    """The spec of the NodePool without GPUs."""
    kinds = (
        [_within("karpenter.k8s.aws/instance-family", cpu.families)]
        if cpu.families
        else [
            _within("karpenter.k8s.aws/instance-category", cpu.categories),
            {
                "key": "karpenter.k8s.aws/instance-generation",
                "operator": "Gt",
                "values": [_GENERATION_ABOVE],
            },
        ]
    )
    kinds.append(_within("karpenter.k8s.aws/instance-hypervisor", ["nitro"]))
    return _pool(
        placement.CPU_POOL,
        [*kinds, _within("karpenter.sh/capacity-type", _MAKES[cpu.capacity])],
        cpu.turnover,
        {"cpu": str(cpu.cpus), "memory": cpu.memory},
    )


def gpu_pool(gpu: GpuPool, turnover: Turnover) -> Manifest:
    """The spec of the NodePool with GPUs, which only pods of models with GPUs tolerate."""
    wanted = [
        _within("node.kubernetes.io/instance-type", gpu.instance_types),
        _within("karpenter.sh/capacity-type", _MAKES[gpu.capacity]),
    ]
    if gpu.zones:
        wanted.append(_within("topology.kubernetes.io/zone", gpu.zones))
    spec = _pool(placement.GPU_POOL, wanted, turnover, {"nodes": str(gpu.max)})
    spec["template"]["spec"]["taints"] = [
        {
            "key": placement.TAINT_KEY,
            "value": placement.TAINT_VALUE,
            "effect": placement.TAINT_EFFECT,
        }
    ]
    return spec


def _pool(
    kind: str, requirements: list[Manifest], turnover: Turnover, limits: dict[str, str]
) -> Manifest:
    return {
        "template": {
            "metadata": {"labels": {placement.POOL_LABEL: kind}},
            "spec": {
                "nodeClassRef": {"group": CLASS_GROUP, "kind": "EC2NodeClass", "name": kind},
                "requirements": [
                    _within("kubernetes.io/arch", ["amd64"]),
                    _within("kubernetes.io/os", ["linux"]),
                    *requirements,
                ],
                "expireAfter": turnover.expire,
                "terminationGracePeriod": turnover.grace,
            },
        },
        "limits": limits,
        "disruption": {
            "consolidationPolicy": _WHEN[turnover.consolidate],
            "consolidateAfter": turnover.after,
            "budgets": [{"nodes": turnover.budget}],
        },
    }


def _within(key: str, values: Sequence[str]) -> Manifest:
    return {"key": key, "operator": "In", "values": list(values)}
