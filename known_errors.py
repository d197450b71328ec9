"""What Pulumi and AWS say of mistakes that people can mend, and what to do about each. Pure.

`python -m known_errors up.log` says it of what an update printed; so do `make up`, a rollout and a
preview by themselves. docs/aws-troubleshooting.md says more of each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

REMEDY: Final = 'in the project\'s directory: eval "$(make -s env)"'
LOCKED: Final = "the stack is currently locked"

# What Pulumi says before it does anything -> what it means; {line} is that line of it.
MISTAKES: Final = (
    ("no stack named", "{stack}: there is no such stack (pulumi stack ls lists them)"),
    ("no stack selected", "no stack is selected; pulumi stack select <name>, or --stack <name>"),
    ("passphrase must be set", "PULUMI_CONFIG_PASSPHRASE: is not set"),
    ("incorrect passphrase", "PULUMI_CONFIG_PASSPHRASE: is not the stack's"),
    ("PULUMI_ACCESS_TOKEN must be set", "PULUMI_BACKEND_URL: you are not logged in to it"),
    (
        "unable to open state directory",
        "PULUMI_BACKEND_URL: {line}; nothing is deployed from here yet; `make up` first",
    ),
    ("no Pulumi.yaml", "{line}"),
)


class Known(NamedTuple):
    """What AWS says, as a regular expression, and the line that tells what to do."""

    sign: str
    hint: str


# The first that matches speaks: what is telling stands before what is general.
AWS: Final = (
    Known(
        r"ExpiredToken|security token included in the request is (expired|invalid)"
        r"|No valid credential sources|refresh cached credentials|InvalidClientTokenId",
        "AWS knows no such credentials any more; sign in again (aws sso login), then repeat",
    ),
    Known(
        r"OptInRequired|SubscriptionRequiredException|PendingVerification",
        "the account or its region is not active yet; look into AWS' console, then repeat",
    ),
    Known(
        r"BucketAlreadyOwnedByYou",
        "the bucket is this account's, and not in this state; take it up (docs/aws-data.md says "
        "how), or give slipway:aws.bucket.name another",
    ),
    Known(
        r"BucketAlreadyExists",
        "another account has a bucket of this name; give slipway:aws.bucket.name another",
    ),
    Known(
        r"(Resource|Repository|DBInstance|DBSnapshot|Entity)AlreadyExists",
        "something of this name is left from before: what was kept on purpose, or a log group that "
        "AWS made anew after a destroy; python -m preflight_aws leftovers lists it; delete it, or "
        "take it up (docs/aws-data.md says how)",
    ),
    Known(r"BucketNotEmpty", "the bucket holds data; empty it by hand once nobody needs it"),
    Known(
        r"UnsupportedAvailabilityZoneException",
        "EKS has no control plane in a zone that it was given; let slipway:aws.network.zones begin "
        "with two others",
    ),
    Known(
        r"VcpuLimitExceeded",
        "the account may not run that many vCPUs of this family; ask for more (Service Quotas, "
        "EC2), or make the pool smaller",
    ),
    Known(
        r"InsufficientInstanceCapacity|UnfulfillableCapacity|InsufficientReservedInstanceCapacity",
        "AWS has no such machine free in these zones now; name more instance types or zones, "
        "reserve capacity, or repeat later",
    ),
    Known(
        r"ReservationCapacityExceeded|CapacityReservation\w*NotFound"
        r"|InvalidCapacityReservation\w*",
        "the capacity reservation is over, full or of another zone; look at it with "
        "aws ec2 describe-capacity-reservations",
    ),
    Known(
        r"AddressLimitExceeded",
        "the account has no Elastic IP left; one NAT gateway instead of one a zone needs fewer, "
        "or ask for more (Service Quotas, EC2)",
    ),
    Known(
        r"VpcLimitExceeded|NatGatewayLimitExceeded|InternetGatewayLimitExceeded",
        "the region holds as many as the account may have; delete one, or ask for more "
        "(Service Quotas, VPC)",
    ),
    Known(
        r"NodeCreationFailure|failed to join the kubernetes cluster",
        "nodes started and did not reach the cluster; look at the route to NAT or the endpoints, "
        "and at the node's console log",
    ),
    Known(
        r"unsupported Kubernetes version|Kubernetes version .{0,40}not supported"
        r"|Addon version specified is not supported",
        "EKS does not offer this version any more, or for this Kubernetes; "
        "aws eks describe-addon-versions and describe-cluster-versions list what it does",
    ),
    Known(
        r"waiting for ACM Certificate.{0,200}(issued|validat)|PENDING_VALIDATION",
        "nobody on the internet sees the records that prove the certificate; the zone's name "
        "servers must be those that the domain's registrar names",
    ),
    Known(
        r"CertificateNotFound|UnsupportedCertificate",
        "the certificate is not there, not issued, or of another region",
    ),
    Known(
        r"deletion protection|cannot be deleted because it is protected",
        "it is protected on purpose; docs/aws-teardown.md says how that ends",
    ),
    Known(
        r"DependencyViolation|has dependencies and cannot be deleted|currently in use by eni",
        "something that Pulumi does not know still uses it; "
        "python -m preflight_aws leftovers lists what is left",
    ),
    Known(
        r"ResourceInUseException|Cluster has nodegroups attached",
        "EKS is at work on it, or something hangs on it still; wait a minute, then repeat",
    ),
    Known(
        r"(api|operation) error.*(Throttling|RequestLimitExceeded|Rate exceeded|TooManyRequests)",
        "AWS was asked too often; repeat, with --parallel 8 where it comes again",
    ),
    Known(
        r"(api|operation) error.*(QuotaExceeded|LimitExceeded)",
        "the account may not have more of these; ask for more (Service Quotas)",
    ),
    Known(
        r"(api|operation) error.*(UnauthorizedOperation|AccessDenied|is not authorized to perform)",
        "these credentials may not do that; AWS names the action, which the role that deploys "
        "needs",
    ),
    Known(
        LOCKED,
        "another update is under way; if its process is dead: pulumi cancel",
    ),
    Known(
        r"pending operations?\b|interrupted while",
        "an update was cut off in the middle; pulumi refresh asks AWS what became of it",
    ),
)


def mistake(text: str, stack: str) -> str | None:
    """What is wrong and the remedy, in a line, where nothing could be done at all; None if that is
    not known.

    text: what Pulumi printed. stack: its name.
    """
    lines = [line.strip().removeprefix("error: ") for line in text.splitlines()]
    for sign, said in MISTAKES:
        if line := next((line for line in lines if sign in line), None):
            return f"{said.format(stack=stack, line=line)}; {REMEDY}"
    return None


def hints(text: str) -> list[str]:
    """What to do about what AWS says in `text`, a line for each error known, none twice."""
    found = [
        next((known.hint for known in AWS if re.search(known.sign, line)), None)
        for line in text.splitlines()
    ]
    return list(dict.fromkeys(hint for hint in found if hint))


def main(files: Iterable[str]) -> int:
    """Print the hints for the files, or for standard input; 1 if there are none."""
    try:
        texts = [Path(file).read_text(errors="replace") for file in files] or [sys.stdin.read()]
    except OSError as error:
        print(f"{error.filename}: cannot be read ({error.strerror})", file=sys.stderr)
        return 2
    found = hints("\n".join(texts))
    print("\n".join(found) or "nothing in it that is known here")
    return 0 if found else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
