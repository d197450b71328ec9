"""Machines: whether AWS offers them in these zones, with a GPU, and as many as may be wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from preflight_aws.asking import At, Finding, Question, code, fault, note
from preflight_aws.wanted import STACK_TAG, Machines, Wanted

# Families of machines -> the quotas of vCPUs that run at a time: on demand, and spot.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html
_QUOTAS = {
    ("g", "gr", "vt"): ("L-DB2E81BA", "L-3819A6DF"),
    tuple("acdhimrtz"): ("L-1216C47A", "L-34B43A08"),
    ("p",): ("L-417A185B", "L-7212CCBC"),
}
_ADDRESSES = "L-0263D0A3"
# Nobody here may make it; without it EC2 starts no spot machine for Karpenter.
_SPOT_ROLE = "AWSServiceRoleForEC2Spot"
_NO_QUOTA = {"NoSuchResourceException"}


def questions(asked: Wanted) -> Iterator[Question]:
    """Those about each pool, about Elastic IPs, and about spot machines."""
    for pool in asked.machines:
        yield Question(pool.key, partial(_offered, pool))
        yield Question(pool.key, partial(_vcpus, pool))
        if pool.reservation:
            yield Question(_beside(pool), partial(_reserved, pool))
    if asked.addresses:
        yield Question("aws.network.nat", _addresses)
    if asked.spot:
        yield Question(asked.spot, _spot)


def _offered(pool: Machines, at: At, asked: Wanted) -> Iterable[Finding]:
    named = [{"Name": "instance-type", "Values": list(pool.types)}]
    pages = at("ec2").get_paginator("describe_instance_type_offerings")
    found = [
        offer
        for page in pages.paginate(LocationType="availability-zone", Filters=named)
        for offer in page["InstanceTypeOfferings"]
    ]
    for type_ in pool.types:
        zones = sorted(each["Location"] for each in found if each["InstanceType"] == type_)
        lacking = [zone for zone in pool.zones if zone not in zones]
        if not zones:
            yield fault(pool.key, type_, f"is not offered in {asked.region}; name another type")
        elif lacking:
            said = f"is not offered in {', '.join(lacking)} (there: {', '.join(zones)}); name "
            yield fault(pool.key, type_, f"{said}another type, or zones that have it")
    if pool.gpu:
        offered = sorted({each["InstanceType"] for each in found})
        for type_, described in _described(at, offered).items():
            if not described.get("GpuInfo"):
                yield fault(pool.key, type_, "has no GPU; name a type that has one")


def _reserved(pool: Machines, at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    key = _beside(pool)
    try:
        (found,) = at("ec2").describe_capacity_reservations(
            CapacityReservationIds=[pool.reservation]
        )["CapacityReservations"]
    except ClientError as error:
        if "Reservation" not in code(error):
            raise
        yield fault(key, pool.reservation, f"is no capacity reservation in {asked.region}")
        return
    if found["State"] not in ("active", "scheduled", "pending", "assessing"):
        yield fault(key, pool.reservation, f"is {found['State']}; name one that is active")
    if found["InstanceType"] not in pool.types:
        said = f"is of {found['InstanceType']}, and the pool of {', '.join(pool.types)}"
        yield fault(key, pool.reservation, said)
    if pool.zones and found["AvailabilityZone"] not in pool.zones:
        said = f"is in {found['AvailabilityZone']}, and the pool in {', '.join(pool.zones)}"
        yield fault(key, pool.reservation, said)


def _vcpus(pool: Machines, at: At, asked: Wanted) -> Iterable[Finding]:
    for families, quotas in _QUOTAS.items():
        types = [name for name in pool.types if _family(name) in families]
        if not types or pool.reservation:
            continue
        limit = _limit(at, "ec2", quotas[pool.spot])
        if limit is None:
            continue
        for name, described in _described(at, types).items():
            wanted = pool.most * described["VCpuInfo"]["DefaultVCpus"]
            if wanted > limit:
                yield note(
                    pool.key,
                    f"{pool.most} machines of {name} have {wanted} vCPUs, and the account may run "
                    f"{limit} of such; ask for more (Service Quotas, EC2, {quotas[pool.spot]})",
                )


def _spot(at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError

    try:
        at("iam").get_role(RoleName=_SPOT_ROLE)
    except ClientError as error:
        if code(error) != "NoSuchEntity":
            raise
        yield note(
            asked.spot or "aws",
            f"spot takes the role {_SPOT_ROLE}, which an account has once it had such a machine, "
            "and this one has not; aws iam create-service-linked-role --aws-service-name "
            "spot.amazonaws.com",
        )


def _addresses(at: At, asked: Wanted) -> Iterable[Finding]:
    limit = _limit(at, "ec2", _ADDRESSES)
    if limit is None:
        return
    used = at("ec2").describe_addresses()["Addresses"]
    own = [each for each in used if _of_stack(each.get("Tags", []), asked.stack)]
    wanted = asked.addresses - len(own)
    if wanted > limit - len(used):
        yield note(
            "aws.network.nat",
            f"{wanted} more Elastic IPs are wanted, and of {limit} the account has {len(used)} in "
            "use; nat: one takes one, or ask for more (Service Quotas, EC2, L-0263D0A3)",
        )


def _of_stack(tags: Iterable[dict[str, str]], stack: str) -> bool:
    return any((tag["Key"], tag["Value"]) == (STACK_TAG, stack) for tag in tags)


def _described(at: At, types: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    if not types:
        return {}
    found = at("ec2").describe_instance_types(InstanceTypes=types)["InstanceTypes"]
    return {each["InstanceType"]: each for each in found}


def _limit(at: At, service: str, quota: str) -> int | None:
    from botocore.exceptions import ClientError

    try:
        found = at("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=quota)
    except ClientError as error:
        if code(error) in _NO_QUOTA:
            return None
        raise
    return int(found["Quota"]["Value"])


def _family(type_: str) -> str:
    """`g` for `g6.xlarge`, `inf` for `inf2.xlarge`."""
    return type_[: next((at for at, letter in enumerate(type_) if letter.isdigit()), 0)]


def _beside(pool: Machines) -> str:
    return pool.key.rpartition(".")[0] + ".reservation"
