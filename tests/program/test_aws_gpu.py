"""GPUs in whole programs: what a stack brings to its nodes, and the nodes that it makes on AWS."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.provider import Provider as Account
from pulumi_kubernetes import Provider as Cluster

from components.aws.gpu_node_pool import GpuNodePool, GpuNodePoolArgs, zones
from components.aws.karpenter import Karpenter, KarpenterArgs
from components.manifests import placement
from settings.aws.gpu import GpuPool
from settings.aws.karpenter import Karpenter as KarpenterSettings
from tests.conftest import DIGEST, OF_TARGET, Program, Recorded, run
from tests.policy import stacks

Deploy = Callable[..., Program]
TAGS = {"owner": "risk", "cost-center": "4711"}
SUBNETS = {f"eu-central-1{zone}": f"subnet-0{zone}" for zone in "abc"}
POOL = GpuPool(instance_types=["g6.xlarge", "g5.xlarge"], size=2)
BLOCK = GpuPool(
    instance_types=["p5.48xlarge"],
    capacity="block",
    reservation="cr-0123456789abcdef0",
    zones=["eu-central-1b"],
)
MODELS = {"churn": {"stable": 1, "resources": {"gpu": 1}}, "iris": {"stable": 1}}
SECTION = {"labels": {"accelerator": "nvidia"}, "plugin": True, "exporter": True}


def providers() -> pulumi.ResourceOptions:
    account, cluster = Account("aws", region="eu-central-1"), Cluster("cluster", context="test")
    return pulumi.ResourceOptions(providers=[account, cluster])


def group(pool: GpuPool) -> Program:
    def program() -> None:
        args = GpuNodePoolArgs(
            "slipway-prod", "1.34", "eu-central-1", SUBNETS, pool, "slipway-prod", TAGS
        )
        made: placement.GpuPool = GpuNodePool("gpu", args, providers())
        assert placement.scheduling(made) == placement.scheduling(placement.own())

    return run(program)


def karpenter(gpu: GpuPool | None = POOL) -> Program:
    def program() -> None:
        opts = providers()
        fixed = SecurityGroup("fixed", opts=opts)
        args = KarpenterArgs(
            "slipway-prod",
            "arn:aws:eks:eu-central-1:123456789012:cluster/slipway-prod",
            "https://cluster.example.org",
            "sg-0a",
            "123456789012",
            "eu-central-1",
            list(SUBNETS.values()),
            KarpenterSettings(),
            gpu,
            TAGS,
            [fixed],
        )
        made = Karpenter("karpenter", args, opts)
        assert (made.gpu is None) == (gpu is None) and len(made.pools) == 1 + (gpu is not None)

    return run(program)


def pods(program: Program, model: str) -> dict[str, Any]:
    spec = program.one("Deployment", f"{model}-v1-deployment").inputs["spec"]
    found: dict[str, Any] = spec["template"]["spec"]
    return found


def test_a_cluster_that_exists_gets_what_is_asked_for(deploy: Deploy) -> None:
    program = deploy(models=MODELS, gpu=SECTION)
    assert {it.name for it in program.of("DaemonSet")} == {
        "gpu-plugin-daemons",
        "gpu-exporter-daemons",
    }
    for daemons in program.of("DaemonSet"):
        assert daemons.inputs["spec"]["template"]["spec"]["nodeSelector"] == SECTION["labels"]
    home = program.one("Namespace", "gpu-namespace").inputs["metadata"]
    assert home["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert pods(program, "churn")["nodeSelector"] == SECTION["labels"]
    assert not {"tolerations", "nodeSelector"} & set(pods(program, "iris"))
    scraped = program.one("ConfigMap", "monitoring-config").inputs["data"]["prometheus.yml"]
    (job,) = (it for it in json.loads(scraped)["scrape_configs"] if it["job_name"] == "pods")
    assert "gpu" in job["kubernetes_sd_configs"][0]["namespaces"]["names"]


def test_the_exporter_alone_needs_no_privileged_namespace(deploy: Deploy) -> None:
    program = deploy(gpu={"labels": {"a": "b"}, "exporter": True})
    assert [it.name for it in program.of("DaemonSet")] == ["gpu-exporter-daemons"]
    home = program.one("Namespace", "gpu-namespace").inputs["metadata"]
    assert home["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_nobody_reaches_the_plugin_and_prometheus_alone_the_exporter(deploy: Deploy) -> None:
    program = deploy(gpu=SECTION)
    plugin = program.one("NetworkPolicy", "gpu-plugin-policy").inputs["spec"]
    exporter = program.one("NetworkPolicy", "gpu-exporter-policy").inputs["spec"]
    assert plugin.get("ingress", []) == plugin["egress"] == exporter["egress"] == []
    (rule,) = exporter["ingress"]
    assert [int(port["port"]) for port in rule["ports"]] == [9400]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "prometheus"


def test_a_stack_that_says_nothing_of_gpus_has_none_of_it(deploy: Deploy) -> None:
    without, empty = deploy(models=MODELS), deploy(models=MODELS, gpu={})
    assert not without.of("DaemonSet")
    assert not {"tolerations", "nodeSelector"} & set(pods(without, "churn"))
    assert without.resources == empty.resources


def test_a_section_of_gpus_changes_models_with_some_alone(deploy: Deploy) -> None:
    before = deploy(models=MODELS)
    after = deploy(models=MODELS, gpu={"labels": {"a": "b"}})
    changed = {key for key in after.resources if after.resources[key] != before.resources.get(key)}
    assert {name for _, name in changed} == {"churn-v1-deployment"}


def images(program: Program, name: str) -> set[str]:
    """The images of the pod of a version's server."""
    pod = program.one("Deployment", f"{name}-v1-deployment").inputs["spec"]["template"]["spec"]
    return {it["image"] for it in pod["containers"] + pod["initContainers"]}


def test_models_with_gpus_alone_are_served_by_cuda(deploy: Deploy) -> None:
    program = deploy(models=MODELS)
    inputs = program.one("Image", "serving-cuda-image").inputs
    usual = program.one("Image", "serving-image").inputs
    assert (inputs["target"], "target" in usual) == ("gpu", False)
    (name,), (other,) = (it["exports"][0]["registry"]["names"] for it in (inputs, usual))
    assert (name.rpartition(":")[2], other.rpartition(":")[2]) == ("cuda", "latest")
    assert {it.rpartition("@")[2] for it in images(program, "churn")} == {OF_TARGET}
    assert {it.rpartition("@")[2] for it in images(program, "iris")} == {DIGEST}
    assert OF_TARGET not in str(program.one("Deployment", "mlflow-deployment").inputs)


@pytest.mark.parametrize(
    ("models", "more"), [(MODELS, {"without_cuda": True}), ({"iris": MODELS["iris"]}, {})]
)
def test_without_cuda_there_is_one_image(
    deploy: Deploy, models: dict[str, Any], more: dict[str, Any]
) -> None:
    program = deploy(models=models, **more)
    assert [it.name for it in program.of("Image")] == ["serving-image"]
    for name in models:
        assert {it.rpartition("@")[2] for it in images(program, name)} == {DIGEST}


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_policies_let_it_pass_as_it_is(deploy: Deploy, environment: str) -> None:
    registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    images = {
        name: f"{registry}/{name}@sha256:{'0' * 64}" for name in ("dcgm_exporter", "device_plugin")
    }
    more = {"images": images} if environment == "prod" else {}
    with_it, without = deploy(gpu=SECTION, **more), deploy(**more)
    knobs = stacks.configuration(environment)
    found = [
        stacks.judge(stacks.of_program(each), knobs).violations
        - stacks.judge(stacks.of_program(without), knobs).violations
        for each in (with_it,)
    ]
    # What they cost is labelled where the stack has labels.
    assert {rule for rule, _, _ in found[0]} <= {"cost-labels"}, sorted(found[0])


def one(program: Program, kind: str, name: str) -> Recorded:
    return program.one(kind, name)


def test_a_group_with_gpus_is_shut_and_may_be_empty() -> None:
    program = group(replace_size(POOL, 0))
    made = one(program, "NodeGroup", "gpu-group").inputs
    assert made["amiType"] == "AL2023_x86_64_NVIDIA"
    assert made["taints"] == [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}
    ]
    assert made["labels"] == {"slipway.dev/node-pool": "gpu"}
    assert made["scalingConfig"] == {"minSize": 0, "maxSize": 4, "desiredSize": 0}
    assert made["instanceTypes"] == ["g6.xlarge", "g5.xlarge"]
    assert made["capacityType"] == "ON_DEMAND" and made["nodeRepairConfig"] == {"enabled": True}
    assert made["subnetIds"] == list(SUBNETS.values())
    template = one(program, "LaunchTemplate", "gpu-template").inputs
    assert template["metadataOptions"]["httpTokens"] == "required"
    assert template["metadataOptions"]["httpPutResponseHopLimit"] == 1
    assert template["blockDeviceMappings"][0]["ebs"]["encrypted"] == "true"
    for told in template["tagSpecifications"]:
        assert told["tags"] == TAGS | {"Name": "slipway-prod-gpu"}
    assert not {"instanceMarketOptions", "instanceType"} & set(template)
    assert {it.inputs["tag"]["key"] for it in program.of("Tag")} == set(TAGS)


def replace_size(pool: GpuPool, size: int) -> GpuPool:
    return GpuPool.model_validate(pool.model_dump() | {"size": size})


def test_a_capacity_block_is_of_its_reservation_and_zone() -> None:
    program = group(BLOCK)
    made = one(program, "NodeGroup", "gpu-group").inputs
    assert made["capacityType"] == "CAPACITY_BLOCK" and made["subnetIds"] == ["subnet-0b"]
    template = one(program, "LaunchTemplate", "gpu-template").inputs
    # EKS refuses a block without a type in its template, and any type that is named twice.
    assert template["instanceType"] == "p5.48xlarge" and "instanceTypes" not in made
    assert template["instanceMarketOptions"] == {"marketType": "capacity-block"}
    assert template["capacityReservationSpecification"] == {
        "capacityReservationTarget": {"capacityReservationId": "cr-0123456789abcdef0"}
    }


def test_a_zone_without_a_subnet_is_named() -> None:
    assert zones(SUBNETS, POOL) == list(SUBNETS)
    lost = GpuPool(instance_types=["g6.xlarge"], zones=["eu-west-1a"])
    with pytest.raises(ValueError, match=r"no subnet in eu-west-1a \(zones: eu-central-1a, "):
        zones(SUBNETS, lost)


def test_another_size_replaces_nothing() -> None:
    before, after = group(POOL), group(replace_size(POOL, 3))
    changed = [each for key, each in after.resources.items() if each != before.resources[key]]
    assert [it.name for it in changed] == ["gpu-group"]
    assert changed[0].inputs["scalingConfig"]["desiredSize"] == 3


def test_karpenter_hears_of_what_goes() -> None:
    program = karpenter()
    queue = one(program, "Queue", "karpenter-queue-queue").inputs
    assert queue["sqsManagedSseEnabled"] is True and queue["messageRetentionSeconds"] == 300
    policy = json.loads(one(program, "QueuePolicy", "karpenter-queue-policy").inputs["policy"])
    send, secure = policy["Statement"]
    assert len(send["Condition"]["ArnEquals"]["aws:SourceArn"]) == len(program.of("EventRule")) == 5
    assert secure["Effect"] == "Deny" and secure["Condition"] == {
        "Bool": {"aws:SecureTransport": "false"}
    }
    targets = {it.inputs["arn"] for it in program.of("EventTarget")}
    assert len(program.of("EventTarget")) == 5 and targets == set(send["Resource"])
    rules = [json.loads(it.inputs["eventPattern"])["detail-type"] for it in program.of("EventRule")]
    assert ["EC2 Spot Instance Interruption Warning"] in rules


def test_karpenters_nodes_may_join_and_its_controller_acts_by_pod_identity() -> None:
    program = karpenter()
    entry = one(program, "AccessEntry", "karpenter-entry").inputs
    assert entry["type"] == "EC2_LINUX" and entry["clusterName"] == "slipway-prod"
    nodes = one(program, "Role", "karpenter-nodes-role")
    assert entry["principalArn"].endswith(f"role/{nodes.name}-1a2b3c4")
    profile = one(program, "InstanceProfile", "karpenter-profile").inputs["role"]
    assert profile == f"{nodes.name}-1a2b3c4"
    bound = one(program, "PodIdentityAssociation", "karpenter-identity-karpenter").inputs
    assert (bound["namespace"], bound["serviceAccount"]) == ("kube-system", "karpenter")
    policy = json.loads(one(program, "RolePolicy", "karpenter-identity-policy").inputs["policy"])
    (passing,) = (it for it in policy["Statement"] if it["Sid"] == "NodeRole")
    assert passing["Resource"] == [entry["principalArn"]]


def test_karpenters_charts_and_objects() -> None:
    program = karpenter(BLOCK)
    chart = one(program, "Release", "karpenter-release").inputs
    assert (chart["chart"], chart["version"]) == (
        "oci://public.ecr.aws/karpenter/karpenter",
        "1.14.0",
    )
    assert chart["skipCrds"] is True
    told = chart["values"]
    assert told["settings"] == {
        "clusterName": "slipway-prod",
        "clusterEndpoint": "https://cluster.example.org",
        "interruptionQueue": "karpenter-queue-queue-1a2b3c4",
    }
    assert told["nodeSelector"]["slipway.dev/node-pool"] == "cpu"
    assert {it.name for it in program.of("NodePool")} == {
        "karpenter-cpu-pool",
        "karpenter-gpu-pool",
    }
    gpu = one(program, "EC2NodeClass", "karpenter-gpu-class").inputs["spec"]
    assert gpu["capacityReservationSelectorTerms"] == [{"id": "cr-0123456789abcdef0"}]
    assert gpu["subnetSelectorTerms"] == [{"id": each} for each in SUBNETS.values()]
    assert gpu["securityGroupSelectorTerms"] == [{"id": "sg-0a"}]
    assert not program.of("NodeGroup")
    assert [it.name for it in karpenter(None).of("NodePool")] == ["karpenter-cpu-pool"]


def test_karpenter_goes_backwards() -> None:
    program = karpenter()

    def before(name: str) -> set[str]:
        found = [it for it in program.resources.values() if it.name == name]
        return set().union(*(it.depends_on for it in found))

    for kind in ("cpu", "gpu"):
        assert f"karpenter-{kind}-class" in before(f"karpenter-{kind}-pool")
        assert "karpenter-release" in before(f"karpenter-{kind}-class")
        pool = one(program, "NodePool", f"karpenter-{kind}-pool")
        annotations = pool.inputs["metadata"]["annotations"]
        assert annotations == {"pulumi.com/deletionPropagationPolicy": "foreground"}
    acts_by = {
        "karpenter-crds-release",
        "karpenter-entry",
        "karpenter-profile",
        "karpenter-identity-karpenter",
        "karpenter-queue-policy",
        "fixed",
    }
    assert acts_by <= before("karpenter-release")


def test_the_policies_let_the_nodes_pass() -> None:
    knobs = stacks.configuration("prod")
    for program in (group(BLOCK), karpenter(BLOCK)):
        stack = [
            replace(each, provider={"defaultTags": json.dumps({"tags": TAGS})})
            for each in stacks.of_program(program)
            if each.type.startswith("aws:")
        ]
        verdict = stacks.judge(stack, knobs)
        assert not verdict.violations and not verdict.undecided, sorted(verdict.violations)
