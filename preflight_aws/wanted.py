"""What a stack on AWS needs to find there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.aws import naming
from settings.aws import Aws
from settings.aws.entrance import Entrance

# On all that a stack makes; its provider puts it there.
STACK_TAG = naming.STACK_TAG


@dataclass(frozen=True)
class Machines:
    """Nodes of a pool: `most` at most, of any of `types` in any of `zones`.

    key: of the instance types in the configuration. gpu: each has one. spot: AWS may take them
    back. reservation: the id of a capacity reservation.
    """

    key: str
    types: tuple[str, ...]
    zones: tuple[str, ...]
    most: int
    gpu: bool = False
    spot: bool = False
    reservation: str | None = None


@dataclass(frozen=True)
class Bucket:
    """One that the stack makes in `region`. key: of its name in the configuration. given: it is
    named there, not made up of the account's number.
    """

    key: str
    name: str
    region: str
    given: bool = True


@dataclass(frozen=True)
class Wanted:
    """All that is asked about.

    zones: of the network. addresses: Elastic IPs. bucket, replica, repository: those that the
    stack makes.
    spot: the first key that asks for spot machines, if any does.
    docker_hub: the ARN of the secret with the login there.
    kubernetes: a version; None where AWS chooses. add_ons: name -> version. admins: ARNs of those
    who may enter the cluster; none: it is not asked.
    """

    stack: str
    account: str
    region: str
    entrance: Entrance
    zones: tuple[str, ...] = ()
    addresses: int = 0
    machines: tuple[Machines, ...] = ()
    bucket: Bucket | None = None
    replica: Bucket | None = None
    repository: str | None = None
    docker_hub: str | None = None
    spot: str | None = None
    kubernetes: str | None = None
    add_ons: Mapping[str, str] = field(default_factory=dict)
    admins: tuple[str, ...] = ()

    @property
    def cluster(self) -> str:
        """The name of the stack's cluster."""
        return naming.prefix(self.stack)

    @property
    def image_registry(self) -> str:
        """The host that images are pushed to."""
        return naming.image_host(self.account, self.region)


def wanted(stack: str, aws: Aws) -> Wanted:
    """What `stack` needs with these settings."""
    network: Any = aws.network
    cluster: Any = aws.cluster
    bucket: Any = aws.bucket
    prefix = naming.prefix(stack)
    called = naming.bucket(bucket.name, prefix, aws.account)
    zones = tuple(network.in_zones(aws.region))
    return Wanted(
        stack=stack,
        account=aws.account,
        region=aws.region,
        entrance=aws.entrance,
        zones=zones,
        addresses=len(zones) if network.nat == "zone" else 1,
        machines=tuple(_machines(aws, zones)),
        bucket=Bucket("aws.bucket.name", called, aws.region, bucket.name is not None),
        replica=_replica(aws, called),
        repository=f"{prefix}/{naming.REPOSITORY}",
        docker_hub=aws.registry.docker_hub_credentials,
        spot=next(_spot(aws), None),
        kubernetes=cluster.version,
        add_ons=dict(cluster.add_on_versions),
        admins=tuple(cluster.admins),
    )


def _replica(aws: Aws, bucket: str) -> Bucket | None:
    replica = aws.bucket.replica
    if replica is None:
        return None
    called = naming.replica(replica.name, bucket, replica.region)
    return Bucket("aws.bucket.replica.name", called, replica.region, replica.name is not None)


def _spot(aws: Aws) -> Iterator[str]:
    karpenter: Any = aws.karpenter
    pools: dict[str, Any] = {"nodes": aws.nodes, "gpu": aws.gpu}
    if karpenter is not None:
        pools["karpenter.cpu"] = karpenter.cpu
    for key, pool in pools.items():
        if pool is not None and pool.capacity == "spot":
            yield f"aws.{key}.capacity"


def _machines(aws: Aws, zones: tuple[str, ...]) -> Iterator[Machines]:
    nodes: Any = aws.nodes
    gpu: Any = aws.gpu
    yield Machines(
        "aws.nodes.instance_types",
        tuple(nodes.instance_types),
        zones,
        nodes.max,
        spot=nodes.capacity == "spot",
    )
    if gpu is not None:
        yield Machines(
            "aws.gpu.instance_types",
            tuple(gpu.instance_types),
            tuple(gpu.zones) or zones,
            gpu.max,
            gpu=True,
            spot=gpu.capacity == "spot",
            reservation=gpu.reservation,
        )
