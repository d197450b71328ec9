"""Nodes with GPUs on AWS: which there can be, what models ask of them, and what Karpenter may."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from components.aws import karpenter_policy
from components.manifests import karpenter
from settings.aws import gpu_types
from settings.aws.gpu import GpuPool, faults
from settings.aws.karpenter import Cpu, Karpenter, Turnover
from settings.faults import lines
from settings.gpu import Sharing
from settings.model import Canary, Model, Resources
from settings.scaling import Scaling

BLOCK = {
    "instance_types": ["p5.48xlarge"],
    "capacity": "block",
    "reservation": "cr-0123456789abcdef0",
    "zones": ["eu-central-1a"],
}


def told(pool: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        GpuPool.model_validate(pool)
    return [it.removeprefix("slipway:") for it in lines(caught.value, {}, GpuPool, "slipway")]


def wanting(gpu: int, least: int = 2, **roles: Any) -> Model:
    scaling = Scaling(min=least, max=4, **({} if least else {"requests_per_second": 5.0}))
    return Model(stable=1, resources=Resources(gpu=gpu), scaling=scaling, **roles)


def of(pool: GpuPool | None, karpenter: Karpenter | None = None, **models: Model) -> list[str]:
    found = []
    for fault in faults(models, pool, karpenter):
        assert fault.context is not None
        value = json.dumps(fault.context["value"])
        found.append(f"{fault.context['at']}: {value} {fault.message()}")
    return found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("g5g.xlarge", "is an ARM machine, and the serving image is for amd64"),
        ("g4ad.xlarge", "has a GPU of AMD, not of NVIDIA"),
        ("g6f.large", "has a part of a GPU, which EKS' image of nodes has no driver for"),
        (
            "p3.2xlarge",
            "has a GPU too old for CUDA 13, which the serving image is built with",
        ),
        ("inf2.xlarge", "has an accelerator of AWS, not a GPU of NVIDIA"),
        ("gr6.xlarge", "is no instance type of EC2 (there: gr6.4xlarge, gr6.8xlarge)"),
        (
            "m7i.xlarge",
            "is no instance type with a GPU of NVIDIA (families: g4dn, g5, g6, g6e, gr6, g7, g7e, "
            "p4d, p4de, p5, p5e, p5en, p6-b200, p6-b300)",
        ),
    ],
)
def test_an_instance_type_without_a_gpu_is_named(name: str, reason: str) -> None:
    assert told({"instance_types": ["g6.xlarge", name]}) == [
        f'instance_types[1]: "{name}" {reason}'
    ]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"instance_types": []}, "instance_types: [] is empty; it takes instance types with GPUs"),
        ({"max": 0, "size": 0}, "max: 0 is no pool; leave out gpu for none"),
        ({"min": 5}, "min: 5 is more than max, 4"),
        ({"size": 5}, "size: 5 is not from min to max, 0 to 4"),
        ({"min": -1}, "min: -1 is not a whole number of nodes from 0 to 100"),
        ({"disk": 8}, "disk: 8 is not a whole number of GiB from 40 to 16384"),
        ({"capacity": "reserved"}, 'capacity: "reserved" is not one of on-demand, spot or block'),
        (
            {"reservation": "cr-0123456789abcdef0"},
            'reservation: "cr-0123456789abcdef0" is of capacity: block alone',
        ),
        (
            BLOCK | {"reservation": "r-1"},
            'reservation: "r-1" is not a capacity reservation, as in cr-0123456789abcdef0',
        ),
        (
            BLOCK | {"reservation": None},
            "reservation: is not set; with capacity: block it takes the reservation's id, cr-…",
        ),
        (BLOCK | {"zones": []}, "zones: [] is not one zone, and a capacity block is in one"),
        (
            BLOCK | {"instance_types": ["p5.48xlarge", "p4d.24xlarge"]},
            'instance_types: ["p5.48xlarge", "p4d.24xlarge"] is not one instance type, and a '
            "capacity block is of one",
        ),
        (
            {"sharing": {"mig": "1g.10gb"}},
            'sharing.mig: "1g.10gb" is no profile of g6.xlarge (there: none; its GPUs have no MIG)',
        ),
        (
            {"instance_types": ["p4d.24xlarge", "p5.48xlarge"], "sharing": {"mig": "1g.10gb"}},
            'sharing.mig: "1g.10gb" cuts the GPUs of these instance types in unlike numbers',
        ),
        (
            {"release": "latest"},
            'release: "latest" is not a release of EKS\' image of nodes, as in 1.34.4-20260512',
        ),
    ],
)
def test_a_fault_of_a_pool_is_one_line(keys: dict[str, Any], line: str) -> None:
    assert told({"instance_types": ["g6.xlarge"]} | keys) == [line]


def test_a_node_offers_gpus_slices_or_parts() -> None:
    assert GpuPool(instance_types=["g6.12xlarge"]).units("g6.12xlarge") == 4
    sliced = GpuPool(instance_types=["g6.12xlarge"], sharing=Sharing(time_slices=3))
    assert (sliced.units("g6.12xlarge"), sliced.mig_parts) == (12, None)
    cut = GpuPool(instance_types=["p5.48xlarge"], sharing=Sharing(mig="2g.20gb"))
    assert (cut.units("p5.48xlarge"), cut.mig_parts) == (24, 3)


def test_every_part_fits_into_its_gpu() -> None:
    # https://docs.nvidia.com/datacenter/tesla/mig-user-guide/: seven slices of compute.
    for family, profiles in gpu_types.PARTS.items():
        assert family in gpu_types.FAMILIES
        assert all(int(name[0]) * count <= 7 for name, count in profiles.items()), family


def test_models_without_a_pool_have_no_node() -> None:
    assert of(None, churn=wanting(1), iris=wanting(0)) == [
        "models.churn.resources.gpu: 1 has no node to run on: the stack has no aws.gpu"
    ]
    assert of(None, iris=wanting(0)) == []


def test_a_fixed_pool_holds_the_least_replicas() -> None:
    canary = Canary(version=2, weight=5)
    three = GpuPool(instance_types=["g6.xlarge"], size=3)
    assert of(three, churn=wanting(1)) == []
    assert of(three, churn=wanting(1, canary=canary), night=wanting(1, 0)) == [
        "aws.gpu.size: 3 is enough for 3 of nvidia.com/gpu, and the models' least replicas ask for "
        "5 (churn 4, night 1): what is beyond stays pending"
    ]
    sliced = GpuPool(instance_types=["g6.xlarge"], size=3, sharing=Sharing(time_slices=2))
    assert of(sliced, churn=wanting(1, canary=canary), night=wanting(1, 0)) == []
    # The smallest of the types is what is sure to be there.
    mixed = GpuPool(instance_types=["g6.12xlarge", "g6.xlarge"], size=1)
    assert of(mixed, churn=wanting(2)) != []


def test_a_pod_is_no_larger_than_a_node() -> None:
    pool = GpuPool(instance_types=["g6.12xlarge"], size=4)
    line = "models.churn.resources.gpu: 8 is more than a node of aws.gpu has, 4: it stays pending"
    assert of(pool, churn=wanting(8)) == [line]
    assert of(GpuPool(instance_types=["g6.12xlarge"]), Karpenter(), churn=wanting(8)) == [line]
    sliced = GpuPool(instance_types=["g6.12xlarge"], sharing=Sharing(time_slices=4))
    line = "models.churn.resources.gpu: 2 is more than 1, and with aws.gpu.sharing a pod gets one"
    assert of(sliced, churn=wanting(2)) == [f"{line} share"]


def test_a_zone_is_one_of_the_networks() -> None:
    pool = GpuPool.model_validate(BLOCK)
    assert list(faults({}, pool, None, ["eu-central-1a", "eu-central-1b"])) == []
    (fault,) = faults({}, pool, None, ["eu-central-1b", "eu-central-1c"])
    assert fault.message() == "is no zone of the network (there: eu-central-1b, eu-central-1c)"
    assert fault.context == {"at": "aws.gpu.zones[0]", "value": "eu-central-1a"}


def test_karpenter_has_no_use_for_a_fixed_groups_keys() -> None:
    pool = GpuPool(instance_types=["g6.xlarge"], size=2, sharing=Sharing(time_slices=4))
    assert of(pool, Karpenter()) == [
        'aws.gpu.sharing: {"time_slices": 4} is of a fixed group: aws.karpenter counts whole GPUs, '
        "and would make a node for each share; leave one of the two out",
        "aws.gpu.size: 2 is of a fixed group, and aws.karpenter makes nodes as pods ask for them; "
        "leave it out",
    ]
    assert of(GpuPool(instance_types=["g6.xlarge"]), Karpenter(), churn=wanting(1)) == []


GROUND = karpenter.Ground("profile", ["subnet-0a"], "sg-0a", {"owner": "risk"}, "slipway-prod")


def test_karpenters_nodes_start_safe() -> None:
    found = karpenter.node_class(GROUND, Karpenter(), 50, None)
    assert found["amiSelectorTerms"] == [{"alias": "al2023@v20260512"}]
    assert found["metadataOptions"]["httpPutResponseHopLimit"] == 1
    assert found["metadataOptions"]["httpTokens"] == "required"
    assert [it["ebs"]["encrypted"] for it in found["blockDeviceMappings"]] == [True]
    assert found["tags"] == {"owner": "risk", "Name": "slipway-prod"}
    assert "capacityReservationSelectorTerms" not in found


def requirements(pool: dict[str, Any]) -> dict[str, list[str]]:
    wanted = pool["template"]["spec"]["requirements"]
    return {it["key"].rpartition("/")[2]: it["values"] for it in wanted}


def test_karpenters_pool_with_gpus_is_shut_and_bounded() -> None:
    gpu = GpuPool.model_validate(BLOCK | {"max": 2})
    found = karpenter.gpu_pool(gpu, Karpenter().gpu)
    assert found["template"]["spec"]["taints"] == [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    ]
    assert found["template"]["metadata"]["labels"] == {"slipway.dev/node-pool": "gpu"}
    assert found["limits"] == {"nodes": "2"}
    wanted = requirements(found)
    assert wanted["instance-type"] == ["p5.48xlarge"] and wanted["zone"] == ["eu-central-1a"]
    assert wanted["capacity-type"] == ["reserved"] and wanted["arch"] == ["amd64"]
    assert found["disruption"] == {
        "consolidationPolicy": "WhenEmpty",
        "consolidateAfter": "15m",
        "budgets": [{"nodes": "10%"}],
    }


def test_karpenters_pool_without_gpus() -> None:
    turnover = Turnover(after="1m", expire="24h", budget="1", grace="5m")
    found = karpenter.cpu_pool(Cpu(capacity="spot", cpus=16, memory="64Gi", turnover=turnover))
    assert found["limits"] == {"cpu": "16", "memory": "64Gi"}
    assert "taints" not in found["template"]["spec"]
    assert found["template"]["spec"]["expireAfter"] == "24h"
    assert found["disruption"]["consolidationPolicy"] == "WhenEmptyOrUnderutilized"
    wanted = requirements(found)
    assert wanted["instance-category"] == ["c", "m", "r"]
    assert wanted["capacity-type"] == ["spot", "on-demand"]
    assert requirements(karpenter.cpu_pool(Cpu(families=["m7i"])))["instance-family"] == ["m7i"]


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("m7g", "has a processor for arm64, and the images are for amd64"),
        ("c7gn", "has a processor for arm64, and the images are for amd64"),
        ("r8gd", "has a processor for arm64, and the images are for amd64"),
        ("m4", "is not built on Nitro, so its nodes have too few addresses"),
    ],
)
def test_a_family_that_karpenter_could_make_no_node_of(family: str, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Cpu(families=["m7i-flex", "c7a", family])
    assert lines(caught.value, {}, Cpu, "slipway") == [f'slipway:families[2]: "{family}" {reason}']


def test_karpenters_controller_is_bound_to_its_cluster() -> None:
    role, queue = "arn:aws:iam::123456789012:role/nodes", "arn:aws:sqs:eu-central-1:1:q"
    found = {
        it["Sid"]: it
        for it in karpenter_policy.controller(
            "eu-central-1", "123456789012", "slipway-prod", role, queue
        )
    }
    text = json.dumps(list(found.values()))
    # An inline policy of a role has at most 10240 characters.
    assert len(text) < 9000
    assert not [action for it in found.values() for action in it["Action"] if "*" in action]
    reading = {"Discovery", "Prices", "ProfileNames"}
    assert {sid for sid, it in found.items() if "*" in it["Resource"]} == reading
    for sid in reading:
        verbs = {action.partition(":")[2] for action in found[sid]["Action"]}
        assert all(verb.startswith(("Describe", "Get", "List")) for verb in verbs), verbs
    owned = {"aws:ResourceTag/kubernetes.io/cluster/slipway-prod": "owned"}
    for sid in ("TemplateAccess", "TagsOfOwn", "DeletionOfOwn"):
        assert found[sid]["Condition"]["StringEquals"] == owned
    asked = found["InstancesWithTags"]["Condition"]["StringEquals"]
    assert asked["aws:RequestTag/eks:eks-cluster-name"] == "slipway-prod"
    assert found["NodeRole"]["Resource"] == [role] and found["Interruptions"]["Resource"] == [queue]
    # Of other accounts it uses images and snapshots alone.
    arns = [arn for it in found.values() for arn in it["Resource"] if arn.startswith("arn:aws:ec2")]
    others = {arn for arn in arns if ":123456789012:" not in arn}
    assert others == {f"arn:aws:ec2:eu-central-1::{kind}/*" for kind in ("image", "snapshot")}


def test_in_china_it_passes_the_role_to_ec2_there() -> None:
    found = karpenter_policy.controller("cn-north-1", "123456789012", "c", "role", "queue")
    (passing,) = (it for it in found if it["Sid"] == "NodeRole")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com.cn"}}
