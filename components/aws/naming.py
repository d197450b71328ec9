"""Names on AWS: unlike in every stack of an account, and never longer than a service takes them."""

from __future__ import annotations

import hashlib
import re

PREFIX_LENGTH = 24
# The tag that says whose a thing is.
STACK_TAG = "slipway:stack"
# Of the serving image, below the stack's prefix.
REPOSITORY = "serving"
_LONGEST_BUCKET = 63


def prefix(stack: str) -> str:
    """What the fixed names of a stack begin with: `slipway-prod`, of a-z, 0-9 and '-', and of at
    most PREFIX_LENGTH characters. A longer stack's name, or one with other characters, is cut and
    marked with a part of its hash, so that no two stacks share a prefix.
    """
    return bounded(f"slipway-{stack}", PREFIX_LENGTH)


def bounded(name: str, length: int) -> str:
    """`name` itself where it is of a-z, 0-9 and '-' and has at most `length` characters (12 at
    least); otherwise its beginning, and 7 digits of its hash.
    """
    plain = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9-]", "-", name.lower())).strip("-")
    if plain == name and len(name) <= length:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:7]
    return f"{plain[: length - 8].rstrip('-')}-{mark}"


def bucket(given: str | None, prefix: str, account: str) -> str:
    """The name of the bucket of artifacts: the one given, or one of the stack's own."""
    return given or f"{prefix}-artifacts-{account}"


def replica(given: str | None, bucket: str, region: str) -> str:
    """The name of the copy of `bucket` in another region: the one given, or one of its own."""
    return given or bounded(f"{bucket}-{region}", _LONGEST_BUCKET)


def image_host(account: str, region: str) -> str:
    """The host that an account's images are pushed to."""
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{suffix}"
