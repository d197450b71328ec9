"""What is left of a stack on AWS, asked of a server that speaks its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto import mock_aws

from preflight_aws import __main__ as command
from preflight_aws.asking import boto
from preflight_aws.leftovers import COMMANDS, Left, _left, leftovers

ACCOUNT, REGION = "123456789012", "eu-central-1"
CLIENTS = boto()
OWN = [{"Key": "slipway:stack", "Value": "prod"}]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield


def here(service: str) -> Any:
    return CLIENTS(service, REGION)


def tagged(kind: str, tags: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tags}]


def a_volume(tags: list[dict[str, str]]) -> str:
    made = here("ec2").create_volume(
        AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=tagged("volume", tags)
    )
    return str(made["VolumeId"])


def a_balancer() -> str:
    ec2 = here("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone=f"{REGION}a")
    made = here("elbv2").create_load_balancer(
        Name="left", Type="network", Subnets=[subnet["Subnet"]["SubnetId"]], Tags=OWN
    )
    return str(made["LoadBalancers"][0]["LoadBalancerArn"])


def left() -> dict[str, Left]:
    """kind -> what is left of it."""
    found = leftovers("prod", REGION, CLIENTS)
    assert len({each.kind for each in found}) == len(found)
    return {each.kind: each for each in found}


def test_nothing_of_another_stack_is_named() -> None:
    a_volume([{"Key": "slipway:stack", "Value": "staging"}])
    a_volume([{"Key": "kubernetes.io/cluster/slipway-staging", "Value": "owned"}])
    here("logs").create_log_group(logGroupName="/aws/eks/slipway-prod2/cluster")
    assert left() == {}


def test_what_the_program_made_and_what_the_cluster_made() -> None:
    arn = a_balancer()
    volume = a_volume([{"Key": "kubernetes.io/cluster/slipway-prod", "Value": "owned"}])
    found = left()
    assert set(found) == {"elasticloadbalancing:loadbalancer", "ec2:volume"}
    balancer = found["elasticloadbalancing:loadbalancer"]
    assert (balancer.arn, balancer.kept) == (arn, False)
    assert balancer.command == f"aws elbv2 delete-load-balancer --load-balancer-arn {arn}"
    assert found["ec2:volume"].command == f"aws ec2 delete-volume --volume-id {volume}"


def test_each_of_what_costs_or_stands_in_the_way_is_found() -> None:
    ec2 = here("ec2")
    volume = a_volume([{"Key": "other", "Value": "x"}])
    ec2.create_snapshot(VolumeId=volume, TagSpecifications=tagged("snapshot", OWN))
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    cni = [{"Key": "cluster.k8s.amazonaws.com/name", "Value": "slipway-prod"}]
    ec2.create_network_interface(
        SubnetId=subnet, TagSpecifications=tagged("network-interface", cni)
    )
    here("logs").create_log_group(logGroupName="/aws/eks/slipway-prod/cluster")
    found = left()
    assert set(found) == {
        "ec2:network-interface",
        "ec2:snapshot",
        "logs:log-group",
    }
    assert set(found) <= set(COMMANDS)
    assert found["logs:log-group"].command == (
        "aws logs delete-log-group --log-group-name /aws/eks/slipway-prod/cluster"
    )


def test_copies_of_images_of_others_are_left_and_the_stacks_own_images_are_kept() -> None:
    ecr = here("ecr")
    ecr.create_repository(repositoryName="slipway-prod/serving", tags=OWN)
    for name in ("slipway-prod/hub/grafana/grafana", "slipway-prod2/hub/grafana/grafana"):
        ecr.create_repository(repositoryName=name)
    copy, own = leftovers("prod", REGION, CLIENTS)
    assert (own.id, own.kept, own.command) == ("slipway-prod/serving", True, "")
    assert (copy.kind, copy.kept) == ("ecr:repository", False)
    assert copy.command == (
        "aws ecr delete-repository --force --repository-name slipway-prod/hub/grafana/grafana"
    )


@pytest.mark.parametrize(
    ("arn", "kind", "id_", "kept"),
    [
        ("rds:eu-central-1:1:auto-backup:ab-1", "rds:auto-backup", "ab-1", True),
        ("ec2:eu-central-1:1:elastic-ip/eipalloc-1a", "ec2:elastic-ip", "eipalloc-1a", False),
        ("eks:eu-central-1:1:cluster/slipway-prod", "eks:cluster", "slipway-prod", False),
        ("rds:eu-central-1:1:db:mlflow", "rds:db", "mlflow", False),
        ("rds:eu-central-1:1:snapshot:last", "rds:snapshot", "last", True),
        ("s3:::models", "s3:bucket", "models", True),
        ("sns:eu-central-1:1:topic", "sns:", "topic", False),
        ("logs:eu-central-1:1:log-group:/a/b", "logs:log-group", "/a/b", False),
    ],
)
def test_an_arn_tells_what_it_is_of(arn: str, kind: str, id_: str, kept: bool) -> None:
    found = _left(f"arn:aws:{arn}")
    assert (found.kind, found.id, found.kept) == (kind, id_, kept)


def test_what_holds_data_is_kept_on_purpose() -> None:
    s3, kms = here("s3"), here("kms")
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_tagging(Bucket="models", Tagging={"TagSet": OWN})
    kms.create_key(Tags=[{"TagKey": "slipway:stack", "TagValue": "prod"}])
    found = left()
    assert set(found) == {"s3:bucket", "kms:key"}
    assert all(each.kept and not each.command for each in found.values())


def test_what_is_deleted_and_still_shown_is_not_left() -> None:
    ec2 = here("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tagged("instance", OWN)
    )
    machine = made["Instances"][0]["InstanceId"]
    assert "ec2:instance" in {each.kind for each in leftovers("prod", REGION, CLIENTS)}
    ec2.terminate_instances(InstanceIds=[machine])
    kinds = {each.kind for each in leftovers("prod", REGION, CLIENTS)}
    assert "ec2:instance" not in kinds


def test_a_key_that_is_going_is_named_with_what_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kms = here("kms")
    made = kms.create_key(Tags=[{"TagKey": "slipway:stack", "TagValue": "prod"}])["KeyMetadata"]
    kms.schedule_key_deletion(KeyId=made["KeyId"])
    a_stack(tmp_path)
    assert command.main(["leftovers", "--stack", "prod"], tmp_path, CLIENTS) == 0
    assert capsys.readouterr().out == (
        f"going  kms:key  {made['Arn']}\n"
        f"      aws kms cancel-key-deletion --key-id {made['KeyId']} --region {REGION}\n"
        "prod: nothing left, nothing kept on purpose\n"
        "A key that is going takes what was written under it along: backups and snapshots.\n"
    )


def a_stack(directory: Path, **more: Any) -> None:
    sections = {
        "account": ACCOUNT,
        "region": REGION,
        "entrance": {"domain": "models.example.com", "zone": "Z0123456789ABC"},
        # A whole cluster needs one who may enter it; the entrance alone does not know.
        **ADMINS,
        **more,
    }
    (directory / "Pulumi.prod.yaml").write_text(
        yaml.safe_dump(
            {
                "config": {
                    "slipway:aws": sections,
                    "slipway:mlflow": {"database": {"ca": "rds-ca.pem"}},
                }
            }
        )
    )


def test_the_region_of_the_buckets_copy_is_asked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = "eu-west-1"
    kms = CLIENTS("kms", there)
    made = kms.create_key(Tags=[{"TagKey": "slipway:stack", "TagValue": "prod"}])["KeyMetadata"]
    CLIENTS("logs", there).create_log_group(logGroupName="/aws/eks/slipway-prod/cluster")
    a_stack(tmp_path)
    ask = ["leftovers", "--stack", "prod"]
    assert command.main(ask, tmp_path, CLIENTS) == 0
    capsys.readouterr()
    a_stack(tmp_path, bucket={"replica": {"region": there}})
    assert command.main(ask, tmp_path, CLIENTS) == 1
    out = capsys.readouterr().out
    assert f"kept  kms:key  {made['Arn']}\n" in out
    assert (
        f"delete-log-group --log-group-name /aws/eks/slipway-prod/cluster --region {there}" in out
    )


def test_the_command_tells_what_is_left_and_how_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_stack(tmp_path)
    ask = ["leftovers", "--stack", "prod"]
    assert command.main(ask, tmp_path, CLIENTS) == 0
    assert capsys.readouterr().out == "prod: nothing left, nothing kept on purpose\n"
    volume = a_volume(OWN)
    assert command.main(ask, tmp_path, CLIENTS) == 1
    arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/{volume}"
    assert capsys.readouterr().out == (
        f"left  ec2:volume  {arn}\n"
        f"      aws ec2 delete-volume --volume-id {volume} --region {REGION}\n"
        "prod: 1 left, nothing kept on purpose\n"
    )


def _admins() -> dict[str, Any]:
    from settings.aws.cluster import EksCluster

    needed = "admins" in EksCluster.model_fields
    return {"cluster": {"admins": [f"arn:aws:iam::{ACCOUNT}:role/deploys"]}} if needed else {}


ADMINS = _admins()
