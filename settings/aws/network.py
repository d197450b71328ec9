"""The network of a stack on AWS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, ip_network
from itertools import combinations
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from settings.aws.values import NOWHERE, PRIVATE, LogDays
from settings.faults import fault
from settings.types import Cidr, Section, matching

Zone = Annotated[str, matching(r"[a-z]{2,3}(-[a-z]+)+-\d[a-z]", "is not a zone, as in us-east-1a")]
Endpoint = Literal[
    "autoscaling",
    "ec2",
    "ecr",
    "eks",
    "eks-auth",
    "elasticloadbalancing",
    "kms",
    "logs",
    "secretsmanager",
    "sts",
]

# AWS makes networks of /16 to /28: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
LARGEST = 16
# Each pod has an address of a private subnet, and a node takes them in blocks of 16: 1024 are 63
# blocks beside what AWS keeps for itself, enough for some twenty nodes in a zone.
SMALLEST_PRIVATE = 22
# Load balancers want 8 free addresses in each: a /27 at least, as AWS asks for.
SMALLEST_PUBLIC = 27
USUAL_ZONES = 3
# EKS takes subnets of two zones at least, and later only others of the very zones that it was made
# with. So the cluster has the first two, and nodes and all else may come to more.
CLUSTER_ZONES = 2
# Where a new account has others than a, b and c. In us-west-1 each account has two of its own.
ZONES = {"ap-northeast-1": "acd", "ca-central-1": "abd", "us-west-1": ""}


class Subnets(NamedTuple):
    """One private and one public network for each zone, in the zones' order."""

    private: tuple[IPv4Network, ...]
    public: tuple[IPv4Network, ...]


class Network(Section):
    """A network of the stack's own, with private subnets for nodes and pods, and public ones for
    what is reached from outside.
    """

    cidr: Cidr = Field(default="10.64.0.0/16", description="the whole network, from /16 to /20")
    zones: list[Zone] | None = Field(
        default=None,
        description="two or more zones of the region, the cluster's first; absent: its first three",
    )
    private: list[Cidr] | None = Field(
        default=None, description="of the nodes and pods, one a zone; absent: parts of cidr"
    )
    public: list[Cidr] | None = Field(
        default=None, description="of load balancers and NAT, one a zone; absent: parts of cidr"
    )
    nat: Literal["one", "zone"] = Field(
        default="one", description="one NAT gateway for all zones, or one in each zone"
    )
    endpoints: list[Endpoint] = Field(
        default_factory=list, description="services of AWS that are reached without NAT"
    )
    flow_log_days: LogDays = Field(default=30, description="how long the flow logs are kept")
    service_cidr: Cidr = Field(
        default="172.20.0.0/16", description="of Kubernetes' Services, outside of every network"
    )
    peers: list[Cidr] = Field(
        default_factory=list, description="networks that are, or will be, peered with this one"
    )

    @model_validator(mode="after")
    def _fits(self) -> Network:
        for found in _faults(self):
            raise found
        return self

    @property
    def subnets(self) -> Subnets:
        """The subnets as configured, else as `subnets` cuts them out of cidr."""
        cut = (
            None
            if self.private and self.public
            else subnets(self.cidr, len(self.zones or ()) or USUAL_ZONES)
        )
        return Subnets(
            _networks(self.private) if self.private else cut.private if cut else (),
            _networks(self.public) if self.public else cut.public if cut else (),
        )

    def in_zones(self, region: str) -> tuple[str, ...]:
        """The zones as configured, else the region's first three."""
        letters = ZONES.get(region, "abc")
        return tuple(self.zones or (f"{region}{letter}" for letter in letters))


def smallest(zones: int) -> int:
    """The longest prefix of a network that private subnets for so many zones fit in: 20 for 3."""
    return SMALLEST_PRIVATE - _parts(zones)


def subnets(cidr: str, zones: int) -> Subnets:
    """Cuts `cidr` for so many zones: equal parts, one private subnet each, and out of the last part
    the public ones. 10.64.0.0/16 for 3 gives private /18 and public /20. A third zone moves none of
    two; a fourth moves all.

    Raises `ValueError` where the network is smaller than `smallest`.
    """
    whole, parts = IPv4Network(cidr), _parts(zones)
    if whole.prefixlen > smallest(zones):
        raise ValueError(f"{cidr} is smaller than a /{smallest(zones)}")
    pieces = list(whole.subnets(prefixlen_diff=parts))
    public = list(pieces[-1].subnets(prefixlen_diff=parts))
    return Subnets(tuple(pieces[:zones]), tuple(public[:zones]))


def faults(network: Network, region: str) -> Iterator[PydanticCustomError]:
    """What is wrong with the network in this region; keys are under `network`."""
    if network.zones is None and not ZONES.get(region, "abc"):
        yield fault(
            "network.zones",
            None,
            f"is not set; an account has two zones of {region}, and only you know which",
        )
    for number, zone in enumerate(network.zones or ()):
        if zone[:-1] != region:
            yield fault(
                f"network.zones[{number}]", zone, f"is no zone of {region}, as in {region}a"
            )


def _parts(zones: int) -> int:
    """How many bits more than the whole network a private subnet's prefix has."""
    return zones.bit_length()


def _networks(cidrs: Sequence[str]) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(cidr) for cidr in cidrs)


def _faults(it: Network) -> Iterator[PydanticCustomError]:
    lists: dict[str, Sequence[str]] = {
        "cidr": [it.cidr],
        "private": it.private or [],
        "public": it.public or [],
        "service_cidr": [it.service_cidr],
        "peers": it.peers,
    }
    for key, cidrs in lists.items():
        for cidr in cidrs:
            if ip_network(cidr).version != 4:
                yield fault(key, cidr, "is not a network of IPv4")
                return
    yield from _zones(it)
    yield from _sizes(it)
    for key in ("private", "public"):
        yield from _given(it, key, lists[key])
    yield from _apart(it)


def _zones(it: Network) -> Iterator[PydanticCustomError]:
    if it.zones is None:
        return
    if len(it.zones) < 2:
        yield fault("zones", it.zones, "are fewer than two zones; EKS and RDS take two at least")
    for zone in it.zones:
        if it.zones.count(zone) > 1:
            yield fault("zones", it.zones, f"name {zone} twice")


def _sizes(it: Network) -> Iterator[PydanticCustomError]:
    whole, zones = IPv4Network(it.cidr), len(it.zones or ()) or USUAL_ZONES
    if whole.is_global or any(whole.overlaps(one) for one in NOWHERE):
        yield fault("cidr", it.cidr, "is no private network, such as 10.64.0.0/16")
    if whole.prefixlen < LARGEST:
        yield fault("cidr", it.cidr, f"is larger than a /{LARGEST}, the largest that AWS makes")
    if not (it.private and it.public) and whole.prefixlen > smallest(zones):
        yield fault(
            "cidr",
            it.cidr,
            f"is too small: {zones} zones take a /{smallest(zones)} or larger, for each pod has an "
            "address of a private subnet and a node takes them in blocks of 16",
        )
    services = IPv4Network(it.service_cidr)
    inside = any(services.subnet_of(one) for one in PRIVATE)
    if not inside or not 12 <= services.prefixlen <= 24:
        allowed = ", ".join(map(str, PRIVATE))
        yield fault(
            "service_cidr",
            it.service_cidr,
            f"is no part of {allowed} from /12 to /24, as EKS takes",
        )


def _given(it: Network, key: str, cidrs: Sequence[str]) -> Iterator[PydanticCustomError]:
    if not cidrs:
        return
    zones = len(it.zones or ()) or USUAL_ZONES
    least = SMALLEST_PRIVATE if key == "private" else SMALLEST_PUBLIC
    if len(cidrs) != zones:
        yield fault(
            key, list(cidrs), f"are {len(cidrs)} subnets for {zones} zones; give one a zone"
        )
    for number, cidr in enumerate(cidrs):
        if not IPv4Network(cidr).subnet_of(IPv4Network(it.cidr)):
            yield fault(f"{key}[{number}]", cidr, f"lies outside of cidr, {it.cidr}")
        elif IPv4Network(cidr).prefixlen > least:
            yield fault(f"{key}[{number}]", cidr, f"is too small: a {key} subnet is a /{least}")


def _apart(it: Network) -> Iterator[PydanticCustomError]:
    """No two subnets overlap, and nothing outside overlaps the network or the Services."""
    made = it.subnets
    named = [
        (f"{key}[{number}]", one)
        for key, them in (("private", made.private), ("public", made.public))
        for number, one in enumerate(them)
    ]
    for (first, one), (second, other) in combinations(named, 2):
        if one.overlaps(other):
            yield fault(second, str(other), f"overlaps {one} of {first}")
    whole, services = IPv4Network(it.cidr), IPv4Network(it.service_cidr)
    if services.overlaps(whole):
        yield fault("service_cidr", it.service_cidr, f"overlaps {it.cidr} of cidr")
    for number, peer in enumerate(it.peers):
        for key, own in (("cidr", whole), ("service_cidr", services)):
            if IPv4Network(peer).overlaps(own):
                yield fault(f"peers[{number}]", peer, f"overlaps {own} of {key}")
