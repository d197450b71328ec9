"""Types of single values that several sections of a stack on AWS share, and what ARNs tell."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from settings.faults import fault

PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
# Addresses that no network is made of and nobody comes from: this host's, those of a link, of many
# hosts at once, and those that are kept for later.
NOWHERE = tuple(
    map(
        IPv4Network,
        ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192)


def _retention(value: object) -> object:
    if type(value) is not int or value not in RETENTION_DAYS:
        allowed = ", ".join(map(str, RETENTION_DAYS))
        raise PydanticCustomError(
            "slipway", f"is not a number of days that CloudWatch keeps logs for: {allowed}"
        )
    return value


def partition(region: str) -> str:
    """`aws` for eu-central-1, `aws-cn` for cn-north-1, `aws-us-gov` for us-gov-west-1."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def elsewhere(arn: str, account: str, region: str) -> str | None:
    """What is said of an ARN that is not of this account and region; None of one that is."""
    of_region, of_account = arn.split(":")[3:5]
    if of_region != region:
        return f"is in region {of_region}, and the stack is in {region}"
    if of_account != account:
        return f"is of account {of_account}, and the stack is of {account}"
    return None


def neighbour_fault(
    key: str, arn: str | None, account: str, region: str, why: str
) -> PydanticCustomError | None:
    """The fault of `key` where its ARN, if any, is not of this account and region; `why` that
    matters is said behind.
    """
    where = elsewhere(arn, account, region) if arn else None
    return fault(key, arn, f"{where}; {why}") if where else None


LogDays = Annotated[int, BeforeValidator(_retention)]
