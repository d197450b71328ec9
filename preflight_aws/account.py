"""Whose credentials these are, and whether the region and its zones are open to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from preflight_aws.asking import (
    UNREAD,
    At,
    Clients,
    Finding,
    Question,
    ask,
    code,
    fault,
    unreadable,
)
from preflight_aws.wanted import Wanted
from settings.aws.network import CLUSTER_ZONES

# Where an account is known whatever regions it has.
_HOMES = {"cn-": "cn-north-1", "us-gov-": "us-gov-west-1"}
_REFUSED = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
_NO_CONTROL_PLANE = {"cac1-az3", "use1-az3", "usw1-az2"}
_SIGN_IN = "sign in (aws sso login), or name a profile (AWS_PROFILE)"


def home(region: str) -> str:
    """A region of the same partition that every account has."""
    return next((at for start, at in _HOMES.items() if region.startswith(start)), "us-east-1")


def who(clients: Clients, asked: Wanted) -> list[Finding]:
    """Whether there are credentials, and of the stack's account; if not, nothing more is asked."""
    from botocore.exceptions import (  # type: ignore[import-untyped]
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
    )

    try:
        client = clients("sts", home(asked.region))
        caller = client.get_caller_identity()
        found, arn = caller["Account"], caller["Arn"]
    except ClientError as error:
        if code(error) in _REFUSED:
            return _ends(f"AWS refuses the credentials that are here ({code(error)}); {_SIGN_IN}")
        return _ends(f"AWS answers {code(error)} to sts:GetCallerIdentity; {_SIGN_IN}")
    except (ConnectionError, HTTPClientError):
        said = "slipway:aws: AWS does not answer, so nothing of it was checked"
        return [Finding(said, note=True, ends=True)]
    except unreadable():
        return [Finding(f"slipway:aws: {UNREAD} Nothing was checked", note=True, ends=True)]
    except BotoCoreError as error:
        # Its text may hold what a program printed that fetches credentials.
        return _ends(f"there are no credentials for AWS ({type(error).__name__}); {_SIGN_IN}")
    if found == asked.account:
        return _enters(arn, asked.admins)
    said = f"is not the account of the credentials that are here ({found}); {_SIGN_IN}"
    return [replace(fault("aws.account", asked.account, said), ends=True)]


def _enters(caller: str, admins: Iterable[str]) -> list[Finding]:
    """A fault where these credentials are none of the cluster's admins; of a preview a note.

    A session's ARN has the role's name without its path: `…:assumed-role/<name>/<session>`.
    """

    def name(arn: str) -> str:
        kind, *path = arn.rpartition(":")[2].split("/")
        return f"role/{path[0]}" if kind == "assumed-role" else f"{kind}/{path[-1] if path else ''}"

    known = [name(arn) for arn in admins]
    if not known or name(caller) in known:
        return []
    said = f"has no {name(caller)}, whose credentials are here: an update by them makes the cluster"
    line = f"slipway:aws.cluster.admins: {said} and cannot enter it"
    return [Finding(line, in_preview=True)]


def _ends(said: str) -> list[Finding]:
    return [Finding(f"slipway:aws.account: {said}", ends=True)]


def where(clients: Clients, asked: Wanted) -> list[Finding]:
    """Whether the account has the region; if not, nothing is asked there."""
    question = Question("aws.region", _region, home(asked.region))
    return ask(question, clients, asked)


def replica(asked: Wanted) -> Iterable[Question]:
    """One about the region that the bucket is copied to, if it is."""
    if asked.replica:
        key, region = "aws.bucket.replica.region", asked.replica.region
        yield Question(key, partial(_enabled, key, region), home(asked.region))


def _region(at: At, asked: Wanted) -> Iterable[Finding]:
    for finding in _enabled("aws.region", asked.region, at, asked):
        yield replace(finding, ends=True)


def _enabled(key: str, region: str, at: At, asked: Wanted) -> Iterable[Finding]:
    regions = at("ec2").describe_regions(AllRegions=True)["Regions"]
    found = {each["RegionName"]: each.get("OptInStatus") for each in regions}
    said = ""
    if region not in found:
        said = f"is no region of AWS (there: {', '.join(sorted(found))})"
    elif found[region] == "not-opted-in":
        said = "is not enabled in this account; aws account enable-region --region-name "
        said += region
    if said:
        yield fault(key, region, said)


def _zones(at: At, asked: Wanted) -> Iterable[Finding]:
    only = [{"Name": "zone-type", "Values": ["availability-zone"]}]
    found = at("ec2").describe_availability_zones(Filters=only)["AvailabilityZones"]
    there = sorted(each["ZoneName"] for each in found if each["State"] == "available")
    ids = {each["ZoneName"]: each.get("ZoneId") for each in found}
    for zone in asked.zones:
        if zone not in there:
            said = f"is no zone of this account (there: {', '.join(there)}); name others"
            yield fault("aws.network.zones", zone, said)
    for zone in asked.zones[:CLUSTER_ZONES]:
        if ids.get(zone) in _NO_CONTROL_PLANE:
            said = f"is {ids[zone]} in this account, where EKS has no control plane, which lies in "
            yield fault("aws.network.zones", zone, f"{said}the first two zones; name others first")


ZONES = Question("aws.network.zones", _zones)
