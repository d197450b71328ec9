"""Order, names and changes of a recorded program: what is wrong in one is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from pulumi_aws.eks.node_group import NodeGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.lb.target_group import TargetGroup
from pulumi_aws.sqs.queue import Queue

from tests.aws import graph
from tests.aws.sample_data import data
from tests.aws.sample_ground import ground
from tests.conftest import Program, run

VPC, SUBNET = ("aws:ec2/vpc:Vpc", "net"), ("aws:ec2/subnet:Subnet", "net-a")
NODES = ("aws:eks/nodeGroup:NodeGroup", "nodes")
CLUSTER = ("aws:eks/cluster:Cluster", "cluster")


@pytest.fixture(scope="module")
def made() -> Program:
    return run(ground)


def test_a_program_has_no_ring_and_all_that_it_waits_for(made: Program) -> None:
    assert graph.cycle(made) == []
    assert graph.missing(made) == set()


def test_a_ring_is_found(made: Program) -> None:
    ring = replace(made.resources[VPC], after=(NODES,))
    found = graph.cycle(Program({**made.resources, VPC: ring}))
    assert {VPC, NODES} <= set(found)


def test_what_is_waited_for_and_not_there_is_found(made: Program) -> None:
    without = {key: one for key, one in made.resources.items() if key != VPC}
    assert graph.missing(Program(without)) == {VPC}


def test_deletion_is_the_reverse_of_what_inputs_come_from(made: Program) -> None:
    assert graph.goes_before(made, NODES, CLUSTER)
    assert graph.goes_before(made, NODES, VPC)
    assert graph.goes_before(made, SUBNET, VPC)
    assert not graph.goes_before(made, VPC, SUBNET)
    assert not graph.goes_before(made, ("aws:kms/key:Key", "key"), VPC)


class Part(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("slipway:aws:Part", name, None, opts)
        self.queue = Queue(f"{name}-queue", opts=pulumi.ResourceOptions(parent=self))


def test_components_wait_for_components() -> None:
    def program() -> None:
        first = Part("first")
        Part("second", pulumi.ResourceOptions(depends_on=[first]))
        third = Part("third")
        Queue("fourth", opts=pulumi.ResourceOptions(depends_on=[third]))

    made = run(program)
    first, second, third = (("slipway:aws:Part", name) for name in ("first", "second", "third"))
    fourth = ("aws:sqs/queue:Queue", "fourth")
    assert graph.goes_before(made, fourth, third)
    assert not graph.goes_before(made, third, first)
    # What a component waits for stands before all that it holds.
    assert graph.goes_before(made, second, first)
    assert not graph.goes_before(made, first, second)


def test_names_that_aws_takes_pass(made: Program) -> None:
    assert graph.too_long(made) == []
    assert graph.too_long(run(data)) == []


def test_names_that_are_too_long_are_named() -> None:
    def program() -> None:
        TargetGroup("t" * 24)
        TargetGroup("t" * 25)
        TargetGroup("named", name="n" * 33)
        Role("r" * 57, assume_role_policy="{}")
        told: dict[str, Any] = {"cluster_name": "c", "node_role_arn": "r", "subnet_ids": ["s"]}
        told["scaling_config"] = {"desired_size": 1, "max_size": 1, "min_size": 1}
        NodeGroup("nodes", node_group_name_prefix="p" * 38, **told)

    assert [line.split(": ")[0].split(" ")[1] for line in graph.too_long(run(program))] == [
        "t" * 25,
        "named",
        "r" * 57,
        "nodes",
    ]


def test_what_a_change_changes_is_named(made: Program) -> None:
    assert graph.changed(made, run(ground)) == {}
    assert graph.changed(made, run(lambda: ground(size="m7i.xlarge"))) == {
        ("aws:ec2/launchTemplate:LaunchTemplate", "template"): {"instanceType"}
    }
    less = Program({key: one for key, one in made.resources.items() if key != NODES})
    assert graph.changed(made, less) == {NODES: {"-"}}
    assert graph.changed(less, made) == {NODES: {"+"}}


def test_stack_dev_has_no_ring_and_a_step_of_weight_changes_one_object(
    deploy: Callable[..., Program],
) -> None:
    def dev(weight: int) -> Program:
        return deploy(models={"churn": {"stable": 1, "canary": {"version": 2, "weight": weight}}})

    before = dev(10)
    assert graph.cycle(before) == []
    assert graph.missing(before) == set()
    virtual = "kubernetes:networking.istio.io/v1:VirtualService"
    assert graph.changed(before, dev(20)) == {(virtual, "churn-virtual-service"): {"spec"}}
    route, server = ("slipway:index:ModelRoute", "churn"), ("slipway:index:ModelServer", "churn-v1")
    assert graph.goes_before(before, route, server)
    assert not graph.goes_before(before, server, route)
