"""What is left of a stack on AWS: all that carries its tags, or its cluster's.

The Resource Groups Tagging API lists it, of every service at once; what a service shows for a while
after its deletion is asked about anew. Log groups that AWS made, and repositories that images were
pulled through, have no tag, and are known by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from components.aws import naming
from components.aws.naming import REPOSITORY, STACK_TAG
from preflight_aws.asking import Clients

# What a teardown keeps, for it holds data or is the key to it.
KEPT: Final = (
    "s3:",
    "rds:auto-backup",
    "rds:snapshot",
    "rds:cluster-snapshot",
    "kms:key",
    "backup:",
)
# How each kind goes by hand.
COMMANDS: Final = {
    "ecr:repository": "aws ecr delete-repository --force --repository-name {id}",
    "elasticloadbalancing:loadbalancer": "aws elbv2 delete-load-balancer --load-balancer-arn {arn}",
    "elasticloadbalancing:targetgroup": "aws elbv2 delete-target-group --target-group-arn {arn}",
    "ec2:elastic-ip": "aws ec2 release-address --allocation-id {id}",
    "ec2:instance": "aws ec2 terminate-instances --instance-ids {id}",
    "ec2:natgateway": "aws ec2 delete-nat-gateway --nat-gateway-id {id}",
    "ec2:network-interface": "aws ec2 delete-network-interface --network-interface-id {id}",
    "ec2:security-group": "aws ec2 delete-security-group --group-id {id}",
    "ec2:snapshot": "aws ec2 delete-snapshot --snapshot-id {id}",
    "ec2:subnet": "aws ec2 delete-subnet --subnet-id {id}",
    "ec2:volume": "aws ec2 delete-volume --volume-id {id}",
    "ec2:vpc": "aws ec2 delete-vpc --vpc-id {id}",
    "logs:log-group": "aws logs delete-log-group --log-group-name {id}",
}
# Whose names have slashes.
_WHOLE_NAMES: Final = ("ecr:repository", "logs:log-group")


@dataclass(frozen=True, order=True)
class Left:
    """One resource. kept: on purpose. kind: as in `ec2:volume`. id: of it, as in `vol-1a2b`.
    going: a key of KMS that is deleted within days, and with it all that was written under it.
    """

    kept: bool
    kind: str
    id: str
    arn: str
    going: bool = False

    @property
    def region(self) -> str:
        """Where it is; empty for what is known by its name alone."""
        return self.arn.split(":")[3]

    @property
    def command(self) -> str:
        """How it goes by hand; empty where that depends. Of what is going: how it stays."""
        if self.going:
            return f"aws kms cancel-key-deletion --key-id {self.id}"
        return "" if self.kept else COMMANDS.get(self.kind, "").format(arn=self.arn, id=self.id)


def leftovers(stack: str, region: str, clients: Clients) -> list[Left]:
    """All that is left of `stack` in `region`, what is kept on purpose last.

    Raises botocore's ClientError and BotoCoreError.
    """
    cluster = naming.prefix(stack)
    arns = {arn for tag in _tags(stack, cluster) for arn in _tagged(clients, region, tag)}
    arns |= set(_log_groups(clients, region, cluster))
    arns |= set(_repositories(clients, region, cluster))
    gone = _gone(clients, region, sorted(arns))
    found = [_left(arn) for arn in arns - gone]
    keys = [left.id for left in found if left.kind == "kms:key"]
    going = _keys_going(clients("kms", region), keys) if keys else set[str]()
    return sorted(replace(left, going=left.id in going) for left in found)


def _tags(stack: str, cluster: str) -> Iterator[Mapping[str, Any]]:
    yield {"Key": STACK_TAG, "Values": [stack]}
    # What the cluster made by itself: nodes, volumes, network interfaces, load balancers.
    yield {"Key": f"kubernetes.io/cluster/{cluster}"}
    for key in (
        "KubernetesCluster",
        "cluster.k8s.amazonaws.com/name",
        "eks:cluster-name",
        "elbv2.k8s.aws/cluster",
    ):
        yield {"Key": key, "Values": [cluster]}


def _tagged(clients: Clients, region: str, tag: Mapping[str, Any]) -> Iterator[str]:
    client = clients("resourcegroupstaggingapi", region)
    for page in client.get_paginator("get_resources").paginate(TagFilters=[tag]):
        yield from (each["ResourceARN"] for each in page["ResourceTagMappingList"])


def _log_groups(clients: Clients, region: str, cluster: str) -> Iterator[str]:
    own = re.compile(rf"(.*[/-])?{re.escape(cluster)}([/-].*)?")
    for page in clients("logs", region).get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            if own.fullmatch(group["logGroupName"]):
                yield group["arn"].removesuffix(":*")


def _repositories(clients: Clients, region: str, cluster: str) -> Iterator[str]:
    for page in clients("ecr", region).get_paginator("describe_repositories").paginate():
        for each in page["repositories"]:
            if each["repositoryName"].startswith(f"{cluster}/"):
                yield each["repositoryArn"]


def _left(arn: str) -> Left:
    _, _, service, _, _, resource = arn.split(":", 5)
    part = re.match(r"([a-z-]+)[/:]", resource)
    kind = f"{service}:{part[1] if part else 'bucket' if service == 's3' else ''}"
    name = resource[part.end() :] if part else resource
    identity = name if kind in _WHOLE_NAMES else re.split(r"[/:]", name)[-1]
    own_images = kind == "ecr:repository" and name.endswith(f"/{REPOSITORY}")
    return Left(own_images or kind.startswith(KEPT), kind, identity, arn)


def _gone(clients: Clients, region: str, arns: Sequence[str]) -> set[str]:
    """Those that are deleted and still shown for an hour."""
    asked: dict[str, Callable[[Any, list[str]], set[str]]] = {
        "ec2:instance": _instances_gone,
        "ec2:natgateway": _gateways_gone,
    }
    found: set[str] = set()
    for kind, ask in asked.items():
        some = {left.id: left.arn for left in map(_left, arns) if left.kind == kind}
        if some:
            client = clients(kind.partition(":")[0], region)
            found |= {some[id_] for id_ in ask(client, list(some)) if id_ in some}
    return found


def _instances_gone(client: Any, ids: list[str]) -> set[str]:
    wanted = [{"Name": "instance-id", "Values": ids}]
    pages = client.get_paginator("describe_instances").paginate(Filters=wanted)
    there = {
        each["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
        if each["State"]["Name"] not in ("terminated", "shutting-down")
    }
    return set(ids) - there


def _gateways_gone(client: Any, ids: list[str]) -> set[str]:
    wanted = [{"Name": "nat-gateway-id", "Values": ids}]
    pages = client.get_paginator("describe_nat_gateways").paginate(Filters=wanted)
    there = {
        each["NatGatewayId"]
        for page in pages
        for each in page["NatGateways"]
        if each["State"] not in ("deleted", "deleting")
    }
    return set(ids) - there


def _keys_going(client: Any, ids: list[str]) -> set[str]:
    states = {id_: client.describe_key(KeyId=id_)["KeyMetadata"]["KeyState"] for id_ in ids}
    return {id_ for id_, state in states.items() if state == "PendingDeletion"}
