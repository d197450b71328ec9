"""The check of inputs bites: on real types of the SDKs, and not on a stack that is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pulumi_aws.ec2.capacity_reservation import CapacityReservation
from pulumi_aws.eks.cluster import Cluster
from pulumi_aws.eks.node_group import NodeGroup
from pulumi_aws.provider import Provider
from pulumi_aws.s3.bucket_lifecycle_configuration import BucketLifecycleConfiguration
from pulumi_kubernetes import Provider as Kubernetes
from pulumi_kubernetes.core.v1 import Service

from tests.aws import provider_types
from tests.conftest import Program, Recorded, run

NODES: dict[str, Any] = {
    "node_role_arn": "arn:aws:iam::123456789012:role/nodes",
    "cluster_name": "c",
    "subnet_ids": ["subnet-1"],
    "scaling_config": {"desired_size": 1, "max_size": 2, "min_size": 0},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
}


def faults(make: Callable[[], Any]) -> list[str]:
    return provider_types.check(run(make).custom()).faults


def nodes(**changed: Any) -> list[str]:
    return faults(lambda: NodeGroup("nodes", **{**NODES, **changed}))


def test_inputs_that_the_sdk_knows_pass() -> None:
    assert nodes() == []


def test_every_resource_of_stack_dev_passes(deploy: Callable[..., Program]) -> None:
    models = {"churn": {"stable": 1, "canary": {"version": 2, "weight": 10}}}
    report = provider_types.check(deploy(models=models).custom())
    assert report.faults == []
    assert report.checked > 60
    # What no SDK describes: custom resources of Istio.
    assert all(".istio.io/" in type_ for type_ in report.untyped), report.untyped


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    (nodes,) = run(lambda: NodeGroup("nodes", **NODES)).custom()
    return nodes


SIZES = {"desiredSize": 1, "maxSize": 2, "minSize": 0}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"subnetIDs": ["a"]}, ["subnetIDs: no such key, subnetIds?"]),
        ({"subnet_ids": ["a"]}, ["subnet_ids: no such key, subnetIds?"]),
        ({"nonsense": 1}, ["nonsense: no such key"]),
        ({"clusterName": None}, ["clusterName: required, and missing"]),
        (
            {"scalingConfig": SIZES | {"maxsize": 3}},
            ["scalingConfig.maxsize: no such key, maxSize?"],
        ),
        (
            {"scalingConfig": {"desiredSize": 1, "max_size": 2, "minSize": 0}},
            [
                "scalingConfig.max_size: no such key, maxSize?",
                "scalingConfig.maxSize: required, and missing",
            ],
        ),
        (
            {"taints": [{"key": "k", "effect": "NO_SCHEDULE", "valeu": "v"}]},
            ["taints[0].valeu: no such key, value?"],
        ),
        (
            {"taints": [{"key": "k", "effect": "NO_SCHEDULE"}, {"key": "k"}]},
            ["taints[1].effect: required, and missing"],
        ),
        ({"subnetIds": "subnet-1"}, ["subnetIds: text 'subnet-1' given, a list expected"]),
        ({"subnetIds": [1]}, ["subnetIds[0]: number 1 given, text expected"]),
        ({"scalingConfig": "3"}, ["scalingConfig: text '3' given, an object expected"]),
        ({"scalingConfig": [SIZES]}, ["scalingConfig: a list given, an object expected"]),
        (
            {"scalingConfig": SIZES | {"maxSize": True}},
            ["scalingConfig.maxSize: true given, a whole number expected"],
        ),
        (
            {"scalingConfig": SIZES | {"maxSize": 2.5}},
            ["scalingConfig.maxSize: number 2.5 given, a whole number expected"],
        ),
        ({"clusterName": {"a": 1}}, ["clusterName: an object given, text expected"]),
        ({"diskSize": "20"}, ["diskSize: text '20' given, a whole number expected"]),
        ({"tags": {"a": 1}}, ["tags.a: number 1 given, text expected"]),
        ({"tags": ["a"]}, ["tags: a list given, an object expected"]),
        (
            {"forceUpdateVersion": "yes"},
            ["forceUpdateVersion: text 'yes' given, true or false expected"],
        ),
    ],
)
def test_a_fault_is_named_by_its_path(
    recorded: Recorded, changed: dict[str, Any], expected: list[str]
) -> None:
    inputs = {**recorded.inputs, **changed}
    found = provider_types.check([replace(recorded, inputs=inputs)]).faults
    assert found == [f"aws:eks/nodeGroup:NodeGroup nodes: {line}" for line in expected]


def test_a_key_of_python_that_the_sdk_does_not_translate_is_named() -> None:
    """The SDK renames the keys that it knows in a plain dict, and passes on the others."""
    found = nodes(scaling_config={"desired_size": 1, "max_size": 2, "min_size": 0, "max_sizes": 9})
    assert [line.split(": ", 1)[1] for line in found] == [
        "scalingConfig.max_sizes: no such key, maxSize?"
    ]


def test_lists_of_objects_in_lists_of_objects_are_walked() -> None:
    rule: Any = {
        "id": "old",
        "status": "Enabled",
        "transitions": [{"days": 30, "storage_class": "STANDARD_IA", "date_": "x"}],
    }
    made = faults(lambda: BucketLifecycleConfiguration("l", bucket="b", rules=[rule]))
    assert [line.split(": ", 1)[1] for line in made] == [
        "rules[0].transitions[0].date_: no such key, date?"
    ]


def test_enumerations_are_held_to_but_those_that_aws_adds_to() -> None:
    reserved: dict[str, Any] = {"availability_zone": "eu-central-1a", "instance_count": 1}
    reserved |= {"instance_platform": "Linux/UNIX", "instance_type": "p99.48xlarge"}
    assert faults(lambda: CapacityReservation("r", **reserved)) == []
    (found,) = faults(lambda: CapacityReservation("r", **reserved, tenancy="shared"))
    assert found.split(": ", 1)[1] == "tenancy: 'shared' is none of default, dedicated"


def test_kubernetes_objects_are_held_to_theirs() -> None:
    spec = {"ports": [{"port": 80, "targetport": "http"}], "selektor": {}}
    found = faults(lambda: Service("s", spec=spec))
    assert [line.split(": ", 1)[1] for line in found] == [
        "spec.ports[0].targetport: no such key, targetPort?",
        "spec.selektor: no such key, selector?",
    ]


def test_a_providers_own_inputs_are_held_to_theirs() -> None:
    def make() -> None:
        tags: Any = {"tags": {"slipway": "prod"}}
        right = Provider("aws", region="eu-central-1", default_tags=tags)
        wrong: Any = {"tag": {"slipway": "prod"}}
        Provider("other", region="eu-central-1", default_tags=wrong)
        Cluster("c", role_arn=right.urn, vpc_config={"subnet_ids": ["a", "b"]})

        Kubernetes("cluster", kubeconfig=json.dumps({"apiVersion": "v1"}))

    assert faults(make) == ["pulumi:providers:aws other: defaultTags.tag: no such key, tags?"]
