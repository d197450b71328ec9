"""What AWS bills of each type of resource, and which types cost nothing. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from review import bill_nodes
from review.bill import Item, Resource, Stack, by_use, length, mapping, number, text, times
from review.preview import is_unknown
from review.prices import Prices
from review.values import objects, quantity
from review.words import Data

_ONE: Final = Decimal(1)
_GIB: Final = Decimal(2**30)
_OUT: Final = by_use("data to the internet", "transfer.out")

# They cost nothing by themselves.
_FREE: Final = (
    "aws:acm/*",
    "aws:autoscaling/attachment:*",
    "aws:autoscaling/tag:*",
    "aws:cloudwatch/event*",
    "aws:cloudwatch/logResourcePolicy:*",
    "aws:ec2/default*",
    "aws:ec2/internetGateway:*",
    "aws:ec2/launchTemplate:*",  # it is billed with its nodes
    "aws:ec2/mainRouteTableAssociation:*",
    "aws:ec2/networkAcl*",
    "aws:ec2/route*",
    "aws:ec2/securityGroup*",
    "aws:ec2/subnet:*",
    "aws:ec2/tag:*",
    "aws:ec2/vpc:*",
    "aws:ec2/vpcEndpoint[A-Z]*",
    "aws:ec2/vpcDhcp*",
    "aws:ecr/*",
    "aws:eks/access*",
    "aws:eks/addon:*",
    "aws:eks/podIdentityAssociation:*",
    "aws:iam/*",
    "aws:kms/alias:*",
    "aws:kms/keyPolicy:*",
    "aws:lb/listener*",
    "aws:lb/targetGroup*",
    "aws:rds/parameterGroup:*",
    "aws:rds/subnetGroup:*",
    "aws:route53/record:*",
    "aws:s3/*",
    "aws:secretsmanager/secret[A-Z]*",
    "aws:sqs/queuePolicy:*",
    "aws:vpc/securityGroup*",
    "aws:wafv2/ipSet:*",
    "aws:wafv2/webAcl[A-Z]*",
)


def items(stack: Stack, prices: Prices | None) -> Iterator[Item]:
    """What is billed of a stack on AWS. `prices` tell which types of nodes there are for Karpenter
    to choose from.
    """
    for one in stack.resources:
        if one.type == "kubernetes:karpenter.sh/v1:NodePool":
            yield from bill_nodes.karpenter(one, stack, prices)
        elif one.type == "aws:eks/cluster:Cluster":
            yield from _cluster(one, prices)
        elif reader := _READERS.get(one.type):
            yield from reader(one, stack)
        elif one.type.startswith("aws:") and not any(
            fnmatch.fnmatchcase(one.type, free) for free in _FREE
        ):
            yield Item((Data(one.type.removeprefix("aws:")),), "", _ONE, _ONE)


def _cluster(one: Resource, prices: Prices | None) -> Iterator[Item]:
    version = text(one.inputs.get("version"))
    until = prices.until.get(version) if prices else None
    policy = text(mapping(one.inputs.get("upgradePolicy")).get("supportType"))
    ended = until and prices and until < prices.read and policy != "STANDARD"
    what = ("EKS cluster, Kubernetes ", Data(version)) if version else ("EKS cluster",)
    note = f"standard support until {until}" if until and not ended else ""
    yield Item(what, "eks.cluster", note=note)
    if ended:
        ago = f"standard support ended on {until}"
        yield Item(("extended support of Kubernetes ", Data(version)), "eks.extended", note=ago)
    if one.inputs.get("enabledClusterLogTypes"):
        yield from _logs(one, Stack())


def _nat(_: Resource, __: Stack) -> Iterator[Item]:
    yield Item(("NAT gateway",), "nat.hour")
    yield by_use("data through NAT", "nat.data")
    yield _OUT


def _endpoint(one: Resource, _: Stack) -> Iterator[Item]:
    # Those of the kind Gateway are free, and that is what is made where none is named.
    if text(one.inputs.get("vpcEndpointType")) == "Interface":
        zones = length(one.inputs.get("subnetIds"))
        yield Item(("interface endpoint, in each zone",), "endpoint.hour", zones, zones)
        yield by_use("data through interface endpoints", "endpoint.data")


def _balancer(one: Resource, _: Stack) -> Iterator[Item]:
    network = text(one.inputs.get("loadBalancerType")) == "network"
    kind, key = ("network", "nlb") if network else ("application", "alb")
    yield Item((f"{kind} load balancer",), f"{key}.hour")
    yield by_use(f"capacity of the {kind} load balancer", f"{key}.lcu")
    if one.inputs.get("internal") is True:
        return
    mappings = one.inputs.get("subnetMappings")
    own = [each for each in objects(mappings) if "allocationId" not in each]
    zones = Decimal(len(own)) if isinstance(mappings, list) else length(one.inputs.get("subnets"))
    if zones != 0:
        yield Item(("public IPv4 address",), "ipv4.hour", zones, zones)
    yield _OUT


def _database(one: Resource, _: Stack) -> Iterator[Item]:
    kind, storage = text(one.inputs.get("instanceClass")), text(one.inputs.get("storageType"))
    several = one.inputs.get("multiAz")
    engine = text(one.inputs.get("engine")) or "postgres"
    mode = "multi" if several is True else "single"
    how = "in two zones" if several is True else "in one zone"
    known = kind and not is_unknown(several)
    key = f"rds.{kind}.{mode}" if known and engine == "postgres" else ""
    count = _ONE if known else None
    yield Item((f"database {how}, ", Data(f"{engine} {kind}".strip())), key, count, count)
    low = number(one.inputs.get("allocatedStorage"))
    high = number(one.inputs.get("maxAllocatedStorage"), int(low or 0)) if low else None
    yield Item(("the database's storage",), f"rds.{storage or 'gp2'}.{mode}", low, high)
    yield by_use("backups beyond the database's size", "rds.backup")
    if one.inputs.get("manageMasterUserPassword") is True:
        yield from _secret(one, Stack())


def _bucket(_: Resource, __: Stack) -> Iterator[Item]:
    yield by_use("objects in S3", "s3.storage")
    yield by_use("writing and listing in S3", "s3.put")
    yield by_use("reading from S3", "s3.get")


def _key(_: Resource, __: Stack) -> Iterator[Item]:
    yield Item(("key of KMS",), "kms.key")
    yield by_use("use of keys", "kms.requests")


def _secret(_: Resource, __: Stack) -> Iterator[Item]:
    yield Item(("secret of Secrets Manager",), "secret.month")
    yield by_use("reading of secrets", "secret.requests")


def _firewall(one: Resource, _: Stack) -> Iterator[Item]:
    yield Item(("web firewall (WAF)",), "waf.acl")
    rules = length(one.inputs.get("rules", []))
    yield Item(("rule of the web firewall",), "waf.rule", rules, rules)
    yield by_use("requests that the web firewall sees", "waf.requests")


def _logs(_: Resource, __: Stack) -> Iterator[Item]:
    yield by_use("logs, as they come", "logs.data")
    yield by_use("logs that are kept", "logs.storage")


def _flows(one: Resource, _: Stack) -> Iterator[Item]:
    to_s3 = text(one.inputs.get("logDestinationType")) == "s3"
    yield by_use("flow logs, as they come", "logs.to-s3" if to_s3 else "logs.data")


def _claim(one: Resource, _: Stack) -> Iterator[Item]:
    yield _volume(mapping(one.inputs.get("spec")), _ONE)


def _set(one: Resource, _: Stack) -> Iterator[Item]:
    spec = mapping(one.inputs.get("spec"))
    for each in objects(spec.get("volumeClaimTemplates")):
        yield _volume(mapping(each.get("spec")), number(spec.get("replicas"), 1))


def _volume(spec: Any, count: Decimal | None) -> Item:
    asked = mapping(mapping(spec.get("resources")).get("requests")).get("storage")
    size = quantity(asked)
    high = times(count, None if size is None else size / _GIB)
    return Item(("volumes in the cluster",), "ebs.gp3", high, high)


def _service(one: Resource, _: Stack) -> Iterator[Item]:
    if text(mapping(one.inputs.get("spec")).get("type")) == "LoadBalancer":
        yield Item(("network load balancer",), "nlb.hour")
        yield by_use("capacity of the network load balancer", "nlb.lcu")
        yield _OUT


def _single(what: str, key: str) -> Callable[[Resource, Stack], Iterator[Item]]:
    def read(_: Resource, __: Stack) -> Iterator[Item]:
        yield Item((what,), key)

    return read


def _used(what: str, key: str) -> Callable[[Resource, Stack], Iterator[Item]]:
    def read(_: Resource, __: Stack) -> Iterator[Item]:
        yield by_use(what, key)

    return read


_READERS: Final[dict[str, Callable[[Resource, Stack], Iterator[Item]]]] = {
    "aws:cloudwatch/logGroup:LogGroup": _logs,
    "aws:ec2/eip:Eip": _single("public IPv4 address", "ipv4.hour"),
    "aws:ec2/flowLog:FlowLog": _flows,
    "aws:ec2/natGateway:NatGateway": _nat,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:ecr/repository:Repository": _used("images in ECR", "ecr.storage"),
    "aws:eks/nodeGroup:NodeGroup": bill_nodes.group,
    "aws:kms/key:Key": _key,
    "aws:kms/replicaKey:ReplicaKey": _key,
    "aws:lb/loadBalancer:LoadBalancer": _balancer,
    "aws:rds/instance:Instance": _database,
    "aws:route53/zone:Zone": _single("zone of Route 53", "route53.zone"),
    "aws:s3/bucket:Bucket": _bucket,
    "aws:secretsmanager/secret:Secret": _secret,
    "aws:sqs/queue:Queue": _used("messages of SQS", "sqs.requests"),
    "aws:wafv2/webAcl:WebAcl": _firewall,
    "kubernetes:apps/v1:StatefulSet": _set,
    "kubernetes:core/v1:PersistentVolumeClaim": _claim,
    "kubernetes:core/v1:Service": _service,
}
