"""The replay bites: what AWS would refuse is refused, by the name of the resource."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment

from components.aws import documents
from tests.aws.replay import Api, replay, server
from tests.aws.replay_table import TABLE
from tests.aws.sample_data import data
from tests.aws.sample_ground import ground
from tests.conftest import Program, run


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with server() as endpoint:
        yield endpoint


def test_all_of_a_program_that_is_right_is_made(moto: str) -> None:
    program = run(ground)
    found = replay(program, moto, TABLE)
    assert found.failures == []
    assert (found.unsupported, found.left_out) == ({}, {})
    assert len(found.done) == len([one for one in program.custom() if one.type.startswith("aws:")])


def subnets(api: Api) -> dict[str, str]:
    """The subnets that `data` finds in its account."""
    network = api.call("ec2", "CreateVpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    found = {}
    for number in (1, 2):
        told = {"VpcId": network, "CidrBlock": f"10.0.{number}.0/24"}
        found[f"subnet-{number}"] = api.call("ec2", "CreateSubnet", **told)["Subnet"]["SubnetId"]
    return found


def test_what_the_account_does_not_have_is_refused(moto: str) -> None:
    (failure,) = replay(run(data), moto, TABLE).failures
    assert failure == (
        "aws:eks/cluster:Cluster cluster: CreateCluster: no subnets subnet-1, subnet-2"
    )


@pytest.mark.parametrize(("policy", "refused"), [("EKSCluster", 0), ("EKSClusters", 1)])
def test_policies_of_aws_own_are_known_by_name(moto: str, policy: str, refused: int) -> None:
    def program() -> None:
        trust = documents.text([documents.trust_service("eks.amazonaws.com")])
        role = Role("role", assume_role_policy=trust)
        arn = f"arn:aws:iam::aws:policy/Amazon{policy}Policy"
        RolePolicyAttachment("attached", role=role.name, policy_arn=arn)

    found = replay(run(program), moto, TABLE)
    assert ["NoSuchEntity" in line for line in found.failures] == [True] * refused


def test_what_moto_lacks_is_said_and_its_parameters_are_held_to_the_api(moto: str) -> None:
    program = run(data)
    found = replay(program, moto, TABLE, subnets)
    kind = "eks/podIdentityAssociation:PodIdentityAssociation"
    lacks = "moto has no CreatePodIdentityAssociation; its parameters fit the API"
    assert (found.failures, found.unsupported) == ([], {kind: lacks})
    wrong = changed(program, kind, "mlflow-mlflow", roleArn="r" * 1300, tags={"a" * 129: "b"})
    (failure,) = replay(wrong, moto, TABLE, subnets).failures
    assert failure.startswith(f"aws:{kind} mlflow-mlflow: CreatePodIdentityAssociation: ")
    assert "129 characters, 128 at most" in failure


def test_a_type_without_an_entry_is_said(moto: str) -> None:
    shorter = {key: entry for key, entry in TABLE.items() if key != "ec2/eip:Eip"}
    found = replay(run(ground), moto, shorter)
    assert found.unsupported == {"ec2/eip:Eip": "no entry: not put to the server"}


def test_an_input_that_no_call_carries_is_said(moto: str) -> None:
    more = changed(run(ground), "ec2/eip:Eip", "address", colour="blue")
    assert replay(more, moto, TABLE).left_out == {"ec2/eip:Eip": {"colour"}}


def changed(program: Program, kind: str, name: str, **inputs: Any) -> Program:
    """The program with other inputs of one resource, by the provider's names."""
    key = (f"aws:{kind}", name)
    one = program.resources[key]
    other = replace(one, inputs={**one.inputs, **inputs})
    return Program({**program.resources, key: other})


NETWORK = {
    "10.0.1.0/33": "is no CIDR",
    "10.9.0.0/24": "InvalidSubnet.Range",
    "10.0.0.128/25": "InvalidSubnet.Conflict",
}


@pytest.mark.parametrize(("cidr", "why"), NETWORK.items())
def test_a_subnet_that_does_not_fit_is_refused(moto: str, cidr: str, why: str) -> None:
    found = replay(only(run(lambda: ground(subnet=cidr)), "ec2/vpc:", "ec2/subnet:"), moto, TABLE)
    (failure,) = found.failures
    assert failure.startswith("aws:ec2/subnet:Subnet net-b: ")
    assert why in failure


def only(program: Program, *kinds: str) -> Program:
    """The program's resources whose type begins so."""
    begin = tuple(f"aws:{kind}" for kind in kinds)
    kept = {key: one for key, one in program.resources.items() if key[0].startswith(begin)}
    return Program(kept)


def test_what_aws_refuses_is_a_failure_of_the_resource(moto: str) -> None:
    wrong = run(
        lambda: ground(
            size="m7i.lage",
            versioning="On",
            days=31,
            effect="Permit",
            service="eks.amazonaws",
            domain="no domain",
        )
    )
    for kind, name, inputs in (
        ("rds/subnetGroup:SubnetGroup", "subnets", {"subnetIds": ["subnet-1"]}),
        ("kms/key:Key", "key", {"policy": '{"Statement": []}'}),
        ("lb/targetGroup:TargetGroup", "pods", {"vpcId": "vpc-0", "protocol": "TSL"}),
        ("ec2/route:Route", "out", {"destinationCidrBlock": "0.0.0.0"}),
        ("ec2/eip:Eip", "address", {"domain": "VPC"}),
    ):
        wrong = changed(wrong, kind, name, **inputs)
    found = {line.split(": ", 1)[0]: line for line in replay(wrong, moto, TABLE).failures}
    for resource, why in {
        "aws:ec2/launchTemplate:LaunchTemplate template": "InstanceType: 'm7i.lage' is none of",
        "aws:s3/bucketVersioning:BucketVersioning versioning": "Status: 'On' is none of",
        "aws:cloudwatch/logGroup:LogGroup log": "31 days is none of",
        "aws:iam/rolePolicy:RolePolicy rights": "MalformedPolicyDocument",
        "aws:acm/certificate:Certificate certificate": "does not match",
        "aws:rds/subnetGroup:SubnetGroup subnets": "subnet-1",
        "aws:kms/key:Key key": "lets nobody put another one",
        "aws:lb/targetGroup:TargetGroup pods": "Protocol: 'TSL' is none of",
        "aws:ec2/route:Route out": "CIDR",
        "aws:ec2/eip:Eip address": "Domain: 'VPC' is none of",
    }.items():
        assert why in found.get(resource, "made, though it is wrong"), (resource, found)
